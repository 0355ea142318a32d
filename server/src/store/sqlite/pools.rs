//! Who waits for whom at the database: reports never keep the desk waiting.

use futures_util::FutureExt as _;

use super::open::REPORTERS;
use super::{SqliteStore, StoreLimits};
use crate::store::conformance::enrolment;
use crate::store::{Attempts as _, Ledger as _, NodeFilter, NodeTarget, Nodes as _, Outcome, Rollouts as _, Sha256};

#[tokio::test]
async fn an_attestation_goes_on_while_every_reader_for_reports_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    let store = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
    let mut reports = Vec::new();
    for _ in 0..REPORTERS {
        reports.push(store.reports.acquire().await.unwrap());
    }
    assert!(store.rollouts(0, 0).now_or_never().is_none(), "there is a reader that was not taken");
    let admitted = store.record_attempt(enrolment(1)).await.unwrap();
    assert!(matches!(admitted, Outcome::Admitted { .. }));
    let mark = Sha256([1; 32]);
    assert!(store.node(NodeTarget::Mark(mark)).await.unwrap().is_some());
    assert_eq!(store.ownership(Vec::new(), vec![mark]).await.unwrap().inventory, []);
    assert_eq!(store.rollout().await.unwrap().state.number, 0);
    drop(reports);
    let filter = NodeFilter { state: None, after: None, limit: 10 };
    assert_eq!(store.nodes(filter, crate::clock::now()).await.unwrap().len(), 1);
    assert!(store.ledger_entries(0, 10).await.unwrap().len() >= 2);
}
