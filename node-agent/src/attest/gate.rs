//! One place in line for each user: who makes the agent wait, waits himself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets each user do a thing so many times at once.
#[derive(Debug)]
pub(super) struct Gate {
    each: usize,
    users: Mutex<HashMap<u32, Arc<Semaphore>>>,
}

impl Gate {
    /// Each user may pass `each` times at once.
    pub(super) fn new(each: usize) -> Self {
        Self { each, users: Mutex::default() }
    }

    /// Waits for a place of `uid`. It is given back when the permit is dropped.
    pub(super) async fn pass(&self, uid: u32) -> Option<OwnedSemaphorePermit> {
        let place = {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever holds a permit or waits for one holds its semaphore too.
            users.retain(|user, place| *user == uid || Arc::strong_count(place) > 1);
            Arc::clone(users.entry(uid).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
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
        for uid in 0..100 {
            drop(gate.pass(uid).await);
        }
        assert!(gate.users.lock().unwrap().len() <= 1);
    }
}
