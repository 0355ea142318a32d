//! SVIDs below tainted authorities: replaced soon, and served until then.

use holdfast_identity::UnixTime;
use tokio::sync::watch;

use super::SvidCache;
use crate::svids::Tainted;

/// Seconds within which SVIDs below a tainted authority are replaced, so that the agents of a fleet do not come at once.
const TAINTED_WITHIN_SECONDS: i64 = 60;

impl SvidCache {
    /// Below these authorities everything is to be replaced: each SVID at a moment of its own, soon. What there is serves
    /// until then.
    pub fn taint(&self, tainted: Tainted) {
        if *self.tainted.borrow() == tainted {
            return;
        }
        let mut inner = self.lock();
        let now = self.clock.now();
        for held in inner.held.values_mut().filter(|held| tainted.covers(&held.svid.chain)) {
            held.rotate_at = held.rotate_at.min(soon(now, held.svid.not_after));
        }
        self.tainted.send_replace(tainted);
        drop(inner);
        self.work.notify_one();
    }

    /// Below which authorities everything is to be replaced, now and after every change.
    pub fn tainted(&self) -> watch::Receiver<Tainted> {
        self.tainted.subscribe()
    }
}

/// When something below a tainted authority is replaced: within a minute or a quarter of what is left of it, not at the
/// moment at which a thousand other agents come, and never twice within a second.
pub(crate) fn soon(now: UnixTime, not_after: UnixTime) -> UnixTime {
    let window = (not_after.since(now) / 4).clamp(1, TAINTED_WITHIN_SECONDS);
    now.plus(crate::backoff::fraction(window, (0.0, 1.0)).max(1))
}
