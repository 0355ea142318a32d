//! A gate before work that costs CPU or memory: so many at one time, a short wait, and no queue beyond it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::OverBudget;

/// The gate.
#[derive(Clone, Debug)]
pub struct Gate {
    places: Arc<Semaphore>,
    size: u32,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    patience: Duration,
}

/// A place behind the gate, given back when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    /// `size` units at one time; `waiting_max` callers may wait, each for `patience`.
    #[must_use]
    pub fn new(size: u32, waiting_max: usize, patience: Duration) -> Self {
        let places = Arc::new(Semaphore::new(size as usize));
        Self { places, size, waiting: Arc::default(), waiting_max, patience }
    }

    /// Takes `units` (no more than the gate's size), waiting a little if need be.
    ///
    /// # Errors
    /// [`OverBudget`] where the queue is full or patience ran out.
    pub async fn enter(&self, units: u32) -> Result<Place, OverBudget> {
        let units = units.min(self.size);
        if let Ok(permit) = self.places.clone().try_acquire_many_owned(units) {
            return Ok(Place { _permit: permit });
        }
        let _waiting =
            Waiting::join(&self.waiting, self.waiting_max).ok_or_else(|| OverBudget::after(self.patience))?;
        match timeout(self.patience, self.places.clone().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(OverBudget::after(self.patience)),
        }
    }
}

struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn join(counter: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let joined = Self(counter.clone());
        // Counted first and looked at then: two who come at once cannot both take the last place.
        (counter.fetch_add(1, Ordering::AcqRel) < max).then_some(joined)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_gate_holds_so_many_and_turns_away_those_who_lose_patience() {
        let gate = Gate::new(2, 8, Duration::from_millis(20));
        let (first, _second) = (gate.enter(1).await.unwrap(), gate.enter(1).await.unwrap());
        assert!(gate.enter(1).await.is_err());
        drop(first);
        assert!(gate.enter(1).await.is_ok());
    }

    #[tokio::test]
    async fn nobody_waits_behind_a_full_queue() {
        let gate = Gate::new(1, 1, Duration::from_secs(60));
        let place = gate.enter(1).await.unwrap();
        let waiter = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(1).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(gate.enter(1).await.is_err(), "at once, though patience is a minute");
        drop(place);
        assert!(waiter.await.unwrap());
    }

    #[tokio::test]
    async fn more_units_than_the_gate_has_are_all_of_them() {
        let gate = Gate::new(4, 1, Duration::from_millis(20));
        let whole = gate.enter(100).await.unwrap();
        assert!(gate.enter(1).await.is_err());
        drop(whole);
    }
}
