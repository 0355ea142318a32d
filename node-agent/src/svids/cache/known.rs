//! What the cache says of itself, for explanations and the status.

use std::sync::Arc;

use super::{Standing, SvidCache};
use crate::sync::Entry;

/// What the cache knows.
#[derive(Debug)]
pub struct Known {
    /// The node is admitted, and its entries have come.
    pub is_ready: bool,
    /// The entries that have not expired, the oldest first, and whether an SVID for each is there.
    pub entries: Vec<(Arc<Entry>, bool)>,
}

impl SvidCache {
    /// What is known at this moment, for explanations.
    #[must_use]
    pub fn known(&self) -> Known {
        let inner = self.lock();
        let is_there = |entry: &&Arc<Entry>| !entry.expires_at.is_some_and(|end| self.clock.is_over(end));
        let entries = inner.entries.by_age().filter(is_there);
        let is_held =
            |entry: &Entry| inner.held.get(&entry.id).is_some_and(|held| !self.clock.is_over(held.svid.not_after));
        Known {
            is_ready: inner.standing == Standing::Admitted && inner.synced,
            entries: entries.map(|entry| (Arc::clone(entry), is_held(entry))).collect(),
        }
    }

    /// Entries and SVIDs held, for the status.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.entries.len(), inner.held.len())
    }
}
