//! One place in line for each user: who makes the agent wait, waits himself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets each user (or process) do a thing so many times at once.
#[derive(Debug)]
pub(super) struct Gate<K> {
    each: usize,
    owners: Mutex<Owners<K>>,
}

#[derive(Debug)]
struct Owners<K> {
    places: HashMap<K, Arc<Semaphore>>,
    /// How many there may be before those who left are looked for.
    sweep_at: usize,
}

/// Owners beside whom nobody is looked for.
const FEW: usize = 64;

impl<K: Copy + Eq + Hash> Gate<K> {
    /// Each may pass `each` times at once.
    pub(super) fn new(each: usize) -> Self {
        Self { each, owners: Mutex::new(Owners { places: HashMap::new(), sweep_at: FEW }) }
    }

    /// Waits for a place of `owner`. It is given back when the permit is dropped.
    pub(super) async fn pass(&self, owner: K) -> Option<OwnedSemaphorePermit> {
        let place = {
            let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            if owners.places.len() >= owners.sweep_at {
                // Whoever holds a permit or waits for one holds its semaphore too.
                owners.places.retain(|_, place| Arc::strong_count(place) > 1);
                owners.sweep_at = (owners.places.len() * 2).max(FEW);
            }
            Arc::clone(owners.places.entry(owner).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
        };
        place.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn one_user_waits_for_himself_and_for_nobody_else() {
        let gate = Gate::new(1);
        let held = gate.pass(1).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.pass(1)).await.is_err());
        let _other = gate.pass(2).await.unwrap();
        drop(held);
        assert!(gate.pass(1).await.is_some());
    }

    #[tokio::test]
    async fn users_who_left_are_forgotten() {
        let gate = Gate::new(1);
        for uid in 0..1000 {
            drop(gate.pass(uid).await);
        }
        assert!(gate.owners.lock().unwrap().places.len() <= FEW);
    }
}
