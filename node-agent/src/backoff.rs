//! How long to wait before the next try, with jitter: a thousand agents that lost their server must not come back in one
//! instant.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tonic::Status;

/// Seconds that a server can make us wait at most.
const RETRY_AFTER_MAX: u64 = 600;

/// Doubles from `first` to `most`; each pause is drawn between half of it and the whole.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` on, `most` at most.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.most);
        pause.mul_f64(between((0.5, 1.0)))
    }

    /// Whether nothing failed since something worked.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.next == self.first
    }

    /// Something worked: begin at the first again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

/// What the server asks us to wait (`retry-after`, seconds), with up to a tenth on top; `None` if it does not.
#[must_use]
pub fn retry_after(status: &Status) -> Option<Duration> {
    let seconds: u64 = status.metadata().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(1, RETRY_AFTER_MAX)).mul_f64(between((1.0, 1.1))))
}

/// A part of `seconds`, drawn between the two factors.
#[must_use]
pub fn fraction(seconds: i64, factors: (f64, f64)) -> i64 {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    let part = Duration::from_secs(seconds).mul_f64(between(factors)).as_secs();
    i64::try_from(part).unwrap_or(i64::MAX)
}

/// A number between two others, evenly drawn; the smaller one where the system has no randomness.
fn between((least, most): (f64, f64)) -> f64 {
    let mut bytes = [0; 4];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return least;
    }
    least + (most - least) * f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most_and_begin_anew_after_success() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 8 * second);
        assert!(backoff.is_fresh());
        for whole in [1, 2, 4, 8, 8, 8] {
            let pause = backoff.pause();
            assert!(pause >= whole * second / 2 && pause <= whole * second, "{pause:?} for {whole}");
        }
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert!(backoff.is_fresh() && backoff.pause() <= second && !backoff.is_fresh());
    }

    #[test]
    fn what_the_server_asks_for_is_honoured_within_reason() {
        let mut status = Status::resource_exhausted("busy");
        assert_eq!(retry_after(&status), None);
        status.metadata_mut().insert("retry-after", "7".parse().unwrap());
        let pause = retry_after(&status).unwrap();
        assert!((7.0..7.8).contains(&pause.as_secs_f64()));
        status.metadata_mut().insert("retry-after", "99999999".parse().unwrap());
        assert!(retry_after(&status).unwrap() <= Duration::from_secs(660));
        status.metadata_mut().insert("retry-after", "soon".parse().unwrap());
        assert_eq!(retry_after(&status), None);
    }
}
