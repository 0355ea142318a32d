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
use crate::federation::CurrentFederations;
use crate::listen::{Connection, PeerSvid};
use crate::live::{Ending, LiveNodes, Quoted};
use crate::revocation::CurrentLists;
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::store::{
    Actor, Admission, Attempt, AttemptId, BundleDocument, Candidate, EntryDraft, Mark, Node, Outcome, Parent, Sha256,
    Store, Subject, Verdict, Way,
};

struct House {
    place: Place,
    store: Arc<dyn Store>,
    authority: Authority,
    live: LiveNodes,
    subscribers: Arc<Subscribers>,
    federations: CurrentFederations,
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
    House {
        place,
        store,
        authority,
        live: LiveNodes::new(Duration::from_secs(25)),
        subscribers: Arc::default(),
        federations: CurrentFederations::default(),
    }
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
    let shown = Shown { bundle, lists: CurrentLists::default(), federations: house.federations.clone() };
    let stream = follow(house.store.clone(), &house.subscribers, shown, standing, &Default::default());
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
    house.store.publish_authority(root.clone(), Actor::Server, clock::now()).await.unwrap();
    house.authority.read_bundle(house.store.as_ref()).await.unwrap();
    let notice = timeout(Duration::from_secs(1), changes.notices.recv()).await.unwrap().unwrap();
    house.subscribers.tell(&notice);
    let second = timeout(Duration::from_secs(1), stream.next()).await.unwrap().unwrap().unwrap().bundle.unwrap();
    assert_eq!(second.x509_authorities, [first.x509_authorities[0].clone(), root]);
    assert!(second.sequence > first.sequence);
}

/// An authority with so many names, of 64 bytes and some each.
fn root_with_names(count: usize) -> Vec<u8> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let name = |n: usize| rcgen::SanType::DnsName(format!("{n:04}.{}", "a".repeat(59)).try_into().unwrap());
    params.subject_alt_names = (0..count).map(name).collect();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// An entry of the node's that federates with them.
fn naming(node: &Node, federates_with: BTreeSet<TrustDomain>) -> EntryDraft {
    EntryDraft {
        id: "a".to_owned(),
        spiffe_id: "spiffe://example.org/a".parse().unwrap(),
        parent: Parent::Id(node.spiffe_id.clone().unwrap()),
        selectors: BTreeSet::from(["unix:uid:1".parse().unwrap()]),
        x509_svid_ttl: 0,
        jwt_svid_ttl: 0,
        dns_names: Vec::new(),
        hint: String::new(),
        expires_at: None,
        federates_with,
    }
}

#[tokio::test]
async fn foreign_bundles_come_with_the_entry_that_names_them_and_go_with_it() {
    let house = open().await;
    let other: TrustDomain = "other.org".parse().unwrap();
    let root = root_with_names(0);
    let document = |authorities: &[&Vec<u8>]| {
        let x509_authorities = authorities.iter().map(|der| (*der).clone()).collect();
        let bundle = holdfast_svid::bundle::Bundle { x509_authorities, ..Default::default() };
        BundleDocument { bytes: bundle.to_json().into_bytes(), sequence: None }
    };
    let set =
        |document| house.store.set_federated_bundles([(other.clone(), document)].into(), Actor::Server, clock::now());
    set(document(&[&root])).await.unwrap().unwrap();
    house.federations.refresh(house.store.as_ref()).await.unwrap();
    let mut changes = house.store.changes();
    let (mut stream, node) = stream(&house, clock::now().plus(3600)).await;
    let foreign = |message: holdfast_protocol::agent::SyncResponse| {
        let count =
            |bundle: &holdfast_protocol::agent::Bundle| (bundle.trust_domain.clone(), bundle.x509_authorities.len());
        message.foreign.map(|foreign| foreign.bundles.iter().map(count).collect::<Vec<_>>())
    };
    assert_eq!(foreign(stream.next().await.unwrap().unwrap()), Some(vec![]), "no entry names any");

    house
        .store
        .create_entry(naming(&node, [other.clone()].into()), Actor::Server, clock::now())
        .await
        .unwrap()
        .unwrap();
    // As the dispatcher does it.
    let mut told = async || {
        let notice = timeout(Duration::from_secs(10), changes.notices.recv()).await.unwrap().unwrap();
        house.federations.refresh(house.store.as_ref()).await.unwrap();
        house.subscribers.tell(&notice);
    };
    // The node's own admission comes first.
    told().await;
    told().await;
    let one = ("other.org".to_owned(), 1);
    loop {
        if let Some(found) = foreign(timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap().unwrap()) {
            assert_eq!(found, vec![one]);
            break;
        }
    }
    set(document(&[])).await.unwrap().unwrap();
    told().await;
    assert_eq!(foreign(stream.next().await.unwrap().unwrap()), Some(vec![]), "one that trusts nobody is absent");
}

#[tokio::test]
async fn foreign_bundles_that_are_long_together_come_in_messages_that_an_agent_reads_and_as_one_change() {
    let house = open().await;
    let (mut stream, node) = stream(&house, clock::now().plus(3600)).await;
    assert!(stream.next().await.unwrap().unwrap().full);
    let bundle = holdfast_svid::bundle::Bundle { x509_authorities: vec![root_with_names(1_900)], ..Default::default() };
    let names: BTreeSet<TrustDomain> = (0..32).map(|n| format!("d{n}.org").parse().unwrap()).collect();
    let document =
        |name: &TrustDomain| (name.clone(), BundleDocument { bytes: bundle.to_json().into_bytes(), sequence: None });
    let brought = names.iter().map(document).collect();
    house.store.set_federated_bundles(brought, Actor::Server, clock::now()).await.unwrap().unwrap();
    house.federations.refresh(house.store.as_ref()).await.unwrap();
    house.store.create_entry(naming(&node, names.clone()), Actor::Server, clock::now()).await.unwrap().unwrap();
    house.subscribers.resync_all();
    let (mut told, mut messages) = (BTreeSet::new(), 0);
    loop {
        let message = timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap().unwrap();
        assert!(prost::Message::encoded_len(&message) < 3 << 20, "an agent reads 8 MiB");
        messages += 1;
        let bundles = message.foreign.unwrap_or_default().bundles;
        told.extend(bundles.into_iter().map(|bundle| bundle.trust_domain.parse::<TrustDomain>().unwrap()));
        if !message.more {
            break;
        }
    }
    assert!(told == names && messages > 1, "{messages} {told:?}");
}
