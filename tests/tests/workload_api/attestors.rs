//! Open streams whose callers change, or cannot be looked at for a while.

use std::collections::BTreeSet;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_agent::attest::{AttestFault, Attestor, Attestors, Peer};
use holdfast_identity::Selector;
use tonic::Code;

use crate::workload::{Agent, soon};

/// Says of every process what the test said last; nothing for "cannot tell now".
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Option<&'static str>>>);

impl Told {
    fn say(&self, selector: Option<&'static str>) {
        *self.0.lock().unwrap() = selector;
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<BTreeSet<Selector>, AttestFault>> + Send + 'a>>;

impl Attestor for Told {
    fn kind(&self) -> &'static str {
        "told"
    }

    fn attest<'a>(&'a self, _: &'a Peer) -> Answer<'a> {
        let said = *self.0.lock().unwrap();
        let fault = AttestFault::TimedOut { kind: "told", limit: Duration::ZERO };
        Box::pin(ready(said.map(|selector| BTreeSet::from([selector.parse().unwrap()])).ok_or(fault)))
    }
}

/// An agent with entries for `told:a` and `told:b`, and what its attestor says.
async fn agent() -> (Agent, Told) {
    let told = Told::default();
    let attestor = told.clone();
    let agent = Agent::of(move |endpoint| endpoint.attested_by(Attestors::new(vec![Box::new(attestor)]))).await;
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    renew(&agent);
    told.say(Some("told:a"));
    (agent, told)
}

/// New SVIDs for both.
fn renew(agent: &Agent) {
    for name in ["a", "b"] {
        agent.registry.enter(&[format!("told:{name}")], agent.authority.issue(&format!("/{name}"), "", name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_other_selectors_gets_the_svids_of_these_and_no_more_of_the_old() {
    let (agent, told) = agent().await;
    let mut stream = agent.stream().await.unwrap();
    let mut id = async || soon(stream.message()).await.map(|answer| answer.unwrap().svids.remove(0).spiffe_id);
    assert_eq!(id().await.unwrap(), "spiffe://example.org/a");
    told.say(Some("told:b"));
    agent.registry.enter(&["told:a".to_owned()], agent.authority.issue("/a", "", "a"));
    assert_eq!(id().await.unwrap(), "spiffe://example.org/b");
    agent.registry.enter(&["told:b".to_owned()], agent.authority.issue("/b", "", "b"));
    assert_eq!(id().await.unwrap(), "spiffe://example.org/b");
    told.say(Some("told:c"));
    renew(&agent);
    assert_eq!(id().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_cannot_be_attested_is_asked_to_come_again() {
    let (agent, told) = agent().await;
    told.say(None);
    assert_eq!(agent.fetch().await.unwrap_err().code(), Code::Unavailable);
    told.say(Some("told:a"));
    agent.fetch().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_is_withdrawn_also_while_the_caller_cannot_be_attested() {
    let (agent, told) = agent().await;
    let mut stream = agent.stream().await.unwrap();
    soon(stream.message()).await.unwrap().unwrap();
    told.say(None);
    agent.registry.remove("a");
    let begun = Instant::now();
    assert_eq!(soon(stream.message()).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_of_two_is_withdrawn_also_while_the_caller_cannot_be_attested() {
    let (agent, told) = agent().await;
    agent.registry.enter(&["told:a".to_owned()], agent.authority.issue("/second", "", "second"));
    let mut stream = agent.stream().await.unwrap();
    assert_eq!(soon(stream.message()).await.unwrap().unwrap().svids.len(), 2);
    told.say(None);
    agent.registry.remove("second");
    let answer = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!((answer.svids.len(), answer.svids[0].spiffe_id.as_str()), (1, "spiffe://example.org/a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_until_it_is_known_whom_it_would_go_to() {
    let (agent, told) = agent().await;
    let mut stream = agent.stream().await.unwrap();
    soon(stream.message()).await.unwrap().unwrap();
    told.say(None);
    renew(&agent);
    assert!(tokio::time::timeout(Duration::from_secs(1), stream.message()).await.is_err());
    told.say(Some("told:a"));
    let answer = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.svids[0].spiffe_id, "spiffe://example.org/a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_caller_cannot_be_attested_three_times_ends_with_unavailable() {
    let (agent, told) = agent().await;
    let mut stream = agent.stream().await.unwrap();
    soon(stream.message()).await.unwrap().unwrap();
    told.say(None);
    renew(&agent);
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_changed_is_seen_though_nothing_else_changes() {
    let told = Told::default();
    let attestor = told.clone();
    let agent = Agent::of(move |endpoint| {
        let endpoint = endpoint.attested_by(Attestors::new(vec![Box::new(attestor)]));
        endpoint.looking_again_every(Duration::from_millis(50))
    })
    .await;
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    renew(&agent);
    told.say(Some("told:a"));
    let mut stream = agent.stream().await.unwrap();
    let mut id = async || soon(stream.message()).await.map(|answer| answer.unwrap().svids.remove(0).spiffe_id);
    assert_eq!(id().await.unwrap(), "spiffe://example.org/a");
    told.say(Some("told:b"));
    assert_eq!(id().await.unwrap(), "spiffe://example.org/b");
    told.say(Some("told:c"));
    assert_eq!(id().await.unwrap_err().code(), Code::PermissionDenied);
}

/// Finds a selector more where programs are read.
struct Reads;

impl Attestor for Reads {
    fn kind(&self) -> &'static str {
        "read"
    }

    fn attest<'a>(&'a self, _: &'a Peer) -> Answer<'a> {
        Box::pin(ready(Ok(["told:a", "read:digest"].map(|text| text.parse().unwrap()).into())))
    }

    fn attest_unread<'a>(&'a self, _: &'a Peer) -> Answer<'a> {
        Box::pin(ready(Ok(["told:a"].map(|text| text.parse().unwrap()).into())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_read_from_the_first_entry_on_that_names_a_digest_and_open_streams_hear_of_it() {
    let agent = Agent::of(|endpoint| endpoint.attested_by(Attestors::new(vec![Box::new(Reads)]))).await;
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    assert_eq!(agent.fetch().await.unwrap_err().code(), Code::PermissionDenied);
    agent.registry.enter(&["told:a".to_owned()], agent.authority.issue("/a", "", "a"));
    let mut stream = agent.stream().await.unwrap();
    assert_eq!(soon(stream.message()).await.unwrap().unwrap().svids.len(), 1);
    agent.registry.enter(&["told:a".to_owned(), "read:digest".to_owned()], agent.authority.issue("/b", "", "b"));
    while soon(stream.message()).await.unwrap().unwrap().svids.len() < 2 {}
    agent.registry.remove("a");
    while soon(stream.message()).await.unwrap().unwrap().svids.len() > 1 {}
    assert_eq!(agent.fetch().await.unwrap().svids[0].spiffe_id, "spiffe://example.org/b");
    agent.registry.remove("b");
    assert_eq!(soon(stream.message()).await.unwrap_err().code(), Code::PermissionDenied);
}
