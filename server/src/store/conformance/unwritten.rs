//! Attempts for which the desk has no room left today.

use super::*;

on_each_store! {
    what_changes_nothing_is_not_written_if_the_desk_has_no_room_for_it,
    what_the_store_bars_is_not_written_if_the_desk_has_no_room_for_it,
}

async fn what_the_store_bars_is_not_written_if_the_desk_has_no_room_for_it(store: Arc<dyn Store>) {
    let no_room = |attempt: Attempt| Attempt { when_barred: WhenBarred::Unwritten, ..attempt };
    let owner = admit(&*store, no_room(enrolment(1))).await;
    let head = store.head().await.unwrap();
    // Another machine that bears its name, and another that bears its key.
    let mut of_its_name = enrolment(2);
    admission(&mut of_its_name).spiffe_id = owner.spiffe_id.clone().unwrap();
    let mut of_its_key = enrolment(3);
    admission(&mut of_its_key).node_key_spki.clone_from(&owner.node_key_spki);
    for (attempt, code) in [(of_its_name, "node.id_owned"), (of_its_key, "node.key_owned")] {
        let unwritten = no_room(Attempt { id: AttemptId(draw()), challenge_id: draw(), ..attempt.clone() });
        let (id, again) = (unwritten.id, unwritten.clone());
        let outcome = store.record_attempt(unwritten).await.unwrap();
        assert!(matches!(&outcome, Outcome::Unwritten { code: found } if found == code), "{outcome:?}");
        assert!(store.attempt(id).await.unwrap().is_none());
        assert_eq!(store.head().await.unwrap(), head, "nothing was written");
        assert!(matches!(store.record_attempt(again).await.unwrap(), Outcome::ChallengeTaken));
    }
    // Frozen or banned; and what is written is written as before.
    let target = || NodeTarget::Number(owner.number);
    store.act(target(), NodeAction::Freeze { reason: "so".into() }, operator(), NOW).await.unwrap().unwrap();
    let outcome = store.record_attempt(no_room(enrolment(1))).await.unwrap();
    assert!(matches!(&outcome, Outcome::Unwritten { code } if code == "node.frozen"), "{outcome:?}");
    assert_eq!(refusal(&*store, enrolment(1)).await, "node.frozen");
    // What ends a standing, and what is an alarm, is written always.
    store.act(target(), NodeAction::Reset, operator(), NOW).await.unwrap().unwrap();
    admit(&*store, enrolment(1)).await;
    let back = Attempt { way: Way::Return, subject: Subject::Known(owner.number), ..enrolment(1) };
    let went_back = no_room(Attempt { clock: Some(clock(5, 1)), ..back.clone() });
    assert_eq!(refusal(&*store, went_back).await, "node.clock.went_back");
    let fell = no_room(Attempt { clock: Some(clock(1, 1)), id: AttemptId(draw()), challenge_id: draw(), ..back });
    assert_eq!(refusal(&*store, fell).await, "node.clock.fell");
    admit(&*store, enrolment(1)).await;
    assert_eq!(refusal(&*store, no_room(refuse(1, true))).await, "policy.no_rule_matched");
    assert_eq!(store.node(target()).await.unwrap().unwrap().standing, Standing::Refused);
}

async fn what_changes_nothing_is_not_written_if_the_desk_has_no_room_for_it(store: Arc<dyn Store>) {
    let no_room = |attempt: Attempt| Attempt { when_barred: WhenBarred::Unwritten, ..attempt };
    let unwritten = async |attempt: Attempt, code: &str| {
        let head = store.head().await.unwrap();
        let outcome = store.record_attempt(attempt).await.unwrap();
        assert!(matches!(&outcome, Outcome::Unwritten { code: found } if found == code), "{outcome:?}");
        assert_eq!(store.head().await.unwrap(), head);
    };
    // Junk on a node's own connection ends nothing; what its hardware vouched for ends its standing, once.
    let number = admit(&*store, enrolment(1)).await.number;
    let renewal = |genuine| Attempt { way: Way::Renew, subject: Subject::Known(number), ..refuse(1, genuine) };
    unwritten(no_room(renewal(false)), "policy.no_rule_matched").await;
    assert_eq!(refusal(&*store, no_room(renewal(true))).await, "policy.no_rule_matched");
    unwritten(no_room(renewal(true)), "policy.no_rule_matched").await;
    // Whoever begins to wait is written, and then waits.
    let waiting = |n| {
        let mut attempt = enrolment(n);
        let candidate = admission(&mut attempt).candidate.clone();
        attempt.verdict = Verdict::AwaitApproval(Box::new(candidate));
        attempt
    };
    let outcome = store.record_attempt(no_room(waiting(2))).await.unwrap();
    assert!(matches!(outcome, Outcome::AwaitsApproval { .. }), "{outcome:?}");
    unwritten(no_room(waiting(2)), "attempt.awaits_approval").await;
    let outcome = store.record_attempt(waiting(2)).await.unwrap();
    assert!(matches!(outcome, Outcome::AwaitsApproval { .. }), "{outcome:?}");
    // A node that is to wait from now on ends.
    admit(&*store, enrolment(3)).await;
    let outcome = store.record_attempt(no_room(waiting(3))).await.unwrap();
    assert!(matches!(outcome, Outcome::AwaitsApproval { .. }), "{outcome:?}");
}
