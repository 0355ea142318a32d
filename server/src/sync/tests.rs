//! A stream on the real store, for a node whose evidence is about to expire.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_identity::{TrustDomain, UnixTime};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use super::*;
use crate::authority::testing::Place;
use crate::authority::{Authority, init};
use crate::clock;
use crate::listen::{Connection, PeerSvid};
use crate::live::{Ending, LiveNodes, Quoted};
use crate::revocation::CurrentLists;
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::store::{
    Admission, Attempt, AttemptId, Candidate, Mark, Node, Outcome, Sha256, Store, Subject, Verdict, Way,
};

struct House {
    place: Place,
    store: Arc<dyn Store>,
    authority: Authority,
    live: LiveNodes,
    subscribers: Arc<Subscribers>,
}

async fn open() -> House {
    let place = Place::at(clock::now());
    init(&place.options).unwrap();
    let trust_domain: TrustDomain = "example.org".parse().unwrap();
    let database = place.options.data_dir.join("test.sqlite");
    let store =
        SqliteStore::open(&database, trust_domain.clone(), StoreLimits { entries_max: 10, ..StoreLimits::default() })
            .await
            .unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let authority = Authority::open(trust_domain, place.files(), store.as_ref(), clock::now()).await.unwrap();
    House { place, store, authority, live: LiveNodes::new(Duration::from_secs(25)), subscribers: Arc::default() }
}

/// A node whose evidence expires then, as an attempt would have left it.
async fn admit(store: &dyn Store, evidence_expires: UnixTime) -> Node {
    let admission = Admission {
        candidate: Candidate {
            trust_class: "discrete".to_owned(),
            copyable: false,
            ak_name: vec![1; 34],
            known: vec![2; 40],
            description: String::new(),
        },
        spiffe_id: "spiffe://example.org/holdfast/node/tpm/a".parse().unwrap(),
        node_key_spki: b"node key".to_vec(),
        selectors: BTreeSet::new(),
        fixed: BTreeSet::new(),
        rule: "rack".to_owned(),
        waivers: Vec::new(),
        evidence_expires,
        firmware_log: None,
        issuance: None,
    };
    let attempt = Attempt {
        id: AttemptId([7; 16]),
        at: clock::now(),
        way: Way::Enrol,
        kinds: BTreeSet::from(["tpm".to_owned()]),
        source: "10.0.0.1".to_owned(),
        challenge_id: [8; 16],
        challenge_expires: clock::now().plus(60),
        subject: Subject::Proven(Mark::endorsement_key(Sha256([3; 32]), Sha256([4; 32])).to_vec().into()),
        clock: None,
        policy: None,
        verdict: Verdict::Admit(Box::new(admission)),
        when_barred: crate::store::WhenBarred::Written,
        decision: String::new(),
        facts: None,
        measured_files: None,
        evidence: None,
    };
    match store.record_attempt(attempt).await.unwrap() {
        Outcome::Admitted { node, .. } => *node,
        other => panic!("{other:?}"),
    }
}

async fn stream(house: &House, expires: UnixTime) -> (SyncStream, Node) {
    let node = admit(house.store.as_ref(), expires).await;
    let peer = PeerSvid { spiffe_id: node.spiffe_id.clone().unwrap(), spki: node.node_key_spki.clone() };
    let connection = Connection::new("10.0.0.1:1".parse().unwrap(), Some(peer));
    let now = clock::now();
    let _ =
        house.live.quoted(&Quoted { node: &node, connection: &connection, drawn_at: now, drawn_here: true, at: now });
    let standing = house.live.standing(&connection, now).unwrap();
    let bundle = house.authority.bundle().clone();
    let stream = follow(
        house.store.clone(),
        &house.subscribers,
        (bundle, CurrentLists::default()),
        standing,
        &Default::default(),
    );
    // The listener's tasks hold the connection; here nobody else does.
    Box::leak(Box::new(connection));
    (stream, node)
}

#[tokio::test]
async fn the_stream_ends_within_a_second_of_the_evidence() {
    let house = open().await;
    let expires = clock::now().plus(2);
    let (mut stream, _) = stream(&house, expires).await;
    assert!(stream.next().await.unwrap().unwrap().full);
    let end = timeout(Duration::from_millis(3_200), stream.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(end.metadata().get("holdfast-reason").unwrap(), "attest");
    assert!(clock::now() >= expires);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn an_ending_is_told_at_once_and_who_leaves_is_no_subscriber_any_more() {
    let house = open().await;
    let (mut first, node) = stream(&house, clock::now().plus(3600)).await;
    first.next().await.unwrap().unwrap();
    assert_eq!(house.subscribers.len(), 1);
    house.live.end(node.number, Ending::Refused);
    let end = timeout(Duration::from_secs(1), first.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(end.metadata().get("holdfast-reason").unwrap(), "refused");
    drop(first);
    while !house.subscribers.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(house.place.options.data_dir.exists());
}

#[tokio::test]
async fn a_new_bundle_is_pushed() {
    let house = open().await;
    let (mut stream, _) = stream(&house, clock::now().plus(3600)).await;
    let first = stream.next().await.unwrap().unwrap().bundle.unwrap();
    let other = Place::at(clock::now());
    init(&other.options).unwrap();
    let root = other.issuer().bundle().authorities()[0].clone();
    let mut changes = house.store.changes();
    house.store.publish_authority(root.clone(), crate::store::Actor::Server, clock::now()).await.unwrap();
    house.authority.read_bundle(house.store.as_ref()).await.unwrap();
    let notice = timeout(Duration::from_secs(1), changes.notices.recv()).await.unwrap().unwrap();
    house.subscribers.tell(&notice);
    let second = timeout(Duration::from_secs(1), stream.next()).await.unwrap().unwrap().unwrap().bundle.unwrap();
    assert_eq!(second.x509_authorities, [first.x509_authorities[0].clone(), root]);
    assert!(second.sequence > first.sequence);
}
