//! Foreign trust domains: each for itself, and what entries may say of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_identity::TrustDomain;

use super::*;
use crate::store::federations::FEDERATIONS_MAX;

on_each_store!(
    a_federation_lives_from_create_to_delete,
    a_bundle_that_is_fetched_counts_only_from_where_it_should_come,
    an_older_bundle_does_not_replace_a_newer_one,
    an_outage_is_recorded_once_and_leaves_the_bundle,
    an_entry_names_only_trust_domains_that_are_known,
    a_trust_domain_that_entries_name_stays_until_they_do_not,
    a_bundle_brought_by_hand_makes_a_trust_domain_known,
    bundles_brought_together_are_set_together_or_not_at_all,
);

fn name(text: &str) -> TrustDomain {
    text.parse().unwrap()
}

fn web(url: &str) -> Endpoint {
    Endpoint { url: url.to_owned(), profile: EndpointProfile::HttpsWeb }
}

fn draft(domain: &str, url: &str) -> FederationDraft {
    FederationDraft { trust_domain: name(domain), endpoint: web(url), bundle: None }
}

fn bundle(sequence: Option<u64>, text: &str) -> BundleDocument {
    BundleDocument { bytes: text.as_bytes().to_vec(), sequence }
}

async fn acts(store: &dyn Store, action: &str) -> usize {
    let entries = store.ledger_entries(0, 10_000).await.unwrap();
    let needle = format!("\"action\":\"{action}\"");
    entries.iter().filter(|entry| String::from_utf8_lossy(&entry.leaf).contains(&needle)).count()
}

async fn a_federation_lives_from_create_to_delete(store: Arc<dyn Store>) {
    let made = store.create_federation(draft("other.org", "https://a/"), operator(), NOW).await.unwrap().unwrap();
    assert_eq!((made.next_refresh, made.bundle.clone()), (NOW, None), "due at once");
    let again = store.create_federation(draft("other.org", "https://b/"), operator(), NOW).await.unwrap();
    assert_eq!(again.unwrap_err().code(), "federation.exists");
    let own = store.create_federation(draft("td", "https://b/"), operator(), NOW).await.unwrap();
    assert_eq!(own.unwrap_err().code(), "federation.own_domain");
    let unknown = store.update_federation(draft("third.org", "https://b/"), operator(), NOW).await.unwrap();
    assert_eq!(unknown.unwrap_err().code(), "federation.unknown");
    let id = "spiffe://other.org/server".parse().unwrap();
    let endpoint = Endpoint { url: "https://b/".to_owned(), profile: EndpointProfile::HttpsSpiffe(id) };
    let change = FederationDraft { endpoint, bundle: Some(bundle(Some(1), "{}")), ..draft("other.org", "") };
    let changed = store.update_federation(change.clone(), operator(), NOW).await.unwrap().unwrap();
    assert_eq!((changed.endpoint, changed.bundle), (Some(change.endpoint), change.bundle));
    assert_eq!(store.federations().await.unwrap().len(), 1);
    let gone = store.delete_federation(name("other.org"), Named::Restrict, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(gone.trust_domain, name("other.org"));
    assert_eq!(store.federation(name("other.org")).await.unwrap(), None);
    for action in ["federation.create", "federation.update", "federation.delete"] {
        assert_eq!(acts(&*store, action).await, 1, "{action}");
    }
    assert!(audit(&*store).await.findings.is_empty());
}

async fn a_bundle_that_is_fetched_counts_only_from_where_it_should_come(store: Arc<dyn Store>) {
    store.create_federation(draft("other.org", "https://a/"), operator(), NOW).await.unwrap().unwrap();
    let mut heard_of = store.changes();
    let keep = |url: &str, text: &str, at| {
        let later = UnixTime(at).plus(300);
        store.keep_federated_bundle(name("other.org"), web(url), bundle(Some(1), text), later, UnixTime(at))
    };
    assert_eq!(keep("https://elsewhere/", "{}", 10).await.unwrap(), Kept::Unwanted);
    assert_eq!(keep("https://a/", "{\"a\":1}", 20).await.unwrap(), Kept::Changed);
    assert_eq!(keep("https://a/", "{\"a\":1}", 30).await.unwrap(), Kept::Same);
    let found = store.federation(name("other.org")).await.unwrap().unwrap();
    assert_eq!(found.bundle, Some(bundle(Some(1), "{\"a\":1}")));
    assert_eq!((found.bundle_at, found.next_refresh), (Some(UnixTime(30)), UnixTime(330)));
    assert_eq!(acts(&*store, "federation.refresh").await, 1, "the same again is no act");
    assert_eq!(heard(&mut heard_of).len(), 2);
    let nobody = store.keep_federated_bundle(name("third.org"), web("https://a/"), bundle(None, "{}"), NOW, NOW).await;
    assert_eq!(nobody.unwrap(), Kept::Unwanted);
}

async fn an_older_bundle_does_not_replace_a_newer_one(store: Arc<dyn Store>) {
    store.create_federation(draft("other.org", "https://a/"), operator(), NOW).await.unwrap().unwrap();
    let keep = |sequence: Option<u64>, text: &str| {
        store.keep_federated_bundle(name("other.org"), web("https://a/"), bundle(sequence, text), NOW, NOW)
    };
    assert_eq!(keep(Some(5), "five").await.unwrap(), Kept::Changed);
    assert_eq!(keep(Some(4), "four").await.unwrap(), Kept::Older);
    assert_eq!(store.federation(name("other.org")).await.unwrap().unwrap().bundle, Some(bundle(Some(5), "five")));
    assert_eq!(keep(Some(5), "another five").await.unwrap(), Kept::Changed);
    assert_eq!(keep(None, "no number").await.unwrap(), Kept::Changed);
    assert_eq!(keep(Some(1), "one").await.unwrap(), Kept::Changed, "nothing says that it is older");
    let brought = BTreeMap::from([(name("other.org"), bundle(Some(0), "zero"))]);
    store.set_federated_bundles(brought, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(store.federation(name("other.org")).await.unwrap().unwrap().bundle, Some(bundle(Some(0), "zero")));
}

async fn an_outage_is_recorded_once_and_leaves_the_bundle(store: Arc<dyn Store>) {
    let with = FederationDraft { bundle: Some(bundle(Some(1), "first")), ..draft("other.org", "https://a/") };
    store.create_federation(with, operator(), NOW).await.unwrap().unwrap();
    let fail = |at: i64| {
        let failure = FetchFailure { code: "federation.fetch.status", words: "\u{1b}[31mstatus 500".to_owned() };
        let next = UnixTime(at).plus(60);
        store.fail_federation(name("other.org"), web("https://a/"), failure, next, UnixTime(at))
    };
    fail(100).await.unwrap();
    fail(200).await.unwrap();
    let found = store.federation(name("other.org")).await.unwrap().unwrap();
    assert_eq!((found.failures, found.last_failure, found.next_refresh), (2, Some(UnixTime(200)), UnixTime(260)));
    assert_eq!(found.last_error, "[31mstatus 500 (federation.fetch.status)", "without what moves a terminal");
    assert_eq!(found.bundle, Some(bundle(Some(1), "first")));
    assert_eq!(acts(&*store, "federation.unreachable").await, 1);
    let kept = store.keep_federated_bundle(name("other.org"), web("https://a/"), bundle(Some(1), "first"), NOW, NOW);
    assert_eq!(kept.await.unwrap(), Kept::Same);
    let found = store.federation(name("other.org")).await.unwrap().unwrap();
    assert_eq!((found.failures, found.last_error.as_str()), (0, ""));
    assert_eq!(acts(&*store, "federation.recovered").await, 1);
}

async fn an_entry_names_only_trust_domains_that_are_known(store: Arc<dyn Store>) {
    let naming = |names: &[&str]| EntryDraft {
        federates_with: names.iter().map(|one| name(one)).collect(),
        ..entry("web", Parent::Id(id("/holdfast/node/1")))
    };
    let refused = |names: Vec<&'static str>| {
        let draft = naming(&names);
        async { store.create_entry(draft, operator(), NOW).await.unwrap().unwrap_err() }
    };
    let unknown = refused(vec!["other.org"]).await;
    assert_eq!(unknown.code(), "entry.invalid");
    assert!(unknown.to_string().starts_with("federates_with: no federation with other.org: "), "{unknown}");
    assert!(refused(vec!["td"]).await.to_string().contains("own trust domain"));
    store.create_federation(draft("other.org", "https://a/"), operator(), NOW).await.unwrap().unwrap();
    let made = store.create_entry(naming(&["other.org"]), operator(), NOW).await.unwrap().unwrap();
    assert_eq!(made.draft.federates_with, BTreeSet::from([name("other.org")]));
    assert_eq!(store.entry("web".to_owned()).await.unwrap().unwrap(), made);
    let unnamed = store.update_entry("web".to_owned(), naming(&[]), None, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(store.entry("web".to_owned()).await.unwrap().unwrap(), unnamed);
    let wrong = store.update_entry("web".to_owned(), naming(&["third.org"]), None, operator(), NOW).await.unwrap();
    assert_eq!(wrong.unwrap_err().code(), "entry.invalid");
}

async fn a_trust_domain_that_entries_name_stays_until_they_do_not(store: Arc<dyn Store>) {
    store.create_federation(draft("other.org", "https://a/"), operator(), NOW).await.unwrap().unwrap();
    for one in ["a", "b"] {
        let federates_with = BTreeSet::from([name("other.org")]);
        let draft = EntryDraft { federates_with, ..entry(one, Parent::Id(id("/holdfast/node/1"))) };
        store.create_entry(draft, operator(), NOW).await.unwrap().unwrap();
    }
    store.delete_entry("b".to_owned(), operator(), NOW).await.unwrap().unwrap();
    let delete = |named| store.delete_federation(name("other.org"), named, operator(), NOW);
    let refused = delete(Named::Restrict).await.unwrap().unwrap_err();
    assert_eq!(refused, FederationRefusal::Named { trust_domain: name("other.org"), entries: 1 });
    delete(Named::Dissociate).await.unwrap().unwrap();
    let left = store.entry("a".to_owned()).await.unwrap().unwrap();
    assert_eq!((left.draft.federates_with.len(), left.revision_number), (0, 1));
    assert_eq!(store.federation(name("other.org")).await.unwrap(), None);
}

async fn a_bundle_brought_by_hand_makes_a_trust_domain_known(store: Arc<dyn Store>) {
    let set = |domain: &str, text: &str| {
        store.set_federated_bundles([(name(domain), bundle(None, text))].into(), operator(), NOW)
    };
    assert_eq!(set("td", "{}").await.unwrap().unwrap_err().code(), "federation.own_domain");
    let known = set("other.org", "{}").await.unwrap().unwrap().remove(0);
    assert_eq!((known.endpoint, known.bundle), (None, Some(bundle(None, "{}"))));
    let fetched = store.create_federation(draft("other.org", "https://a/"), operator(), NOW).await.unwrap().unwrap();
    assert_eq!(fetched.bundle, Some(bundle(None, "{}")), "what was brought stays until something is fetched");
    assert_eq!(acts(&*store, "federation.set_bundle").await, 1);
}

async fn bundles_brought_together_are_set_together_or_not_at_all(store: Arc<dyn Store>) {
    let set = |domains: &[&str]| {
        let brought = domains.iter().map(|domain| (name(domain), bundle(None, domain))).collect();
        store.set_federated_bundles(brought, operator(), NOW)
    };
    // The own trust domain stands behind others that would do.
    assert_eq!(set(&["a.org", "other.org", "td"]).await.unwrap().unwrap_err().code(), "federation.own_domain");
    assert!(store.federations().await.unwrap().is_empty(), "nothing of it is there");
    assert_eq!(acts(&*store, "federation.set_bundle").await, 0);
    let known = set(&["a.org", "b.org"]).await.unwrap().unwrap();
    assert_eq!(known, store.federations().await.unwrap());
    assert_eq!(acts(&*store, "federation.set_bundle").await, 2);
    let many: Vec<String> = (0..FEDERATIONS_MAX - 1).map(|n| format!("d{n}.org")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(set(&many).await.unwrap().unwrap_err().code(), "federation.limit");
    assert_eq!(store.federations().await.unwrap(), known);
    set(&many[1..]).await.unwrap().unwrap();
    assert_eq!(set(&["one-more.org"]).await.unwrap().unwrap_err().code(), "federation.limit");
    assert!(set(&["a.org"]).await.unwrap().is_ok(), "one that is known takes no more room");
}
