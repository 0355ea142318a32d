//! Acts on nodes, and the inventory.

use super::*;

on_each_store! {
    evict_does_not_lift_a_ban,
    an_evicted_node_must_enrol_from_the_start,
    every_act_is_in_the_record_with_its_actor_before_anyone_hears_of_it,
    a_key_may_be_banned_before_its_machine_was_seen,
    a_makers_word_recognises_nobody_and_merges_nobody,
    a_ban_by_a_makers_word_bars_every_machine_that_has_it,
    a_node_that_was_called_so_first_is_not_barred_with_a_later_one,
    a_frozen_node_is_refused_until_reset,
    an_unknown_node_is_no_fault,
    the_inventory_matches_certificate_and_key_digests,
    nodes_are_listed_and_counted_by_state,
}

fn ban() -> NodeAction {
    NodeAction::Ban { reason: "stolen".to_owned() }
}

async fn act(store: &dyn Store, node: NodeNumber, action: NodeAction) -> Node {
    store.act(NodeTarget::Number(node), action, operator(), NOW).await.unwrap().unwrap()
}

async fn evict_does_not_lift_a_ban(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await.number;
    act(&*store, node, ban()).await;
    assert_eq!(act(&*store, node, NodeAction::Evict).await.state(NOW), NodeState::Banned);
    assert_eq!(act(&*store, node, NodeAction::Reset).await.state(NOW), NodeState::Banned);
    assert_eq!(refusal(&*store, enrolment(1)).await, "node.banned");
    act(&*store, node, NodeAction::Unban).await;
    admit(&*store, enrolment(1)).await;
}

async fn an_evicted_node_must_enrol_from_the_start(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await.number;
    act(&*store, node, NodeAction::Approve).await;
    let evicted = act(&*store, node, NodeAction::Evict).await;
    assert!(evicted.ak_name.is_empty() && evicted.node_key_spki.is_empty() && evicted.approval.is_none());
    for way in [Way::Return, Way::Renew] {
        let attempt = Attempt { way, subject: Subject::Known(node), ..enrolment(1) };
        assert_eq!(refusal(&*store, attempt).await, "node.evicted");
    }
    assert_eq!(admit(&*store, enrolment(1)).await.number, node);
}

async fn every_act_is_in_the_record_with_its_actor_before_anyone_hears_of_it(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await.number;
    let acts: [(NodeAction, NodeEvent); 7] = [
        (NodeAction::Approve, NodeEvent::Approved),
        (NodeAction::Deny { reason: "no".into() }, NodeEvent::Denied),
        (ban(), NodeEvent::Banned),
        (NodeAction::Unban, NodeEvent::Unbanned),
        (NodeAction::Freeze { reason: "two at once".into() }, NodeEvent::Frozen),
        (NodeAction::Evict, NodeEvent::Evicted),
        (NodeAction::Reset, NodeEvent::Reset),
    ];
    for (action, expected) in acts {
        let mut subscription = store.changes();
        let name = action.as_str();
        act(&*store, node, action).await;
        let notices = heard(&mut subscription);
        assert!(matches!(&*notices[0], Notice::Node { event, .. } if *event == expected), "{name}");
        let head = store.head().await.unwrap();
        // What it withdraws is named behind it.
        let last = store.ledger_entries(head.size - 2, 2).await.unwrap();
        let text: String = last.iter().map(|entry| String::from_utf8_lossy(&entry.leaf)).collect();
        assert!(text.contains(name) && text.contains("ada (uid 1000)"), "{text}");
    }
    assert!(audit(&*store).await.findings.is_empty());
}

async fn a_key_may_be_banned_before_its_machine_was_seen(store: Arc<dyn Store>) {
    let target = NodeTarget::Mark(Sha256([0x81; 32]));
    store.act(target, ban(), operator(), NOW).await.unwrap().unwrap();
    assert_eq!(refusal(&*store, enrolment(1)).await, "node.banned");
}

/// The platform that makers call `n`.
fn platform(n: u8) -> Mark {
    Mark { kind: "platform.id".to_owned(), digest: Sha256([n; 32]) }
}

/// A good first attempt of the machine `n`, which its maker calls `called`.
fn enrolment_called(n: u8, called: u8) -> Attempt {
    let marks = Marks { proven: ek(n), mentioned: vec![platform(called)] };
    Attempt { subject: Subject::Proven(marks), ..enrolment(n) }
}

fn called(n: u8) -> NodeTarget {
    NodeTarget::Mark(platform(n).digest)
}

async fn state_of(store: &dyn Store, node: NodeNumber) -> NodeState {
    store.node(NodeTarget::Number(node)).await.unwrap().unwrap().state(NOW)
}

async fn a_makers_word_recognises_nobody_and_merges_nobody(store: Arc<dyn Store>) {
    let first = admit(&*store, enrolment_called(1, 0x40)).await;
    assert_eq!(first.mentions, [platform(0x40)]);
    assert_eq!(store.node(called(0x40)).await.unwrap().unwrap().number, first.number);
    assert!(store.ownership(vec![platform(0x40)], Vec::new()).await.unwrap().node.is_none());
    let thief = admit(&*store, enrolment_called(2, 0x40)).await;
    assert_ne!(thief.number, first.number);
    assert_ne!(thief.spiffe_id, first.spiffe_id);
    let after = store.node(NodeTarget::Number(first.number)).await.unwrap().unwrap();
    assert_eq!((after.spiffe_id, after.marks, after.mentions), (first.spiffe_id, ek(1), vec![platform(0x40)]));
    // Refused, it moves nothing at all.
    let marks = Marks { proven: ek(3), mentioned: vec![platform(0x40)] };
    let verdict = Verdict::Refuse { code: "policy.no_rule_matched".to_owned(), genuine: true };
    refusal(&*store, Attempt { subject: Subject::Proven(marks), verdict, ..enrolment(3) }).await;
    assert_eq!(state_of(&*store, first.number).await, NodeState::Admitted);
    assert_eq!(store.count_nodes(NOW).await.unwrap().states, [(NodeState::Admitted, 2)]);
    // What several are called names none of them.
    assert!(store.node(called(0x40)).await.unwrap().is_none());
    let act = store.act(called(0x40), NodeAction::Evict, operator(), NOW).await.unwrap();
    assert_eq!(act.unwrap_err(), NodeRefusal::Ambiguous);
}

async fn a_ban_by_a_makers_word_bars_every_machine_that_has_it(store: Arc<dyn Store>) {
    store.act(called(0x40), ban(), operator(), NOW).await.unwrap().unwrap();
    assert_eq!(refusal(&*store, enrolment_called(1, 0x40)).await, "node.banned");
    admit(&*store, enrolment_called(1, 0x41)).await;
    store.act(called(0x40), NodeAction::Unban, operator(), NOW).await.unwrap().unwrap();
    let both = [admit(&*store, enrolment_called(2, 0x40)).await, admit(&*store, enrolment_called(3, 0x40)).await];
    let mut subscription = store.changes();
    store.act(called(0x40), ban(), operator(), NOW).await.unwrap().unwrap();
    let is_ban = |notice: &Arc<Notice>| matches!(&**notice, Notice::Node { event: NodeEvent::Banned, .. });
    assert_eq!(heard(&mut subscription).into_iter().filter(is_ban).count(), 3, "both nodes, and what was banned ahead");
    for node in &both {
        assert_eq!(state_of(&*store, node.number).await, NodeState::Banned);
    }
    assert_eq!(refusal(&*store, enrolment_called(2, 0x40)).await, "node.banned");
    assert_eq!(refusal(&*store, enrolment_called(4, 0x40)).await, "node.banned");
    store.act(called(0x40), NodeAction::Unban, operator(), NOW).await.unwrap().unwrap();
    admit(&*store, enrolment_called(4, 0x40)).await;
}

async fn a_node_that_was_called_so_first_is_not_barred_with_a_later_one(store: Arc<dyn Store>) {
    let first = admit(&*store, enrolment_called(1, 0x40)).await;
    let thief = admit(&*store, enrolment_called(2, 0x40)).await;
    act(&*store, thief.number, ban()).await;
    let renewal = Attempt { way: Way::Renew, subject: Subject::Known(first.number), ..enrolment(1) };
    admit(&*store, renewal).await;
    assert_eq!(admit(&*store, enrolment_called(1, 0x40)).await.number, first.number);
    // Whoever comes with it now comes after the one that is banned.
    assert_eq!(refusal(&*store, enrolment_called(3, 0x40)).await, "node.banned");
    assert_eq!(refusal(&*store, enrolment_called(2, 0x40)).await, "node.banned");
}

async fn a_frozen_node_is_refused_until_reset(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await.number;
    act(&*store, node, NodeAction::Freeze { reason: "two at once".into() }).await;
    assert_eq!(refusal(&*store, enrolment(1)).await, "node.frozen");
    act(&*store, node, NodeAction::Reset).await;
    admit(&*store, enrolment(1)).await;
}

async fn an_unknown_node_is_no_fault(store: Arc<dyn Store>) {
    let unknown = || NodeTarget::Number(NodeNumber(77));
    assert!(store.node(unknown()).await.unwrap().is_none());
    assert_eq!(store.act(unknown(), ban(), operator(), NOW).await.unwrap().unwrap_err(), NodeRefusal::Unknown);
    let attempt = Attempt { subject: Subject::Known(NodeNumber(77)), ..enrolment(1) };
    assert_eq!(refusal(&*store, attempt).await, "node.unknown");
    let node = admit(&*store, enrolment(1)).await.number;
    let unban = store.act(NodeTarget::Number(node), NodeAction::Unban, operator(), NOW);
    assert_eq!(unban.await.unwrap().unwrap_err(), NodeRefusal::NotBanned);
}

async fn the_inventory_matches_certificate_and_key_digests(store: Arc<dyn Store>) {
    let mut subscription = store.changes();
    let key = |byte: u8, label: &str| Allowed { digest: Sha256([byte; 32]), label: label.to_owned() };
    let keys = vec![key(1, "rack 1"), key(0x82, "rack 2")];
    assert_eq!(store.allow(keys.clone(), operator(), NOW).await.unwrap(), 2);
    assert_eq!(store.allow(keys, operator(), NOW).await.unwrap(), 0);
    assert_eq!(heard(&mut subscription).len(), 1, "the same again is no news");
    for (n, label) in [(1, "rack 1"), (2, "rack 2")] {
        let ownership = store.ownership(ek(n), digests(n)).await.unwrap();
        assert_eq!(ownership.inventory[0].label, label);
        assert_eq!(ownership.inventory[0].added_by, "ada (uid 1000)");
    }
    assert!(store.ownership(ek(3), digests(3)).await.unwrap().inventory.is_empty());
    let page = store.inventory(None, 1).await.unwrap();
    let rest = store.inventory(Some(page[0].digest), 10).await.unwrap();
    assert_eq!((page.len(), rest.len()), (1, 1));
    assert_eq!(store.disallow(vec![Sha256([1; 32]), Sha256([9; 32])], operator(), NOW).await.unwrap(), 1);
    assert!(store.ownership(ek(1), digests(1)).await.unwrap().inventory.is_empty());
}

async fn nodes_are_listed_and_counted_by_state(store: Arc<dyn Store>) {
    for n in 1..=5 {
        admit(&*store, enrolment(n)).await;
    }
    act(&*store, NodeNumber(2), ban()).await;
    let filter = NodeFilter { state: Some(NodeState::Admitted), limit: 3, ..NodeFilter::default() };
    let numbers = |nodes: Vec<Node>| nodes.iter().map(|node| node.number.0).collect::<Vec<_>>();
    assert_eq!(numbers(store.nodes(filter.clone(), NOW).await.unwrap()), [1, 3, 4]);
    let rest = NodeFilter { after: Some(NodeNumber(4)), ..filter };
    assert_eq!(numbers(store.nodes(rest, NOW).await.unwrap()), [5]);
    let fleet = store.count_nodes(NOW).await.unwrap();
    assert_eq!(fleet.states, [(NodeState::Admitted, 4), (NodeState::Banned, 1)]);
    assert_eq!(fleet.first_svid_end, Some(NOW.plus(3600)));
    let later = store.count_nodes(NOW.plus(7200)).await.unwrap();
    assert_eq!(later.states, [(NodeState::Expired, 4), (NodeState::Banned, 1)]);
}
