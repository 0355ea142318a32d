//! Subscribed, changed, gone: what an incremental stream sends.

use super::super::resource::tests::update;
use super::*;

fn open() -> Delta {
    Delta::new(Arc::default())
}

fn more(names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn less(names: &[&str]) -> DeltaDiscoveryRequest {
    let less = more(names);
    DeltaDiscoveryRequest {
        resource_names_unsubscribe: less.resource_names_subscribe,
        resource_names_subscribe: Vec::new(),
        ..less
    }
}

fn named(answer: &DeltaDiscoveryResponse) -> Vec<&str> {
    answer.resources.iter().map(|resource| resource.name.as_str()).collect()
}

fn begun(names: &[&str]) -> (Delta, DeltaDiscoveryResponse) {
    let mut stream = open();
    assert!(stream.hear(more(names)).unwrap());
    let answer = stream.answer(&update(), true).unwrap().unwrap();
    (stream, answer)
}

#[test]
fn only_what_changed_is_sent_after_the_first_answer() {
    let (mut stream, answer) = begun(&["default", "ROOTCA"]);
    assert_eq!(named(&answer), ["ROOTCA", "default"]);
    assert!(!stream.hear(DeltaDiscoveryRequest { response_nonce: answer.nonce, ..more(&[]) }).unwrap());
    assert!(stream.answer(&update(), false).unwrap().is_none());
    let mut later = update();
    later.bundles.insert("td".to_owned(), vec![vec![8]]);
    assert_eq!(named(&stream.answer(&later, false).unwrap().unwrap()), ["ROOTCA"]);
}

#[test]
fn what_is_subscribed_to_is_sent_though_the_client_says_that_it_has_it() {
    let (mut stream, answer) = begun(&["ROOTCA"]);
    assert!(stream.hear(more(&["ROOTCA"])).unwrap());
    assert_eq!(named(&stream.answer(&update(), true).unwrap().unwrap()), ["ROOTCA"]);
    let held = [("ROOTCA".to_owned(), answer.resources[0].version.clone())].into();
    let mut again = open();
    assert!(again.hear(DeltaDiscoveryRequest { initial_resource_versions: held, ..more(&["ROOTCA"]) }).unwrap());
    assert_eq!(named(&again.answer(&update(), true).unwrap().unwrap()), ["ROOTCA"]);
}

#[test]
fn no_name_at_the_beginning_and_an_asterisk_are_every_name() {
    let all = ["spiffe://other", "spiffe://td", "spiffe://td/a", "spiffe://td/b"];
    assert_eq!(named(&begun(&[]).1), all);
    assert_eq!(named(&begun(&["*"]).1), all);
    let (mut stream, _) = begun(&["ROOTCA"]);
    assert!(!stream.hear(more(&[])).unwrap(), "later, no name is no name");
    assert!(stream.hear(more(&["*"])).unwrap());
    assert_eq!(named(&stream.answer(&update(), true).unwrap().unwrap()), all);
}

#[test]
fn an_identity_that_was_taken_back_is_named_among_the_removed() {
    for names in [&["spiffe://td/b", "default"][..], &["*"]] {
        let (mut stream, _) = begun(names);
        let mut later = update();
        later.svids.pop();
        let answer = stream.answer(&later, false).unwrap().unwrap();
        assert_eq!((named(&answer).len(), answer.removed_resources), (0, vec!["spiffe://td/b".to_owned()]));
        assert!(stream.answer(&later, false).unwrap().is_none());
        assert_eq!(named(&stream.answer(&update(), false).unwrap().unwrap()), ["spiffe://td/b"], "and back");
    }
}

#[test]
fn what_is_unsubscribed_from_is_sent_no_more() {
    let (mut stream, _) = begun(&["default", "ROOTCA"]);
    assert!(!stream.hear(less(&["ROOTCA"])).unwrap());
    let mut later = update();
    later.bundles.insert("td".to_owned(), vec![vec![8]]);
    assert!(stream.answer(&later, false).unwrap().is_none());
}

#[test]
fn an_unknown_name_ends_the_stream() {
    let mut stream = open();
    assert!(stream.hear(more(&["default", "x"])).unwrap());
    assert_eq!(stream.answer(&update(), true).unwrap_err(), Fault::Names(vec!["x".to_owned()]));
}

#[test]
fn a_stream_is_subscribed_to_so_many_names_only() {
    let many: Vec<_> = (0..=NAMES_MAX).map(|n| n.to_string()).collect();
    let held = many.iter().map(|name| (name.clone(), String::new())).collect();
    let mut stream = open();
    let names: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(stream.hear(more(&names)).unwrap_err().code(), "sds.too_many_names");
    let claims = DeltaDiscoveryRequest { initial_resource_versions: held, ..more(&["default"]) };
    assert_eq!(open().hear(claims).unwrap_err().code(), "sds.too_many_names");
    assert_eq!(open().hear(DeltaDiscoveryRequest { type_url: "x".to_owned(), ..more(&[]) }).unwrap_err(), Fault::Type);
}

#[test]
fn a_client_that_believed_a_trust_domain_is_told_that_it_does_no_more() {
    let mut stream = open();
    stream.hear(more(&["spiffe://other"])).unwrap();
    let first = stream.answer(&update(), true).unwrap().unwrap();
    let mut later = update();
    later.bundles.remove("other");
    let told = stream.answer(&later, false).unwrap().unwrap();
    assert!(told.removed_resources.is_empty(), "Envoy keeps what is removed");
    assert_eq!(told.resources.len(), 1);
    assert_ne!(told.resources[0].version, first.resources[0].version);
    assert!(stream.answer(&later, false).unwrap().is_none());
}

#[test]
fn who_is_subscribed_to_all_is_told_that_a_trust_domain_was_removed() {
    let other = vec!["spiffe://other".to_owned()];
    // Gone from the entry, and there with an empty bundle.
    let gone = |update: &mut WorkloadUpdate| drop(update.bundles.remove("other"));
    let empty = |update: &mut WorkloadUpdate| drop(update.bundles.insert("other".to_owned(), Vec::new()));
    for believe_no_more in [&gone as &dyn Fn(&mut WorkloadUpdate), &empty] {
        for names in [&["*"][..], &[]] {
            let (mut stream, _) = begun(names);
            let mut later = update();
            believe_no_more(&mut later);
            let told = stream.answer(&later, false).unwrap().unwrap();
            assert_eq!((named(&told).len(), &told.removed_resources), (0, &other));
            assert!(stream.answer(&later, false).unwrap().is_none(), "once");
            assert_eq!(named(&stream.answer(&update(), false).unwrap().unwrap()), ["spiffe://other"], "and back");
        }
        // On a stream that begins anew, too: the client says what it holds of before.
        let mut later = update();
        believe_no_more(&mut later);
        let held = [("spiffe://other".to_owned(), "1".to_owned())].into();
        let mut again = open();
        again.hear(DeltaDiscoveryRequest { initial_resource_versions: held, ..more(&["*"]) }).unwrap();
        assert_eq!(again.answer(&later, true).unwrap().unwrap().removed_resources, other);
    }
}

#[test]
fn who_names_a_trust_domain_no_more_but_is_subscribed_to_all_is_told_what_there_is_of_it() {
    let (mut stream, _) = begun(&["*", "spiffe://other"]);
    assert!(stream.hear(less(&["spiffe://other"])).unwrap());
    assert_eq!(named(&stream.answer(&update(), true).unwrap().unwrap()), ["spiffe://other"]);
    let mut later = update();
    later.bundles.remove("other");
    assert_eq!(stream.answer(&later, false).unwrap().unwrap().removed_resources, ["spiffe://other"]);
    // Believed no more while it was named: it has nobody's authority, which goes with the name.
    let (mut stream, _) = begun(&["*", "spiffe://other"]);
    assert_eq!(named(&stream.answer(&later, false).unwrap().unwrap()), ["spiffe://other"]);
    assert!(stream.hear(less(&["spiffe://other"])).unwrap());
    assert_eq!(stream.answer(&later, true).unwrap().unwrap().removed_resources, ["spiffe://other"]);
}
