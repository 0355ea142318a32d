//! Who is to be told of which change: streams by the node they serve, so that a change wakes only those it concerns.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use holdfast_identity::{Selector, SpiffeId};
use tokio::sync::mpsc;

use crate::budget::{Buckets, OverBudget, Rate};
use crate::store::{NodeNumber, Notice, Parent, entries::SharedEntry};

/// Changes that wait for one stream. One that falls further behind asks the store for everything since its revision.
const PUSHES_MAX: usize = 64;
/// Streams that one node begins: each reads all that the node has. An agent has one, and a new one whenever it attests anew.
const STREAMS: Rate = Rate { per_second: 1.0, burst: 60.0 };
/// Nodes whose streams are counted apart.
const NODES_MAX: usize = 65_536;

/// What a stream is told.
#[derive(Clone, Debug)]
pub enum Push {
    /// An entry that is the node's, new or changed.
    Entry {
        /// The revision that it made.
        n: u64,
        /// The entry.
        entry: SharedEntry,
    },
    /// An entry that is the node's no longer.
    Removed {
        /// The revision that it made.
        n: u64,
        /// Its ID.
        id: String,
    },
    /// The trust bundle changed.
    Bundle,
    /// Something is new of a foreign trust domain.
    Federation,
    /// Revocation lists changed.
    Lists,
    /// Ask the store: the node has other selectors or another name now, or changes were missed.
    Resync,
}

/// What a stream's node is called and has, for deciding what concerns it.
#[derive(Clone, Debug)]
pub struct Interest {
    /// Its number.
    pub node: NodeNumber,
    /// Its name.
    pub spiffe_id: SpiffeId,
    /// Its selectors.
    pub selectors: Arc<BTreeSet<Selector>>,
}

impl Interest {
    fn is_child(&self, parent: &Parent) -> bool {
        parent.is(&self.spiffe_id, &self.selectors)
    }
}

/// All streams.
#[derive(Debug)]
pub struct Subscribers {
    table: Mutex<Table>,
    next: AtomicU64,
    begun: Buckets<NodeNumber>,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self { table: Mutex::default(), next: AtomicU64::default(), begun: Buckets::new(STREAMS, NODES_MAX) }
    }
}

#[derive(Debug, Default)]
struct Table {
    streams: HashMap<u64, Stream>,
    /// Streams by the name of their node: nearly every entry names one.
    by_name: HashMap<SpiffeId, Vec<u64>>,
}

#[derive(Debug)]
struct Stream {
    interest: Interest,
    pushes: mpsc::Sender<Push>,
    behind: Arc<AtomicBool>,
}

/// One stream's end of the line; leaving is dropping it.
#[derive(Debug)]
pub struct Subscriber {
    id: u64,
    table: Arc<Subscribers>,
    pushes: mpsc::Receiver<Push>,
    behind: Arc<AtomicBool>,
}

impl Subscribers {
    /// Takes one stream out of the node's budget.
    ///
    /// # Errors
    /// [`OverBudget`] for a node that begins one after another.
    pub fn begin(&self, node: NodeNumber, now: Instant) -> Result<(), OverBudget> {
        self.begun.take(node, now)
    }

    /// Joins; pushes come from now on.
    #[must_use]
    pub fn join(self: &Arc<Self>, interest: Interest) -> Subscriber {
        let (sender, pushes) = mpsc::channel(PUSHES_MAX);
        let behind = Arc::new(AtomicBool::new(false));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut table = self.lock();
        table.by_name.entry(interest.spiffe_id.clone()).or_default().push(id);
        table.streams.insert(id, Stream { interest, pushes: sender, behind: behind.clone() });
        Subscriber { id, table: self.clone(), pushes, behind }
    }

    /// How many streams there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().streams.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells everybody whom an entry's or a node's change concerns.
    pub fn tell(&self, notice: &Notice) {
        match notice {
            Notice::Entry { n, id, entry, before } => self.tell_entry(*n, id, entry.as_ref(), before.as_ref()),
            Notice::Entries { .. } => self.resync_all(),
            Notice::Node { node, .. } => {
                let table = self.lock();
                table.streams.values().filter(|stream| stream.interest.node == *node).for_each(Stream::resync);
            }
            Notice::Bundle { .. } => self.tell_all(&Push::Bundle),
            Notice::Federation { .. } => self.tell_all(&Push::Federation),
            Notice::RevocationLists { .. } => self.tell_all(&Push::Lists),
            // What is withdrawn of tokens every stream sees by itself.
            Notice::Policy { .. }
            | Notice::Inventory { .. }
            | Notice::Endorsements { .. }
            | Notice::Revoked { .. }
            | Notice::TokensWithdrawn { .. } => {}
        }
    }

    /// Tells everybody the same.
    pub fn tell_all(&self, push: &Push) {
        self.lock().streams.values().for_each(|stream| stream.push(push.clone()));
    }

    /// Makes everybody ask the store: notices were missed.
    pub fn resync_all(&self) {
        self.lock().streams.values().for_each(Stream::resync);
    }

    fn tell_entry(&self, n: u64, id: &str, entry: Option<&SharedEntry>, before: Option<&Parent>) {
        let table = self.lock();
        let now = entry.map(|entry| &entry.draft.parent);
        let tell = |stream: &Stream| match entry {
            Some(entry) if stream.interest.is_child(&entry.draft.parent) => {
                stream.push(Push::Entry { n, entry: entry.clone() });
            }
            _ if before.is_some_and(|before| stream.interest.is_child(before)) => {
                stream.push(Push::Removed { n, id: id.to_owned() });
            }
            _ => {}
        };
        let named = |parent: &Parent| match parent {
            Parent::Id(name) => Some(name.clone()),
            Parent::Selectors(_) => None,
        };
        let names: Option<BTreeSet<SpiffeId>> = now.into_iter().chain(before).map(named).collect();
        match names {
            Some(names) => {
                let ids = names.iter().filter_map(|name| table.by_name.get(name)).flatten();
                ids.filter_map(|id| table.streams.get(id)).for_each(tell);
            }
            // Some node selectors are involved: everybody is asked whether he has them.
            None => table.streams.values().for_each(tell),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn push(&self, push: Push) {
        if self.pushes.try_send(push).is_err() {
            self.behind.store(true, Ordering::Release);
        }
    }

    fn resync(&self) {
        self.push(Push::Resync);
    }
}

impl Subscriber {
    /// The next push; [`Push::Resync`] if some were missed. `None` never comes while this is held.
    pub async fn next(&mut self) -> Push {
        if self.behind.swap(false, Ordering::AcqRel) {
            return self.missed();
        }
        match self.pushes.recv().await {
            Some(push) => push,
            None => std::future::pending().await,
        }
    }

    /// A push that is there already.
    pub fn try_next(&mut self) -> Option<Push> {
        if self.behind.swap(false, Ordering::AcqRel) {
            return Some(self.missed());
        }
        self.pushes.try_recv().ok()
    }

    /// The node has another name or other selectors now.
    pub fn rejoin(&mut self, interest: Interest) {
        let mut table = self.table.lock();
        let Some(former) = table.streams.get_mut(&self.id) else { return };
        let name = std::mem::replace(&mut former.interest, interest.clone()).spiffe_id;
        table.leave_name(&name, self.id);
        table.by_name.entry(interest.spiffe_id).or_default().push(self.id);
    }

    fn missed(&mut self) -> Push {
        // What waits is older than what was missed; the store knows all of it.
        while self.pushes.try_recv().is_ok() {}
        Push::Resync
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        if let Some(stream) = table.streams.remove(&self.id) {
            table.leave_name(&stream.interest.spiffe_id, self.id);
        }
    }
}

impl Table {
    fn leave_name(&mut self, name: &SpiffeId, id: u64) {
        if let Some(ids) = self.by_name.get_mut(name) {
            ids.retain(|one| *one != id);
            if ids.is_empty() {
                self.by_name.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_identity::UnixTime;

    use super::*;
    use crate::store::{Entry, EntryDraft, EntryNumber, NodeEvent};

    fn id(path: &str) -> SpiffeId {
        format!("spiffe://example.org{path}").parse().unwrap()
    }

    fn interest(name: &str, selectors: &[&str]) -> Interest {
        let selectors = selectors.iter().map(|text| text.parse().unwrap()).collect();
        Interest { node: NodeNumber(1), spiffe_id: id(name), selectors: Arc::new(selectors) }
    }

    fn on(parent: Parent) -> SharedEntry {
        let draft = EntryDraft {
            id: "e".to_owned(),
            spiffe_id: id("/w"),
            parent,
            selectors: BTreeSet::from(["unix:uid:1".parse().unwrap()]),
            x509_svid_ttl: 0,
            jwt_svid_ttl: 0,
            dns_names: Vec::new(),
            hint: String::new(),
            expires_at: None,
            federates_with: BTreeSet::new(),
        };
        Arc::new(Entry {
            number: EntryNumber(1),
            draft,
            revision_number: 0,
            created_at: UnixTime(0),
            owner: String::new(),
        })
    }

    fn created(entry: &SharedEntry) -> Notice {
        Notice::Entry { n: 5, id: "e".to_owned(), entry: Some(entry.clone()), before: None }
    }

    #[test]
    fn an_entry_goes_to_its_parents_alone() {
        let all = Arc::new(Subscribers::default());
        let mut a = all.join(interest("/a", &["tpm:fips:on"]));
        let mut b = all.join(interest("/b", &[]));
        all.tell(&created(&on(Parent::Id(id("/b")))));
        assert!(matches!(b.try_next(), Some(Push::Entry { n: 5, .. })));
        assert!(a.try_next().is_none());
        let by_selector = on(Parent::Selectors(BTreeSet::from(["tpm:fips:on".parse().unwrap()])));
        all.tell(&created(&by_selector));
        assert!(matches!(a.try_next(), Some(Push::Entry { .. })));
        assert!(b.try_next().is_none());
    }

    #[test]
    fn an_entry_that_moves_to_another_parent_leaves_the_former() {
        let all = Arc::new(Subscribers::default());
        let mut a = all.join(interest("/a", &[]));
        let mut b = all.join(interest("/b", &[]));
        let moved = on(Parent::Id(id("/b")));
        let notice = Notice::Entry { n: 6, id: "e".to_owned(), entry: Some(moved), before: Some(Parent::Id(id("/a"))) };
        all.tell(&notice);
        assert!(matches!(a.try_next(), Some(Push::Removed { n: 6, .. })));
        assert!(matches!(b.try_next(), Some(Push::Entry { .. })));
        all.tell(&Notice::Entry { n: 7, id: "e".to_owned(), entry: None, before: Some(Parent::Id(id("/b"))) });
        assert!(matches!(b.try_next(), Some(Push::Removed { n: 7, .. })));
        assert!(a.try_next().is_none());
    }

    #[test]
    fn whoever_falls_behind_asks_the_store_once() {
        let all = Arc::new(Subscribers::default());
        let mut a = all.join(interest("/a", &[]));
        let entry = on(Parent::Id(id("/a")));
        for _ in 0..PUSHES_MAX + 1 {
            all.tell(&created(&entry));
        }
        assert!(matches!(a.try_next(), Some(Push::Resync)));
        assert!(a.try_next().is_none());
    }

    #[test]
    fn a_node_whose_selectors_changed_is_resynchronised_and_heard_under_its_new_ones() {
        let all = Arc::new(Subscribers::default());
        let mut a = all.join(interest("/a", &[]));
        let event = NodeEvent::Admitted;
        all.tell(&Notice::Node { n: 8, node: NodeNumber(1), spiffe_id: None, event });
        assert!(matches!(a.try_next(), Some(Push::Resync)));
        a.rejoin(interest("/a2", &["tpm:fips:on"]));
        all.tell(&created(&on(Parent::Id(id("/a2")))));
        assert!(matches!(a.try_next(), Some(Push::Entry { .. })));
        all.tell(&created(&on(Parent::Id(id("/a")))));
        assert!(a.try_next().is_none());
    }

    #[test]
    fn one_node_begins_so_many_streams_and_takes_none_of_anothers() {
        let (all, now) = (Subscribers::default(), Instant::now());
        let begun = |node: u64, count: usize| (0..count).filter(|_| all.begin(NodeNumber(node), now).is_ok()).count();
        assert_eq!((begun(1, 1000), begun(2, 10)), (60, 10));
        assert!(all.begin(NodeNumber(1), now + std::time::Duration::from_secs(2)).is_ok());
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let all = Arc::new(Subscribers::default());
        let a = all.join(interest("/a", &[]));
        assert_eq!(all.len(), 1);
        drop(a);
        assert!(all.is_empty());
        assert!(all.lock().by_name.is_empty());
    }
}
