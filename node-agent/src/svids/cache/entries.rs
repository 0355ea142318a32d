//! The entries of the node, kept so that what a workload matches is found without a look at all the others.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use holdfast_identity::Selector;

use super::Entry;
use crate::attest::Reading;

/// The entries by ID, by age, and by what workloads have.
#[derive(Default)]
pub(super) struct Entries {
    by_id: BTreeMap<String, Arc<Entry>>,
    by_age: BTreeSet<Aged>,
    /// Each entry stands under one of its selectors, the one that fewest shared when it came: who matches it has that one.
    by_selector: HashMap<Selector, BTreeSet<Aged>>,
    /// How many of them name a program's digest.
    naming_digests: usize,
}

impl Entries {
    pub(super) fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.by_id.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The oldest first; the ID decides between twins, so that the order never changes.
    pub(super) fn by_age(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_age.iter().map(|Aged(entry)| entry)
    }

    /// The entries whose selectors are all in `set`, the oldest first.
    pub(super) fn matching(&self, set: &BTreeSet<Selector>) -> Vec<&Arc<Entry>> {
        let below = set.iter().filter_map(|selector| self.by_selector.get(selector)).flatten();
        let mut matching: Vec<_> = below.filter(|Aged(entry)| entry.selectors.is_subset(set)).collect();
        matching.sort_unstable();
        matching.into_iter().map(|Aged(entry)| entry).collect()
    }

    /// Becomes `now`. What was there before of each entry that is another now, or there no more.
    pub(super) fn become_these(&mut self, now: &BTreeMap<String, Arc<Entry>>) -> Vec<Arc<Entry>> {
        // Both are in the order of their IDs: one walk along both, and no search for what is the same.
        let (mut comes, mut former) = (Vec::new(), Vec::new());
        let mut held = self.by_id.values().peekable();
        for (id, entry) in now {
            while let Some(gone) = held.next_if(|one| one.id < *id) {
                former.push(Arc::clone(gone));
            }
            match held.next_if(|one| one.id == *id) {
                Some(before) if Arc::ptr_eq(before, entry) || before == entry => {}
                before => {
                    former.extend(before.cloned());
                    comes.push(entry);
                }
            }
        }
        former.extend(held.cloned());
        for gone in &former {
            self.remove(gone);
        }
        for entry in comes {
            self.insert(entry);
        }
        former
    }

    /// Whether programs must be read to say who matches.
    pub(super) const fn reading(&self) -> Reading {
        if self.naming_digests == 0 { Reading::Unread } else { Reading::Whole }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn insert(&mut self, entry: &Arc<Entry>) {
        let shared = |selector: &&Selector| self.by_selector.get(*selector).map_or(0, BTreeSet::len);
        if let Some(rarest) = entry.selectors.iter().min_by_key(shared).cloned() {
            self.by_selector.entry(rarest).or_default().insert(Aged(Arc::clone(entry)));
        }
        self.naming_digests += usize::from(names_a_digest(entry));
        self.by_age.insert(Aged(Arc::clone(entry)));
        self.by_id.insert(entry.id.clone(), Arc::clone(entry));
    }

    fn remove(&mut self, entry: &Arc<Entry>) {
        let aged = Aged(Arc::clone(entry));
        for selector in &entry.selectors {
            let Some(below) = self.by_selector.get_mut(selector) else { continue };
            if below.remove(&aged) && below.is_empty() {
                self.by_selector.remove(selector);
            }
        }
        self.naming_digests -= usize::from(names_a_digest(entry));
        self.by_age.remove(&aged);
        self.by_id.remove(&entry.id);
    }
}

fn names_a_digest(entry: &Entry) -> bool {
    entry.selectors.iter().any(|selector| selector.kind() == "unix" && selector.value().starts_with("sha256:"))
}

/// An entry in the order of age.
#[derive(Clone)]
struct Aged(Arc<Entry>);

impl Ord for Aged {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.created_at, &self.0.id).cmp(&(other.0.created_at, &other.0.id))
    }
}

impl PartialOrd for Aged {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Aged {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Aged {}

#[cfg(test)]
mod tests {
    use holdfast_identity::UnixTime;

    use super::*;

    fn entry(id: &str, at: i64, selectors: &[&str]) -> Arc<Entry> {
        Arc::new(Entry {
            id: id.to_owned(),
            spiffe_id: "spiffe://td/a".parse().unwrap(),
            selectors: set(selectors),
            hint: String::new(),
            revision_number: 0,
            created_at: UnixTime(at),
            expires_at: None,
            federates_with: BTreeSet::new(),
        })
    }

    fn set(selectors: &[&str]) -> BTreeSet<Selector> {
        selectors.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn map(entries: &[Arc<Entry>]) -> BTreeMap<String, Arc<Entry>> {
        entries.iter().map(|entry| (entry.id.clone(), Arc::clone(entry))).collect()
    }

    fn ids<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Vec<&'a str> {
        entries.into_iter().map(|entry| entry.id.as_str()).collect()
    }

    /// What `matching` finds is what a look at every entry finds, after each of many changes.
    #[test]
    fn what_matches_is_what_a_look_at_every_entry_finds() {
        let names: Vec<String> = (0..6).map(|n| format!("unix:uid:{n}")).collect();
        let some = |bits: usize| -> Vec<&str> {
            names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, name)| name.as_str()).collect()
        };
        let mut held = Entries::default();
        let mut drawn: usize = 1;
        for round in 0..200_i64 {
            let mut now = held.by_id.clone();
            for _ in 0..5 {
                drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (id, bits) = (format!("{:02}", drawn >> 33 & 31), drawn >> 40 & 63);
                match (bits, drawn >> 50 & 3) {
                    (0, _) | (_, 0) => drop(now.remove(&id)),
                    _ => drop(now.insert(id.clone(), entry(&id, round / 50, &some(bits)))),
                }
            }
            held.become_these(&now);
            let mut sorted: Vec<_> = now.values().collect();
            sorted.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            assert_eq!(ids(held.by_age()), ids(sorted.iter().copied()));
            for bits in 0..64 {
                let has = set(&some(bits));
                let expected = sorted.iter().copied().filter(|entry| entry.selectors.is_subset(&has));
                assert_eq!(ids(held.matching(&has)), ids(expected), "{bits:b}");
            }
        }
        held.become_these(&BTreeMap::new());
        assert!(held.by_selector.is_empty() && held.by_age.is_empty() && held.len() == 0, "nothing is left behind");
    }

    #[test]
    fn what_becomes_another_or_goes_is_told_as_it_was() {
        let mut held = Entries::default();
        let first = [entry("a", 1, &["unix:uid:1"]), entry("b", 1, &["unix:uid:1"]), entry("c", 1, &["unix:uid:1"])];
        assert!(held.become_these(&map(&first)).is_empty());
        // One is the same again, one another, one gone, one new.
        let [a, b, _] = first;
        let now = [entry("a", 1, &["unix:uid:1"]), entry("b", 1, &["unix:uid:2"]), entry("d", 1, &["unix:uid:1"])];
        let former = held.become_these(&map(&now));
        assert_eq!(ids(&former), ["b", "c"]);
        assert!(Arc::ptr_eq(&former[0], &b) && Arc::ptr_eq(held.get("a").unwrap(), &a));
        assert_eq!(ids(held.matching(&set(&["unix:uid:1"]))), ["a", "d"]);
        assert_eq!(ids(held.matching(&set(&["unix:uid:2"]))), ["b"]);
    }

    #[test]
    fn programs_are_read_while_an_entry_names_a_digest() {
        let mut held = Entries::default();
        let plain = entry("a", 1, &["unix:uid:1", "docker:sha256:1", "unix:path:/sha256:"]);
        let named = [entry("b", 1, &["unix:uid:1", "unix:sha256:00"]), entry("c", 1, &["unix:sha256:01"])];
        for (now, reading) in [
            (vec![], Reading::Unread),
            (vec![Arc::clone(&plain)], Reading::Unread),
            (vec![Arc::clone(&plain), Arc::clone(&named[0])], Reading::Whole),
            (vec![Arc::clone(&named[0]), Arc::clone(&named[1])], Reading::Whole),
            (vec![Arc::clone(&named[1])], Reading::Whole),
            (vec![plain], Reading::Unread),
        ] {
            held.become_these(&map(&now));
            assert_eq!(held.reading(), reading, "{:?}", ids(&now));
        }
    }
}
