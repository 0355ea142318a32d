//! What was verified once, by what it is looked up: VEKs with their chains, and collateral. A machine that comes back
//! costs no chain. In memory, and bounded.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_evidence::snp::VerifiedVek;
use holdfast_evidence::tdx::{CheckedCollateral, PlatformKind};
use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;

/// Keys that are remembered; beyond it an arbitrary one goes.
const KEYS_MAX: usize = 65_536;
/// VEKs about the same: providers have their own for one TCB.
const SAME_MAX: usize = 4;

/// The VEKs.
#[derive(Default)]
pub(super) struct KeptVeks(Mutex<HashMap<String, Vec<Arc<VerifiedVek>>>>);

impl KeptVeks {
    /// Those about that which still hold.
    pub(super) fn get(&self, about: &str, roots: &Roots, now: UnixTime) -> Vec<Arc<VerifiedVek>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = kept.get(about).into_iter().flatten();
        all.filter(|vek| vek.holds(roots, now)).cloned().collect()
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Keeps one.
    pub(super) fn put(&self, about: String, vek: Arc<VerifiedVek>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEYS_MAX
            && !kept.contains_key(&about)
            && let Some(any) = kept.keys().next().cloned()
        {
            kept.remove(&any);
        }
        let same = kept.entry(about).or_default();
        same.retain(|other| other.sha256() != vek.sha256());
        same.insert(0, vek);
        same.truncate(SAME_MAX);
    }
}

/// Collateral by kind of platform. Intel knows some dozens.
#[derive(Default)]
pub(super) struct KeptCollateral(Mutex<HashMap<PlatformKind, Arc<CheckedCollateral>>>);

impl KeptCollateral {
    /// That for a kind; whether it still counts is for the caller to ask.
    pub(super) fn get(&self, kind: PlatformKind) -> Option<Arc<CheckedCollateral>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned()
    }

    /// Forgets all of it.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Keeps it, unless what is there is newer.
    pub(super) fn put(&self, collateral: &Arc<CheckedCollateral>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = collateral.collateral().kind();
        let full = kept.len() >= KEYS_MAX && !kept.contains_key(&kind);
        if full || kept.get(&kind).is_some_and(|old| is_newer(old, collateral)) {
            return;
        }
        kept.insert(kind, Arc::clone(collateral));
    }
}

/// Whether Intel issued the one after the other.
pub(super) fn is_newer(one: &CheckedCollateral, other: &CheckedCollateral) -> bool {
    one.collateral().issued_at() > other.collateral().issued_at()
}

/// Digests of what is held for certain: it need not be looked for again.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashSet<[u8; 32]>>);

impl Seen {
    /// Whether it is seen for the first time.
    pub(super) fn is_new(&self, digest: [u8; 32]) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= KEYS_MAX {
            seen.clear();
        }
        seen.insert(digest)
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
