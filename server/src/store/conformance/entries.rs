//! Entries, and what changed for whom.

use super::*;

on_each_store! {
    an_entry_is_created_shown_updated_and_deleted,
    what_an_entry_may_not_say_is_refused_and_leaves_nothing,
    two_entries_that_grant_the_same_are_refused,
    beyond_the_configured_limit_no_entry_is_created,
    an_update_from_an_old_revision_is_refused,
    a_node_gets_the_entries_of_its_name_and_of_its_selectors_only,
    a_node_gets_of_the_entries_it_asks_for_those_that_are_its,
    a_nodes_entries_are_counted_by_the_lives_that_they_name,
    a_node_that_does_not_stand_gets_nothing,
    changes_since_a_revision_are_what_changed_and_nothing_else,
    an_unknown_epoch_or_a_future_n_gets_the_full_state,
    other_node_selectors_mean_the_full_state,
    an_entry_moved_to_another_parent_leaves_the_first,
    an_expired_entry_is_gone_before_and_after_pruning,
    entries_are_found_by_selectors_in_every_way,
    entries_come_in_pages_in_order_of_creation,
    a_notice_carries_the_entry_and_its_former_parent,
}

async fn create(store: &dyn Store, draft: EntryDraft) -> Entry {
    store.create_entry(draft, operator(), NOW).await.unwrap().unwrap()
}

fn on(node: &Node) -> Parent {
    Parent::Id(node.spiffe_id.clone().unwrap())
}

fn on_all(texts: &[&str]) -> Parent {
    Parent::Selectors(selectors(texts))
}

fn ids(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(Entry::id).collect()
}

async fn an_entry_is_created_shown_updated_and_deleted(store: Arc<dyn Store>) {
    let drawn =
        create(&*store, EntryDraft { id: String::new(), ..entry("web", Parent::Id(id("/holdfast/node/1"))) }).await;
    assert_eq!((drawn.id().len(), drawn.revision_number, drawn.created_at), (36, 0, NOW));
    assert_eq!(store.entry(drawn.id().to_owned()).await.unwrap(), Some(drawn.clone()));
    let changed = EntryDraft {
        x509_svid_ttl: 600,
        jwt_svid_ttl: 0,
        dns_names: vec!["web.example.org".to_owned()],
        hint: "internal".to_owned(),
        expires_at: Some(NOW.plus(50)),
        ..drawn.draft.clone()
    };
    let after =
        store.update_entry(drawn.id().into(), changed.clone(), Some(0), operator(), NOW).await.unwrap().unwrap();
    assert_eq!((after.revision_number, &after.draft), (1, &changed));
    assert_eq!(store.entry(drawn.id().to_owned()).await.unwrap(), Some(after.clone()));
    assert_eq!(store.delete_entry(drawn.id().into(), operator(), NOW).await.unwrap(), Ok(after));
    assert_eq!(store.entry(drawn.id().to_owned()).await.unwrap(), None);
    let again = store.delete_entry(drawn.id().into(), operator(), NOW).await.unwrap();
    assert_eq!(again, Err(EntryRefusal::Unknown));
    assert_eq!(store.count_entries(EntryFilter::default()).await.unwrap(), 0);
}

async fn what_an_entry_may_not_say_is_refused_and_leaves_nothing(store: Arc<dyn Store>) {
    let (head, revision) = (store.head().await.unwrap(), store.revision());
    let reserved = EntryDraft { spiffe_id: id("/holdfast/server"), ..entry("a", on_all(&["a:b"])) };
    let refused = store.create_entry(reserved, operator(), NOW).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), "entry.invalid");
    assert_eq!((store.head().await.unwrap(), store.revision()), (head, revision));
}

async fn two_entries_that_grant_the_same_are_refused(store: Arc<dyn Store>) {
    create(&*store, entry("web", on_all(&["a:b"]))).await;
    let similar = EntryDraft { id: "other".into(), ..entry("web", on_all(&["a:b"])) };
    let refused = store.create_entry(similar, operator(), NOW).await.unwrap();
    assert_eq!(refused, Err(EntryRefusal::Similar { existing: "web".into() }));
    let taken = EntryDraft { spiffe_id: id("/x"), ..entry("web", on_all(&["a:b"])) };
    assert_eq!(store.create_entry(taken, operator(), NOW).await.unwrap(), Err(EntryRefusal::IdTaken));
    let second = create(&*store, entry("db", on_all(&["a:b"]))).await;
    let into_first = EntryDraft { spiffe_id: id("/web"), ..second.draft };
    let refused = store.update_entry("db".into(), into_first, None, operator(), NOW).await.unwrap();
    assert_eq!(refused, Err(EntryRefusal::Similar { existing: "web".into() }));
}

async fn beyond_the_configured_limit_no_entry_is_created(store: Arc<dyn Store>) {
    for n in 0..30 {
        create(&*store, entry(&format!("e{n}"), on_all(&["a:b"]))).await;
    }
    let full = entry("full", on_all(&["a:b"]));
    let refused = store.create_entry(full.clone(), operator(), NOW).await.unwrap();
    assert_eq!(refused, Err(EntryRefusal::Full { limit: 30 }));
    store.delete_entry("e7".into(), operator(), NOW).await.unwrap().unwrap();
    create(&*store, full).await;
}

async fn an_update_from_an_old_revision_is_refused(store: Arc<dyn Store>) {
    let first = create(&*store, entry("web", on_all(&["a:b"]))).await;
    let update = |revision| store.update_entry("web".into(), first.draft.clone(), revision, operator(), NOW);
    update(Some(0)).await.unwrap().unwrap();
    let refused = update(Some(0)).await.unwrap();
    assert_eq!(refused, Err(EntryRefusal::Changed { found: 1, expected: 0 }));
    update(None).await.unwrap().unwrap();
}

async fn a_node_gets_the_entries_of_its_name_and_of_its_selectors_only(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let other = admit(&*store, enrolment(2)).await;
    create(&*store, entry("mine", on(&node))).await;
    create(&*store, entry("others", on(&other))).await;
    create(&*store, entry("both", on_all(&["tpm:secure_boot:on"]))).await;
    create(&*store, entry("neither", on_all(&["tpm:secure_boot:on", "tpm:fips:on"]))).await;
    let (revision, entries) = store.entries_for_node(node.number, NOW).await.unwrap();
    assert_eq!(ids(&entries), ["mine", "both"]);
    assert_eq!(revision, store.revision());
    let (_, entries) = store.entries_for_node(other.number, NOW).await.unwrap();
    assert_eq!(ids(&entries), ["others", "both"]);
}

async fn a_node_gets_of_the_entries_it_asks_for_those_that_are_its(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let other = admit(&*store, enrolment(2)).await;
    create(&*store, entry("mine", on(&node))).await;
    create(&*store, entry("not-asked", on(&node))).await;
    create(&*store, entry("others", on(&other))).await;
    create(&*store, entry("both", on_all(&["tpm:secure_boot:on"]))).await;
    create(&*store, entry("neither", on_all(&["tpm:secure_boot:on", "tpm:fips:on"]))).await;
    create(&*store, EntryDraft { expires_at: Some(NOW.plus(5)), ..entry("brief", on(&node)) }).await;
    let asked = ["both", "brief", "mine", "neither", "nobodys", "others"].map(str::to_owned);
    let at = |now| store.entries_of_node(node.number, asked.clone().into(), now);
    let (revision, entries) = at(NOW).await.unwrap();
    assert_eq!((revision, ids(&entries)), (store.revision(), vec!["mine", "both", "brief"]));
    assert_eq!(Some(&entries[0]), store.entry("mine".into()).await.unwrap().as_ref());
    assert_eq!(ids(&at(NOW.plus(5)).await.unwrap().1), ["mine", "both"], "one has expired");
    assert_eq!(at(NOW.plus(7200)).await.unwrap().1.len(), 0, "evidence expired");
    let ban = NodeAction::Ban { reason: String::new() };
    store.act(NodeTarget::Number(node.number), ban, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(at(NOW).await.unwrap().1.len(), 0);
}

async fn a_nodes_entries_are_counted_by_the_lives_that_they_name(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let other = admit(&*store, enrolment(2)).await;
    let secure = || on_all(&["tpm:secure_boot:on"]);
    create(&*store, entry("mine", on(&node))).await;
    create(&*store, entry("both", secure())).await;
    create(&*store, EntryDraft { x509_svid_ttl: 600, ..entry("short", secure()) }).await;
    create(&*store, EntryDraft { jwt_svid_ttl: 60, ..entry("token", on(&node)) }).await;
    create(&*store, EntryDraft { expires_at: Some(NOW.plus(5)), ..entry("brief", on(&node)) }).await;
    create(&*store, entry("others", on(&other))).await;
    create(&*store, entry("neither", on_all(&["tpm:secure_boot:on", "tpm:fips:on"]))).await;
    let at = async |now| {
        let lives = store.entry_lives(node.number, now).await.unwrap();
        lives.iter().map(|one| (one.x509_svid_ttl, one.jwt_svid_ttl, one.entries)).collect::<Vec<_>>()
    };
    assert_eq!(at(NOW).await, [(0, 0, 3), (0, 60, 1), (600, 0, 1)]);
    assert_eq!(at(NOW.plus(5)).await, [(0, 0, 2), (0, 60, 1), (600, 0, 1)], "one has expired");
    assert_eq!(at(NOW.plus(7200)).await, [], "evidence expired");
    let ban = NodeAction::Ban { reason: String::new() };
    store.act(NodeTarget::Number(node.number), ban, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(at(NOW).await, []);
}

async fn a_node_that_does_not_stand_gets_nothing(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    create(&*store, entry("mine", on(&node))).await;
    let at = |now| store.entries_for_node(node.number, now);
    assert_eq!(at(NOW).await.unwrap().1.len(), 1);
    assert_eq!(at(NOW.plus(7200)).await.unwrap().1.len(), 0, "evidence expired");
    let ban = NodeAction::Ban { reason: String::new() };
    store.act(NodeTarget::Number(node.number), ban, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(at(NOW).await.unwrap().1.len(), 0);
    let changes = store.entry_changes(node.number, Some(store.revision()), NOW).await.unwrap();
    assert!(changes.full && changes.entries.is_empty());
}

async fn changes_since_a_revision_are_what_changed_and_nothing_else(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let other = admit(&*store, enrolment(2)).await;
    create(&*store, entry("kept", on(&node))).await;
    create(&*store, entry("gone", on(&node))).await;
    create(&*store, entry("changed", on_all(&["tpm:secure_boot:on"]))).await;
    let since = store.revision();
    create(&*store, entry("new", on(&node))).await;
    create(&*store, entry("others", on(&other))).await;
    let draft = EntryDraft { hint: "x".into(), ..entry("changed", on_all(&["tpm:secure_boot:on"])) };
    store.update_entry("changed".into(), draft, None, operator(), NOW).await.unwrap().unwrap();
    store.delete_entry("gone".into(), operator(), NOW).await.unwrap().unwrap();
    let changes = store.entry_changes(node.number, Some(since), NOW).await.unwrap();
    assert!(!changes.full);
    assert_eq!(ids(&changes.entries), ["changed", "new"]);
    assert_eq!(changes.removed, ["gone"]);
    let none = store.entry_changes(node.number, Some(changes.revision), NOW).await.unwrap();
    assert!(!none.full && none.entries.is_empty() && none.removed.is_empty());
}

async fn an_unknown_epoch_or_a_future_n_gets_the_full_state(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    create(&*store, entry("mine", on(&node))).await;
    let now = store.revision();
    for since in [None, Some(Revision { epoch: [9; 16], ..now }), Some(Revision { n: now.n + 1, ..now })] {
        let changes = store.entry_changes(node.number, since, NOW).await.unwrap();
        assert!(changes.full, "{since:?}");
        assert_eq!(ids(&changes.entries), ["mine"]);
    }
}

async fn other_node_selectors_mean_the_full_state(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    create(&*store, entry("secure", on_all(&["tpm:secure_boot:on"]))).await;
    create(&*store, entry("fips", on_all(&["tpm:fips:on"]))).await;
    let since = store.revision();
    let mut attempt = enrolment(1);
    admission(&mut attempt).selectors = selectors(&["tpm:fips:on"]);
    admit(&*store, attempt).await;
    let changes = store.entry_changes(node.number, Some(since), NOW).await.unwrap();
    assert!(changes.full);
    assert_eq!(ids(&changes.entries), ["fips"]);
}

async fn an_entry_moved_to_another_parent_leaves_the_first(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let other = admit(&*store, enrolment(2)).await;
    let mine = create(&*store, entry("mine", on(&node))).await;
    let since = store.revision();
    let draft = EntryDraft { parent: on(&other), ..mine.draft };
    store.update_entry("mine".into(), draft, None, operator(), NOW).await.unwrap().unwrap();
    let left = store.entry_changes(node.number, Some(since), NOW).await.unwrap();
    assert_eq!((left.entries.len(), left.removed.as_slice()), (0, ["mine".to_owned()].as_slice()));
    let joined = store.entry_changes(other.number, Some(since), NOW).await.unwrap();
    assert_eq!((ids(&joined.entries), joined.removed.len()), (vec!["mine"], 0));
}

async fn an_expired_entry_is_gone_before_and_after_pruning(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    create(&*store, EntryDraft { expires_at: Some(NOW.plus(10)), ..entry("brief", on(&node)) }).await;
    let since = store.revision();
    assert_eq!(store.entries_for_node(node.number, NOW.plus(9)).await.unwrap().1.len(), 1);
    assert_eq!(store.entries_for_node(node.number, NOW.plus(10)).await.unwrap().1.len(), 0);
    assert_eq!(store.prune(NOW.plus(9)).await.unwrap(), 0);
    let mut subscription = store.changes();
    assert_eq!(store.prune(NOW.plus(10)).await.unwrap(), 1);
    assert!(matches!(&*heard(&mut subscription)[0], Notice::Entry { entry: None, id, .. } if id == "brief"));
    assert_eq!(store.entry("brief".into()).await.unwrap(), None);
    let changes = store.entry_changes(node.number, Some(since), NOW.plus(10)).await.unwrap();
    assert_eq!(changes.removed, ["brief"]);
}

async fn entries_are_found_by_selectors_in_every_way(store: Arc<dyn Store>) {
    let with = |name: &str, texts: &[&str]| EntryDraft { selectors: selectors(texts), ..entry(name, on_all(&["a:b"])) };
    create(&*store, with("uid", &["unix:uid:1"])).await;
    create(&*store, with("uid-gid", &["unix:uid:1", "unix:gid:1"])).await;
    create(&*store, with("path", &["unix:path:/bin/x"])).await;
    let find = async |texts: &[&str], how| {
        let filter = EntryFilter { selectors: Some((selectors(texts), how)), ..EntryFilter::default() };
        let found = store.entries(filter.clone()).await.unwrap();
        assert_eq!(store.count_entries(filter).await.unwrap(), found.len() as u64);
        found.iter().map(|entry| entry.id().to_owned()).collect::<Vec<_>>()
    };
    let both: &[&str] = &["unix:uid:1", "unix:gid:1"];
    assert_eq!(find(both, SelectorMatch::Subset).await, ["uid", "uid-gid"]);
    assert_eq!(find(both, SelectorMatch::Exact).await, ["uid-gid"]);
    assert_eq!(find(&both[..1], SelectorMatch::Superset).await, ["uid", "uid-gid"]);
    assert_eq!(find(&["unix:gid:1", "unix:path:/bin/x"], SelectorMatch::Any).await, ["uid-gid", "path"]);
    let by_name = EntryFilter { spiffe_id: Some(id("/path")), ..EntryFilter::default() };
    assert_eq!(ids(&store.entries(by_name).await.unwrap()), ["path"]);
}

async fn entries_come_in_pages_in_order_of_creation(store: Arc<dyn Store>) {
    for n in 0..25 {
        create(&*store, entry(&format!("e{n}"), Parent::Id(id("/node")))).await;
    }
    let filter = EntryFilter { limit: 10, parent_id: Some(id("/node")), ..EntryFilter::default() };
    let first = store.entries(filter.clone()).await.unwrap();
    assert_eq!((first.len(), first[9].id()), (10, "e9"));
    let second = store.entries(EntryFilter { after: Some(first[9].number), ..filter.clone() }).await.unwrap();
    assert_eq!(second[0].id(), "e10");
    assert_eq!(store.count_entries(filter).await.unwrap(), 25);
}

async fn a_notice_carries_the_entry_and_its_former_parent(store: Arc<dyn Store>) {
    let mut subscription = store.changes();
    let first = create(&*store, entry("web", on_all(&["a:b"]))).await;
    let draft = EntryDraft { parent: on_all(&["c:d"]), ..first.draft.clone() };
    store.update_entry("web".into(), draft, None, operator(), NOW).await.unwrap().unwrap();
    let notices = heard(&mut subscription);
    assert_eq!((notices[0].n(), notices[1].n()), (1, 2));
    let Notice::Entry { entry: Some(after), before: Some(before), .. } = &*notices[1] else { panic!() };
    assert_eq!((&after.draft.parent, before), (&on_all(&["c:d"]), &first.draft.parent));
    assert_eq!(store.revision().n, 2);
}
