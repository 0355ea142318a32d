//! A node that stands, on a store of its own, for tests of those who sign for its workloads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::clock;
use crate::listen::{Connection, PeerSvid};
use crate::live::{LiveNodes, Quoted, StandingNode};
use crate::store::conformance::{enrolment, open};
use crate::store::{Actor, EntryDraft, Outcome, Parent, Store, Verdict};

/// One with an entry of that ID, for `spiffe://td/ID`.
pub(super) async fn with_an_entry(id: &str) -> (TempDir, Arc<dyn Store>, StandingNode) {
    let (directory, store) = open().await;
    let now = clock::now();
    let mut attempt = enrolment(1);
    let Verdict::Admit(admission) = &mut attempt.verdict else { panic!("no admission") };
    admission.evidence_expires = now.plus(3600);
    let Outcome::Admitted { node, .. } = store.record_attempt(attempt).await.unwrap() else { panic!("not admitted") };
    let spiffe_id = node.spiffe_id.clone().unwrap();
    let draft = EntryDraft {
        id: id.to_owned(),
        spiffe_id: format!("spiffe://td/{id}").parse().unwrap(),
        parent: Parent::Id(spiffe_id.clone()),
        selectors: BTreeSet::from(["unix:uid:1".parse().unwrap()]),
        x509_svid_ttl: 0,
        jwt_svid_ttl: 0,
        dns_names: Vec::new(),
        hint: String::new(),
        expires_at: None,
        federates_with: BTreeSet::new(),
    };
    store.create_entry(draft, Actor::Server, now).await.unwrap().unwrap();
    let peer = PeerSvid { spiffe_id, spki: node.node_key_spki.clone() };
    let connection = Connection::new("10.0.0.1:1".parse().unwrap(), Some(peer));
    let live = LiveNodes::new(Duration::from_secs(25));
    let _ = live.quoted(&Quoted { node: &node, connection: &connection, drawn_at: now, drawn_here: true, at: now });
    let standing = live.standing(&connection, now).unwrap();
    (directory, store, standing)
}
