//! What workloads get: their X.509-SVIDs, their JWT-SVIDs and the bundles to check others with, and every change of either.
//!
//! The meeting point of those who make SVIDs (below this module) and those who hand them out (`workload_api`).

mod budget;
mod cache;
mod jwt_bundle;
mod key;
mod lists;
mod maker;
mod pool;
mod portion;
mod tainted;
mod token_maker;
mod tokens;
mod withdrawn;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use holdfast_identity::{Selector, SpiffeId, UnixTime};
use holdfast_svid::audience::Audience;
use holdfast_svid::jwt::{JwtKeys, JwtSvid};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::attest::Reading;

pub(crate) use cache::soon;
pub use cache::{Known, PREFETCH_MAX, SvidCache};
pub use jwt_bundle::JwtBundle;
pub use key::KeyType;
pub use maker::make;
pub use pool::KeyPool;
pub use tainted::Tainted;
pub use tokens::{JwtToken, NoToken};
pub use withdrawn::Withdrawal;

/// One identity of one workload, with its private key. Never written to disk by the agent.
pub struct X509Svid {
    /// Who the workload is.
    pub spiffe_id: SpiffeId,
    /// DER, leaf first, then intermediates; never empty.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's private key: PKCS#8 DER, unencrypted.
    pub key_pkcs8: Zeroizing<Vec<u8>>,
    /// The operator's word for which SVID this is; empty for none. Unique within one [`WorkloadUpdate`].
    pub hint: String,
    /// The registration entry that it was issued under.
    pub entry_id: String,
    /// The leaf's end of validity, by the server's clock.
    pub not_after: UnixTime,
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("spiffe_id", &self.spiffe_id)
            .field("entry_id", &self.entry_id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The full state for one set of selectors: the Workload API sends all of it on every change.
#[derive(Debug, Default)]
pub struct WorkloadUpdate {
    /// At least one, in a stable order: the oldest entry first.
    pub svids: Vec<Arc<X509Svid>>,
    /// X.509 authorities (DER, one certificate each) by trust-domain name, the own one among them.
    pub bundles: BTreeMap<String, Vec<Vec<u8>>>,
    /// The keys that verify JWT-SVIDs by trust-domain name, the own ones among them.
    pub jwt_bundles: BTreeMap<String, JwtKeys>,
    /// Revocation lists (DER) by trust-domain name: of every authority that signs in that domain, roots too, or of none.
    /// Whoever checks by lists refuses what an authority without one has signed.
    pub crls: Arc<BTreeMap<String, Vec<Vec<u8>>>>,
}

/// What a set of selectors is entitled to at this moment.
#[derive(Debug, Clone)]
pub enum SvidState {
    /// Not known yet: the node is not admitted, or the SVIDs are being signed. `UNAVAILABLE` on the wire.
    Starting,
    /// No identity for these selectors, or the node was refused. `PERMISSION_DENIED` on the wire.
    Denied,
    /// These.
    Ready(Arc<WorkloadUpdate>),
}

/// Where SVIDs come from. One implementation, [`crate::svids`]' own cache; tests may build others of real certificates.
pub trait SvidSource: Send + Sync {
    /// The state for a workload with exactly these selectors, now and after every change. The receiver's current value
    /// is valid at once; dropping the last receiver of a set lets its SVIDs go.
    fn subscribe(&self, selectors: BTreeSet<Selector>) -> watch::Receiver<SvidState>;

    /// The same for whoever had `before` until now by other selectors: what of it still counts stays while the rest is made.
    fn subscribe_after(&self, selectors: BTreeSet<Selector>, _before: &SvidState) -> watch::Receiver<SvidState> {
        self.subscribe(selectors)
    }

    /// X.509 authorities by trust-domain name, the own one among them; empty until the first is known.
    fn bundles(&self) -> watch::Receiver<Arc<BTreeMap<String, Vec<Vec<u8>>>>>;

    /// A JWT-SVID for the identity of `svid`, which an update named just now, and for this audience.
    fn token<'a>(&'a self, svid: &'a X509Svid, audience: Audience) -> BoxFuture<'a, Result<Arc<JwtToken>, NoToken>>;

    /// Whether a JWT-SVID that verifies was withdrawn before its end.
    fn is_withdrawn(&self, svid: &JwtSvid) -> bool;

    /// The time by which others' JWT-SVIDs are judged.
    fn now(&self) -> UnixTime;

    /// Whether programs must be read to say who matches. When they must from now on, every receiver hears of a change.
    fn reading(&self) -> Reading;
}

/// Seconds as a gauge shows them.
#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) fn gauge(seconds: i64) -> f64 {
    seconds as f64
}
