//! Sets of entries, as files declare them.

use super::*;

on_each_store! {
    a_set_is_created_then_changed_then_nothing_is_left_to_do,
    a_plan_says_what_would_be_done_and_does_nothing,
    what_is_pruned_was_made_by_the_same_owner,
    an_entry_of_somebody_else_is_refused_until_it_is_adopted,
    one_entry_that_may_not_be_keeps_back_the_whole_set,
    two_entries_of_a_set_change_places,
    a_set_is_told_apart_from_what_stays,
    a_set_does_not_go_beyond_the_configured_limit,
    each_change_of_a_set_stands_in_the_record_with_its_owner,
}

fn on_all() -> Parent {
    Parent::Selectors(selectors(&["a:b"]))
}

fn set(names: &[&str]) -> EntrySet {
    EntrySet {
        owner: "web-team".to_owned(),
        drafts: names.iter().map(|name| entry(name, on_all())).collect(),
        others: Others::Kept,
        foreign: Foreign::Refused,
        doing: Doing::Written,
    }
}

async fn apply(store: &dyn Store, set: EntrySet) -> Result<Applied, Vec<SetProblem>> {
    store.apply_entries(set, operator(), NOW).await.unwrap()
}

fn told(applied: &Applied) -> Vec<String> {
    let told = |step: &Step| match step {
        Step::Create(entry) => format!("+{}", entry.id()),
        Step::Update { before, after } => format!("~{} {}>{}", before.id(), before.owner, after.owner),
        Step::Delete(entry) => format!("-{}", entry.id()),
    };
    applied.steps.iter().map(told).collect()
}

fn codes(refused: Result<Applied, Vec<SetProblem>>) -> Vec<(String, &'static str)> {
    refused.unwrap_err().into_iter().map(|problem| (problem.id, problem.refusal.code())).collect()
}

async fn a_set_is_created_then_changed_then_nothing_is_left_to_do(store: Arc<dyn Store>) {
    let first = apply(&*store, set(&["a", "b"])).await.unwrap();
    assert_eq!((told(&first), first.unchanged), (vec!["+a".to_owned(), "+b".to_owned()], 0));
    let made = store.entry("a".into()).await.unwrap().unwrap();
    assert_eq!((made.owner.as_str(), made.revision_number), ("web-team", 0));
    let mut changed = set(&["a", "b"]);
    changed.drafts[1].hint = "internal".to_owned();
    let second = apply(&*store, changed.clone()).await.unwrap();
    assert_eq!((told(&second), second.unchanged), (vec!["~b web-team>web-team".to_owned()], 1));
    let revision = store.revision();
    let third = apply(&*store, changed).await.unwrap();
    assert_eq!((third.steps.len(), third.unchanged, store.revision()), (0, 2, revision));
    assert_eq!(store.entry("b".into()).await.unwrap().unwrap().revision_number, 1);
}

async fn a_plan_says_what_would_be_done_and_does_nothing(store: Arc<dyn Store>) {
    apply(&*store, set(&["gone", "changed"])).await.unwrap();
    let (head, revision) = (store.head().await.unwrap(), store.revision());
    let mut plan = EntrySet { others: Others::Pruned, doing: Doing::Planned, ..set(&["changed", "new"]) };
    plan.drafts[0].hint = "x".to_owned();
    let would = apply(&*store, plan.clone()).await.unwrap();
    assert_eq!(told(&would), ["~changed web-team>web-team", "+new", "-gone"]);
    assert_eq!((store.head().await.unwrap(), store.revision()), (head, revision));
    let done = apply(&*store, EntrySet { doing: Doing::Written, ..plan }).await.unwrap();
    assert_eq!(told(&done), told(&would));
    assert_eq!(store.count_entries(EntryFilter::default()).await.unwrap(), 2);
}

async fn what_is_pruned_was_made_by_the_same_owner(store: Arc<dyn Store>) {
    store.create_entry(entry("by-hand", on_all()), operator(), NOW).await.unwrap().unwrap();
    apply(&*store, EntrySet { owner: "others".to_owned(), ..set(&["theirs"]) }).await.unwrap();
    apply(&*store, set(&["mine", "old"])).await.unwrap();
    let kept = apply(&*store, set(&["mine"])).await.unwrap();
    assert_eq!(kept.steps, []);
    let pruned = apply(&*store, EntrySet { others: Others::Pruned, ..set(&["mine"]) }).await.unwrap();
    assert_eq!(told(&pruned), ["-old"]);
    let all = apply(&*store, EntrySet { others: Others::Pruned, ..set(&[]) }).await.unwrap();
    assert_eq!(told(&all), ["-mine"]);
    let left = store.entries(EntryFilter::default()).await.unwrap();
    assert_eq!(left.iter().map(Entry::id).collect::<Vec<_>>(), ["by-hand", "theirs"]);
}

async fn an_entry_of_somebody_else_is_refused_until_it_is_adopted(store: Arc<dyn Store>) {
    store.create_entry(entry("a", on_all()), operator(), NOW).await.unwrap().unwrap();
    assert_eq!(codes(apply(&*store, set(&["a", "b"])).await), [("a".to_owned(), "entry.not_owned")]);
    assert_eq!(store.entry("b".into()).await.unwrap(), None);
    let adopted = apply(&*store, EntrySet { foreign: Foreign::Adopted, ..set(&["a", "b"]) }).await.unwrap();
    assert_eq!(told(&adopted), ["~a >web-team", "+b"]);
    assert_eq!(store.entry("a".into()).await.unwrap().unwrap().owner, "web-team");
    // Changed by hand, it stays the owner's, and is brought back.
    let by_hand = EntryDraft { hint: "by hand".to_owned(), ..entry("a", on_all()) };
    store.update_entry("a".into(), by_hand, None, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(told(&apply(&*store, set(&["a", "b"])).await.unwrap()), ["~a web-team>web-team"]);
}

async fn one_entry_that_may_not_be_keeps_back_the_whole_set(store: Arc<dyn Store>) {
    let (head, revision) = (store.head().await.unwrap(), store.revision());
    let mut broken = set(&["good", "reserved", "twice", "twice", "nameless"]);
    broken.drafts[1].spiffe_id = id("/holdfast/node/tpm/1");
    broken.drafts[4].id.clear();
    let found = codes(apply(&*store, broken).await);
    let expected = [("reserved", "entry.invalid"), ("twice", "entry.id_taken"), ("", "entry.invalid")];
    assert_eq!(found, expected.map(|(id, code)| (id.to_owned(), code)));
    for owner in ["", "a b", &"a".repeat(65)] {
        let refused = apply(&*store, EntrySet { owner: owner.to_owned(), ..set(&["good"]) }).await;
        assert_eq!(codes(refused), [(String::new(), "entry.invalid")], "{owner:?}");
    }
    let mut same = set(&["a", "b"]);
    same.drafts[1].spiffe_id = same.drafts[0].spiffe_id.clone();
    assert_eq!(codes(apply(&*store, same).await), [("b".to_owned(), "entry.similar")]);
    assert_eq!((store.head().await.unwrap(), store.revision()), (head, revision));
}

async fn two_entries_of_a_set_change_places(store: Arc<dyn Store>) {
    let first = set(&["a", "b"]);
    apply(&*store, first.clone()).await.unwrap();
    let mut swapped = first;
    swapped.drafts[0].spiffe_id = id("/b");
    swapped.drafts[1].spiffe_id = id("/a");
    apply(&*store, swapped).await.unwrap();
    let at = async |name: &str| store.entry(name.into()).await.unwrap().unwrap().draft.spiffe_id;
    assert_eq!((at("a").await, at("b").await), (id("/b"), id("/a")));
    // And one takes the place of one that goes.
    let mut third = EntrySet { others: Others::Pruned, ..set(&["c"]) };
    third.drafts[0].spiffe_id = id("/a");
    assert_eq!(told(&apply(&*store, third).await.unwrap()), ["+c", "-a", "-b"]);
}

async fn a_set_is_told_apart_from_what_stays(store: Arc<dyn Store>) {
    store.create_entry(entry("by-hand", on_all()), operator(), NOW).await.unwrap().unwrap();
    let mut same = set(&["mine"]);
    same.drafts[0].spiffe_id = id("/by-hand");
    assert_eq!(codes(apply(&*store, same).await), [("mine".to_owned(), "entry.similar")]);
}

async fn a_set_does_not_go_beyond_the_configured_limit(store: Arc<dyn Store>) {
    let names: Vec<String> = (0..31).map(|n| format!("e{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(codes(apply(&*store, set(&names)).await), [(String::new(), "entry.limit")]);
    apply(&*store, set(&names[..30])).await.unwrap();
    let replaced = EntrySet { others: Others::Pruned, ..set(&names[1..]) };
    assert_eq!(told(&apply(&*store, replaced).await.unwrap()), ["+e30", "-e0"]);
}

async fn each_change_of_a_set_stands_in_the_record_with_its_owner(store: Arc<dyn Store>) {
    let from = store.head().await.unwrap().size;
    apply(&*store, set(&["a", "b"])).await.unwrap();
    let entries = store.ledger_entries(from, 10).await.unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        let text = String::from_utf8_lossy(&entry.leaf).into_owned();
        assert!(text.contains("\"entry.create\"") && text.contains("\"owner\":\"web-team\""), "{text}");
    }
    assert!(audit(&*store).await.findings.is_empty());
}
