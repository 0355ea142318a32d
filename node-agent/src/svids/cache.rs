//! The SVIDs that the node's workloads may have, in memory, and who is waiting for them.

mod change;
mod entries;
mod jwt;
mod known;
mod taint;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use holdfast_identity::{Selector, UnixTime};
use holdfast_svid::audience::Audience;
use holdfast_svid::jwt::{JwtKeys, JwtSvid};
use tokio::sync::{Notify, watch};

use self::change::{Remaining, same};
use self::entries::Entries;
use super::key::KeyType;
use super::lists::Lists;
use super::pool::KeyPool;
use super::tokens::{JwtToken, NoToken, Tokens};
use super::{SvidSource, SvidState, Tainted, WorkloadUpdate, X509Svid};
use crate::attest::Reading;
use crate::clock::ServerClock;
use crate::sync::{Entry, ForeignBundles};
pub use known::Known;
pub(crate) use taint::soon;

/// Entries whose SVIDs are made before anyone asks, the oldest first: a workload that starts while the server is away
/// still gets its own. Beyond that number SVIDs are made when a workload asks.
pub const PREFETCH_MAX: usize = 1_000;
/// Seconds before something that the server did not sign is asked for again.
const RETRY_SECONDS: i64 = 30;

type Bundles = Arc<BTreeMap<String, Vec<Vec<u8>>>>;

/// Every SVID of the node's workloads.
pub struct SvidCache {
    clock: Arc<ServerClock>,
    inner: Mutex<Inner>,
    bundles: watch::Sender<Bundles>,
    tainted: watch::Sender<Tainted>,
    work: Notify,
    keys: KeyPool,
    tokens: Tokens,
}

#[derive(Default)]
struct Inner {
    standing: Standing,
    /// The entries came at least once since the node was admitted.
    synced: bool,
    entries: Entries,
    held: HashMap<String, Held>,
    /// What the server did not sign, by entry, until when it is left alone.
    unsigned: HashMap<String, UnixTime>,
    sets: HashMap<BTreeSet<Selector>, watch::Sender<SvidState>>,
    jwt_bundles: BTreeMap<String, JwtKeys>,
    lists: Lists,
    foreign: ForeignBundles,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Starting,
    Admitted,
    Denied,
}

struct Held {
    svid: Arc<X509Svid>,
    revision_number: u64,
    rotate_at: UnixTime,
}

impl SvidCache {
    /// An empty cache: everyone waits. Workloads get keys of the usual kind.
    #[must_use]
    pub fn new(clock: Arc<ServerClock>) -> Self {
        let keys = KeyPool::new(KeyType::default());
        let (bundles, tainted) = (watch::Sender::default(), watch::Sender::default());
        let tokens = Tokens::new(Arc::clone(&clock));
        Self { clock, inner: Mutex::default(), bundles, tainted, work: Notify::new(), keys, tokens }
    }

    /// With these keys for workloads.
    #[must_use]
    pub fn with_keys(self, keys: KeyPool) -> Self {
        Self { keys, ..self }
    }

    /// Keys for SVIDs to come.
    pub(super) const fn keys(&self) -> &KeyPool {
        &self.keys
    }

    /// The node is admitted: SVIDs may be made.
    pub fn admit(&self) {
        let mut inner = self.lock();
        if inner.standing != Standing::Admitted {
            inner.standing = Standing::Admitted;
            self.publish_locked(&mut inner);
        }
    }

    /// The node was refused: every workload loses its identities at once, and their keys are wiped.
    pub fn deny(&self) {
        let mut inner = self.lock();
        inner.standing = Standing::Denied;
        inner.synced = false;
        inner.entries.clear();
        inner.held.clear();
        inner.unsigned.clear();
        self.tokens.deny();
        self.publish_locked(&mut inner);
    }

    /// The entries are these now.
    pub fn entries(&self, entries: &BTreeMap<String, Arc<Entry>>) {
        let mut inner = self.lock();
        let Inner { entries: now, held, unsigned, synced, .. } = &mut *inner;
        let read_before = now.reading();
        let former = now.become_these(entries);
        let must_read = now.reading() == Reading::Whole && read_before == Reading::Unread;
        *synced = true;
        for before in &former {
            let entry = now.get(&before.id);
            if entry.is_none_or(|entry| entry.revision_number != before.revision_number) {
                unsigned.remove(&before.id);
            }
            // Who does not match any more keeps the key that it was given: who matches from now on gets another.
            let is_kept = |held: &Held| {
                entry.is_some_and(|e| e.spiffe_id == held.svid.spiffe_id && e.selectors.is_subset(&before.selectors))
            };
            if held.get(&before.id).is_some_and(|held| !is_kept(held)) {
                held.remove(&before.id);
            }
        }
        let revisions: HashMap<_, _> = former.iter().map(|one| (one.id.as_str(), one.revision_number)).collect();
        self.tokens.retain(|id| {
            let now = now.get(id).map(|entry| entry.revision_number);
            now.is_some() && revisions.get(id).is_none_or(|before| Some(*before) == now)
        });
        self.publish_locked(&mut inner);
        if must_read {
            // Whoever is there was looked at without a digest, and may have one that counts now.
            inner.sets.values().for_each(|set| set.send_modify(|_| {}));
        }
        self.work.notify_one();
    }

    /// The X.509 authorities by trust-domain name are these now.
    pub fn learn_bundles(&self, bundles: BTreeMap<String, Vec<Vec<u8>>>) {
        let mut inner = self.lock();
        if **self.bundles.borrow() != bundles {
            inner.lists.believe(&bundles);
            self.bundles.send_replace(Arc::new(bundles));
            self.publish_locked(&mut inner);
        }
    }

    /// The bundles of foreign trust domains are these now, and there are no others.
    pub fn learn_foreign(&self, foreign: ForeignBundles) {
        let mut inner = self.lock();
        if inner.foreign != foreign {
            inner.foreign = foreign;
            self.publish_locked(&mut inner);
        }
    }

    /// At most `limit` entries whose SVID has to be made now: those that someone waits for first, then the oldest.
    pub(super) fn due(&self, limit: usize) -> Vec<Arc<Entry>> {
        let inner = self.lock();
        if inner.standing != Standing::Admitted || !inner.synced {
            return Vec::new();
        }
        let asked: HashSet<&str> =
            inner.sets.keys().flat_map(|set| inner.entries.matching(set)).map(|entry| entry.id.as_str()).collect();
        let mut due: Vec<_> = inner
            .entries
            .by_age()
            .enumerate()
            .map(|(place, entry)| (!asked.contains(entry.id.as_str()), place, entry))
            .filter(|(unasked, place, entry)| (!unasked || *place < PREFETCH_MAX) && self.is_due(&inner, entry))
            .collect();
        due.sort_by_key(|(unasked, place, _)| (*unasked, *place));
        due.into_iter().take(limit).map(|(_, _, entry)| Arc::clone(entry)).collect()
    }

    fn is_due(&self, inner: &Inner, entry: &Entry) -> bool {
        if entry.expires_at.is_some_and(|end| self.clock.is_over(end)) {
            return false;
        }
        if inner.unsigned.get(&entry.id).is_some_and(|until| !self.clock.is_due(*until)) {
            return false;
        }
        inner
            .held
            .get(&entry.id)
            .is_none_or(|held| held.revision_number != entry.revision_number || self.clock.is_due(held.rotate_at))
    }

    /// When the next SVID comes of age; `None` while there is none.
    pub(super) fn next_rotation(&self) -> Option<UnixTime> {
        self.lock().held.values().map(|held| held.rotate_at).min()
    }

    /// Takes signed SVIDs, with the moment from which each is to be replaced.
    pub(super) fn store(&self, signed: Vec<(Arc<Entry>, X509Svid, UnixTime)>) {
        let mut inner = self.lock();
        for (entry, svid, rotate_at) in signed {
            // The entry may have changed or gone while its SVID was on the way.
            if inner.entries.get(&entry.id).is_none_or(|now| now.spiffe_id != svid.spiffe_id)
                || inner.lists.has(&svid.chain)
            {
                continue;
            }
            inner.unsigned.remove(&entry.id);
            let late = self.late(&mut inner.lists, &svid);
            let rotate_at = late.map_or(rotate_at, |at| rotate_at.min(at));
            let held = Held { svid: Arc::new(svid), revision_number: entry.revision_number, rotate_at };
            if inner.held.insert(entry.id.clone(), held).is_some() {
                metrics::counter!("holdfast_agent_svid_rotations_total").increment(1);
            }
        }
        self.publish_locked(&mut inner);
    }

    /// The server would not sign for this entry; it is asked again later, or when the entry changes.
    pub(super) fn leave(&self, entry: &Entry) {
        let mut inner = self.lock();
        if inner.entries.get(&entry.id).is_none_or(|now| now.revision_number != entry.revision_number) {
            // The refusal is of an entry that is another now, or there no more.
            self.work.notify_one();
            return;
        }
        let until = self.clock.now().plus(RETRY_SECONDS);
        inner.unsigned.insert(entry.id.clone(), until);
        self.publish_locked(&mut inner);
    }

    /// Waits until there may be something to make.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    /// Brings everyone up to date with the clock: what has ended is taken back.
    pub fn tick(&self) {
        let mut inner = self.lock();
        inner.sets.retain(|_, set| set.receiver_count() > 0);
        self.publish_locked(&mut inner);
        let first = inner.held.values().map(|held| held.svid.not_after).min();
        if let Some(first) = first {
            metrics::gauge!("holdfast_agent_first_expiry_seconds", "svid" => "workload")
                .set(super::gauge(first.since(self.clock.now())));
        }
        metrics::gauge!("holdfast_agent_svids").set(f64::from(u32::try_from(inner.held.len()).unwrap_or(u32::MAX)));
        drop(inner);
        self.work.notify_one();
    }

    fn publish_locked(&self, inner: &mut Inner) {
        let Inner { sets, .. } = &*inner;
        for (set, sender) in sets {
            let before = sender.borrow().clone();
            let now = self.state(inner, set, &before);
            if !same(&before, &now) {
                sender.send_replace(now);
            }
        }
    }

    /// The state for one set of selectors. While a part of it is being made, there is what is left of the one before.
    fn state(&self, inner: &Inner, set: &BTreeSet<Selector>, before: &SvidState) -> SvidState {
        match inner.standing {
            Standing::Denied => return SvidState::Denied,
            Standing::Starting => return SvidState::Starting,
            Standing::Admitted if !inner.synced => return SvidState::Starting,
            Standing::Admitted => {}
        }
        let mut matching = inner.entries.matching(set);
        matching.retain(|entry| !entry.expires_at.is_some_and(|end| self.clock.is_over(end)));
        if matching.is_empty() {
            return SvidState::Denied;
        }
        let (mut svids, mut hints, mut waiting) = (Vec::new(), HashSet::new(), false);
        let mut remaining = Remaining::of(before);
        for entry in &matching {
            if !entry.hint.is_empty() && !hints.insert(entry.hint.as_str()) {
                continue;
            }
            let held = inner.held.get(&entry.id).filter(|held| !self.clock.is_over(held.svid.not_after));
            let is_waiting = held.is_none() && !inner.unsigned.contains_key(&entry.id);
            let stands = |svid: &X509Svid| !self.clock.is_over(svid.not_after) && !inner.lists.has(&svid.chain);
            remaining.see(entry, held.map(|held| &held.svid), |svid| is_waiting && stands(svid));
            svids.extend(held.map(|held| Arc::clone(&held.svid)));
            waiting |= is_waiting;
        }
        let svids = if waiting { remaining.svids() } else { svids };
        let bundles = self.bundles.borrow().clone();
        if svids.is_empty() || bundles.is_empty() {
            return if waiting || bundles.is_empty() { SvidState::Starting } else { SvidState::Denied };
        }
        let (mut bundles, mut jwt_bundles) = (bundles.as_ref().clone(), inner.jwt_bundles.clone());
        // A foreign trust domain without a bundle is there with none: whoever believed it must hear of that.
        for name in matching.iter().flat_map(|entry| &entry.federates_with) {
            let foreign = inner.foreign.get(name);
            bundles
                .entry(name.clone())
                .or_insert_with(|| foreign.map(|foreign| foreign.x509_authorities.clone()).unwrap_or_default());
            if let Some(foreign) = foreign.filter(|_| !jwt_bundles.contains_key(name)) {
                jwt_bundles.insert(name.clone(), foreign.jwt_keys.clone());
            }
        }
        let crls = inner.lists.shown();
        SvidState::Ready(Arc::new(WorkloadUpdate { svids, bundles, jwt_bundles, crls }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SvidSource for SvidCache {
    fn subscribe(&self, selectors: BTreeSet<Selector>) -> watch::Receiver<SvidState> {
        self.subscribe_after(selectors, &SvidState::Starting)
    }

    fn subscribe_after(&self, selectors: BTreeSet<Selector>, before: &SvidState) -> watch::Receiver<SvidState> {
        let mut inner = self.lock();
        if let Some(set) = inner.sets.get(&selectors) {
            return set.subscribe();
        }
        inner.sets.retain(|_, set| set.receiver_count() > 0);
        let state = self.state(&inner, &selectors, before);
        let (sender, receiver) = watch::channel(state);
        inner.sets.insert(selectors, sender);
        self.work.notify_one();
        receiver
    }

    fn bundles(&self) -> watch::Receiver<Bundles> {
        self.bundles.subscribe()
    }

    fn token<'a>(&'a self, svid: &'a X509Svid, audience: Audience) -> BoxFuture<'a, Result<Arc<JwtToken>, NoToken>> {
        Box::pin(async move {
            let token = self.tokens.fetch(&svid.entry_id, audience).await?;
            if token.spiffe_id == svid.spiffe_id { Ok(token) } else { Err(NoToken::Gone) }
        })
    }

    fn is_withdrawn(&self, svid: &JwtSvid) -> bool {
        self.tokens.is_withdrawn(svid)
    }

    fn now(&self) -> UnixTime {
        self.clock.now()
    }

    fn reading(&self) -> Reading {
        self.lock().entries.reading()
    }
}

#[cfg(test)]
mod tests;
