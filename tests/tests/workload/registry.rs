//! Who is entitled to what, as a test decides it: the source that the Workload API serves from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use holdfast_agent::attest::Reading;
use holdfast_agent::svids::{JwtToken, NoToken, SvidSource, SvidState, WorkloadUpdate, X509Svid};
use holdfast_evidence::crypto::KeyKind;
use holdfast_identity::{Selector, UnixTime};
use holdfast_svid::audience::Audience;
use holdfast_svid::jwt::{JwtKeys, JwtSvid};
use tokio::sync::watch;

use super::tokens::{JwtAuthority, now};

type Bundles = BTreeMap<String, Vec<Vec<u8>>>;

/// SVIDs by selectors. Every change reaches every open stream at once.
pub(crate) struct Registry {
    state: Mutex<State>,
    bundles: watch::Sender<Arc<Bundles>>,
    /// Signs everybody's tokens.
    pub(crate) jwt: JwtAuthority,
}

#[derive(Default)]
struct State {
    started: bool,
    entries: Vec<(BTreeSet<Selector>, Arc<X509Svid>)>,
    bundles: Bundles,
    crls: Bundles,
    jwt_bundles: BTreeMap<String, JwtKeys>,
    watchers: Vec<(BTreeSet<Selector>, watch::Sender<SvidState>)>,
}

impl State {
    fn of(&self, selectors: &BTreeSet<Selector>) -> SvidState {
        if !self.started {
            return SvidState::Starting;
        }
        let svids: Vec<_> = self
            .entries
            .iter()
            .filter(|(wanted, _)| wanted.is_subset(selectors))
            .map(|(_, svid)| svid.clone())
            .collect();
        if svids.is_empty() {
            return SvidState::Denied;
        }
        SvidState::Ready(Arc::new(WorkloadUpdate {
            svids,
            bundles: self.bundles.clone(),
            jwt_bundles: self.jwt_bundles.clone(),
            crls: Arc::new(self.crls.clone()),
        }))
    }
}

impl Registry {
    /// Nothing is known yet.
    pub(crate) fn starting() -> Arc<Self> {
        let jwt = JwtAuthority::new(KeyKind::EcP256);
        Arc::new(Self { state: Mutex::default(), bundles: watch::Sender::new(Arc::default()), jwt })
    }

    /// Makes a change, and tells all who watch.
    fn change(&self, make: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        make(&mut state);
        let bundles = Arc::new(if state.started { state.bundles.clone() } else { Bundles::new() });
        self.bundles.send_replace(bundles);
        for (selectors, watcher) in &state.watchers {
            watcher.send_replace(state.of(selectors));
        }
    }

    /// From now on what is entered counts.
    pub(crate) fn start(&self) {
        self.change(|state| state.started = true);
    }

    /// Everything is taken back, and what takes its place is not known yet.
    pub(crate) fn stop(&self) {
        self.change(|state| state.started = false);
    }

    /// Enters `svid` for workloads that have all `selectors`; in place of an earlier one of the same entry.
    pub(crate) fn enter(&self, selectors: &[String], svid: Arc<X509Svid>) {
        let wanted: BTreeSet<Selector> = selectors.iter().map(|selector| selector.parse().unwrap()).collect();
        self.change(|state| match state.entries.iter_mut().find(|(_, held)| held.entry_id == svid.entry_id) {
            Some(held) => *held = (wanted, svid),
            None => state.entries.push((wanted, svid)),
        });
    }

    /// Removes an entry.
    pub(crate) fn remove(&self, entry: &str) {
        self.change(|state| state.entries.retain(|(_, svid)| svid.entry_id != entry));
    }

    /// Sets the revocation lists of one trust domain.
    pub(crate) fn revoke(&self, domain: &str, lists: Vec<Vec<u8>>) {
        self.change(|state| drop(state.crls.insert(domain.to_owned(), lists)));
    }

    /// Sets the keys for JWT-SVIDs of one trust domain; none removes them.
    pub(crate) fn trust_jwt(&self, domain: &str, keys: Option<JwtKeys>) {
        self.change(|state| match keys {
            None => drop(state.jwt_bundles.remove(domain)),
            Some(keys) => drop(state.jwt_bundles.insert(domain.to_owned(), keys)),
        });
    }

    /// Sets the authorities of one trust domain; none removes it.
    pub(crate) fn trust(&self, domain: &str, bundle: Vec<Vec<u8>>) {
        self.change(|state| match bundle.is_empty() {
            true => drop(state.bundles.remove(domain)),
            false => drop(state.bundles.insert(domain.to_owned(), bundle)),
        });
    }
}

impl SvidSource for Registry {
    fn subscribe(&self, selectors: BTreeSet<Selector>) -> watch::Receiver<SvidState> {
        let mut state = self.state.lock().unwrap();
        state.watchers.retain(|(_, watcher)| watcher.receiver_count() > 0);
        let (watcher, receiver) = watch::channel(state.of(&selectors));
        state.watchers.push((selectors, watcher));
        receiver
    }

    fn bundles(&self) -> watch::Receiver<Arc<Bundles>> {
        self.bundles.subscribe()
    }

    fn token<'a>(&'a self, svid: &'a X509Svid, audience: Audience) -> BoxFuture<'a, Result<Arc<JwtToken>, NoToken>> {
        Box::pin(async move { Ok(Arc::new(self.jwt.issue(svid, &audience))) })
    }

    fn is_withdrawn(&self, _: &JwtSvid) -> bool {
        false
    }

    fn now(&self) -> UnixTime {
        now()
    }

    /// Programs are read where an entry wants `read:…`, or a digest.
    fn reading(&self) -> Reading {
        let state = self.state.lock().unwrap();
        let mut wanted = state.entries.iter().flat_map(|(wanted, _)| wanted);
        if wanted.any(|one| one.kind() == "read" || one.value().starts_with("sha256:")) {
            Reading::Whole
        } else {
            Reading::Unread
        }
    }
}
