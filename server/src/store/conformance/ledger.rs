//! Issuances, the record and the sample of strangers.

use super::*;

on_each_store! {
    issuances_are_recorded_in_order_and_the_record_verifies,
    an_issuance_is_judged_again_if_the_world_moved,
    a_node_svid_is_recorded_by_its_attempt_alone,
    the_sample_of_strangers_is_no_part_of_the_record,
    many_callers_at_once_are_all_answered_and_chained,
    a_closed_store_refuses_what_comes_later,
}

fn workload(node: &Node, entry: &Entry) -> Issuance {
    let origin = Origin::Workload { node: node.number, entry: entry.number, revision: entry.revision_number };
    issuance(&entry.draft.spiffe_id, origin)
}

async fn standing(store: &dyn Store) -> (Node, Entry) {
    let node = admit(store, enrolment(1)).await;
    let draft = entry("web", Parent::Id(node.spiffe_id.clone().unwrap()));
    (node, store.create_entry(draft, operator(), NOW).await.unwrap().unwrap())
}

async fn issuances_are_recorded_in_order_and_the_record_verifies(store: Arc<dyn Store>) {
    let (node, entry) = standing(&*store).await;
    let requests: Vec<_> = (0..40).map(|_| workload(&node, &entry)).collect();
    let answers = store.record_issuances(requests.clone(), store.revision().n, NOW).await.unwrap();
    let recorded: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert!(recorded.is_sorted_by_key(Recorded::index));
    assert!(recorded.iter().map(Recorded::issuance).eq(requests.iter()));
    let report = audit(&*store).await;
    assert_eq!((report.issuances, report.findings.len()), (41, 0));
    assert_eq!(report.entries, store.head().await.unwrap().size);
}

async fn an_issuance_is_judged_again_if_the_world_moved(store: Arc<dyn Store>) {
    let (node, entry) = standing(&*store).await;
    let seen = store.revision().n;
    let ask = async |issuance: Issuance| {
        let mut answers = store.record_issuances(vec![issuance], seen, NOW).await.unwrap();
        answers.remove(0).map(|recorded| recorded.index()).map_err(|refused| refused.code())
    };
    // Something else moved: still good.
    store.create_entry(super::entry("db", entry.draft.parent.clone()), operator(), NOW).await.unwrap().unwrap();
    ask(workload(&node, &entry)).await.unwrap();
    let beyond = Issuance { not_after: NOW.plus(7201), ..workload(&node, &entry) };
    assert_eq!(ask(beyond).await, Err("issuance.outlives_evidence"));
    let updated = store.update_entry("web".into(), entry.draft.clone(), None, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(ask(workload(&node, &entry)).await, Err("issuance.entry_gone"));
    ask(workload(&node, &updated)).await.unwrap();
    let other = Issuance { spiffe_id: id("/other"), ..workload(&node, &updated) };
    assert_eq!(ask(other).await, Err("issuance.entry_gone"));
    let ban = NodeAction::Ban { reason: String::new() };
    store.act(NodeTarget::Number(node.number), ban, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(ask(workload(&node, &updated)).await, Err("issuance.node_not_standing"));
}

async fn a_node_svid_is_recorded_by_its_attempt_alone(store: Arc<dyn Store>) {
    let origin = Origin::Node { attempt: AttemptId([1; 16]) };
    let answers = store.record_issuances(vec![issuance(&id("/holdfast/node/1"), origin)], 0, NOW).await.unwrap();
    assert!(answers[0].is_err());
    assert_eq!(store.head().await.unwrap().size, 0);
}

async fn the_sample_of_strangers_is_no_part_of_the_record(store: Arc<dyn Store>) {
    let line = |minute, source: &str| StrangerLine {
        minute: UnixTime(minute),
        source: source.to_owned(),
        counts: vec![("tpm.ek.chain".to_owned(), 3)],
    };
    store.keep_strangers(vec![line(60, "a"), line(60, "b")]).await.unwrap();
    let many = (0..20_000).map(|n| line(120, &n.to_string())).collect();
    store.keep_strangers(many).await.unwrap();
    let kept = store.strangers(10_000).await.unwrap();
    assert_eq!((kept.len(), &kept[0].counts), (10_000, &line(0, "").counts));
    assert!(kept.iter().all(|line| line.minute == UnixTime(120)));
    assert_eq!(store.head().await.unwrap().size, 0);
}

async fn many_callers_at_once_are_all_answered_and_chained(store: Arc<dyn Store>) {
    let (node, entry) = standing(&*store).await;
    let callers = (0..64).map(|_| {
        let (store, node, entry) = (store.clone(), node.clone(), entry.clone());
        tokio::spawn(async move {
            for _ in 0..5 {
                let n = store.revision().n;
                let answers = store.record_issuances(vec![workload(&node, &entry)], n, NOW).await.unwrap();
                assert!(answers[0].is_ok());
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let report = audit(&*store).await;
    assert_eq!((report.issuances, report.findings.len()), (321, 0));
}

async fn a_closed_store_refuses_what_comes_later(store: Arc<dyn Store>) {
    store.close().await;
    let fault = store.prune(NOW).await.unwrap_err();
    assert_eq!(fault.code(), "store.unavailable");
}
