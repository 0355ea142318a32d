//! Who stands, and when two machines speak as one node.

use std::collections::BTreeSet;

use super::*;
use crate::store::Standing as RecordStanding;

const NOW: UnixTime = UnixTime(1_800_000_000);
const WATCH: Duration = Duration::from_secs(25);

fn node() -> Node {
    Node {
        number: NodeNumber(7),
        spiffe_id: Some("spiffe://example.org/holdfast/node/tpm/a".parse().unwrap()),
        standing: RecordStanding::Admitted,
        ban: None,
        freeze: None,
        hold: None,
        approval: None,
        marks: Vec::new(),
        mentions: Vec::new(),
        kinds: BTreeSet::new(),
        trust_class: String::new(),
        copyable: false,
        ak_name: Vec::new(),
        known: Vec::new(),
        description: String::new(),
        node_key_spki: b"node key".to_vec(),
        clock: None,
        selectors: BTreeSet::new(),
        fixed: BTreeSet::new(),
        firmware_log: None,
        policy: None,
        rule: String::new(),
        first_seen: NOW,
        attested_at: NOW,
        evidence_expires: NOW.plus(7200),
        svid_serial: None,
        svid_not_after: NOW.plus(3600),
        last_attempt: None,
    }
}

fn connection(spki: &[u8]) -> Arc<Connection> {
    let spiffe_id = node().spiffe_id.unwrap();
    Connection::new("10.0.0.1:1".parse().unwrap(), Some(PeerSvid { spiffe_id, spki: spki.to_vec() }))
}

fn own() -> Arc<Connection> {
    connection(b"node key")
}

fn quote(live: &LiveNodes, connection: &Arc<Connection>, drawn: i64) -> Arrival {
    let node = node();
    let at = NOW.plus(drawn);
    live.quoted(&Quoted { node: &node, connection, drawn_at: at, drawn_here: true, at })
}

#[test]
fn a_node_stands_on_the_connection_that_quoted_until_its_evidence_expires() {
    let live = LiveNodes::new(WATCH);
    let (first, other) = (own(), own());
    assert!(live.standing(&first, NOW).is_none());
    assert!(matches!(quote(&live, &first, 0), Arrival::Stands));
    assert!(live.standing(&first, NOW.plus(7199)).is_some());
    assert!(live.standing(&first, NOW.plus(7200)).is_none());
    assert!(live.standing(&other, NOW).is_none(), "its certificate alone earns nothing");
    first.mark_closed();
    assert!(live.standing(&first, NOW).is_none());
}

#[test]
fn a_caller_with_another_key_than_the_one_on_record_does_not_stand() {
    let live = LiveNodes::new(WATCH);
    let former = connection(b"former key");
    assert!(matches!(quote(&live, &former, 0), Arrival::Elsewhere));
    assert!(live.standing(&former, NOW).is_none());
    let stranger = Connection::new("10.0.0.1:1".parse().unwrap(), None);
    assert!(matches!(quote(&live, &stranger, 0), Arrival::Elsewhere));
    assert!(live.standing(&stranger, NOW).is_none());
}

#[test]
fn a_quote_for_a_challenge_of_another_connection_earns_nothing_here() {
    let live = LiveNodes::new(WATCH);
    let (before, after) = (own(), own());
    before.note_drawn([7; 16]);
    assert!(before.has_drawn(&[7; 16]) && !after.has_drawn(&[7; 16]));
    (1..=4).for_each(|id| before.note_drawn([id; 16]));
    assert!(!before.has_drawn(&[7; 16]), "only the latest are kept");
    let node = node();
    let kept = Quoted { node: &node, connection: &after, drawn_at: NOW, drawn_here: false, at: NOW };
    assert!(matches!(live.quoted(&kept), Arrival::Elsewhere));
    assert!(live.standing(&after, NOW).is_none());
    let _ = quote(&live, &after, 1);
    assert!(matches!(live.quoted(&kept), Arrival::Elsewhere));
    assert!(live.standing(&after, NOW).is_none());
}

#[test]
fn a_machine_that_makes_itself_attest_again_is_watched_all_the_same() {
    let live = LiveNodes::new(WATCH);
    let (first, second) = (own(), own());
    let _ = quote(&live, &first, 0);
    let _ = quote(&live, &second, 10);
    live.end(NodeNumber(7), Ending::AttestAgain);
    assert!(live.standing(&second, NOW).is_none());
    assert!(matches!(quote(&live, &first, 11), Arrival::TwoAlive));
    live.end(NodeNumber(7), Ending::Refused);
    assert!(matches!(quote(&live, &first, 12), Arrival::Stands));
}

#[test]
fn a_quote_on_the_same_connection_renews_and_keeps_its_streams() {
    let live = LiveNodes::new(WATCH);
    let first = own();
    let _ = quote(&live, &first, 0);
    let watch = live.standing(&first, NOW).unwrap().watch();
    assert!(matches!(quote(&live, &first, 100), Arrival::Stands));
    assert!(matches!(*watch.borrow(), State::Stands { .. }));
}

#[test]
fn after_a_closed_connection_the_next_one_is_nobodys_rival() {
    let live = LiveNodes::new(WATCH);
    let (first, second) = (own(), own());
    let _ = quote(&live, &first, 0);
    first.mark_closed();
    assert!(matches!(quote(&live, &second, 1), Arrival::Stands));
}

#[test]
fn a_superseded_connection_is_silenced_and_a_quote_on_it_betrays_a_second_machine() {
    let live = LiveNodes::new(WATCH);
    let (first, second) = (own(), own());
    let _ = quote(&live, &first, 0);
    let watch = live.standing(&first, NOW).unwrap().watch();
    assert!(matches!(quote(&live, &second, 10), Arrival::Supersedes(old) if old.id() == first.id()));
    assert_eq!(*watch.borrow(), State::Silenced);
    assert!(live.standing(&first, NOW).is_none());
    assert!(live.standing(&second, NOW).is_some());
    assert!(matches!(quote(&live, &first, 9), Arrival::Late), "its challenge is older than the newer quote");
    assert!(matches!(quote(&live, &first, 11), Arrival::TwoAlive));
}

#[test]
fn a_quote_on_a_foreign_connection_takes_the_standing_too() {
    let live = LiveNodes::new(WATCH);
    let first = own();
    let _ = quote(&live, &first, 0);
    let stranger = Connection::new("10.0.0.2:1".parse().unwrap(), None);
    assert!(matches!(quote(&live, &stranger, 10), Arrival::SupersedesElsewhere(_)));
    assert!(live.standing(&first, NOW).is_none());
}

#[tokio::test]
async fn a_superseded_connection_that_stays_silent_is_closed_and_harms_nobody() {
    let live = LiveNodes::new(Duration::from_millis(50));
    let (first, second) = (own(), own());
    let _ = quote(&live, &first, 0);
    let _ = quote(&live, &second, 1);
    assert!(!live.outcome_of_watch(NodeNumber(7), first.clone()).await);
    assert!(first.is_ending());
    assert!(live.standing(&second, NOW).is_some());
}

#[tokio::test]
async fn a_superseded_connection_that_still_speaks_freezes_the_node() {
    let live = LiveNodes::new(Duration::from_millis(2600));
    let (first, second) = (own(), own());
    let _ = quote(&live, &first, 0);
    let _ = quote(&live, &second, 1);
    let speaking = tokio::spawn({
        let first = first.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2400)).await;
            first.note_read();
        }
    });
    assert!(live.outcome_of_watch(NodeNumber(7), first).await);
    speaking.await.unwrap();
}

#[tokio::test]
async fn a_superseded_connection_that_closes_is_forgotten_at_once() {
    let live = LiveNodes::new(Duration::from_secs(3600));
    let (first, second) = (own(), own());
    let _ = quote(&live, &first, 0);
    let _ = quote(&live, &second, 1);
    first.note_read();
    first.mark_closed();
    assert!(!live.outcome_of_watch(NodeNumber(7), first).await);
}

#[test]
fn a_refusal_ends_the_standing_and_the_sweep_ends_what_expired() {
    let live = LiveNodes::new(WATCH);
    let first = own();
    let _ = quote(&live, &first, 0);
    let watch = live.standing(&first, NOW).unwrap().watch();
    live.end(NodeNumber(7), Ending::Refused);
    assert_eq!(*watch.borrow(), State::Ended(Ending::Refused));
    assert!(live.standing(&first, NOW).is_none());

    let _ = quote(&live, &first, 1);
    let watch = live.standing(&first, NOW).unwrap().watch();
    assert_eq!(live.count(), 1);
    live.sweep(NOW.plus(7200));
    assert_eq!(*watch.borrow(), State::Ended(Ending::AttestAgain));
    assert_eq!(live.count(), 0);

    let _ = quote(&live, &first, 2);
    let watch = live.standing(&first, NOW).unwrap().watch();
    live.end_all(Ending::AttestAgain);
    assert_eq!(*watch.borrow(), State::Ended(Ending::AttestAgain));
    assert!(live.standing(&first, NOW).is_none());
}
