//! Token buckets by key, in a table that never grows beyond its bound.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::OverBudget;

/// How much, and how fast again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Calls per second in the long run.
    pub per_second: f64,
    /// Calls at once after a rest.
    pub burst: f64,
}

/// One bucket per key. Where the table is full of keys that are still paying, newcomers share one bucket.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    keys_max: usize,
    table: Mutex<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    buckets: HashMap<K, Bucket>,
    others: Bucket,
    swept: Instant,
}

/// What somebody has taken and time has not given back yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    spent: f64,
    at: Instant,
}

impl<K: Eq + Hash + Copy> Buckets<K> {
    /// Full buckets of `rate` for at most `keys_max` keys.
    #[must_use]
    pub fn new(rate: Rate, keys_max: usize) -> Self {
        let now = Instant::now();
        let table = Table { buckets: HashMap::new(), others: Bucket::full(now), swept: now };
        Self { rate, keys_max, table: Mutex::new(table) }
    }

    /// Takes one token of `key`.
    ///
    /// # Errors
    /// [`OverBudget`] with the time until there is one.
    pub fn take(&self, key: K, now: Instant) -> Result<(), OverBudget> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = self.rate;
        if table.buckets.len() >= self.keys_max && !table.buckets.contains_key(&key) {
            // A full bucket says nothing that an absent one does not. At most once a second: a sweep costs the table.
            if now.saturating_duration_since(table.swept) >= Duration::from_secs(1) {
                table.swept = now;
                table.buckets.retain(|_, bucket| !bucket.is_full(now, rate));
            }
            if table.buckets.len() >= self.keys_max {
                return table.others.take(1.0, now, rate);
            }
        }
        table.buckets.entry(key).or_insert(Bucket::full(now)).take(1.0, now, rate)
    }

    /// Keys in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).buckets.len()
    }

    /// Whether nobody is in the table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Bucket {
    /// Nothing was taken yet.
    pub(super) const fn full(now: Instant) -> Self {
        Self { spent: 0.0, at: now }
    }

    /// Whether time has given everything back.
    pub(super) fn is_full(&self, now: Instant, rate: Rate) -> bool {
        self.spent(now, rate) <= 0.0
    }

    /// Takes `amount`, all of it or nothing.
    ///
    /// # Errors
    /// [`OverBudget`] with the time until there is as much.
    pub(super) fn take(&mut self, amount: f64, now: Instant, rate: Rate) -> Result<(), OverBudget> {
        self.settle(now, rate);
        let missing = self.spent + amount - rate.burst;
        if missing <= 0.0 {
            self.spent += amount;
            return Ok(());
        }
        let wait = missing / rate.per_second.max(1e-6);
        Err(OverBudget::after(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)))
    }

    /// Puts back what was taken for nothing.
    pub(super) fn give_back(&mut self, amount: f64) {
        self.spent = (self.spent - amount).max(0.0);
    }

    /// Brings it up to `now` at this rate: another one counts from here on.
    pub(super) fn settle(&mut self, now: Instant, rate: Rate) {
        self.spent = self.spent(now, rate);
        self.at = self.at.max(now);
    }

    fn spent(&self, now: Instant, rate: Rate) -> f64 {
        (self.spent - now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 3.0 };

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let buckets = Buckets::new(RATE, 10);
        let start = Instant::now();
        assert!((0..3).all(|_| buckets.take('a', start).is_ok()));
        assert!(buckets.take('a', start).is_err());
        assert!(buckets.take('b', start).is_ok(), "another key has its own bucket");
        assert!(buckets.take('a', start + Duration::from_millis(500)).is_ok());
        assert!(buckets.take('a', start + Duration::from_millis(501)).is_err());
    }

    #[test]
    fn a_clock_that_stands_still_or_steps_back_gives_nothing() {
        let buckets = Buckets::new(RATE, 10);
        let later = Instant::now() + Duration::from_secs(10);
        assert!((0..3).all(|_| buckets.take('a', later).is_ok()));
        assert!(buckets.take('a', later.checked_sub(Duration::from_secs(10)).unwrap()).is_err());
        assert!(buckets.take('a', later).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_newcomers_share_one_bucket() {
        let buckets = Buckets::new(RATE, 2);
        let start = Instant::now();
        for key in 0..5 {
            let _ = buckets.take(key, start);
        }
        assert_eq!(buckets.len(), 2);
        assert!(buckets.take(99, start).is_err(), "three newcomers have emptied the shared bucket");
        let rested = start + Duration::from_secs(5);
        assert!(buckets.take(99, rested).is_ok());
        assert_eq!(buckets.len(), 1, "those who rested were swept out");
    }
}
