//! Token buckets of those who are entitled to different amounts: everybody has so much, and some have more. How much more is
//! found out by the caller, and only where it matters: most never ask for more than everybody has.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::OverBudget;
use super::bucket::{Bucket, Rate};

/// How long a grant counts; what it rests on changes.
const GRANT_FOR: Duration = Duration::from_secs(300);
/// Time between two grants to one key: finding out what somebody is entitled to costs more than refusing him.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// Time between two lines in the log about one key.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Keys at which those who have everything again are looked for first.
const SWEEP_AT: usize = 1024;

/// One bucket per key. Keys are forgotten when they have everything again: there are as many as still pay, and where keys
/// are nodes, no more of them than were admitted.
#[derive(Debug)]
pub struct Shares<K> {
    everybody: Rate,
    table: Mutex<Table<K>>,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// It is more than everybody has, and it is not known what this one is entitled to: find out, [`Shares::grant`] it, and
    /// take again.
    Unknown,
    /// It is more than he has.
    Over {
        /// When to come back.
        over: OverBudget,
        /// How much he was refused since it was said last, where it is time to say so.
        refused: Option<u64>,
    },
}

#[derive(Debug)]
struct Table<K> {
    shares: HashMap<K, Share>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Share {
    bucket: Bucket,
    grant: Option<Grant>,
    refused: u64,
    said: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    rate: Rate,
    at: Instant,
}

impl<K: Eq + Hash> Shares<K> {
    /// Full buckets. `everybody` is what each has who was granted nothing.
    #[must_use]
    pub fn new(everybody: Rate) -> Self {
        Self { everybody, table: Mutex::new(Table { shares: HashMap::new(), sweep_at: SWEEP_AT }) }
    }

    /// Takes `amount` of what `key` has, all of it or nothing.
    ///
    /// # Errors
    /// [`Short`]; `Unknown` at most once a second.
    pub fn take(&self, key: K, amount: u32, now: Instant) -> Result<(), Short> {
        let mut table = self.lock();
        table.sweep(now, self.everybody);
        let share = table.shares.entry(key).or_insert_with(|| Share::new(now));
        share.settle(now, self.everybody);
        // What it was given for the time until now it has; what it is entitled to from here on is not known any more.
        share.grant = share.grant.filter(|grant| now.saturating_duration_since(grant.at) < GRANT_FOR);
        let rate = share.rate(self.everybody);
        let Err(over) = share.bucket.take(f64::from(amount), now, rate) else { return Ok(()) };
        if share.grant.is_none_or(|grant| now.saturating_duration_since(grant.at) >= ASKED_EVERY) {
            // One of those who ask at once finds out. Until then, and if he fails, what counted until now does.
            share.grant = Some(Grant { rate, at: now });
            return Err(Short::Unknown);
        }
        share.refused = share.refused.saturating_add(u64::from(amount));
        let is_due = share.said.is_none_or(|said| now.saturating_duration_since(said) >= SAID_EVERY);
        let refused = is_due.then(|| {
            share.said = Some(now);
            std::mem::take(&mut share.refused)
        });
        Err(Short::Over { over, refused })
    }

    /// `key` is entitled to this much, for a while.
    pub fn grant(&self, key: K, rate: Rate, now: Instant) {
        let mut table = self.lock();
        let share = table.shares.entry(key).or_insert_with(|| Share::new(now));
        share.settle(now, self.everybody);
        share.grant = Some(Grant { rate, at: now });
    }

    /// Puts back what `key` has taken and did not get.
    pub fn give_back(&self, key: &K, amount: u32) {
        if let Some(share) = self.lock().shares.get_mut(key) {
            share.bucket.give_back(f64::from(amount));
        }
    }

    /// Keys in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().shares.len()
    }

    /// Whether nobody is in the table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Table<K> {
    /// Forgets whom time has given everything back. Only when there are twice as many as the last one left: it costs the table.
    fn sweep(&mut self, now: Instant, everybody: Rate) {
        if self.shares.len() >= self.sweep_at {
            self.shares.retain(|_, share| !share.bucket.is_full(now, share.rate(everybody)));
            self.sweep_at = self.shares.len().saturating_mul(2).max(SWEEP_AT);
        }
    }
}

impl Share {
    const fn new(now: Instant) -> Self {
        Self { bucket: Bucket::full(now), grant: None, refused: 0, said: None }
    }

    fn rate(&self, everybody: Rate) -> Rate {
        self.grant.map_or(everybody, |grant| grant.rate)
    }

    fn settle(&mut self, now: Instant, everybody: Rate) {
        let rate = self.rate(everybody);
        self.bucket.settle(now, rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYBODY: Rate = Rate { per_second: 1.0, burst: 10.0 };
    const MORE: Rate = Rate { per_second: 5.0, burst: 40.0 };
    const SECOND: Duration = Duration::from_secs(1);

    fn is_over(taken: Result<(), Short>) -> bool {
        matches!(taken, Err(Short::Over { .. }))
    }

    #[test]
    fn who_asks_for_no_more_than_everybody_has_is_never_looked_into() {
        let (shares, start) = (Shares::new(EVERYBODY), Instant::now());
        for seconds in 0..100 {
            assert_eq!(shares.take('a', 1, start + seconds * SECOND), Ok(()));
        }
    }

    #[test]
    fn who_is_entitled_to_more_gets_it_and_no_more_than_that() {
        let (shares, start) = (Shares::new(EVERYBODY), Instant::now());
        assert_eq!(shares.take('a', 10, start), Ok(()));
        assert_eq!(shares.take('a', 1, start), Err(Short::Unknown));
        assert!(is_over(shares.take('a', 1, start)), "whoever asks beside him waits for the answer");
        shares.grant('a', MORE, start);
        assert_eq!(shares.take('a', 30, start), Ok(()), "what he has taken counts");
        assert!(is_over(shares.take('a', 1, start)));
        assert_eq!(shares.take('b', 10, start), Ok(()), "another has his own");
        assert_eq!(shares.take('a', 5, start + SECOND), Ok(()), "five a second, not one");
        assert_eq!(shares.take('a', 1, start + SECOND), Err(Short::Unknown), "he may be entitled to still more by now");
        assert!(is_over(shares.take('a', 1, start + SECOND)), "which is not asked twice in a second");
    }

    #[test]
    fn all_that_is_asked_for_is_taken_or_nothing() {
        let (shares, start) = (Shares::new(EVERYBODY), Instant::now());
        assert!(shares.take('a', 11, start).is_err());
        assert_eq!(shares.take('a', 10, start), Ok(()));
    }

    #[test]
    fn a_grant_ends_and_what_was_spent_under_it_does_not() {
        let (shares, start) = (Shares::new(EVERYBODY), Instant::now());
        let slow = Rate { per_second: 0.01, burst: 1000.0 };
        shares.grant('a', slow, start);
        assert_eq!(shares.take('a', 1000, start), Ok(()));
        let later = start + GRANT_FOR;
        assert_eq!(shares.take('a', 1, later), Err(Short::Unknown));
        shares.grant('a', MORE, later);
        assert!(is_over(shares.take('a', 1, later)));
    }

    #[test]
    fn a_grant_counts_for_all_the_time_in_which_nobody_asked() {
        let (shares, start) = (Shares::new(EVERYBODY), Instant::now());
        shares.grant('a', Rate { per_second: 5.0, burst: 5000.0 }, start);
        assert_eq!(shares.take('a', 5000, start), Ok(()));
        assert_eq!(shares.take('a', 10, start + 1000 * SECOND), Ok(()), "five a second, though it has ended");
    }

    #[test]
    fn what_was_not_got_is_given_back() {
        let (shares, start) = (Shares::new(EVERYBODY), Instant::now());
        assert_eq!(shares.take('a', 10, start), Ok(()));
        shares.give_back(&'a', 4);
        assert_eq!(shares.take('a', 4, start), Ok(()));
        assert!(shares.take('a', 1, start).is_err());
        shares.give_back(&'b', 4);
        assert_eq!(shares.take('b', 11, start), Err(Short::Unknown), "nobody has more than all by giving back");
    }

    #[test]
    fn a_refusal_is_said_once_a_minute_with_all_of_that_minute() {
        let (shares, start) = (Shares::new(EVERYBODY), Instant::now());
        let nothing = Rate { per_second: 0.0, burst: 0.0 };
        let mut said = Vec::new();
        for half_seconds in 0..240_u32 {
            let now = start + half_seconds * SECOND / 2;
            shares.grant('a', nothing, now);
            match shares.take('a', 2, now) {
                Err(Short::Over { refused: Some(refused), .. }) => said.push((half_seconds, refused)),
                Err(Short::Over { refused: None, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(said, [(0, 2), (120, 240)]);
    }

    #[test]
    fn who_has_everything_again_is_forgotten() {
        let (shares, start) = (Shares::new(EVERYBODY), Instant::now());
        for key in 0..SWEEP_AT {
            assert_eq!(shares.take(key, 10, start), Ok(()));
        }
        assert_eq!(shares.take(SWEEP_AT, 1, start + 9 * SECOND), Ok(()));
        assert_eq!(shares.len(), SWEEP_AT + 1, "they still pay");
        for key in 0..SWEEP_AT {
            assert_eq!(shares.take(SWEEP_AT + 1 + key, 1, start + 20 * SECOND), Ok(()));
        }
        assert!(shares.len() <= SWEEP_AT + 1, "{}", shares.len());
    }
}
