//! Acknowledged, rejected, stale and new: what a stream answers, and what it passes over.

use super::super::resource::TYPE_URL;
use super::super::resource::tests::update;
use super::*;
use crate::workload_api::refusal::Refusal;
use holdfast_protocol::sds::google::rpc::Status;

fn open() -> StateOfTheWorld {
    StateOfTheWorld::new(Arc::new(Names::default()))
}

fn ask(names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest { resource_names: names.iter().map(ToString::to_string).collect(), ..Default::default() }
}

/// What the client says to `answer`: that it took it.
fn taken(names: &[&str], answer: &DiscoveryResponse) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: answer.version_info.clone(),
        response_nonce: answer.nonce.clone(),
        type_url: TYPE_URL.to_owned(),
        ..ask(names)
    }
}

/// A stream on which `names` were asked for and answered.
fn answered(names: &[&str]) -> (StateOfTheWorld, DiscoveryResponse) {
    let mut stream = open();
    assert!(stream.hear(ask(names)).unwrap());
    let answer = stream.answer(&update(), true).unwrap().unwrap();
    (stream, answer)
}

fn later() -> WorkloadUpdate {
    let mut later = update();
    later.bundles.insert("td".to_owned(), vec![vec![8]]);
    later
}

#[test]
fn an_answer_holds_all_that_was_asked_for() {
    assert_eq!(answered(&["default", "ROOTCA"]).1.resources.len(), 2);
    assert_eq!(answered(&[]).1.resources.len(), 4, "no name is every name");
    assert_eq!(answered(&["", "default"]).1.resources.len(), 1);
}

#[test]
fn who_takes_all_names_back_gets_nothing_more_until_he_gives_one() {
    let (mut stream, first) = answered(&["ROOTCA"]);
    assert!(!stream.hear(taken(&[], &first)).unwrap());
    assert!(stream.answer(&later(), false).unwrap().is_none(), "least of all every identity's key");
    assert!(stream.hear(taken(&["ROOTCA"], &first)).unwrap());
    assert_eq!(stream.answer(&later(), true).unwrap().unwrap().resources.len(), 1);
    // One that never gave a name still has every name.
    let (mut stream, first) = answered(&[]);
    assert!(!stream.hear(taken(&[], &first)).unwrap());
    assert_eq!(stream.answer(&later(), false).unwrap().unwrap().resources.len(), 4);
}

#[test]
fn an_asterisk_is_every_name_and_stands_beside_others() {
    assert_eq!(answered(&["*"]).1.resources.len(), 4);
    let names = |answer: &DiscoveryResponse| answer.resources.len();
    assert_eq!(names(&answered(&["*", "default"]).1), 5);
    assert_eq!(names(&answered(&["*", "spiffe://td/a"]).1), 4, "each once");
    let (mut stream, first) = answered(&["*"]);
    assert!(!stream.hear(taken(&["*"], &first)).unwrap());
    assert!(stream.hear(taken(&["default"], &first)).unwrap());
    assert_eq!(names(&stream.answer(&update(), true).unwrap().unwrap()), 1);
}

#[test]
fn an_acknowledgement_is_not_answered_and_a_change_is_sent() {
    let (mut stream, first) = answered(&["ROOTCA"]);
    assert!(!stream.hear(taken(&["ROOTCA"], &first)).unwrap());
    assert!(stream.answer(&update(), false).unwrap().is_none(), "nothing changed in it");
    let second = stream.answer(&later(), false).unwrap().unwrap();
    assert_ne!((&first.version_info, &first.nonce), (&second.version_info, &second.nonce));
    assert!(stream.hear(taken(&["default", "ROOTCA"], &second)).unwrap(), "a name more");
    assert_eq!(stream.answer(&later(), true).unwrap().unwrap().resources.len(), 2);
}

#[test]
fn a_rejected_answer_is_not_repeated_and_the_next_change_is_sent() {
    let (mut stream, first) = answered(&["ROOTCA"]);
    let detail = Status { code: 13, message: "no good".to_owned() };
    let rejected =
        DiscoveryRequest { version_info: "older".to_owned(), error_detail: Some(detail), ..taken(&["ROOTCA"], &first) };
    assert!(!stream.hear(rejected).unwrap());
    assert!(stream.answer(&update(), false).unwrap().is_none());
    assert!(stream.answer(&later(), false).unwrap().is_some());
}

#[test]
fn what_speaks_of_an_earlier_answer_is_passed_over() {
    let (mut stream, first) = answered(&["ROOTCA"]);
    let second = stream.answer(&later(), false).unwrap().unwrap();
    assert!(!stream.hear(taken(&["default"], &first)).unwrap());
    assert!(!stream.hear(taken(&["ROOTCA"], &second)).unwrap());
    assert!(!stream.hear(DiscoveryRequest { response_nonce: "3".to_owned(), ..taken(&["default"], &second) }).unwrap());
}

#[test]
fn a_client_that_comes_back_with_its_old_version_is_answered() {
    let (_, before) = answered(&["ROOTCA"]);
    let back = |nonce: &str| DiscoveryRequest { response_nonce: nonce.to_owned(), ..taken(&["ROOTCA"], &before) };
    for nonce in ["", "7"] {
        let mut stream = open();
        assert!(stream.hear(back(nonce)).unwrap(), "{nonce:?}");
        let answer = stream.answer(&update(), true).unwrap().unwrap();
        assert_eq!(answer.version_info, before.version_info, "the same content has the same version");
        assert!(!stream.hear(taken(&["ROOTCA"], &answer)).unwrap());
        assert!(stream.hear(back("")).unwrap(), "again, on the same stream");
        assert!(stream.answer(&update(), true).unwrap().is_some());
    }
}

#[test]
fn an_unknown_name_ends_the_stream_whatever_else_is_asked_for() {
    let mut stream = open();
    assert!(stream.hear(ask(&["default", "spiffe://td/c", "x"])).unwrap());
    let fault = stream.answer(&update(), true).unwrap_err();
    assert_eq!(fault, Fault::Names(vec!["spiffe://td/c".to_owned(), "x".to_owned()]));
    let nobody = stream.answer(&WorkloadUpdate::default(), true).unwrap_err();
    assert_eq!(nobody, Fault::Refused(Refusal::NoIdentity));
}

#[test]
fn only_secrets_and_only_so_many() {
    let other = DiscoveryRequest { type_url: "type.googleapis.com/x".to_owned(), ..ask(&[]) };
    assert_eq!(open().hear(other).unwrap_err(), Fault::Type);
    let many: Vec<_> = (0..=NAMES_MAX).map(|n| n.to_string()).collect();
    let many = DiscoveryRequest { resource_names: many, ..ask(&[]) };
    assert_eq!(open().hear(many).unwrap_err().code(), "sds.too_many_names");
}

#[test]
fn nothing_is_sent_before_something_is_asked_for() {
    assert!(open().answer(&update(), false).unwrap().is_none());
}

#[test]
fn one_request_alone_is_answered_without_a_nonce() {
    let answer = StateOfTheWorld::once(Arc::default(), ask(&["ROOTCA"]), &update()).unwrap();
    assert_eq!((answer.resources.len(), answer.nonce.as_str()), (1, ""));
    assert!(StateOfTheWorld::once(Arc::default(), ask(&["x"]), &update()).is_err());
}

/// The same without the federated trust domain.
fn unfederated() -> WorkloadUpdate {
    let mut later = update();
    later.bundles.remove("other");
    later
}

#[test]
fn a_client_that_believed_a_trust_domain_is_told_that_it_does_no_more() {
    let (mut stream, first) = answered(&["spiffe://other"]);
    let told = stream.answer(&unfederated(), false).unwrap().unwrap();
    assert_eq!(told.resources.len(), 1);
    assert_ne!(told.resources, first.resources);
    // Also one that comes back with what an earlier stream brought.
    let mut stream = open();
    stream.hear(DiscoveryRequest { version_info: "held".to_owned(), ..ask(&["spiffe://other"]) }).unwrap();
    assert_eq!(stream.answer(&unfederated(), true).unwrap().unwrap().resources, told.resources);
    let mut stream = open();
    stream.hear(ask(&["spiffe://other"])).unwrap();
    assert!(stream.answer(&unfederated(), true).is_err(), "one that never held it has no business with it");
}
