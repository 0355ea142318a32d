//! Keeps foreign bundles fresh: fetches each when it is due, one fetch of a trust domain at a time, and says so when one
//! stays away. Whatever goes wrong, the last good bundle stays.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::current::{CurrentFederations, Foreign};
use super::fault::FetchFault;
use super::fetch::{Fetched, KnownBy, fetch};
use super::settings::FederationSettings;
use super::url::EndpointUrl;
use crate::authority::CurrentBundle;
use crate::clock;
use crate::store::{Endpoint, EndpointProfile, Federation, FederationRefusal, FetchFailure, Kept, Store, StoreFault};

/// How often it is looked what is due.
const EVERY: Duration = Duration::from_millis(500);
/// Fetches at one time.
const FETCHES_MAX: usize = 16;
/// Seconds between two fetches where a bundle has no hint.
const REFRESH_DEFAULT: i64 = 300;
/// Seconds between two fetches at most: a hint of years would hide that a domain revoked all its keys.
const REFRESH_MAX: i64 = 86_400;
/// Seconds between two tries of an endpoint that does not answer, at most.
const RETRY_MAX: i64 = 300;
/// Tries that double the wait.
const DOUBLINGS_MAX: u64 = 12;

/// Fetches foreign bundles. Cheap to clone.
#[derive(Clone)]
pub struct Federator(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    current: CurrentFederations,
    own: CurrentBundle,
    settings: FederationSettings,
    /// Who is being asked.
    busy: Mutex<HashSet<TrustDomain>>,
    places: Semaphore,
}

/// Why an operator's wish to have a bundle fetched was not done.
#[derive(Debug, thiserror::Error)]
pub enum NotRefreshed {
    /// There is nothing to fetch.
    #[error(transparent)]
    Refused(#[from] FederationRefusal),
    /// Nothing came.
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl Federator {
    /// Fetches for `store`; `own` is the bundle that endpoints of our own trust domain are known by.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        current: CurrentFederations,
        own: CurrentBundle,
        settings: FederationSettings,
    ) -> Self {
        let (busy, places) = (Mutex::default(), Semaphore::new(FETCHES_MAX));
        Self(Arc::new(Inner { store, current, own, settings, busy, places }))
    }

    /// Fetches what is due until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = HashSet::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let (all, now) = (self.0.current.get(), clock::now());
            measure(&all, &mut known, now);
            let latest = self.0.settings.refresh_min.max(REFRESH_MAX);
            for foreign in all.values().filter(|foreign| is_due(foreign.federation.next_refresh, now, latest)) {
                let Some(turn) = self.turn(&foreign.federation) else { continue };
                let (federator, stop) = (self.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = federator.ask_in_turn(&turn) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        }
    }

    /// Fetches the bundle of a trust domain now, whenever it is due.
    ///
    /// # Errors
    /// [`NotRefreshed`].
    pub async fn refresh(&self, trust_domain: &TrustDomain) -> Result<Federation, NotRefreshed> {
        let unknown = || FederationRefusal::Unknown(trust_domain.clone());
        loop {
            let found = self.0.store.federation(trust_domain.clone()).await?.ok_or_else(unknown)?;
            if found.endpoint.is_none() {
                return Err(FederationRefusal::NoEndpoint(trust_domain.clone()).into());
            }
            if let Some(turn) = self.turn(&found) {
                self.ask(&turn).await?;
                return Ok(self.0.store.federation(trust_domain.clone()).await?.ok_or_else(unknown)?);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// The right to ask a trust domain's endpoint; `None` while somebody does, or where there is none.
    fn turn(&self, federation: &Federation) -> Option<Turn> {
        let endpoint = federation.endpoint.clone()?;
        let trust_domain = federation.trust_domain.clone();
        let mut busy = self.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = federation.failures;
        busy.insert(trust_domain.clone()).then(|| Turn { federator: self.clone(), trust_domain, endpoint, failures })
    }

    /// Asks, and holds the turn a while where nothing could be written of it: the store would have it be due at once, and
    /// no endpoint must be asked without end because of our troubles.
    async fn ask_in_turn(&self, turn: &Turn) {
        // What else came of it stands in the store and in the log.
        if let Err(NotRefreshed::Store(fault)) = self.ask(turn).await {
            error!(trust_domain = %turn.trust_domain, code = fault.code(), %fault, "nothing can be kept of a foreign bundle");
            tokio::time::sleep(Duration::from_secs(self.0.settings.refresh_min.unsigned_abs())).await;
        }
    }

    async fn ask(&self, turn: &Turn) -> Result<(), NotRefreshed> {
        let inner = &self.0;
        let _place = inner.places.acquire().await.map_err(|_| StoreFault::Unavailable)?;
        let (name, endpoint) = (turn.trust_domain.clone(), turn.endpoint.clone());
        let fetched = inner.fetch(&name, &endpoint).await;
        let now = clock::now();
        let fault = match fetched {
            Ok(Fetched { document, bundle }) => {
                let hint = bundle.refresh_hint.and_then(|hint| i64::try_from(hint).ok()).unwrap_or(REFRESH_DEFAULT);
                let wait = jittered(hint.min(REFRESH_MAX).max(inner.settings.refresh_min));
                let kept =
                    inner.store.keep_federated_bundle(name.clone(), endpoint.clone(), document, now.plus(wait), now);
                let kept = kept.await?;
                // Before the turn ends: whoever looks next must see that it is not due any more.
                inner.current.refresh_one(inner.store.as_ref(), &name).await?;
                match kept {
                    Kept::Older => FetchFault::Older { url: endpoint.url.clone() },
                    Kept::Changed if bundle.is_empty() => {
                        warn!(trust_domain = %name, "foreign bundle is empty: nobody of that trust domain is trusted");
                        outcome("changed");
                        return Ok(());
                    }
                    Kept::Changed => {
                        info!(trust_domain = %name, sequence = ?bundle.sequence, "foreign bundle changed");
                        outcome("changed");
                        return Ok(());
                    }
                    Kept::Same | Kept::Unwanted => {
                        outcome("same");
                        return Ok(());
                    }
                }
            }
            Err(fault) => fault,
        };
        let wait = retry(inner.settings.refresh_min, turn.failures);
        let failure = FetchFailure { code: fault.code(), words: fault.to_string() };
        inner.store.fail_federation(name.clone(), endpoint, failure, now.plus(wait), now).await?;
        inner.current.refresh_one(inner.store.as_ref(), &name).await?;
        let alarm = "federation.unreachable";
        error!(alarm, trust_domain = %name, code = fault.code(), %fault, "foreign bundle could not be fetched");
        metrics::counter!("holdfast_alarms_total", "alarm" => alarm).increment(1);
        outcome("failed");
        Err(fault.into())
    }
}

impl Inner {
    async fn fetch(&self, trust_domain: &TrustDomain, endpoint: &Endpoint) -> Result<Fetched, FetchFault> {
        let bad = |why| FetchFault::Redirect { url: endpoint.url.clone(), why };
        let url: EndpointUrl = endpoint.url.parse().map_err(bad)?;
        let known_by = match &endpoint.profile {
            EndpointProfile::HttpsWeb => KnownBy::Host,
            EndpointProfile::HttpsSpiffe(id) => KnownBy::Svid(id.clone(), self.authorities_of(id)),
        };
        fetch(trust_domain, &url, known_by, &self.settings).await
    }

    /// The authorities of the trust domain of `id` as they are known now: ours, or what was fetched or brought last.
    fn authorities_of(&self, id: &SpiffeId) -> Vec<Vec<u8>> {
        let (own, name) = (self.own.get(), id.trust_domain());
        if *own.trust_domain() == name {
            return own.authorities().to_vec();
        }
        let all = self.current.get();
        let bundle = all.get(&name).and_then(|foreign| foreign.bundle.as_ref());
        bundle.map(|bundle| bundle.x509_authorities.clone()).unwrap_or_default()
    }
}

/// Whether it is time. A moment further away than anybody ever waits was written by a clock that has been put back since.
const fn is_due(next_refresh: UnixTime, now: UnixTime, latest: i64) -> bool {
    next_refresh.seconds() <= now.seconds() || next_refresh.since(now) > latest
}

/// The right to ask; given back when dropped.
struct Turn {
    federator: Federator,
    trust_domain: TrustDomain,
    endpoint: Endpoint,
    failures: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.federator.0.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.trust_domain);
    }
}

fn outcome(outcome: &'static str) {
    metrics::counter!("holdfast_federation_fetches_total", "outcome" => outcome).increment(1);
}

/// Seconds until an endpoint is tried again that has failed so often before: each time twice as long.
fn retry(least: i64, failures: u64) -> i64 {
    let doubled = least.max(1).saturating_mul(1 << failures.min(DOUBLINGS_MAX));
    jittered(doubled.min(RETRY_MAX.max(least)))
}

/// A wait cut by up to a fifth, so that domains that were told at once do not come at once. Never below a second.
fn jittered(seconds: i64) -> i64 {
    let mut byte = [0];
    // Without randomness there is no jitter; nothing worse.
    let _ = SystemRandom::new().fill(&mut byte);
    let [byte] = byte;
    (seconds - seconds * i64::from(byte) / (5 * 256)).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point; seconds are far below 2^52")]
fn measure(all: &BTreeMap<TrustDomain, Foreign>, known: &mut HashSet<TrustDomain>, now: UnixTime) {
    let age = |name: &TrustDomain| metrics::gauge!("holdfast_federation_bundle_age_seconds", "trust_domain" => name.to_string());
    let failures =
        |name: &TrustDomain| metrics::gauge!("holdfast_federation_failures", "trust_domain" => name.to_string());
    // Whoever is gone fails no more and grows no older.
    known.retain(|name| {
        let stays = all.contains_key(name);
        if !stays {
            age(name).set(0.0);
            failures(name).set(0.0);
        }
        stays
    });
    for (name, foreign) in all {
        if let Some(at) = foreign.federation.bundle_at {
            age(name).set(now.since(at).max(0) as f64);
        }
        failures(name).set(foreign.federation.failures as f64);
        known.insert(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_failures_and_stay_within_bounds() {
        assert_eq!(retry(1, 0), 1);
        for failures in 0..70 {
            let wait = retry(60, failures);
            assert!((48..=RETRY_MAX).contains(&wait), "{wait}");
        }
        assert!(retry(60, 1) > 90);
        assert!((480..=600).contains(&retry(600, 3)), "never below what the operator wants");
    }

    #[test]
    fn a_clock_that_was_put_back_keeps_nothing_from_being_fetched() {
        let now = UnixTime(1_000_000);
        for (next, due) in [(0, true), (1, false), (REFRESH_MAX, false), (REFRESH_MAX + 1, true), (i64::MAX >> 1, true)]
        {
            assert_eq!(is_due(now.plus(next), now, REFRESH_MAX), due, "{next}");
        }
    }

    #[test]
    fn jitter_takes_a_fifth_at_most() {
        for _ in 0..100 {
            assert!((241..=300).contains(&jittered(300)));
        }
        assert_eq!((jittered(1), jittered(0)), (1, 1));
    }
}
