//! What the server says of authorities: which there are, what they withdrew, and below which everything is to be replaced.
//! SVIDs below tainted ones are replaced soon, and served until then.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_identity::UnixTime;
use tokio::sync::watch;

use super::{Inner, SvidCache};
use crate::svids::Tainted;
use crate::svids::lists::Lists;

/// Seconds within which SVIDs below a tainted authority are replaced, so that the agents of a fleet do not come at once.
const TAINTED_WITHIN_SECONDS: i64 = 60;

impl SvidCache {
    /// The X.509 authorities by trust-domain name are these now.
    pub fn learn_bundles(&self, bundles: BTreeMap<String, Vec<Vec<u8>>>) {
        let mut inner = self.lock();
        if **self.bundles.borrow() != bundles {
            inner.lists.believe(&bundles);
            self.bundles.send_replace(Arc::new(bundles));
            self.publish_locked(&mut inner);
        }
    }

    /// The revocation lists of `trust_domain`, which is the own one, are these now. What is on them is taken back.
    pub fn learn_lists<'a>(&self, trust_domain: &str, lists: impl Iterator<Item = &'a [u8]>) {
        let mut inner = self.lock();
        inner.lists = Lists::read(trust_domain, lists);
        let bundles = self.bundles.borrow().clone();
        inner.lists.believe(&bundles);
        let Inner { lists, held, .. } = &mut *inner;
        held.retain(|_, held| !lists.has(&held.svid.chain));
        self.publish_locked(&mut inner);
        self.work.notify_one();
    }

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
