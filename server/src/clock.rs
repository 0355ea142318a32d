//! The server's clock: the only judge of challenges and lifetimes.

use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_identity::UnixTime;

/// Seconds since the epoch, now. A clock before 1970 reads as the epoch.
#[must_use]
pub fn now() -> UnixTime {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}
