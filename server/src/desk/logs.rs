//! Firmware logs that were parsed and replayed already, by digest: a machine that boots as before costs no replay, and
//! neither does the next one of the same build.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_evidence::tpm::ReplayedLog;

/// Logs that are kept; each is some tens of kilobytes. Fleets have a few dozen builds.
const LOGS_MAX: usize = 256;

/// The logs.
#[derive(Debug, Default)]
pub struct KnownLogs {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    logs: HashMap<[u8; 32], Kept>,
    clock: u64,
}

#[derive(Debug)]
struct Kept {
    log: Arc<ReplayedLog>,
    used: u64,
}

impl KnownLogs {
    /// The log with this SHA-256, if it is here.
    #[must_use]
    pub fn get(&self, digest: &[u8; 32]) -> Option<Arc<ReplayedLog>> {
        let mut table = self.lock();
        table.clock += 1;
        let now = table.clock;
        let kept = table.logs.get_mut(digest)?;
        kept.used = now;
        Some(kept.log.clone())
    }

    /// Keeps a log of an admitted machine, in place of the one that was used longest ago.
    pub fn keep(&self, log: &Arc<ReplayedLog>) {
        let mut table = self.lock();
        table.clock += 1;
        let used = table.clock;
        if table.logs.len() >= LOGS_MAX && !table.logs.contains_key(log.digest()) {
            let oldest = table.logs.iter().min_by_key(|(_, kept)| kept.used).map(|(digest, _)| *digest);
            oldest.and_then(|oldest| table.logs.remove(&oldest));
        }
        table.logs.insert(*log.digest(), Kept { log: log.clone(), used });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
