//! The rollout, its proposals, and the facts that attempts leave behind.

use super::*;
use crate::store::rollouts::SCOPES_MAX;

on_each_store! {
    a_state_names_who_is_judged_by_what_and_every_state_stays_on_record,
    a_state_made_from_one_that_moved_is_not_made,
    a_node_is_judged_by_the_version_of_what_is_fixed_on_record_of_it,
    what_a_machine_leaves_out_or_a_policy_does_not_issue_changes_no_scope,
    a_proposal_is_done_once_by_another_user_in_its_time,
    the_latest_facts_of_a_node_are_kept_and_a_log_once,
}

fn draft(name: &str) -> PolicyDraft {
    PolicyDraft { name: name.into(), documents: vec![], mode: Mode::Observe, message: "why".into() }
}

fn next(state: RolloutState, names: &[&str]) -> NextRollout {
    let versions =
        names.iter().map(|name| NewVersion { draft: draft(name), signature: None, waivers: Vec::new() }).collect();
    NextRollout {
        versions,
        state,
        action: "policy.enforce",
        message: "so".into(),
        restored: None,
        refused: 2,
        proposal: None,
    }
}

async fn made(store: &dyn Store, next: NextRollout) -> RolloutState {
    store.roll_out(next, operator(), NOW).await.unwrap().unwrap().state
}

async fn a_state_names_who_is_judged_by_what_and_every_state_stays_on_record(store: Arc<dyn Store>) {
    let [a, b] = ["a", "b"].map(|name| draft(name).digest());
    let none = store.rollout().await.unwrap().state;
    assert_eq!(none, RolloutState::default());
    let first = made(&*store, next(none.enforce(a, BTreeSet::new()).observe(b), &["a", "b"])).await;
    assert_eq!((first.number, first.enforced, first.observed), (1, Some(a), Some(b)));
    let vendor = selectors(&["tpm:manufacturer:x"]);
    let second = made(&*store, next(first.enforce(b, vendor.clone()), &[])).await;
    let head = store.head().await.unwrap().size;
    assert_eq!(second.version_for(Some(&selectors(&["tpm:manufacturer:x", "y:z"]))), Some(b));
    assert_eq!(second.version_for(Some(&selectors(&["tpm:manufacturer:y"]))), Some(a));
    assert_eq!(second.version_for(None), Some(a), "an unknown machine is judged by the version for all others");
    assert_eq!((second.mode_of(a), second.mode_of(b)), (Mode::Enforce, Mode::Enforce));
    let back = made(&*store, next(second.restore(&first, &vendor), &[])).await;
    assert!(back.enforces_as(&first));
    assert_eq!(store.head().await.unwrap().size, head + 1, "each state is one entry of the record");
    let everywhere = made(&*store, next(back.enforce(b, BTreeSet::new()), &[])).await;
    assert_eq!((everywhere.enforced, everywhere.scopes.len(), everywhere.observed), (Some(b), 0, None));
    let history = store.rollouts(0, 0).await.unwrap();
    assert_eq!(history.iter().map(|state| state.state.number).collect::<Vec<_>>(), [4, 3, 2, 1]);
    assert_eq!((history[0].refused, history[0].message.as_str()), (2, "so"));
    assert_eq!(store.rollouts(3, 1).await.unwrap()[0].state, second);
}

async fn a_state_made_from_one_that_moved_is_not_made(store: Arc<dyn Store>) {
    let a = draft("a").digest();
    let state = RolloutState::default().enforce(a, BTreeSet::new());
    made(&*store, next(state.clone(), &["a"])).await;
    let head = store.head().await.unwrap();
    let late = store.roll_out(next(state.clone(), &["b"]), operator(), NOW).await.unwrap();
    assert_eq!(late.unwrap_err(), RolloutRefusal::Moved);
    let mut crowded = store.rollout().await.unwrap().state;
    for n in 0..=SCOPES_MAX {
        crowded = crowded.enforce(a, selectors(&[&format!("tpm:machine:{n}")]));
    }
    let refused = store.roll_out(next(crowded, &["b"]), operator(), NOW).await.unwrap().unwrap_err();
    assert_eq!(refused, RolloutRefusal::Scopes { found: SCOPES_MAX + 1 });
    assert_eq!((store.head().await.unwrap(), store.policies().await.unwrap().len()), (head, 1));
}

async fn a_node_is_judged_by_the_version_of_what_is_fixed_on_record_of_it(store: Arc<dyn Store>) {
    let [a, b] = ["a", "b"].map(|name| draft(name).digest());
    let first = made(&*store, next(RolloutState::default().enforce(a, BTreeSet::new()), &["a", "b"])).await;
    let attempt = |policy| Attempt { policy: Some(policy), ..enrolment(1) };
    // Whatever it shows, a machine that nobody knows is judged by the version for all others.
    made(&*store, next(first.enforce(b, selectors(&["tpm:manufacturer:maker"])), &[])).await;
    assert!(matches!(store.record_attempt(attempt(b)).await.unwrap(), Outcome::PolicyMoved));
    admit(&*store, attempt(a)).await;
    // Once it is on record as of this maker, the other decides, by whichever subject it comes.
    assert!(matches!(store.record_attempt(attempt(a)).await.unwrap(), Outcome::PolicyMoved));
    let node = admit(&*store, attempt(b)).await;
    let subject = Subject::Known(node.number);
    let renewal = |policy| Attempt { way: Way::Renew, subject: subject.clone(), ..attempt(policy) };
    assert!(matches!(store.record_attempt(renewal(a)).await.unwrap(), Outcome::PolicyMoved));
    admit(&*store, renewal(b)).await;
}

async fn what_a_machine_leaves_out_or_a_policy_does_not_issue_changes_no_scope(store: Arc<dyn Store>) {
    let [a, b] = ["a", "b"].map(|name| draft(name).digest());
    let first = made(&*store, next(RolloutState::default().enforce(a, BTreeSet::new()), &["a", "b"])).await;
    made(&*store, next(first.enforce(b, selectors(&["tpm:model:x"])), &[])).await;
    let attempt = |policy, fixed: &[&str], marks: Vec<Mark>| {
        let mut attempt = Attempt { policy: Some(policy), subject: Subject::Proven(marks.into()), ..enrolment(1) };
        let admission = admission(&mut attempt);
        (admission.selectors, admission.fixed) = (BTreeSet::new(), selectors(fixed));
        attempt
    };
    let both: Vec<Mark> = [ek(1), ek(2)].concat();
    let both = || both.clone();
    admit(&*store, attempt(a, &["tpm:model:x", "tpm:model:y"], both())).await;
    // The version issues none of it, and the machine offers one of its two keys: it stays where it was.
    for (fixed, marks) in [(&["tpm:model:y"][..], ek(2)), (&[], ek(1)), (&["tpm:model:x", "tpm:model:y"], both())] {
        let elsewhere = store.record_attempt(attempt(a, fixed, marks.clone())).await.unwrap();
        assert!(matches!(elsewhere, Outcome::PolicyMoved), "{fixed:?}");
        let node = admit(&*store, attempt(b, fixed, marks)).await;
        assert_eq!(node.fixed, selectors(&["tpm:model:x", "tpm:model:y"]));
        assert_eq!(node.selectors, BTreeSet::new());
    }
    // Nor does being forgotten choose another.
    for action in [NodeAction::Evict, NodeAction::Reset] {
        store.act(NodeTarget::Mark(Sha256([1; 32])), action, operator(), NOW).await.unwrap().unwrap();
        let again = store.record_attempt(attempt(a, &[], ek(2))).await.unwrap();
        assert!(matches!(again, Outcome::PolicyMoved), "{again:?}");
    }
}

async fn a_proposal_is_done_once_by_another_user_in_its_time(store: Arc<dyn Store>) {
    let (author, same) = (operator(), Actor::Operator { uid: 1000, name: "ada at another terminal".to_owned() });
    let other = Actor::Operator { uid: 1001, name: "grace".to_owned() };
    let wanted =
        || ProposalDraft { content: "{}".into(), what: "that".into(), message: "so".into(), expires_at: NOW.plus(60) };
    let about = || Proposed {
        policy: Sha256([5; 32]),
        name: "rack".into(),
        mode: Mode::Enforce,
        selectors: BTreeSet::new(),
        restored: None,
    };
    let proposal = store.propose(wanted(), about(), author.clone(), NOW).await.unwrap();
    let state = RolloutState::default().enforce(draft("a").digest(), BTreeSet::new());
    let with = |number| NextRollout { proposal: Some(number), ..next(state.clone(), &["a"]) };
    let refused =
        async |number, by: &Actor, at| store.roll_out(with(number), by.clone(), at).await.unwrap().unwrap_err();
    for own in [&author, &same] {
        assert_eq!(refused(proposal.number, own, NOW).await.code(), "rollout.proposal.own");
    }
    assert_eq!(refused(77, &other, NOW).await, RolloutRefusal::UnknownProposal);
    assert_eq!(refused(proposal.number, &other, NOW.plus(60)).await, RolloutRefusal::Closed { state: "expired" });
    assert_eq!(store.policies().await.unwrap(), []);
    let done = store.roll_out(with(proposal.number), other.clone(), NOW).await.unwrap().unwrap();
    assert_eq!((done.author, done.approver), (author.to_string(), other.to_string()));
    let now = store.proposals().await.unwrap();
    assert_eq!((now[0].draft.content.as_str(), now[0].draft.what.as_str()), ("", "that"), "lists are without contents");
    assert_eq!(store.proposal(proposal.number).await.unwrap().unwrap().draft.content, "{}");
    assert_eq!((now[0].state, now[0].closed_by.as_str()), (ProposalState::Approved, "grace (uid 1001)"));
    let again = NextRollout { state: store.rollout().await.unwrap().state, ..with(proposal.number) };
    let refused = store.roll_out(again, other.clone(), NOW).await.unwrap().unwrap_err();
    assert_eq!(refused, RolloutRefusal::Closed { state: "approved" });
    let second = store.propose(wanted(), about(), author, NOW).await.unwrap();
    store.withdraw_proposal(second.number, other.clone(), NOW).await.unwrap().unwrap();
    let withdrawn = store.withdraw_proposal(second.number, other, NOW).await.unwrap().unwrap_err();
    assert_eq!(withdrawn, RolloutRefusal::Closed { state: "withdrawn" });
}

async fn the_latest_facts_of_a_node_are_kept_and_a_log_once(store: Arc<dyn Store>) {
    let body = |text: &str| FactBody::new(text.as_bytes().to_vec());
    let facts = |own: &str| Some(KeptFacts { own: body(own), log: Some(body("log")) });
    let first = admit(&*store, Attempt { facts: facts("one"), ..enrolment(1) }).await.number;
    admit(&*store, Attempt { facts: facts("two"), ..enrolment(2) }).await;
    // A refusal that was appraised tells what the machine is now; one that was not leaves what is known.
    let verdict = Verdict::Refuse { code: "policy.no_rule_matched".to_owned(), genuine: true };
    let refused = Attempt { facts: facts("changed"), verdict: verdict.clone(), ..enrolment(1) };
    let id = refused.id;
    store.record_attempt(refused).await.unwrap();
    store.record_attempt(Attempt { verdict, ..enrolment(2) }).await.unwrap();
    let held = store.facts_of_nodes(NodeNumber(0), 10).await.unwrap();
    let own: Vec<&[u8]> = held.iter().map(|of| of.own.as_slice()).collect();
    assert_eq!(own, [b"changed".as_slice(), b"two"]);
    assert_eq!((held[0].node, held[0].attempt, held[0].log), (first, id, held[1].log));
    assert_eq!(store.facts_of_nodes(first, 10).await.unwrap().len(), 1);
    let log = held[0].log.unwrap();
    assert_eq!(store.fact_body(log).await.unwrap().as_deref(), Some(b"log".as_slice()));
    let former = body("one").digest;
    assert!(store.fact_body(former).await.unwrap().is_some());
    store.prune(NOW.plus(7200)).await.unwrap();
    assert_eq!(store.fact_body(former).await.unwrap(), None, "what no node names goes");
    assert!(store.fact_body(log).await.unwrap().is_some());
    let (listed, unlisted) = (Sha256([1; 32]), Sha256([9; 32]));
    store.allow(vec![Allowed { digest: listed, label: String::new() }], operator(), NOW).await.unwrap();
    assert_eq!(
        store.listed(vec![unlisted, listed]).await.unwrap(),
        std::collections::BTreeMap::from([(listed, false)])
    );
}
