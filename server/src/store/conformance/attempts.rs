//! Attempts.

use super::*;
use crate::record::Leaf;

on_each_store! {
    an_admission_by_a_waiver_says_so_in_its_entry,
    an_admission_is_recorded_with_its_issuance_and_the_node_is_found_by_every_name,
    a_challenge_is_taken_once,
    a_challenge_is_remembered_until_it_is_void,
    a_policy_that_moved_takes_nothing,
    a_strangers_refusal_ends_nobodys_standing,
    a_genuine_refusal_ends_the_nodes_standing_and_says_so,
    a_reboot_is_normal,
    a_clock_that_went_back_under_the_same_counters_is_refused,
    a_fallen_reset_count_is_never_a_renewal_and_a_hardware_class_enrols_anew,
    a_copyable_class_with_a_fallen_reset_count_waits_for_approval,
    all_endorsement_keys_of_one_machine_are_one_machine,
    two_nodes_that_prove_to_be_one_machine_become_one_when_it_is_admitted,
    a_refusal_merges_nothing_and_ends_the_standing_of_all_that_the_machine_proved_to_be,
    an_id_once_owned_goes_to_no_other_machine,
    a_node_key_of_another_machine_is_refused,
    kinds_that_a_machine_once_proved_never_shrink,
    a_renewal_without_a_change_tells_nobody,
    attempts_are_listed_newest_first_and_shown_with_their_decision,
    a_node_that_waits_is_admitted_after_approval,
}

async fn an_admission_is_recorded_with_its_issuance_and_the_node_is_found_by_every_name(store: Arc<dyn Store>) {
    let attempt = enrolment(1);
    let (name, serial) = (attempt.id, admission(&mut attempt.clone()).issuance.clone().unwrap().serial);
    let Outcome::Admitted { node, recorded, progress } = store.record_attempt(attempt).await.unwrap() else { panic!() };
    assert_eq!(progress, Progress::First);
    assert_eq!(recorded.unwrap().redeem().serial, serial);
    assert_eq!(node.last_attempt, Some(name));
    for target in [
        NodeTarget::Number(node.number),
        NodeTarget::SpiffeId(node.spiffe_id.clone().unwrap()),
        NodeTarget::AkName(vec![1; 34]),
        NodeTarget::NodeKey(Sha256::of(&[1; 91])),
        NodeTarget::Mark(Sha256([1; 32])),
        NodeTarget::Mark(Sha256([0x81; 32])),
    ] {
        let found = store.node(target).await.unwrap().unwrap();
        assert_eq!(found.number, node.number);
        assert_eq!(found.state(NOW), NodeState::Admitted);
        assert_eq!(found.state(NOW.plus(7200)), NodeState::Expired);
        assert_eq!(found.clock, Some(clock(5, 1000)));
    }
    let report = audit(&*store).await;
    assert_eq!((report.attempts, report.issuances, report.findings.len()), (1, 1, 0));
}

async fn a_challenge_is_taken_once(store: Arc<dyn Store>) {
    let attempt = enrolment(1);
    admit(&*store, attempt.clone()).await;
    let head = store.head().await.unwrap();
    assert!(matches!(store.record_attempt(attempt).await.unwrap(), Outcome::ChallengeTaken));
    assert_eq!(store.head().await.unwrap(), head);
}

async fn a_challenge_is_remembered_until_it_is_void(store: Arc<dyn Store>) {
    let attempt = enrolment(1);
    admit(&*store, attempt.clone()).await;
    store.prune(attempt.challenge_expires.plus(3600)).await.unwrap();
    assert!(matches!(store.record_attempt(attempt.clone()).await.unwrap(), Outcome::ChallengeTaken));
    store.prune(attempt.challenge_expires.plus(3601)).await.unwrap();
    let again = Attempt { id: AttemptId(draw()), ..attempt };
    admit(&*store, again).await;
}

async fn a_policy_that_moved_takes_nothing(store: Arc<dyn Store>) {
    let draft = PolicyDraft { name: "p".into(), documents: vec![], mode: Mode::Enforce, message: String::new() };
    let mut attempt = Attempt { policy: Some(draft.digest()), ..enrolment(1) };
    let head = store.head().await.unwrap();
    assert!(matches!(store.record_attempt(attempt.clone()).await.unwrap(), Outcome::PolicyMoved));
    assert_eq!(store.head().await.unwrap(), head);
    store.apply_policy(draft.clone(), operator(), NOW).await.unwrap();
    assert_eq!(admit(&*store, attempt.clone()).await.policy, Some(draft.digest()));
    let other = PolicyDraft { name: "q".into(), ..draft };
    store.apply_policy(other, operator(), NOW).await.unwrap();
    attempt.challenge_id = draw();
    assert!(matches!(store.record_attempt(attempt).await.unwrap(), Outcome::PolicyMoved));
}

async fn a_strangers_refusal_ends_nobodys_standing(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let mut attempt = refuse(1, false);
    attempt.clock = Some(clock(0, 0));
    assert_eq!(refusal(&*store, attempt).await, "policy.no_rule_matched");
    let after = store.node(NodeTarget::Number(node.number)).await.unwrap().unwrap();
    assert!(after.stands(NOW));
    assert_eq!(after.clock, Some(clock(5, 1000)));
}

async fn a_genuine_refusal_ends_the_nodes_standing_and_says_so(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let mut subscription = store.changes();
    refusal(&*store, refuse(1, true)).await;
    let heard = heard(&mut subscription);
    assert!(matches!(&*heard[0], Notice::Node { event: NodeEvent::Refused, node: of, .. } if *of == node.number));
    assert!(subscription.revision.has_changed().unwrap());
    let after = store.node(NodeTarget::Number(node.number)).await.unwrap().unwrap();
    assert_eq!(after.state(NOW), NodeState::Refused);
    // It comes back when it is good again.
    assert!(admit(&*store, enrolment(1)).await.stands(NOW));
}

async fn a_reboot_is_normal(store: Arc<dyn Store>) {
    admit(&*store, enrolment(1)).await;
    let mut attempt = Attempt { way: Way::Return, clock: Some(clock(6, 10)), ..enrolment(1) };
    attempt.clock = Some(clock(6, 1001));
    let Outcome::Admitted { progress, .. } = store.record_attempt(attempt).await.unwrap() else { panic!() };
    assert_eq!(progress, Progress::Rebooted);
    let again = Attempt { way: Way::Renew, clock: Some(clock(6, 1001)), ..enrolment(1) };
    let Outcome::Admitted { progress, .. } = store.record_attempt(again).await.unwrap() else { panic!() };
    assert_eq!(progress, Progress::Same);
}

async fn a_clock_that_went_back_under_the_same_counters_is_refused(store: Arc<dyn Store>) {
    admit(&*store, enrolment(1)).await;
    let attempt = Attempt { way: Way::Renew, clock: Some(clock(5, 999)), ..enrolment(1) };
    assert_eq!(refusal(&*store, attempt).await, "node.clock.went_back");
}

async fn a_fallen_reset_count_is_never_a_renewal_and_a_hardware_class_enrols_anew(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let fallen = Attempt { way: Way::Return, clock: Some(clock(0, 10)), ..enrolment(1) };
    assert_eq!(refusal(&*store, fallen).await, "node.clock.fell");
    let after = store.node(NodeTarget::Number(node.number)).await.unwrap().unwrap();
    assert_eq!(after.state(NOW), NodeState::Refused);
    assert!(after.ak_name.is_empty() && after.node_key_spki.is_empty());
    let again = admit(&*store, Attempt { clock: Some(clock(0, 11)), ..enrolment(1) }).await;
    assert_eq!(again.number, node.number);
    // Straight by enrolment it is admitted too, with an alarm in the record.
    admit(&*store, enrolment(2)).await;
    let fell = Attempt { clock: Some(clock(0, 11)), ..enrolment(2) };
    let Outcome::Admitted { progress, .. } = store.record_attempt(fell).await.unwrap() else { panic!() };
    assert_eq!(progress, Progress::Fell);
    let entries = store.ledger_entries(0, 100).await.unwrap();
    let alarms = entries.iter().filter(|entry| String::from_utf8_lossy(&entry.leaf).contains("alarm.reset_count_fell"));
    assert_eq!(alarms.count(), 2);
}

async fn a_copyable_class_with_a_fallen_reset_count_waits_for_approval(store: Arc<dyn Store>) {
    let copyable = |reset_count| {
        let mut attempt = Attempt { clock: Some(clock(reset_count, 10)), ..enrolment(1) };
        admission(&mut attempt).candidate.copyable = true;
        attempt
    };
    let node = admit(&*store, copyable(5)).await;
    let Outcome::AwaitsApproval { .. } = store.record_attempt(copyable(2)).await.unwrap() else { panic!() };
    // It does not help to ask again.
    let Outcome::AwaitsApproval { .. } = store.record_attempt(copyable(2)).await.unwrap() else { panic!() };
    let target = NodeTarget::Number(node.number);
    assert_eq!(store.node(target.clone()).await.unwrap().unwrap().state(NOW), NodeState::Pending);
    store.act(target, NodeAction::Approve, operator(), NOW).await.unwrap().unwrap();
    assert!(admit(&*store, copyable(2)).await.stands(NOW));
}

async fn all_endorsement_keys_of_one_machine_are_one_machine(store: Arc<dyn Store>) {
    let both = Attempt { subject: Subject::Proven([ek(1), ek(2)].concat().into()), ..enrolment(1) };
    let node = admit(&*store, both).await;
    store
        .act(NodeTarget::Mark(Sha256([2; 32])), NodeAction::Ban { reason: "stolen".into() }, operator(), NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(refusal(&*store, enrolment(1)).await, "node.banned");
    let banned = store.node(NodeTarget::Number(node.number)).await.unwrap().unwrap();
    assert_eq!((banned.marks.len(), banned.state(NOW)), (4, NodeState::Banned));
}

async fn two_nodes_that_prove_to_be_one_machine_become_one_when_it_is_admitted(store: Arc<dyn Store>) {
    let first = admit(&*store, enrolment(1)).await;
    let second = admit(&*store, enrolment(2)).await;
    let both = || Attempt { subject: Subject::Proven([ek(1), ek(2)].concat().into()), ..enrolment(1) };
    let target = NodeTarget::Number(second.number);
    let ban = NodeAction::Ban { reason: "stolen".into() };
    store.act(target.clone(), ban, operator(), NOW).await.unwrap().unwrap();
    // The ban of one is held against the machine; but that it is the machine of both is not written down by a refusal.
    assert_eq!(refusal(&*store, both()).await, "node.banned");
    assert!(store.node(target.clone()).await.unwrap().is_some());
    store.act(target.clone(), NodeAction::Unban, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(admit(&*store, both()).await.number, first.number);
    assert!(store.node(target).await.unwrap().is_none());
    let by_other_key = store.node(NodeTarget::Mark(Sha256([2; 32]))).await.unwrap().unwrap();
    assert_eq!(by_other_key.number, first.number);
    assert!(audit(&*store).await.findings.is_empty());
}

async fn a_refusal_merges_nothing_and_ends_the_standing_of_all_that_the_machine_proved_to_be(store: Arc<dyn Store>) {
    let (first, second) = (admit(&*store, enrolment(1)).await, admit(&*store, enrolment(2)).await);
    let both = |genuine| Attempt { subject: Subject::Proven([ek(1), ek(2)].concat().into()), ..refuse(1, genuine) };
    let states = async || {
        let mut states = Vec::new();
        for number in [first.number, second.number] {
            states.push(store.node(NodeTarget::Number(number)).await.unwrap().unwrap().state(NOW));
        }
        states
    };
    refusal(&*store, both(false)).await;
    assert_eq!(states().await, [NodeState::Admitted; 2]);
    refusal(&*store, both(true)).await;
    assert_eq!(states().await, [NodeState::Refused; 2]);
    let entries = store.ledger_entries(0, 100).await.unwrap();
    assert!(!entries.iter().any(|entry| String::from_utf8_lossy(&entry.leaf).contains("node.merge")));
    // Nor does waiting for an operator merge anything.
    admit(&*store, enrolment(1)).await;
    admit(&*store, enrolment(2)).await;
    let candidate = Box::new(admission(&mut enrolment(1)).candidate.clone());
    let waiting = Attempt { verdict: Verdict::AwaitApproval(candidate), ..both(true) };
    let Outcome::AwaitsApproval { node } = store.record_attempt(waiting).await.unwrap() else { panic!() };
    assert_eq!(node, first.number);
    assert_eq!(states().await, [NodeState::Pending, NodeState::Refused]);
}

async fn an_id_once_owned_goes_to_no_other_machine(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let mut renamed = enrolment(1);
    admission(&mut renamed).spiffe_id = id("/holdfast/node/renamed");
    admit(&*store, renamed).await;
    store.act(NodeTarget::Number(node.number), NodeAction::Reset, operator(), NOW).await.unwrap().unwrap();
    let mut thief = enrolment(2);
    admission(&mut thief).spiffe_id = node.spiffe_id.clone().unwrap();
    assert_eq!(refusal(&*store, thief).await, "node.id_owned");
    assert_eq!(admit(&*store, enrolment(1)).await.spiffe_id, node.spiffe_id);
}

async fn a_node_key_of_another_machine_is_refused(store: Arc<dyn Store>) {
    admit(&*store, enrolment(1)).await;
    let mut thief = enrolment(2);
    admission(&mut thief).node_key_spki = vec![1; 91];
    assert_eq!(refusal(&*store, thief).await, "node.key_owned");
}

async fn an_admission_by_a_waiver_says_so_in_its_entry(store: Arc<dyn Store>) {
    let entry = async |attempt: Attempt| {
        let at = store.head().await.unwrap().size;
        store.record_attempt(attempt).await.unwrap();
        match Leaf::parse(&store.ledger_entries(at, 1).await.unwrap()[0].leaf).unwrap() {
            Leaf::Attempt(entry) => entry,
            other => panic!("{other:?}"),
        }
    };
    let waived = |n| {
        let mut attempt = enrolment(n);
        admission(&mut attempt).waivers = vec!["rack 7 until its BIOS is new".to_owned()];
        attempt
    };
    assert_eq!(entry(waived(1)).await["waivers"], serde_json::json!(["rack 7 until its BIOS is new"]));
    assert_eq!(entry(enrolment(2)).await.get("waivers"), None);
    let number = NodeTarget::Mark(Sha256([2; 32]));
    store.act(number, NodeAction::Ban { reason: "so".into() }, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(entry(waived(2)).await.get("waivers"), None, "what was refused took none");
}

async fn kinds_that_a_machine_once_proved_never_shrink(store: Arc<dyn Store>) {
    let both = Attempt { kinds: BTreeSet::from(["snp".to_owned(), "tpm".to_owned()]), ..enrolment(1) };
    let node = admit(&*store, both).await;
    assert_eq!(refusal(&*store, enrolment(1)).await, "node.kinds_shrank");
    store.act(NodeTarget::Number(node.number), NodeAction::Reset, operator(), NOW).await.unwrap().unwrap();
    admit(&*store, enrolment(1)).await;
}

async fn a_renewal_without_a_change_tells_nobody(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let (before, mut subscription) = (store.revision(), store.changes());
    let subject = Subject::Known(node.number);
    let mut renewal = Attempt { way: Way::Renew, subject, ..enrolment(1) };
    admission(&mut renewal).evidence_expires = NOW.plus(9000);
    admit(&*store, renewal.clone()).await;
    assert!(heard(&mut subscription).is_empty());
    assert_eq!(store.revision(), before);
    // Other selectors are a change.
    admission(&mut renewal).selectors.clear();
    renewal.challenge_id = draw();
    renewal.id = AttemptId(draw());
    admit(&*store, renewal).await;
    assert_eq!(heard(&mut subscription).len(), 1);
}

async fn attempts_are_listed_newest_first_and_shown_with_their_decision(store: Arc<dyn Store>) {
    let attempts = [enrolment(1), enrolment(2), refuse(2, true)];
    let names: Vec<_> = attempts.iter().map(|attempt| attempt.id).collect();
    for attempt in attempts {
        store.record_attempt(attempt).await.unwrap();
    }
    let list = |filter| store.attempts(filter);
    let all = list(AttemptFilter::default()).await.unwrap();
    assert_eq!(all.iter().map(|attempt| attempt.id).collect::<Vec<_>>(), [names[2], names[1], names[0]]);
    let node = all[0].node;
    let of_node = list(AttemptFilter { node, ..AttemptFilter::default() }).await.unwrap();
    assert_eq!(of_node.len(), 2);
    let refused = list(AttemptFilter { verdict: Some("refused".into()), ..AttemptFilter::default() }).await.unwrap();
    assert_eq!((refused.len(), refused[0].code.as_str()), (1, "policy.no_rule_matched"));
    let older = list(AttemptFilter { before: Some(names[1]), ..AttemptFilter::default() }).await.unwrap();
    assert_eq!((older.len(), older[0].decision.as_str()), (1, ""));
    let one = store.attempt(names[1]).await.unwrap().unwrap();
    assert_eq!(one.decision, "{\"rule\":\"known-machines\"}");
    assert!(store.attempt(AttemptId([0xff; 16])).await.unwrap().is_none());
}

async fn a_node_that_waits_is_admitted_after_approval(store: Arc<dyn Store>) {
    let mut subscription = store.changes();
    let candidate = Box::new(admission(&mut enrolment(1)).candidate.clone());
    let waiting = || Attempt { verdict: Verdict::AwaitApproval(candidate.clone()), ..enrolment(1) };
    let Outcome::AwaitsApproval { node } = store.record_attempt(waiting()).await.unwrap() else { panic!() };
    store.record_attempt(waiting()).await.unwrap();
    assert_eq!(heard(&mut subscription).len(), 1, "waiting on is no news");
    assert!(!store.ownership(ek(1), digests(1)).await.unwrap().approved);
    let approve = |action| store.act(NodeTarget::Number(node), action, operator(), NOW);
    approve(NodeAction::Approve).await.unwrap().unwrap();
    assert!(store.ownership(ek(1), digests(1)).await.unwrap().approved);
    assert!(admit(&*store, enrolment(1)).await.stands(NOW));
    approve(NodeAction::Deny { reason: "no".into() }).await.unwrap().unwrap();
    assert_eq!(refusal(&*store, enrolment(1)).await, "node.denied");
    approve(NodeAction::Approve).await.unwrap().unwrap();
    admit(&*store, enrolment(1)).await;
}
