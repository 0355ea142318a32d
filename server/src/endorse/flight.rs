//! One fetch for each key, however many wait for it; it goes on when they have left. Fetches nothing itself.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Fetches under way.
pub(super) struct Flights<T> {
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Option<T>>>>>,
    limit: usize,
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotYet {
    /// It is under way.
    UnderWay,
    /// As many are under way as may be.
    Full,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { under_way: Arc::default(), limit }
    }

    /// Whether somebody fetches that already.
    pub(super) fn has(&self, key: &str) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Joins the fetch of `key`, or begins it, and waits for `patience`.
    pub(super) async fn join<F>(&self, key: &str, patience: Duration, fetch: impl FnOnce() -> F) -> Result<T, NotYet>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut result = self.enter(key, fetch)?;
        let arrived = timeout(patience, result.wait_for(Option::is_some)).await;
        match arrived {
            Ok(Ok(value)) => value.clone().ok_or(NotYet::UnderWay),
            // The fetch was dropped with its runtime, or patience ran out.
            Ok(Err(_)) | Err(_) => Err(NotYet::UnderWay),
        }
    }

    fn enter<F>(&self, key: &str, fetch: impl FnOnce() -> F) -> Result<watch::Receiver<Option<T>>, NotYet>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = under_way.get(key) {
            return Ok(result.clone());
        }
        if under_way.len() >= self.limit {
            return Err(NotYet::Full);
        }
        let (send, receive) = watch::channel(None);
        under_way.insert(key.to_owned(), receive.clone());
        drop(under_way);
        let landing = Landing { under_way: Arc::clone(&self.under_way), key: key.to_owned() };
        let fetch = fetch();
        tokio::spawn(async move {
            let value = fetch.await;
            drop(landing);
            // Nobody waiting is fine.
            let _ = send.send(Some(value));
        });
        Ok(receive)
    }
}

/// Takes the key off the list, also when the fetch panics.
struct Landing<T> {
    under_way: Arc<Mutex<HashMap<String, watch::Receiver<Option<T>>>>>,
    key: String,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::sleep;

    #[tokio::test]
    async fn many_wait_for_one_fetch() {
        let flights = Arc::new(Flights::new(4));
        let fetched = Arc::new(AtomicU32::new(0));
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let (flights, fetched) = (flights.clone(), fetched.clone());
                tokio::spawn(async move {
                    let fetch = || async move {
                        sleep(Duration::from_millis(20)).await;
                        fetched.fetch_add(1, Ordering::Relaxed) + 7
                    };
                    flights.join("key", Duration::from_secs(5), fetch).await
                })
            })
            .collect();
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Ok(7));
        }
        assert!(!flights.has("key"));
    }

    #[tokio::test]
    async fn a_fetch_goes_on_without_those_who_lost_patience() {
        let flights = Flights::new(4);
        let landed = Arc::new(AtomicU32::new(0));
        let flag = landed.clone();
        let fetch = || async move {
            sleep(Duration::from_millis(30)).await;
            flag.store(1, Ordering::Relaxed);
        };
        assert_eq!(flights.join("key", Duration::from_millis(5), fetch).await, Err(NotYet::UnderWay));
        assert!(flights.has("key"));
        sleep(Duration::from_millis(60)).await;
        assert_eq!(landed.load(Ordering::Relaxed), 1);
        assert!(!flights.has("key"));
    }

    #[tokio::test]
    async fn no_more_are_under_way_than_may_be() {
        let flights = Flights::new(1);
        let long = || sleep(Duration::from_millis(50));
        assert_eq!(flights.join("a", Duration::from_millis(1), long).await, Err(NotYet::UnderWay));
        assert_eq!(flights.join("b", Duration::from_millis(1), long).await, Err(NotYet::Full));
        assert_eq!(flights.join("a", Duration::from_secs(1), long).await, Ok(()));
    }
}
