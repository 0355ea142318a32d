//! Who gets what, and when: the cache as workloads see it.

mod revoked;

use std::time::Duration;

use zeroize::Zeroizing;

use super::*;
use crate::clock;
use crate::sync::ForeignBundle;

fn cache() -> SvidCache {
    let clock = Arc::new(ServerClock::default());
    clock.learn(clock::wall());
    let cache = SvidCache::new(clock);
    cache.learn_bundles(BTreeMap::from([("td".to_owned(), vec![vec![1]])]));
    cache
}

fn entry(id: &str, uid: u32, created_at: i64, hint: &str) -> Arc<Entry> {
    Arc::new(Entry {
        id: id.to_owned(),
        spiffe_id: format!("spiffe://td/{id}").parse().unwrap(),
        selectors: set(uid),
        hint: hint.to_owned(),
        revision_number: 0,
        created_at: UnixTime(created_at),
        expires_at: None,
        federates_with: BTreeSet::new(),
    })
}

fn set(uid: u32) -> BTreeSet<Selector> {
    BTreeSet::from([format!("unix:uid:{uid}").parse().unwrap()])
}

fn push(cache: &SvidCache, entries: &[Arc<Entry>]) {
    cache.entries(&entries.iter().map(|entry| (entry.id.clone(), Arc::clone(entry))).collect());
}

fn sign_for(cache: &SvidCache, entry: &Arc<Entry>, lives: i64) {
    let now = clock::wall();
    let svid = X509Svid {
        spiffe_id: entry.spiffe_id.clone(),
        chain: vec![vec![0]],
        key_pkcs8: Zeroizing::new(vec![7]),
        hint: entry.hint.clone(),
        entry_id: entry.id.clone(),
        not_after: now.plus(lives),
    };
    cache.store(vec![(Arc::clone(entry), svid, now.plus(lives / 2))]);
}

fn names(state: &SvidState) -> Vec<String> {
    match state {
        SvidState::Ready(update) => update.svids.iter().map(|svid| svid.entry_id.clone()).collect(),
        SvidState::Starting => vec!["starting".to_owned()],
        SvidState::Denied => vec!["denied".to_owned()],
    }
}

fn due(cache: &SvidCache) -> Vec<String> {
    cache.due(64).iter().map(|entry| entry.id.clone()).collect()
}

#[test]
fn a_workload_waits_until_the_node_is_admitted_the_entries_are_there_and_its_svid_is_signed() {
    let cache = cache();
    let mut state = cache.subscribe(set(1));
    assert_eq!(names(&state.borrow_and_update()), ["starting"]);
    cache.admit();
    assert_eq!(names(&state.borrow()), ["starting"]);
    let a = entry("a", 1, 1, "");
    push(&cache, &[Arc::clone(&a)]);
    assert_eq!(names(&state.borrow()), ["starting"]);
    assert!(!state.has_changed().unwrap(), "nothing was sent that says nothing new");
    sign_for(&cache, &a, 3600);
    assert!(state.has_changed().unwrap());
    assert_eq!(names(&state.borrow()), ["a"]);
}

#[test]
fn an_entry_that_has_expired_is_known_no_more_though_its_svid_still_lives() {
    let cache = cache();
    cache.admit();
    let mut over = entry("over", 1, 1, "").as_ref().clone();
    over.expires_at = Some(clock::wall().plus(-60));
    let (over, stays) = (Arc::new(over), entry("stays", 1, 2, ""));
    push(&cache, &[Arc::clone(&over), Arc::clone(&stays)]);
    sign_for(&cache, &over, 3600);
    sign_for(&cache, &stays, 3600);
    let known: Vec<_> =
        cache.known().entries.into_iter().map(|(entry, has_svid)| (entry.id.clone(), has_svid)).collect();
    assert_eq!(known, [("stays".to_owned(), true)]);
}

#[test]
fn selectors_without_an_entry_are_denied_and_an_entry_needs_all_of_its_selectors() {
    let cache = cache();
    cache.admit();
    let mut both = entry("both", 1, 1, "").as_ref().clone();
    both.selectors.insert("unix:gid:5".parse().unwrap());
    let both = Arc::new(both);
    push(&cache, &[Arc::clone(&both)]);
    sign_for(&cache, &both, 3600);
    assert_eq!(names(&cache.subscribe(set(1)).borrow()), ["denied"]);
    let mut more = both.selectors.clone();
    more.insert("unix:path:/bin/x".parse().unwrap());
    assert_eq!(names(&cache.subscribe(more).borrow()), ["both"]);
}

#[test]
fn a_refusal_of_the_node_ends_every_identity_at_once() {
    let cache = cache();
    cache.admit();
    let a = entry("a", 1, 1, "");
    push(&cache, &[Arc::clone(&a)]);
    sign_for(&cache, &a, 3600);
    let state = cache.subscribe(set(1));
    assert_eq!(names(&state.borrow()), ["a"]);
    cache.deny();
    assert_eq!(names(&state.borrow()), ["denied"]);
    assert_eq!(cache.counts(), (0, 0));
    sign_for(&cache, &a, 3600);
    assert_eq!(names(&state.borrow()), ["denied"], "an SVID that was on the way is dropped");
    cache.admit();
    assert_eq!(names(&state.borrow()), ["starting"]);
}

#[test]
fn every_update_is_the_full_state_oldest_entry_first() {
    let cache = cache();
    cache.admit();
    let (a, b) = (entry("a", 1, 20, ""), entry("b", 1, 10, ""));
    push(&cache, &[Arc::clone(&a)]);
    sign_for(&cache, &a, 3600);
    let state = cache.subscribe(set(1));
    assert_eq!(names(&state.borrow()), ["a"]);
    push(&cache, &[Arc::clone(&a), Arc::clone(&b)]);
    assert_eq!(names(&state.borrow()), ["a"], "the former state stays until all of the new one is there");
    sign_for(&cache, &b, 3600);
    assert_eq!(names(&state.borrow()), ["b", "a"]);
    push(&cache, &[Arc::clone(&b)]);
    assert_eq!(names(&state.borrow()), ["b"]);
}

#[test]
fn an_identity_that_was_taken_back_leaves_the_stream_though_another_is_still_being_made() {
    let cache = cache();
    cache.admit();
    let (a, b) = (entry("a", 1, 1, ""), entry("b", 1, 2, ""));
    push(&cache, &[Arc::clone(&a)]);
    sign_for(&cache, &a, 3600);
    let state = cache.subscribe(set(1));
    push(&cache, &[Arc::clone(&b)]);
    assert_eq!(names(&state.borrow()), ["starting"]);
}

#[test]
fn a_deleted_entry_takes_its_svid_with_it_though_another_grants_the_same_name() {
    let cache = cache();
    cache.admit();
    let (a, twin, c) = (entry("a", 1, 1, "x"), entry("twin", 1, 2, "y"), entry("c", 1, 3, "z"));
    let twin = Arc::new(Entry { spiffe_id: a.spiffe_id.clone(), ..twin.as_ref().clone() });
    push(&cache, &[Arc::clone(&a), Arc::clone(&twin)]);
    sign_for(&cache, &a, 3600);
    sign_for(&cache, &twin, 3600);
    let state = cache.subscribe(set(1));
    assert_eq!(names(&state.borrow()), ["a", "twin"]);
    push(&cache, &[Arc::clone(&twin), Arc::clone(&c)]);
    assert_eq!(names(&state.borrow()), ["twin"], "while that of c is being made");
    sign_for(&cache, &c, 3600);
    assert_eq!(names(&state.borrow()), ["twin", "c"]);
}

#[test]
fn who_still_matches_an_entry_that_asks_for_more_keeps_his_svid_until_the_new_one_is_there() {
    let cache = cache();
    cache.admit();
    let more: Selector = "unix:path:/bin/x".parse().unwrap();
    let (a, b) = (entry("a", 1, 1, ""), entry("b", 1, 2, ""));
    push(&cache, &[Arc::clone(&a), Arc::clone(&b)]);
    sign_for(&cache, &a, 3600);
    sign_for(&cache, &b, 3600);
    let (still, no_more) =
        (cache.subscribe(set(1).into_iter().chain([more.clone()]).collect()), cache.subscribe(set(1)));
    let key = |state: &SvidState| match state {
        SvidState::Ready(update) => Arc::as_ptr(&update.svids[0]),
        _ => std::ptr::null(),
    };
    let before = key(&still.borrow());
    let mut narrow = Entry { revision_number: 1, ..a.as_ref().clone() };
    narrow.selectors.insert(more);
    let narrow = Arc::new(narrow);
    push(&cache, &[Arc::clone(&narrow), Arc::clone(&b)]);
    assert_eq!((names(&still.borrow()), key(&still.borrow())), (vec!["a".to_owned(), "b".to_owned()], before));
    assert_eq!(names(&no_more.borrow()), ["b"]);
    assert_eq!(due(&cache), ["a"]);
    sign_for(&cache, &narrow, 3600);
    assert_eq!(names(&still.borrow()), ["a", "b"]);
    assert_ne!(key(&still.borrow()), before, "another key than those have who match no more");
}

#[test]
fn bundles_reach_a_workload_while_another_svid_of_its_is_being_made() {
    let cache = cache();
    cache.admit();
    let (a, b) = (entry("a", 1, 1, ""), entry("b", 1, 2, ""));
    push(&cache, &[Arc::clone(&a)]);
    sign_for(&cache, &a, 3600);
    let state = cache.subscribe(set(1));
    push(&cache, &[a, b]);
    cache.learn_bundles(BTreeMap::from([("td".to_owned(), vec![vec![2]])]));
    let SvidState::Ready(update) = state.borrow().clone() else { panic!("not ready") };
    assert_eq!((update.svids.len(), &update.bundles["td"]), (1, &vec![vec![2]]));
}

#[test]
fn the_oldest_entry_wins_a_duplicate_hint() {
    let cache = cache();
    cache.admit();
    let (a, b) = (entry("a", 1, 20, "x"), entry("b", 1, 10, "x"));
    push(&cache, &[Arc::clone(&a), Arc::clone(&b)]);
    sign_for(&cache, &a, 3600);
    sign_for(&cache, &b, 3600);
    assert_eq!(names(&cache.subscribe(set(1)).borrow()), ["b"]);
}

#[test]
fn an_entry_that_the_server_does_not_sign_hinders_no_other() {
    let cache = cache();
    cache.admit();
    let (a, b) = (entry("a", 1, 1, ""), entry("b", 1, 2, ""));
    push(&cache, &[Arc::clone(&a), Arc::clone(&b)]);
    let state = cache.subscribe(set(1));
    sign_for(&cache, &b, 3600);
    assert_eq!(names(&state.borrow()), ["starting"]);
    cache.leave(&a);
    assert_eq!(names(&state.borrow()), ["b"]);
    assert!(due(&cache).is_empty(), "it is left alone for a while");
}

#[test]
fn what_someone_waits_for_is_made_first_then_the_oldest() {
    let cache = cache();
    let entries = [entry("a", 1, 10, ""), entry("b", 2, 5, ""), entry("c", 3, 1, "")];
    assert!(due(&cache).is_empty());
    cache.admit();
    push(&cache, &entries);
    let _waiting = cache.subscribe(set(1));
    assert_eq!(due(&cache), ["a", "c", "b"]);
    sign_for(&cache, &entries[0], 3600);
    assert_eq!(due(&cache), ["c", "b"]);
    sign_for(&cache, &entries[0], 0);
    assert_eq!(due(&cache), ["a", "c", "b"], "at half of its life an SVID is made anew");
}

#[test]
fn a_changed_entry_is_signed_anew_and_a_renamed_one_is_taken_back() {
    let cache = cache();
    cache.admit();
    let a = entry("a", 1, 1, "");
    push(&cache, &[Arc::clone(&a)]);
    sign_for(&cache, &a, 3600);
    let state = cache.subscribe(set(1));
    let changed = Arc::new(Entry { revision_number: 1, ..a.as_ref().clone() });
    push(&cache, &[changed]);
    assert_eq!((names(&state.borrow()), due(&cache)), (vec!["a".to_owned()], vec!["a".to_owned()]));
    let renamed =
        Arc::new(Entry { revision_number: 2, spiffe_id: "spiffe://td/z".parse().unwrap(), ..a.as_ref().clone() });
    push(&cache, &[renamed]);
    assert_eq!(names(&state.borrow()), ["starting"]);
}

#[test]
fn what_has_ended_is_taken_back_at_the_next_tick() {
    let cache = cache();
    cache.admit();
    let a = entry("a", 1, 1, "");
    push(&cache, &[Arc::clone(&a)]);
    sign_for(&cache, &a, 1);
    let state = cache.subscribe(set(1));
    assert_eq!(names(&state.borrow()), ["a"]);
    std::thread::sleep(Duration::from_millis(2_100));
    cache.tick();
    assert_eq!(names(&state.borrow()), ["starting"]);
}

#[test]
fn a_new_bundle_reaches_open_streams() {
    let cache = cache();
    cache.admit();
    let a = entry("a", 1, 1, "");
    push(&cache, &[Arc::clone(&a)]);
    sign_for(&cache, &a, 3600);
    let mut state = cache.subscribe(set(1));
    state.mark_unchanged();
    let bundles = cache.bundles();
    cache.learn_bundles(BTreeMap::from([("td".to_owned(), vec![vec![1], vec![2]])]));
    assert!(state.has_changed().unwrap() && bundles.has_changed().unwrap());
    cache.learn_bundles(bundles.borrow().as_ref().clone());
    state.mark_unchanged();
    assert!(!state.has_changed().unwrap());
}

#[test]
fn a_workload_gets_the_foreign_bundles_that_its_own_entries_name_and_loses_them() {
    let cache = cache();
    cache.admit();
    let naming = |entry: Arc<Entry>, names: &[&str]| {
        let federates_with = names.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(Entry { federates_with, ..(*entry).clone() })
    };
    let (a, b) = (naming(entry("a", 1, 1, ""), &["other", "third"]), entry("b", 2, 2, ""));
    push(&cache, &[Arc::clone(&a), Arc::clone(&b)]);
    sign_for(&cache, &a, 3600);
    sign_for(&cache, &b, 3600);
    let (mut first, second) = (cache.subscribe(set(1)), cache.subscribe(set(2)));
    let bundles = |state: &SvidState| match state {
        SvidState::Ready(update) => {
            update.bundles.iter().map(|(name, bundle)| format!("{name} {}", bundle.len())).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    let foreign = |name: &str, x509_authorities: Vec<Vec<u8>>| {
        let jwt_keys = JwtKeys::new(name.parse().unwrap(), Vec::new()).unwrap();
        (name.to_owned(), ForeignBundle { x509_authorities, jwt_keys })
    };
    cache.learn_foreign([foreign("other", vec![vec![5]]), foreign("td", vec![vec![6], vec![7]])].into());
    let SvidState::Ready(update) = first.borrow().clone() else { panic!("not ready") };
    assert!(update.jwt_bundles.contains_key("other") && !update.jwt_bundles.contains_key("third"));
    assert_eq!(bundles(&first.borrow_and_update()), ["other 1", "td 1", "third 0"], "never in place of our own");
    assert_eq!(bundles(&second.borrow()), ["td 1"]);
    cache.learn_foreign(BTreeMap::new());
    assert_eq!(bundles(&first.borrow_and_update()), ["other 0", "td 1", "third 0"]);
    push(&cache, &[naming(a, &[]), b]);
    assert_eq!(bundles(&first.borrow()), ["td 1"]);
}
