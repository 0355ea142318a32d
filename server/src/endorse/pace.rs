//! How often a service is asked, and for whom. Nodes and the server itself wait their turn; so do those who claim to be
//! machines of ours, one address after the other and each claim only so often; strangers get only what would be left
//! unused, and little of that.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::fault::EndorseFault;
use super::turns::{Lane, Turns};
use crate::budget::{Buckets, OverBudget, Rate, Source};

/// Sources of strangers that are told apart.
const SOURCES_MAX: usize = 16_384;
/// Claims that are told apart, by address.
const CLAIMS_MAX: usize = 65_536;
/// How often something is fetched for one claim from one address. Its TCB is anybody's to invent until the key is here.
const CLAIM_RATE: Rate = Rate { per_second: 0.05, burst: 8.0 };
/// How long a service is left alone that says so without a time.
pub(super) const LEFT_ALONE: Duration = Duration::from_secs(60);

/// For whom something is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A node on its own connection, or the server itself.
    Ours,
    /// A machine that says it is one that an operator has listed, by its chip or launch. It has proven nothing yet.
    Listed {
        /// Where it calls from.
        source: Source,
        /// What is listed of it.
        mark: [u8; 32],
    },
    /// Anybody.
    Stranger(Source),
}

/// The pace of one service.
pub(super) struct Pace {
    service: String,
    turns: Turns,
    /// Until when the service wants to be left alone.
    closed_until: Mutex<Instant>,
    claims: Buckets<(Source, [u8; 32])>,
    sources: Buckets<Source>,
    strangers: Buckets<()>,
}

/// The right to one request, now or when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has been taken already.
    Taken,
    /// It is waited for.
    Waits(Lane),
    /// The request is not one of those that the service counts.
    Free,
}

impl Turn {
    /// The turn of the server itself.
    pub(super) const OURS: Self = Self::Waits(Lane::Ours);
}

impl Pace {
    pub(super) fn new(service: String, interval: Duration, per_source: Rate, strangers: Rate) -> Self {
        Self {
            service,
            turns: Turns::new(interval),
            closed_until: Mutex::new(Instant::now()),
            claims: Buckets::new(CLAIM_RATE, CLAIMS_MAX),
            sources: Buckets::new(per_source, SOURCES_MAX),
            strangers: Buckets::new(strangers, 1),
        }
    }

    /// The service's name.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Whether something may be fetched for that asker. A stranger's turn is now or not at all.
    pub(super) fn admit(&self, asker: Asker) -> Result<Turn, EndorseFault> {
        match asker {
            Asker::Ours => Ok(Turn::OURS),
            Asker::Listed { source, mark } => {
                let lane = Lane::Claims(source);
                if self.turns.is_full(lane) {
                    return Err(EndorseFault::Strangers(OverBudget::after(self.turns.interval())));
                }
                self.claims.take((source, mark), Instant::now()).map_err(EndorseFault::Strangers)?;
                Ok(Turn::Waits(lane))
            }
            Asker::Stranger(source) => self.admit_stranger(source).map(|()| Turn::Taken),
        }
    }

    fn admit_stranger(&self, source: Source) -> Result<(), EndorseFault> {
        let now = Instant::now();
        // The source pays first: whoever asks too often spends nothing of what all strangers share.
        self.sources.take(source, now).map_err(EndorseFault::Strangers)?;
        self.open(now)?;
        let unused = self.turns.take_unused(now);
        unused.map_err(|wait| EndorseFault::Strangers(OverBudget::after(wait)))?;
        self.strangers.take((), now).map_err(EndorseFault::Strangers)
    }

    /// Waits until the turn has come.
    pub(super) async fn wait(&self, turn: Turn) -> Result<(), EndorseFault> {
        self.open(Instant::now())?;
        if let Turn::Waits(lane) = turn {
            self.turns.take(lane).await;
            self.open(Instant::now())?;
        }
        Ok(())
    }

    /// Whether the service may be asked at all.
    fn open(&self, now: Instant) -> Result<(), EndorseFault> {
        let until = *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until > now { Err(self.limited(until - now)) } else { Ok(()) }
    }

    /// The service wants to be left alone.
    pub(super) fn close(&self, wait: Option<Duration>) -> EndorseFault {
        let wait = wait.unwrap_or(LEFT_ALONE).max(self.turns.interval());
        let mut until = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Instant::now() + wait);
        drop(until);
        self.limited(wait)
    }

    fn limited(&self, retry_after: Duration) -> EndorseFault {
        EndorseFault::RateLimited { service: self.service.clone(), retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

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
            pace.wait(Turn::OURS).await.unwrap();
        }
        assert!(began.elapsed() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn strangers_do_not_queue_and_share_little() {
        let pace = pace(500, 2.0);
        pace.admit(Asker::Stranger(source(1))).unwrap();
        assert_eq!(pace.admit(Asker::Stranger(source(2))).unwrap_err().code(), "endorse.strangers", "no free turn");
        for (last, expected) in [(3, true), (4, false), (5, false)] {
            sleep(Duration::from_millis(510)).await;
            assert_eq!(pace.admit(Asker::Stranger(source(last))).is_ok(), expected, "{last}");
        }
    }

    #[tokio::test]
    async fn one_source_has_a_budget_of_its_own() {
        let pace = pace(0, 100.0);
        let admitted = (0..5).filter(|_| pace.admit(Asker::Stranger(source(1))).is_ok()).count();
        assert_eq!(admitted, 2);
        pace.admit(Asker::Stranger(source(2))).unwrap();
    }

    #[tokio::test]
    async fn a_service_that_wants_to_be_left_alone_is() {
        let pace = pace(0, 100.0);
        pace.close(Some(Duration::from_millis(40)));
        assert_eq!(pace.wait(Turn::OURS).await.unwrap_err().code(), "endorse.rate_limited");
        assert_eq!(pace.admit(Asker::Stranger(source(1))).unwrap_err().code(), "endorse.rate_limited");
        sleep(Duration::from_millis(50)).await;
        pace.wait(Turn::OURS).await.unwrap();
    }

    #[tokio::test]
    async fn one_claim_is_heard_only_so_often_from_one_address() {
        let pace = pace(0, 100.0);
        let listed = |last: u8, mark: u8| Asker::Listed { source: source(last), mark: [mark; 32] };
        let heard = |asker| (0..20).filter(|_| pace.admit(asker).is_ok()).count();
        assert_eq!((heard(listed(1, 1)), heard(listed(2, 1)), heard(listed(1, 2))), (8, 8, 8));
    }
}
