//! Bodies: what attempts were judged by.

use super::*;
use crate::record::Leaf;

on_each_store! {
    a_body_is_kept_once_by_its_digest_however_many_attempts_name_it,
    a_body_stays_as_long_as_the_last_attempt_that_names_it,
    bodies_of_renewals_go_first_and_the_entry_keeps_the_digest,
    a_log_of_a_node_stays_as_long_as_the_node,
    bodies_go_a_few_at_a_time_and_the_account_stays_true,
    what_is_used_again_and_gone_harms_no_attempt,
    attempts_go_with_what_they_were_judged_by_and_the_record_stays_whole,
    equal_decisions_share_one_text_that_is_accounted_for_until_it_goes,
    a_text_that_is_not_kept_leaves_its_digest_in_the_entry_and_takes_nobody_elses,
}

const DAY: i64 = 86_400;

fn body(kind: &'static str, bytes: &[u8]) -> KeptBody {
    KeptBody { kind, digest: Sha256::of(bytes), bytes: Some(bytes.into()) }
}

fn with(n: u8, bodies: Vec<KeptBody>) -> Attempt {
    let manifest = body("manifest", &draw());
    let evidence = Evidence {
        manifest: manifest.digest,
        bodies: bodies.into_iter().chain([manifest]).collect(),
        keeps_text: true,
    };
    Attempt { evidence: Some(evidence), ..enrolment(n) }
}

async fn held(store: &dyn Store, digest: Sha256) -> Option<Vec<u8>> {
    store.bodies(vec![digest]).await.unwrap().pop().map(|(_, bytes)| bytes)
}

async fn drop_all(store: &dyn Store, before: UnixTime) -> u64 {
    let mut dropped = 0;
    loop {
        let step = store.drop_bodies(before).await.unwrap();
        dropped += step.bodies;
        if !step.more {
            return dropped;
        }
    }
}

async fn a_body_is_kept_once_by_its_digest_however_many_attempts_name_it(store: Arc<dyn Store>) {
    let bytes = vec![7; 50_000];
    for n in 1..4 {
        admit(&*store, with(n, vec![body("event-log", &bytes)])).await;
    }
    let digest = Sha256::of(&bytes);
    assert_eq!(held(&*store, digest).await, Some(bytes.clone()));
    assert_eq!(store.firmware_log(digest).await.unwrap(), Some(bytes));
    assert_eq!(store.firmware_log(Sha256([0; 32])).await.unwrap(), None);
    let usage = store.body_usage(NOW).await.unwrap();
    let logs = usage.kinds.iter().find(|kind| kind.kind == "event-log").unwrap();
    assert_eq!((logs.bodies, logs.size), (1, 50_000));
    assert!(logs.stored < 1_000, "a log of equal bytes is packed");
    assert_eq!(usage.kinds.iter().find(|kind| kind.kind == "manifest").unwrap().bodies, 3);
}

async fn a_body_stays_as_long_as_the_last_attempt_that_names_it(store: Arc<dyn Store>) {
    let shared = body("trust", b"shared");
    let first = with(1, vec![shared.clone(), body("evidence", b"first")]);
    admit(&*store, first).await;
    let later = Attempt { at: NOW.plus(300 * DAY), ..with(2, vec![shared.clone()]) };
    store.record_attempt(later).await.unwrap();
    drop_all(&*store, NOW.plus(402 * DAY)).await;
    assert_eq!(held(&*store, Sha256::of(b"first")).await, None);
    assert!(held(&*store, shared.digest).await.is_some());
    drop_all(&*store, NOW.plus(700 * DAY)).await;
    assert!(held(&*store, shared.digest).await.is_some());
    drop_all(&*store, NOW.plus(702 * DAY)).await;
    assert!(held(&*store, shared.digest).await.is_none());
}

async fn bodies_of_renewals_go_first_and_the_entry_keeps_the_digest(store: Arc<dyn Store>) {
    let node = admit(&*store, with(1, vec![body("evidence", b"enrolment")])).await;
    let mut renewal = with(1, vec![body("evidence", b"renewal")]);
    renewal.way = Way::Renew;
    renewal.subject = Subject::Known(node.number);
    let (name, manifest) = (renewal.id, renewal.evidence.clone().unwrap().manifest);
    admit(&*store, renewal).await;
    drop_all(&*store, NOW.plus(92 * DAY)).await;
    assert!(held(&*store, Sha256::of(b"renewal")).await.is_none());
    assert!(held(&*store, manifest).await.is_none());
    assert!(held(&*store, Sha256::of(b"enrolment")).await.is_some());
    let record = store.attempt(name).await.unwrap().unwrap();
    assert_eq!(record.manifest, Some(manifest));
    let entry = store.ledger_entries(record.index, 1).await.unwrap().pop().unwrap();
    assert!(String::from_utf8_lossy(&entry.leaf).contains(&manifest.to_string()));
}

async fn a_log_of_a_node_stays_as_long_as_the_node(store: Arc<dyn Store>) {
    let log = body("event-log", b"a log");
    let mut attempt = with(1, vec![log.clone(), body("event-log", b"another")]);
    admission(&mut attempt).firmware_log = Some(log.digest);
    admit(&*store, attempt).await;
    drop_all(&*store, NOW.plus(1_000 * DAY)).await;
    assert!(held(&*store, log.digest).await.is_some());
    assert!(held(&*store, Sha256::of(b"another")).await.is_none());
}

async fn bodies_go_a_few_at_a_time_and_the_account_stays_true(store: Arc<dyn Store>) {
    let many: Vec<KeptBody> = (0..450_u32).map(|n| body("evidence", &n.to_be_bytes())).collect();
    admit(&*store, with(1, many)).await;
    let step = store.drop_bodies(NOW.plus(500 * DAY)).await.unwrap();
    assert!(step.more && step.bodies < 451, "{step:?}");
    let account = async || {
        let kinds = store.body_usage(NOW).await.unwrap().kinds;
        kinds.into_iter().filter(|kind| kind.kind != "decision").collect::<Vec<_>>()
    };
    let left: u64 = account().await.iter().map(|kind| kind.bodies).sum();
    assert_eq!(left, 451 - step.bodies);
    assert_eq!(drop_all(&*store, NOW.plus(500 * DAY)).await, left);
    assert!(account().await.is_empty());
}

async fn equal_decisions_share_one_text_that_is_accounted_for_until_it_goes(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await.number;
    let mut ends = Vec::new();
    for n in 1..=5 {
        let mut renewal = Attempt { way: Way::Renew, subject: Subject::Known(node), ..enrolment(1) };
        renewal.at = NOW.plus(n * 1_800);
        admission(&mut renewal).evidence_expires = renewal.at.plus(7_200);
        let (name, expires) = (renewal.id, renewal.at.plus(7_200));
        admit(&*store, renewal).await;
        let kept = store.attempt(name).await.unwrap().unwrap();
        let entry = store.ledger_entries(kept.index, 1).await.unwrap().remove(0).leaf;
        let Leaf::Attempt(entry) = Leaf::parse(&entry).unwrap() else { panic!("no attempt") };
        assert_eq!(entry["evidence_expires"].as_i64(), Some(expires.seconds()));
        let whole: serde_json::Value = serde_json::from_str(&kept.decision_in_full()).unwrap();
        assert_eq!(whole["evidence_expires"].as_i64(), kept.evidence_expires.map(UnixTime::seconds));
        ends.push(kept.evidence_expires.unwrap());
    }
    assert!(ends.is_sorted_by(|one, next| one < next), "each has an end of its own: {ends:?}");
    let decisions = async |at| {
        let kinds = store.body_usage(at).await.unwrap().kinds;
        let of = kinds.into_iter().find(|kind| kind.kind == "decision");
        of.map(|kind| (kind.bodies, kind.size, kind.stored, kind.stored_lately))
    };
    let bytes = enrolment(1).decision.len() as u64;
    assert_eq!(decisions(NOW).await, Some((1, bytes, bytes, bytes)));
    assert_eq!(decisions(NOW.plus(3 * DAY)).await, Some((1, bytes, bytes, 0)));
    let verdict = Verdict::Refuse { code: "policy.no_rule_matched".to_owned(), genuine: true };
    let mut refused = Attempt { verdict, ..enrolment(2) };
    refused.decision = "{\"verdict\":\"refused\",\"errors\":[\"ä\"]}".to_owned();
    let (name, more) = (refused.id, refused.decision.len() as u64);
    store.record_attempt(refused).await.unwrap();
    assert_eq!(store.attempt(name).await.unwrap().unwrap().evidence_expires, None);
    assert_eq!(decisions(NOW).await, Some((2, bytes + more, bytes + more, bytes + more)), "bytes, not letters");
    store.prune(NOW.plus(500 * DAY)).await.unwrap();
    assert_eq!(decisions(NOW).await, None);
}

async fn what_is_used_again_and_gone_harms_no_attempt(store: Arc<dyn Store>) {
    let gone = KeptBody { kind: "event-log", digest: Sha256([9; 32]), bytes: None };
    assert!(admit(&*store, with(1, vec![gone])).await.stands(NOW));
}

async fn attempts_go_with_what_they_were_judged_by_and_the_record_stays_whole(store: Arc<dyn Store>) {
    let node_id = id("/holdfast/node/tpm/1");
    let named = |attempt: Attempt, at: UnixTime| {
        let milliseconds = u64::try_from(at.seconds()).unwrap() * 1000;
        let random = draw().into_iter().skip(6).collect::<Vec<_>>().try_into().unwrap();
        let id = AttemptId::new(milliseconds, random);
        let mut attempt = Attempt { id, at, ..attempt };
        admission(&mut attempt).issuance = Some(issuance(&node_id, Origin::Node { attempt: id }));
        attempt
    };
    assert_eq!(named(enrolment(1), NOW).id.began(), NOW);
    let enrolled = named(enrolment(1), NOW);
    let first = enrolled.id;
    let node = admit(&*store, enrolled).await.number;
    let mut renewals = Vec::new();
    for day in 1..=3 {
        let at = NOW.plus(day * DAY);
        let renewal = Attempt { way: Way::Renew, subject: Subject::Known(node), ..with(1, Vec::new()) };
        let renewal = named(Attempt { clock: Some(clock(5, 2000 + day.unsigned_abs())), ..renewal }, at);
        renewals.push(renewal.id);
        admit(&*store, renewal).await;
    }
    let held = async |ids: &[AttemptId]| {
        let mut held = Vec::new();
        for id in ids {
            held.push(store.attempt(*id).await.unwrap().is_some());
        }
        held
    };
    let head = store.head().await.unwrap();
    store.prune(NOW.plus(92 * DAY)).await.unwrap();
    assert_eq!(held(&renewals).await, [true; 3], "a day longer than what they were judged by");
    // Renewals first, and never the last that a node made.
    store.prune(NOW.plus(200 * DAY)).await.unwrap();
    assert_eq!((held(&renewals).await, held(&[first]).await), (vec![false, false, true], vec![true]));
    store.prune(NOW.plus(402 * DAY)).await.unwrap();
    assert_eq!((held(&renewals).await, held(&[first]).await), (vec![false, false, true], vec![false]));
    let listed = store.attempts(AttemptFilter { node: Some(node), ..AttemptFilter::default() }).await.unwrap();
    assert_eq!((listed.len(), listed[0].decision.is_empty()), (1, true));
    // The record is as long as it was, its entries say what was decided, and it verifies.
    assert_eq!(store.head().await.unwrap(), head);
    let entries = store.ledger_entries(0, 100).await.unwrap();
    let says =
        |id: &AttemptId| entries.iter().any(|entry| String::from_utf8_lossy(&entry.leaf).contains(&id.to_string()));
    assert!(says(&first) && renewals.iter().all(says));
    assert!(audit(&*store).await.findings.is_empty());
}

async fn a_text_that_is_not_kept_leaves_its_digest_in_the_entry_and_takes_nobody_elses(store: Arc<dyn Store>) {
    let saying = |n, text: &str, keeps_text| {
        let mut attempt = Attempt { decision: text.to_owned(), ..with(n, Vec::new()) };
        attempt.evidence.as_mut().unwrap().keeps_text = keeps_text;
        attempt
    };
    let (long, shared) = (saying(1, "{\"long\":1}", false), saying(2, "{\"shared\":1}", true));
    let again = saying(3, "{\"shared\":1}", false);
    let (id, others) = (long.id, [shared.id, again.id]);
    let at = store.head().await.unwrap().size;
    for attempt in [long, shared, again] {
        admit(&*store, attempt).await;
    }
    assert_eq!(store.attempt(id).await.unwrap().unwrap().decision, "");
    let leaf = store.ledger_entries(at, 1).await.unwrap().remove(0).leaf;
    let Leaf::Attempt(entry) = Leaf::parse(&leaf).unwrap() else { panic!("no attempt") };
    assert_eq!(entry["decision"], Sha256::of(b"{\"long\":1}").to_string());
    for id in others {
        assert_eq!(store.attempt(id).await.unwrap().unwrap().decision, "{\"shared\":1}");
    }
}
