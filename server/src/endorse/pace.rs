//! How often a service is asked, and who goes first. Machines of ours wait their turn; strangers get only what would
//! be left unused, and little of that: however many they are, they cost ours one turn at most.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::fault::EndorseFault;
use crate::budget::{Buckets, OverBudget, Rate, Source};

/// Sources of strangers that are told apart.
const SOURCES_MAX: usize = 16_384;
/// How long a service is left alone that says so without a time.
pub(super) const LEFT_ALONE: Duration = Duration::from_secs(60);

/// For whom something is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A machine that the inventory lists or that was admitted before, or the server itself.
    Ours,
    /// Anybody.
    Stranger(Source),
}

/// The turns of one service.
pub(super) struct Pace {
    service: String,
    interval: Duration,
    turns: Mutex<Turns>,
    sources: Buckets<Source>,
    strangers: Buckets<()>,
}

struct Turns {
    /// When the next one begins.
    next: Instant,
    /// Until when the service wants to be left alone.
    closed_until: Instant,
}

impl Pace {
    pub(super) fn new(service: String, interval: Duration, per_source: Rate, strangers: Rate) -> Self {
        let now = Instant::now();
        Self {
            service,
            interval,
            turns: Mutex::new(Turns { next: now, closed_until: now }),
            sources: Buckets::new(per_source, SOURCES_MAX),
            strangers: Buckets::new(strangers, 1),
        }
    }

    /// The service's name.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Takes a stranger's turn, which is now or not at all.
    pub(super) fn admit(&self, source: Source) -> Result<(), EndorseFault> {
        let now = Instant::now();
        // The source pays first: whoever asks too often spends nothing of what all strangers share.
        self.sources.take(source, now).map_err(EndorseFault::Strangers)?;
        self.open(now)?;
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.next > now {
            return Err(EndorseFault::Strangers(OverBudget::after(turns.next - now)));
        }
        self.strangers.take((), now).map_err(EndorseFault::Strangers)?;
        turns.next = now + self.interval;
        Ok(())
    }

    /// Waits for the turn of a machine of ours.
    pub(super) async fn turn(&self) -> Result<(), EndorseFault> {
        let now = Instant::now();
        self.open(now)?;
        let start = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let start = turns.next.max(now);
            turns.next = start + self.interval;
            start
        };
        sleep(start.saturating_duration_since(now)).await;
        self.open(Instant::now())
    }

    /// Whether the service may be asked at all.
    pub(super) fn open(&self, now: Instant) -> Result<(), EndorseFault> {
        let until = self.turns.lock().unwrap_or_else(PoisonError::into_inner).closed_until;
        if until > now { Err(self.limited(until - now)) } else { Ok(()) }
    }

    /// The service wants to be left alone.
    pub(super) fn close(&self, wait: Option<Duration>) -> EndorseFault {
        let wait = wait.unwrap_or(LEFT_ALONE).max(self.interval);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.closed_until = turns.closed_until.max(Instant::now() + wait);
        drop(turns);
        self.limited(wait)
    }

    fn limited(&self, retry_after: Duration) -> EndorseFault {
        EndorseFault::RateLimited { service: self.service.clone(), retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(interval_ms: u64, strangers: f64) -> Pace {
        let per_source = Rate { per_second: 0.001, burst: 2.0 };
        let strangers = Rate { per_second: 0.001, burst: strangers };
        Pace::new("service".to_owned(), Duration::from_millis(interval_ms), per_source, strangers)
    }

    fn source(last: u8) -> Source {
        Source::of([10, 0, 0, last].into())
    }

    #[tokio::test]
    async fn ours_come_one_interval_after_another() {
        let pace = pace(30, 1.0);
        let began = Instant::now();
        for _ in 0..3 {
            pace.turn().await.unwrap();
        }
        assert!(began.elapsed() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn strangers_do_not_queue_and_share_little() {
        let pace = pace(20, 2.0);
        pace.admit(source(1)).unwrap();
        assert_eq!(pace.admit(source(2)).unwrap_err().code(), "endorse.strangers", "no free turn");
        for (last, expected) in [(3, true), (4, false), (5, false)] {
            sleep(Duration::from_millis(25)).await;
            assert_eq!(pace.admit(source(last)).is_ok(), expected, "{last}");
        }
        let began = Instant::now();
        pace.turn().await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(25), "ours wait for one turn at most");
    }

    #[tokio::test]
    async fn one_source_has_a_budget_of_its_own() {
        let pace = pace(0, 100.0);
        let admitted = (0..5).filter(|_| pace.admit(source(1)).is_ok()).count();
        assert_eq!(admitted, 2);
        pace.admit(source(2)).unwrap();
    }

    #[tokio::test]
    async fn a_service_that_wants_to_be_left_alone_is() {
        let pace = pace(0, 100.0);
        pace.close(Some(Duration::from_millis(40)));
        assert_eq!(pace.turn().await.unwrap_err().code(), "endorse.rate_limited");
        assert_eq!(pace.admit(source(1)).unwrap_err().code(), "endorse.rate_limited");
        sleep(Duration::from_millis(50)).await;
        pace.turn().await.unwrap();
    }
}
