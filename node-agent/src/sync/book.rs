//! The registration entries that the agent holds, and the revision up to which it knows their changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_identity::{Selector, SpiffeId, TrustDomain, UnixTime};
use holdfast_protocol::agent as wire;
use holdfast_protocol::limits::{REVOCATION_LIST_BYTES_MAX, REVOCATION_LISTS_MAX};

use super::foreign::{self, ForeignBundles};
use super::withdrawn;
use crate::svids::Withdrawal;

/// Entries in one book. A node with more has been given somebody else's.
const ENTRIES_MAX: usize = 100_000;
/// Foreign trust domains of one entry.
const FEDERATIONS_MAX: usize = 32;

/// One registration entry, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the server.
    pub id: String,
    /// Who a workload that matches is.
    pub spiffe_id: SpiffeId,
    /// A workload must have them all; never empty.
    pub selectors: BTreeSet<Selector>,
    /// The operator's word for which SVID this is; may be empty.
    pub hint: String,
    /// Rises with every change of the entry: an SVID of an older number is made anew.
    pub revision_number: u64,
    /// The oldest entry wins a duplicate hint, and comes first.
    pub created_at: UnixTime,
    /// After this moment the entry is no longer there; `None` for never.
    pub expires_at: Option<UnixTime>,
    /// Names of foreign trust domains whose bundles its workloads get.
    pub federates_with: BTreeSet<String>,
}

/// A whole change, after its last message.
#[derive(Debug, Default)]
pub struct Change {
    /// The bundle, where it changed.
    pub bundle: Option<wire::Bundle>,
    /// Whether the entries changed (or came for the first time).
    pub entries: bool,
    /// Whether there are other revocation lists (or they came for the first time).
    pub lists: bool,
    /// The bundles of all foreign trust domains that entries name, where they changed.
    pub foreign: Option<ForeignBundles>,
    /// What was withdrawn of JWT-SVIDs, where there is more.
    pub withdrawn: Option<Withdrawal>,
}

/// The revocation lists by issuer, as the server gave them.
type Lists = BTreeMap<Vec<u8>, wire::RevocationList>;

/// The entries and what is under way to them.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<String, Arc<Entry>>,
    revision: Option<wire::Revision>,
    lists: Lists,
    /// Messages of a change whose last one has not come yet.
    pending: Option<Pending>,
}

/// Only what is other than in the book: a change costs what it says, however much the book holds.
#[derive(Debug, Default)]
struct Pending {
    /// What the book holds is not there any more.
    full: bool,
    /// What each entry is now; `None` for gone.
    entries: BTreeMap<String, Option<Arc<Entry>>>,
    bundle: Option<wire::Bundle>,
    /// What each list is now; `None` for gone.
    lists: BTreeMap<Vec<u8>, Option<wire::RevocationList>>,
    foreign: Option<wire::ForeignBundles>,
    withdrawn: Option<Withdrawal>,
}

impl Book {
    /// The entries by ID.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<String, Arc<Entry>> {
        &self.entries
    }

    /// What to tell the server that we hold.
    #[must_use]
    pub fn revision(&self) -> Option<wire::Revision> {
        self.revision.clone()
    }

    /// The revocation lists of the trust domain, DER, in a stable order.
    pub fn lists(&self) -> impl Iterator<Item = &[u8]> {
        self.lists.values().map(|list| list.der.as_slice())
    }

    /// Those of whoever stands above servers' intermediates, by the server's word.
    pub fn lists_above(&self) -> impl Iterator<Item = &[u8]> {
        self.lists.values().filter(|list| list.above).map(|list| list.der.as_slice())
    }

    /// What to tell the server of them.
    #[must_use]
    pub fn list_numbers(&self) -> Vec<wire::RevocationList> {
        let number = |list: &wire::RevocationList| wire::RevocationList {
            issuer: list.issuer.clone(),
            number: list.number,
            ..wire::RevocationList::default()
        };
        self.lists.values().map(number).collect()
    }

    /// Forgets messages of a change that will not be completed: its stream has ended.
    pub fn abandon(&mut self) {
        self.pending = None;
    }

    /// Takes one message; answers with the change once it is complete.
    pub fn apply(&mut self, message: wire::SyncResponse) -> Option<Change> {
        let mut pending = self.pending.take().unwrap_or_default();
        if message.full {
            pending.full = true;
            pending.entries.clear();
        }
        for id in message.removed_entry_ids {
            pending.note(id, None);
        }
        for entry in message.entries {
            let id = entry.id.clone();
            match parsed(entry) {
                Ok(entry) => pending.note(id, Some(Arc::new(entry))),
                Err(problem) => {
                    pending.note(id, None);
                    tracing::warn!(problem, "entry passed over: not one that this agent understands");
                }
            }
        }
        for issuer in message.removed_revocation_lists {
            pending.lists.insert(issuer, None);
        }
        for list in message.revocation_lists {
            // One that is passed over is not said to be held, and comes again with the next stream.
            // What goes takes no room of what comes.
            let has_room = pending.lists.values().flatten().count() < REVOCATION_LISTS_MAX
                || pending.lists.contains_key(&list.issuer);
            if list.der.len() <= REVOCATION_LIST_BYTES_MAX && has_room {
                pending.lists.insert(list.issuer.clone(), Some(list));
            } else {
                tracing::warn!(bytes = list.der.len(), "revocation list passed over: too long, or too many");
            }
        }
        if let Some(said) = message.withdrawn_tokens {
            pending.withdrawn = Some(withdrawn::joined(pending.withdrawn.take(), said));
        }
        pending.bundle = message.bundle.or(pending.bundle);
        if let Some(foreign) = message.foreign {
            pending.foreign.get_or_insert_default().bundles.extend(foreign.bundles);
        }
        if message.more {
            self.pending = Some(pending);
            return None;
        }
        let first = self.revision.is_none();
        let before = pending.full.then(|| std::mem::take(&mut self.entries));
        let changed = replaced(&mut self.entries, pending.entries, ENTRIES_MAX, "entry passed over: too many");
        let entries = before.map_or(changed, |before| before != self.entries);
        let lists =
            replaced(&mut self.lists, pending.lists, REVOCATION_LISTS_MAX, "revocation list passed over: too many");
        self.revision = message.revision;
        let foreign = pending.foreign.map(foreign::read);
        let (entries, lists) = (first || entries, first || lists);
        Some(Change { bundle: pending.bundle, entries, lists, foreign, withdrawn: pending.withdrawn })
    }
}

impl Pending {
    /// Keeps no more than could be taken.
    fn note(&mut self, id: String, entry: Option<Arc<Entry>>) {
        if self.entries.len() < 2 * ENTRIES_MAX || self.entries.contains_key(&id) {
            self.entries.insert(id, entry);
        } else {
            tracing::warn!(limit = 2 * ENTRIES_MAX, "change of an entry passed over: too many in one");
        }
    }
}

/// Replaces in `held` what `news` says; whether anything is another now. Nothing is added beyond `limit`.
fn replaced<K: Ord, V: PartialEq>(
    held: &mut BTreeMap<K, V>,
    news: BTreeMap<K, Option<V>>,
    limit: usize,
    full: &'static str,
) -> bool {
    let mut changed = false;
    // What goes makes room for what comes.
    let (comes, goes): (Vec<_>, Vec<_>) = news.into_iter().partition(|(_, now)| now.is_some());
    for (key, _) in goes {
        changed |= held.remove(&key).is_some();
    }
    for (key, now) in comes {
        let Some(now) = now else { continue };
        if held.len() >= limit && !held.contains_key(&key) {
            tracing::warn!(limit, "{full}");
            continue;
        }
        changed |= held.get(&key) != Some(&now);
        held.insert(key, now);
    }
    changed
}

fn parsed(entry: wire::Entry) -> Result<Entry, &'static str> {
    let spiffe_id: SpiffeId = entry.spiffe_id.parse().map_err(|_| "SPIFFE ID")?;
    let selectors: BTreeSet<Selector> =
        entry.selectors.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(|_| "selector")?;
    if selectors.is_empty() {
        return Err("no selector: it would match every workload");
    }
    Ok(Entry {
        id: entry.id,
        spiffe_id,
        selectors,
        hint: entry.hint,
        revision_number: entry.revision_number,
        created_at: UnixTime(entry.created_at),
        expires_at: (entry.expires_at != 0).then_some(UnixTime(entry.expires_at)),
        federates_with: federates_with(&entry.federates_with)?,
    })
}

fn federates_with(names: &[String]) -> Result<BTreeSet<String>, &'static str> {
    if names.len() > FEDERATIONS_MAX || names.iter().any(|name| name.parse::<TrustDomain>().is_err()) {
        return Err("foreign trust domain");
    }
    Ok(names.iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, selector: &str) -> wire::Entry {
        wire::Entry {
            id: id.to_owned(),
            spiffe_id: "spiffe://td/a".to_owned(),
            selectors: vec![selector.to_owned()],
            ..wire::Entry::default()
        }
    }

    fn message(n: u64, full: bool, more: bool, entries: &[wire::Entry]) -> wire::SyncResponse {
        wire::SyncResponse {
            revision: Some(wire::Revision { epoch: vec![1], n }),
            full,
            more,
            entries: entries.to_vec(),
            ..wire::SyncResponse::default()
        }
    }

    fn ids(book: &Book) -> Vec<&str> {
        book.entries().keys().map(String::as_str).collect()
    }

    #[test]
    fn a_change_counts_only_once_its_last_message_is_there() {
        let mut book = Book::default();
        assert!(book.apply(message(1, true, false, &[entry("a", "unix:uid:1")])).unwrap().entries);
        assert!(book.apply(message(2, true, true, &[entry("b", "unix:uid:2")])).is_none());
        assert_eq!((ids(&book), book.revision().unwrap().n), (vec!["a"], 1));
        assert!(book.apply(message(2, false, false, &[entry("c", "unix:uid:3")])).unwrap().entries);
        assert_eq!((ids(&book), book.revision().unwrap().n), (vec!["b", "c"], 2));
    }

    #[test]
    fn a_change_that_broke_off_leaves_no_trace() {
        let mut book = Book::default();
        book.apply(message(1, true, false, &[entry("a", "unix:uid:1")]));
        book.apply(message(2, true, true, &[entry("b", "unix:uid:2")]));
        book.abandon();
        assert!(!book.apply(message(1, false, false, &[])).unwrap().entries);
        assert_eq!(ids(&book), ["a"]);
    }

    #[test]
    fn revocation_lists_are_replaced_one_by_one_and_named_to_the_next_server() {
        let list = |issuer: u8, number, bytes| wire::RevocationList {
            issuer: vec![issuer],
            number,
            der: vec![issuer; bytes],
            above: issuer == 2,
        };
        let with = |lists: &[wire::RevocationList], more| wire::SyncResponse {
            revocation_lists: lists.to_vec(),
            ..message(1, false, more, &[])
        };
        let mut book = Book::default();
        assert!(book.apply(with(&[list(1, 1, 3), list(2, 1, 3)], true)).is_none());
        assert_eq!(book.lists().count(), 0, "a change counts as a whole");
        assert!(book.apply(with(&[], false)).unwrap().lists);
        assert!(!book.apply(with(&[list(1, 1, 3)], false)).unwrap().lists);
        assert!(book.apply(with(&[list(1, 2, 4)], false)).unwrap().lists);
        assert!(!book.apply(with(&[list(3, 1, REVOCATION_LIST_BYTES_MAX + 1)], false)).unwrap().lists);
        let numbers: Vec<_> = book.list_numbers().into_iter().map(|list| (list.issuer[0], list.number)).collect();
        assert_eq!(numbers, [(1, 2), (2, 1)]);
        assert_eq!(book.lists_above().collect::<Vec<_>>(), [[2, 2, 2]]);
        let mut gone = with(&[], false);
        gone.removed_revocation_lists = vec![vec![1]];
        assert!(book.apply(gone).unwrap().lists);
        assert_eq!(book.lists().collect::<Vec<_>>(), [[2, 2, 2]]);
    }

    #[test]
    fn removals_and_updates_apply_in_one_change() {
        let mut book = Book::default();
        book.apply(message(1, true, false, &[entry("a", "unix:uid:1"), entry("b", "unix:uid:2")]));
        let mut change = message(2, false, false, &[entry("b", "unix:uid:9")]);
        change.removed_entry_ids = vec!["a".to_owned()];
        book.apply(change);
        assert_eq!(ids(&book), ["b"]);
        assert!(book.entries()["b"].selectors.contains(&"unix:uid:9".parse().unwrap()));
    }

    #[test]
    fn an_entry_without_selectors_or_with_a_broken_name_matches_nobody() {
        let mut book = Book::default();
        let mut nobody = entry("a", "unix:uid:1");
        nobody.selectors.clear();
        let mut broken = entry("b", "unix:uid:1");
        broken.spiffe_id = "spiffe://TD/a".to_owned();
        book.apply(message(1, true, false, &[nobody, broken, entry("c", "nonsense")]));
        assert!(ids(&book).is_empty());
    }

    #[test]
    fn foreign_bundles_come_with_the_last_message_of_a_change() {
        let mut book = Book::default();
        let mut first = message(1, true, true, &[entry("a", "unix:uid:1")]);
        let bundle = wire::Bundle { trust_domain: "other".to_owned(), ..wire::Bundle::default() };
        first.foreign = Some(wire::ForeignBundles { bundles: vec![bundle] });
        assert!(book.apply(first).is_none());
        let foreign = book.apply(message(1, false, false, &[])).unwrap().foreign.unwrap();
        assert_eq!(foreign.keys().collect::<Vec<_>>(), ["other"]);
        assert_eq!(book.apply(message(2, false, false, &[])).unwrap().foreign, None, "nothing new");
        for (name, more) in [("a", true), ("b", true), ("c", false)] {
            let bundle = wire::Bundle { trust_domain: name.to_owned(), ..wire::Bundle::default() };
            let foreign = Some(wire::ForeignBundles { bundles: vec![bundle] });
            let change = book.apply(wire::SyncResponse { foreign, ..message(3, false, more, &[]) });
            assert_eq!(change.is_none(), more, "{name}");
            if let Some(foreign) = change.and_then(|change| change.foreign) {
                assert_eq!(foreign.keys().collect::<Vec<_>>(), ["a", "b", "c"], "one change in three messages");
            }
        }
    }

    #[test]
    fn an_entry_that_federates_with_what_is_no_trust_domain_matches_nobody() {
        let mut book = Book::default();
        let naming = |name: &str| wire::Entry { federates_with: vec![name.to_owned()], ..entry("a", "unix:uid:1") };
        book.apply(message(1, true, false, &[naming("other.org")]));
        assert_eq!(book.entries()["a"].federates_with, BTreeSet::from(["other.org".to_owned()]));
        book.apply(message(2, true, false, &[naming("spiffe://other.org")]));
        assert!(ids(&book).is_empty());
    }
}
