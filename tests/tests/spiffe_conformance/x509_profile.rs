//! SPIFFE Workload API, X.509 profile: rows 56 to 66 and 73 as far as they concern it.

use std::time::{Duration, Instant};

use holdfast_protocol::workload::X509svidResponse;
use tonic::Code;

use crate::workload::authority::Authority;
use crate::workload::{Agent, certificates, own_user, soon, with_header};

fn ids(answer: &X509svidResponse) -> Vec<&str> {
    answer.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_056_each_message_is_the_full_state() {
    let agent = Agent::with_me().await;
    let mut stream = agent.stream().await.unwrap();
    assert_eq!(ids(&soon(stream.message()).await.unwrap().unwrap()), ["spiffe://example.org/me"]);
    agent.enter("/second", "", "second");
    let both = ["spiffe://example.org/me", "spiffe://example.org/second"];
    assert_eq!(ids(&soon(stream.message()).await.unwrap().unwrap()), both);
    agent.registry.remove("me");
    assert_eq!(ids(&soon(stream.message()).await.unwrap().unwrap()), both[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_057_the_first_answer_comes_within_half_a_second() {
    let agent = Agent::with_me().await;
    agent.fetch().await.unwrap();
    let begun = Instant::now();
    for _ in 0..10 {
        agent.fetch().await.unwrap();
    }
    assert!(begun.elapsed() / 10 < Duration::from_millis(500), "{:?}", begun.elapsed() / 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_058_a_bundle_that_is_gone_is_absent_from_the_next_message() {
    let agent = Agent::with_me().await;
    let other = Authority::new("other.org");
    agent.registry.trust(other.name(), other.bundle());
    let mut svids = agent.stream().await.unwrap();
    let mut bundles =
        agent.client().await.fetch_x509_bundles(with_header(Default::default())).await.unwrap().into_inner();
    let held = soon(svids.message()).await.unwrap().unwrap();
    assert_eq!(held.federated_bundles.keys().collect::<Vec<_>>(), ["spiffe://other.org"]);
    assert_eq!(soon(bundles.message()).await.unwrap().unwrap().bundles.len(), 2);
    agent.registry.trust(other.name(), Vec::new());
    assert!(soon(svids.message()).await.unwrap().unwrap().federated_bundles.is_empty());
    assert_eq!(soon(bundles.message()).await.unwrap().unwrap().bundles.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_060_the_leaf_comes_first_then_the_intermediates() {
    let agent = Agent::with_me().await;
    let answer = agent.fetch().await.unwrap();
    let chain = certificates(&answer.svids[0].x509_svid);
    let parsed: Vec<_> = chain.iter().map(|der| x509_parser::parse_x509_certificate(der).unwrap().1).collect();
    assert_eq!(parsed.len(), 2);
    assert!(!parsed[0].is_ca() && parsed[1].is_ca());
    parsed[0].verify_signature(Some(parsed[1].public_key())).unwrap();
    let root = certificates(&answer.svids[0].bundle);
    let root = x509_parser::parse_x509_certificate(&root[0]).unwrap().1;
    parsed[1].verify_signature(Some(root.public_key())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_061_the_key_is_plain_pkcs8_and_fits_the_leaf() {
    use rcgen::PublicKeyData;
    let answer = Agent::with_me().await.fetch().await.unwrap();
    let key = rcgen::KeyPair::try_from(answer.svids[0].x509_svid_key.as_slice()).unwrap();
    let chain = certificates(&answer.svids[0].x509_svid);
    let leaf = x509_parser::parse_x509_certificate(&chain[0]).unwrap().1;
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_063_there_is_one_svid_per_identity_and_never_an_empty_message() {
    let agent = Agent::with_me().await;
    let mut stream = agent.stream().await.unwrap();
    assert_eq!(soon(stream.message()).await.unwrap().unwrap().svids.len(), 1);
    agent.registry.remove("me");
    assert_eq!(soon(stream.message()).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_064_all_fields_are_set_and_of_equal_hints_the_oldest_entry_stays() {
    let agent = Agent::with_me().await;
    agent.enter("/oldest", "internal", "1");
    agent.enter("/younger", "internal", "2");
    agent.enter("/other", "external", "3");
    let answer = agent.fetch().await.unwrap();
    let hints: Vec<_> = answer.svids.iter().map(|svid| (svid.spiffe_id.as_str(), svid.hint.as_str())).collect();
    assert_eq!(
        hints,
        [
            ("spiffe://example.org/me", ""),
            ("spiffe://example.org/oldest", "internal"),
            ("spiffe://example.org/other", "external"),
        ]
    );
    for svid in &answer.svids {
        assert!(!svid.spiffe_id.is_empty() && !svid.x509_svid.is_empty());
        assert!(!svid.x509_svid_key.is_empty() && !svid.bundle.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_065_the_order_is_the_same_on_every_connection_and_after_a_rotation() {
    let agent = Agent::started().await;
    let paths: Vec<String> = (0..10).map(|n| format!("/{}", (n * 7) % 10)).collect();
    for path in &paths {
        agent.enter(path, "", path);
    }
    let expected: Vec<String> = paths.iter().map(|path| format!("spiffe://example.org{path}")).collect();
    for n in 0..20 {
        assert_eq!(ids(&agent.fetch().await.unwrap()), expected);
        agent.enter(&paths[n % 10], "", &paths[n % 10]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_066_bundles_include_the_own_trust_domain() {
    let agent = Agent::with_me().await;
    let mut stream =
        agent.client().await.fetch_x509_bundles(with_header(Default::default())).await.unwrap().into_inner();
    let answer = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(certificates(&answer.bundles["spiffe://example.org"]), agent.authority.bundle());
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_073_rotations_come_on_the_open_stream() {
    let agent = Agent::with_me().await;
    let mut stream = agent.stream().await.unwrap();
    let mut last = soon(stream.message()).await.unwrap().unwrap().svids.remove(0);
    for _ in 0..10 {
        let next = agent.authority.issue("/me", "", "me");
        agent.registry.enter(&[own_user()], next.clone());
        let svid = soon(stream.message()).await.unwrap().unwrap().svids.remove(0);
        assert_ne!(svid.x509_svid, last.x509_svid);
        assert_ne!(svid.x509_svid_key, last.x509_svid_key);
        assert_eq!(svid.x509_svid, next.chain.concat());
        last = svid;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_did_not_change_is_not_sent_again() {
    let agent = Agent::with_me().await;
    let mut stream = agent.stream().await.unwrap();
    soon(stream.message()).await.unwrap().unwrap();
    // The same again, and an entry for somebody else.
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.enter(&["unix:uid:4000000000".to_owned()], agent.authority.issue("/x", "", "x"));
    assert!(tokio::time::timeout(Duration::from_millis(200), stream.message()).await.is_err());
}
