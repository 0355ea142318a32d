//! A rollout is made as a whole or not at all: whichever step fails, and after a kill between any two.

use super::{SqliteStore, StoreLimits};
use crate::store::{
    Actor, Ledger, Mode, NewVersion, NextRollout, Policies, PolicyDraft, ProposalDraft, ProposalState, RolloutState,
    Rollouts, Store,
};
use holdfast_identity::UnixTime;
use sqlx::Connection as _;
use std::collections::BTreeSet;

const NOW: UnixTime = UnixTime(1_700_000_000);

fn next(proposal: u64, state: RolloutState) -> NextRollout {
    let draft =
        |name: &str| PolicyDraft { name: name.into(), documents: vec![], mode: Mode::Observe, message: String::new() };
    let versions =
        ["first", "second"].map(|name| NewVersion { draft: draft(name), signature: None, waivers: Vec::new() });
    let state = state.enforce(draft("first").digest(), BTreeSet::new()).observe(draft("second").digest());
    NextRollout {
        versions: versions.into(),
        state,
        action: "policy.observe",
        message: String::new(),
        restored: None,
        refused: 0,
        proposal: Some(proposal),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_applied_rollout_cannot_exist() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    let author = Actor::Operator { uid: 1, name: String::new() };
    let approver = Actor::Operator { uid: 2, name: String::new() };
    // Where the writer breaks: each table that the transaction writes to, and the second version after the first.
    let steps = [
        ("UPDATE ON proposals", ""),
        ("INSERT ON policies", ""),
        ("INSERT ON policies", "WHEN NEW.name = 'second'"),
        ("INSERT ON rollouts", ""),
        ("INSERT ON ledger", ""),
        ("UPDATE ON history", ""),
    ];
    let open = || async { SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap() };
    let store = open().await;
    let wanted =
        ProposalDraft { content: "{}".into(), what: String::new(), message: String::new(), expires_at: NOW.plus(60) };
    let proposal = store
        .propose(
            wanted,
            crate::store::Proposed {
                policy: crate::store::Sha256([5; 32]),
                name: "rack".into(),
                mode: Mode::Enforce,
                selectors: BTreeSet::new(),
                restored: None,
            },
            author,
            NOW,
        )
        .await
        .unwrap()
        .number;
    let head = store.head().await.unwrap();
    let unchanged = async |store: &SqliteStore, step: &str| {
        assert_eq!(store.rollout().await.unwrap().state, RolloutState::default(), "{step}");
        assert_eq!(store.policies().await.unwrap(), [], "{step}");
        assert_eq!(store.proposals().await.unwrap()[0].state, ProposalState::Open, "{step}");
        assert_eq!(store.head().await.unwrap(), head, "{step}");
    };
    let mut other = sqlx::SqliteConnection::connect(&format!("sqlite:{}", database.display())).await.unwrap();
    for (step, when) in steps {
        let trap = format!("CREATE TRIGGER trap BEFORE {step} {when} BEGIN SELECT RAISE(ABORT, 'killed'); END");
        sqlx::raw_sql(sqlx::AssertSqlSafe(trap)).execute(&mut other).await.unwrap();
        let made = store.roll_out(next(proposal, RolloutState::default()), approver.clone(), NOW).await;
        assert!(made.is_err(), "{step}");
        unchanged(&store, step).await;
        sqlx::raw_sql("DROP TRIGGER trap").execute(&mut other).await.unwrap();
    }
    other.close().await.unwrap();
    store.close().await;
    drop(store);
    let store = open().await;
    unchanged(&store, "after a restart").await;
    let made = store.roll_out(next(proposal, RolloutState::default()), approver, NOW).await.unwrap().unwrap();
    assert_eq!(store.rollout().await.unwrap(), made);
    assert_eq!(store.policies().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_database_of_before_goes_on_with_the_policies_that_it_had() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database).create_if_missing(true);
    let mut old = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    super::open::migrate_to(&mut old, 4).await;
    for (digest, mode) in [("01", "enforce"), ("02", "observe"), ("03", "retired")] {
        let insert = format!(
            "INSERT INTO policies (digest, name, documents, mode, message, author, applied_at) \
             VALUES (x'{}', 'p', '[]', '{mode}', '', 'ada', 5)",
            digest.repeat(32)
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut old).await.unwrap();
    }
    old.close().await.unwrap();
    let store = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
    let state = store.rollout().await.unwrap().state;
    assert_eq!(
        (state.number, state.enforced.map(|digest| digest.0), state.observed.map(|digest| digest.0)),
        (1, Some([1; 32]), Some([2; 32]))
    );
    let modes: Vec<Mode> = store.policies().await.unwrap().iter().map(|version| version.mode).collect();
    assert_eq!(modes, [Mode::Retired, Mode::Observe, Mode::Enforce]);
}
