//! Envoy's secret discovery service on the Workload API's socket: who gets what, when, and what ends a stream.

use holdfast_agent::workload_api::{Allowance, Limits, Names};
use holdfast_protocol::sds::envoy::extensions::transport_sockets::tls::v3::secret;
use holdfast_protocol::sds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tonic::Code;

use crate::workload::secrets::{Secrets, ask, certificate, fetch, inline, secrets, stream};
use crate::workload::{Agent, authority::Authority, soon};

/// The client took `answer`.
fn taken(request: DiscoveryRequest, answer: &DiscoveryResponse) -> DiscoveryRequest {
    let (version_info, response_nonce) = (answer.version_info.clone(), answer.nonce.clone());
    DiscoveryRequest { version_info, response_nonce, ..request }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_needs_no_header_and_gives_identity_key_and_bundles() {
    let agent = Agent::with_me().await;
    let other = Authority::new("other.org");
    agent.registry.trust(other.name(), other.bundle());
    let answer = fetch(&agent, ask(&[])).await.unwrap();
    let found = secrets(&answer);
    let names: Vec<_> = found.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(names, ["spiffe://example.org", "spiffe://other.org", "spiffe://example.org/me"]);
    let (chain, key) = certificate(&found[2]);
    assert_eq!(pem::parse_many(&chain).unwrap().len(), 2);
    let key = pem::parse(key).unwrap();
    assert_eq!(key.tag(), "PRIVATE KEY");
    rcgen::KeyPair::try_from(key.contents()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_no_validator_gets_a_plain_context() {
    let agent = Agent::with_me().await;
    let request = DiscoveryRequest { node: None, ..ask(&["ROOTCA"]) };
    let found = secrets(&fetch(&agent, request).await.unwrap());
    let Some(secret::Type::ValidationContext(context)) = &found[0].r#type else { panic!("{found:?}") };
    let trusted = pem::parse_many(inline(context.trusted_ca.as_ref())).unwrap();
    assert_eq!(trusted[0].contents(), agent.authority.bundle()[0]);
    assert_eq!((context.custom_validator_config.is_none(), &context.crl), (true, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_sends_each_rotation_and_nothing_between() {
    let agent = Agent::with_me().await;
    let mut stream = Secrets::open(&agent).await.unwrap();
    stream.say(ask(&["default"]));
    let mut last = stream.answer().await.unwrap();
    for _ in 0..3 {
        stream.say(taken(ask(&["default"]), &last));
        agent.registry.trust("unrelated.org", agent.authority.bundle());
        agent.enter("/me", "", "me");
        let next = stream.answer().await.unwrap();
        assert_ne!(certificate(&secrets(&next)[0]), certificate(&secrets(&last)[0]));
        assert_ne!((&next.version_info, &next.nonce), (&last.version_info, &last.nonce));
        last = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_after_an_agents_end_is_answered_with_content() {
    let before = Agent::with_me().await;
    let mut stream = Secrets::open(&before).await.unwrap();
    stream.say(ask(&["default"]));
    let old = stream.answer().await.unwrap();
    before.stop.cancel();
    assert_eq!(stream.answer().await.unwrap_err().code(), Code::Unavailable);
    let after = Agent::with_me().await;
    let mut stream = Secrets::open(&after).await.unwrap();
    stream.say(DiscoveryRequest { version_info: old.version_info.clone(), ..ask(&["default"]) });
    let new = stream.answer().await.unwrap();
    assert_ne!(new.version_info, old.version_info);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_workloads_is_refused_in_spires_words() {
    let agent = Agent::with_me().await;
    let mut stream = Secrets::open(&agent).await.unwrap();
    stream.say(ask(&["default", "spiffe://example.org/you"]));
    let refused = stream.answer().await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let words = r#"workload is not authorized for the requested identities ["spiffe://example.org/you"]"#;
    assert_eq!(refused.message(), words);
    assert_eq!(fetch(&agent, ask(&["spiffe://example.org/you"])).await.unwrap_err().message(), words);
    let other = DiscoveryRequest { type_url: "type.googleapis.com/x".to_owned(), ..ask(&[]) };
    assert_eq!(fetch(&agent, other).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_without_identity_gets_no_secret_and_loses_its_stream_with_its_last_one() {
    let agent = Agent::with_me().await;
    let mut stream = Secrets::open(&agent).await.unwrap();
    stream.say(ask(&["default"]));
    stream.answer().await.unwrap();
    agent.registry.remove("me");
    assert_eq!(stream.answer().await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(fetch(&agent, ask(&[])).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(Secrets::open(&agent).await.err().unwrap().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_as_configured() {
    let names = Names {
        default_svid_name: "mine".to_owned(),
        default_bundle_name: String::new(),
        default_all_bundles_name: "ROOTCA".to_owned(),
        disable_spiffe_cert_validation: false,
    };
    let agent = Agent::of(|endpoint| endpoint.with_secrets_named(names)).await;
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    agent.enter("/me", "", "me");
    assert_eq!(secrets(&fetch(&agent, ask(&["mine", "ROOTCA"])).await.unwrap()).len(), 2);
    assert_eq!(fetch(&agent, ask(&["default"])).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_questions_count_against_the_same_limits_as_the_workload_api() {
    let few = Allowance { connections: 9, streams: 2, requests_per_second: 1, requests_at_once: 6 };
    let agent = Agent::of(|endpoint| endpoint.limited_to(Limits { process: few, ..Limits::default() })).await;
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    agent.enter("/me", "", "me");
    let mut first = Secrets::open(&agent).await.unwrap();
    let _second = agent.stream().await.unwrap();
    assert_eq!(Secrets::open(&agent).await.err().unwrap().code(), Code::Unavailable, "two streams a process");
    first.say(ask(&["default"]));
    first.answer().await.unwrap();
    let ended = loop {
        first.say(ask(&["default"]));
        if let Err(status) = first.answer().await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::Unavailable);
}

// One thread: what is said here is said before any of it is heard.
#[tokio::test]
async fn what_needs_no_answer_is_counted_too() {
    let few = Allowance { requests_per_second: 1, requests_at_once: 6, ..Limits::default().process };
    let agent = Agent::of(|endpoint| endpoint.limited_to(Limits { process: few, ..Limits::default() })).await;
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    agent.enter("/me", "", "me");
    let mut stream = Secrets::open(&agent).await.unwrap();
    stream.say(ask(&["default"]));
    let answer = stream.answer().await.unwrap();
    for _ in 0..100 {
        stream.say(taken(ask(&["default"]), &answer));
    }
    assert_eq!(stream.answer().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_stream_sends_what_changed_and_names_what_is_gone() {
    let agent = Agent::with_me().await;
    agent.enter("/second", "", "second");
    let names = ["default", "spiffe://example.org/second"].map(str::to_owned).to_vec();
    let request = DeltaDiscoveryRequest { resource_names_subscribe: names, ..DeltaDiscoveryRequest::default() };
    let requests = futures_util::StreamExt::chain(
        futures_util::stream::iter([request]),
        futures_util::stream::pending::<DeltaDiscoveryRequest>(),
    );
    let mut answers = stream::<_, DeltaDiscoveryResponse>(&agent, "DeltaSecrets", requests).await.unwrap();
    let mut next = async || soon(answers.message()).await.unwrap().unwrap();
    let named = |answer: &DeltaDiscoveryResponse| {
        answer.resources.iter().map(|resource| resource.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(&next().await).len(), 2);
    agent.enter("/me", "", "me");
    assert_eq!(named(&next().await), ["default"]);
    agent.registry.remove("second");
    assert_eq!(next().await.removed_resources, ["spiffe://example.org/second"]);
}
