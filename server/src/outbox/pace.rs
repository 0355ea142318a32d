//! How long a sink is left alone after it failed: twice as long each time, up to a bound, and never quite the same.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

/// The bounds of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// After the first failure.
    pub first: Duration,
    /// After any.
    pub longest: Duration,
    /// How often at most the cursor is written while all goes well; what a crash makes the sink see twice.
    pub save: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(300), save: Duration::from_secs(1) }
    }
}

impl Pace {
    /// How long to wait after so many failures in a row; never shorter than the receiver asked for.
    pub(super) fn wait(&self, failures: u64, retry_after: Option<Duration>) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        let mut byte = [0];
        // Without randomness everybody comes back at once; that is all.
        let _ = SystemRandom::new().fill(&mut byte);
        let [byte] = byte;
        let jittered = whole.mul_f64(0.5 + f64::from(byte) / 510.0);
        retry_after.map_or(jittered, |asked| asked.max(jittered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_up_to_the_bound_and_honours_the_receiver() {
        let pace = Pace::default();
        for (failures, least, most) in [(1, 500, 1_000), (2, 1_000, 2_000), (5, 8_000, 16_000), (64, 150_000, 300_000)]
        {
            for _ in 0..50 {
                let wait = pace.wait(failures, None);
                let bounds = Duration::from_millis(least)..=Duration::from_millis(most);
                assert!(bounds.contains(&wait), "{failures}: {wait:?}");
            }
        }
        assert_eq!(pace.wait(1, Some(Duration::from_secs(120))), Duration::from_secs(120));
        assert!(pace.wait(u64::MAX, Some(Duration::from_secs(1))) >= Duration::from_secs(150));
    }
}
