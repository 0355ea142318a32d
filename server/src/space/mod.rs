//! Room on the disk: measured, and what happens when it runs out. Machines that are known go on, with entries in the record
//! and without bodies; machines that are not come back later; and a reserve, laid by while there was room, is given up when
//! somebody else fills the disk. Deletes nothing that was kept.

mod keeper;
mod measure;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use keeper::{SpaceKeeper, SpaceSettings};
pub use measure::{Disk, FileSystem, Room};

/// Whether there is room: what the keeper found last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Space(Arc<AtomicBool>);

impl Space {
    /// Whether room is low.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set_low(&self, low: bool) {
        self.0.store(low, Ordering::Relaxed);
    }
}
