//! Time on this machine, and what is known of the server's.
//!
//! Deadlines are the server's times. Between two answers of the server its time is carried on by two clocks that fail
//! differently: CLOCK_BOOTTIME, which no operator sets, and the wall clock, which goes on while a virtual machine stands
//! still. Something is *due* as soon as either says so, and *over* only when both do.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use holdfast_identity::UnixTime;
use rustix::time::ClockId;

/// How often deadlines are looked at: a timer alone would sleep through a suspend.
pub const CHECK_EVERY: Duration = Duration::from_secs(15);
/// Seconds since the epoch when this program was built (`SOURCE_DATE_EPOCH` where it was set): no clock is before it.
pub const BUILD_TIME: UnixTime = UnixTime(build_time(env!("HOLDFAST_BUILD_TIME")));

/// The wall clock.
#[must_use]
pub fn wall() -> UnixTime {
    let seconds = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    };
    UnixTime(seconds)
}

/// Seconds since boot, suspend included.
#[must_use]
pub fn since_boot() -> i64 {
    rustix::time::clock_gettime(ClockId::Boottime).tv_sec
}

/// Digits at compile time; the build script writes nothing else.
const fn build_time(digits: &str) -> i64 {
    let bytes = digits.as_bytes();
    let (mut value, mut rest) = (0, bytes);
    while let [digit, tail @ ..] = rest {
        value = value * 10 + (*digit - b'0') as i64;
        rest = tail;
    }
    value
}

/// What both clocks showed when the server told its time.
#[derive(Debug, Clone, Copy)]
struct Told {
    server: UnixTime,
    wall: UnixTime,
    since_boot: i64,
}

/// The server's clock, as far as it is known here.
#[derive(Debug, Default)]
pub struct ServerClock {
    told: Mutex<Option<Told>>,
}

impl ServerClock {
    /// Takes the time from an answer of the authenticated server.
    pub fn learn(&self, server: UnixTime) {
        let told = Told { server, wall: wall(), since_boot: since_boot() };
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    /// The server's time by CLOCK_BOOTTIME; the wall clock before the first answer.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.estimates().0
    }

    /// Whether `deadline` has come by either clock: time to act.
    #[must_use]
    pub fn is_due(&self, deadline: UnixTime) -> bool {
        let (by_boot, by_wall) = self.estimates();
        by_boot.max(by_wall) >= deadline
    }

    /// Whether `deadline` has passed by both clocks: what ended then has ended.
    #[must_use]
    pub fn is_over(&self, deadline: UnixTime) -> bool {
        let (by_boot, by_wall) = self.estimates();
        by_boot.min(by_wall) >= deadline
    }

    fn estimates(&self) -> (UnixTime, UnixTime) {
        match *self.told.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(told) => estimates(told, wall(), since_boot()),
            None => (wall(), wall()),
        }
    }
}

fn estimates(told: Told, wall: UnixTime, since_boot: i64) -> (UnixTime, UnixTime) {
    (told.server.plus(since_boot.saturating_sub(told.since_boot)), told.server.plus(wall.since(told.wall)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Told = Told { server: UnixTime(1_000), wall: UnixTime(77), since_boot: 5 };

    #[test]
    fn the_servers_time_goes_on_whatever_our_wall_clock_says() {
        assert_eq!(estimates(TOLD, UnixTime(87), 15), (UnixTime(1_010), UnixTime(1_010)));
        let jumped = estimates(TOLD, UnixTime(1_700_000_000), 15);
        assert_eq!(jumped.0, UnixTime(1_010));
        assert!(jumped.1 > jumped.0, "a jump makes things due");
        let back = estimates(TOLD, UnixTime(0), 15);
        assert_eq!(back, (UnixTime(1_010), UnixTime(923)));
    }

    #[test]
    fn before_the_first_answer_the_wall_clock_counts() {
        let clock = ServerClock::default();
        assert!(clock.is_due(wall()) && !clock.is_over(wall().plus(60)));
        clock.learn(UnixTime(5_000));
        assert!((5_000..5_010).contains(&clock.now().seconds()));
        assert!(clock.is_over(UnixTime(5_000)) && !clock.is_due(UnixTime(5_060)));
    }

    #[test]
    fn this_program_was_built_after_it_was_written() {
        assert!(BUILD_TIME > UnixTime(1_700_000_000) || option_env!("SOURCE_DATE_EPOCH").is_some());
    }
}
