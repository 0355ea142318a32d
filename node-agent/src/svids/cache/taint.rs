//! SVIDs below authorities that are tainted or revoked: replaced, soon or at once, and served until then.
//!
//! **Why what stands below a revoked authority is not taken back**, as an SVID is that was withdrawn itself. Nobody but its
//! workload has its key; it is the authority that cannot be believed, and whoever holds that key signs another. A workload
//! without an SVID is of no use to anybody, neither to those who check by lists, and refuse it in either case, nor to those
//! who do not. What protects the workload is that it refuses others: so the lists go out at once, before anything is signed
//! anew.

use holdfast_identity::UnixTime;
use tokio::sync::watch;

use super::{Inner, SvidCache};
use crate::svids::lists::Lists;
use crate::svids::{Tainted, X509Svid};

/// Seconds within which SVIDs below a tainted authority are replaced, so that the agents of a fleet do not come at once.
const TAINTED_WITHIN_SECONDS: i64 = 60;
/// Seconds after which an SVID is asked for again that was signed below a revoked authority: a server that does not know yet
/// would be asked without a pause.
const REVOKED_AGAIN_SECONDS: i64 = 1;

impl SvidCache {
    /// Below these authorities everything is to be replaced: each SVID at a moment of its own, soon, and below those that
    /// count no more at once. What there is serves until then.
    pub fn taint(&self, tainted: Tainted) {
        if *self.tainted.borrow() == tainted {
            return;
        }
        let mut inner = self.lock();
        let now = self.clock.now();
        for held in inner.held.values_mut().filter(|held| tainted.covers(&held.svid.chain)) {
            let at = if tainted.revokes(&held.svid.chain) { now } else { soon(now, held.svid.not_after) };
            held.rotate_at = held.rotate_at.min(at);
        }
        self.tainted.send_replace(tainted);
        drop(inner);
        self.work.notify_one();
    }

    /// Below which authorities everything is to be replaced, now and after every change.
    pub fn tainted(&self) -> watch::Receiver<Tainted> {
        self.tainted.subscribe()
    }

    /// The revocation lists of `trust_domain`, which is the own one, are these now. An SVID that is on them is taken back; one
    /// below an authority that is on them is replaced at once.
    pub fn learn_lists<'a>(&self, trust_domain: &str, lists: impl Iterator<Item = &'a [u8]>) {
        let mut inner = self.lock();
        inner.lists = Lists::read(trust_domain, lists);
        let bundles = self.bundles.borrow().clone();
        inner.lists.believe(&bundles);
        let Inner { lists, held, .. } = &mut *inner;
        held.retain(|_, held| !lists.has(&held.svid.chain));
        let now = self.clock.now();
        for held in held.values_mut() {
            if self.is_revoked(lists, &held.svid.chain) {
                held.rotate_at = held.rotate_at.min(now);
            } else {
                lists.seen(&held.svid.chain);
            }
        }
        self.publish_locked(&mut inner);
        self.work.notify_one();
    }

    /// When an SVID that comes now is to be replaced already: it was signed before the server knew better, and was still on
    /// the way when it said so.
    pub(super) fn late(&self, lists: &mut Lists, svid: &X509Svid) -> Option<UnixTime> {
        let now = self.clock.now();
        if self.is_revoked(lists, &svid.chain) {
            return Some(now.plus(REVOKED_AGAIN_SECONDS));
        }
        lists.seen(&svid.chain);
        self.tainted.borrow().covers(&svid.chain).then(|| soon(now, svid.not_after))
    }

    /// Whether an authority above the leaf of `chain` counts no more. Whether it still gives a list is nobody's concern then.
    fn is_revoked(&self, lists: &Lists, chain: &[Vec<u8>]) -> bool {
        lists.has_above(chain) || self.tainted.borrow().revokes(chain)
    }
}

/// When something below a tainted authority is replaced: within a minute or a quarter of what is left of it, not at the
/// moment at which a thousand other agents come, and never twice within a second.
pub(crate) fn soon(now: UnixTime, not_after: UnixTime) -> UnixTime {
    let window = (not_after.since(now) / 4).clamp(1, TAINTED_WITHIN_SECONDS);
    now.plus(crate::backoff::fraction(window, (0.0, 1.0)).max(1))
}
