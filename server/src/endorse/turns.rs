//! Whose turn it is with a service that counts: one request an interval, ours and those who claim to be ours by turns,
//! and among the latter one address after the other. Whoever asks most waits longest. Fetches nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::budget::Source;

/// Who wait for a turn of one address at one time.
const WAITING_OF_ONE: usize = 16;
/// Addresses whose last turn is remembered.
const SERVED_MAX: usize = 4_096;

/// For whom a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// The server itself, or a node.
    Ours,
    /// Whoever claims from there to be a machine of ours, and has proven nothing yet.
    Claims(Source),
}

/// The turns.
pub(super) struct Turns {
    interval: Duration,
    queue: Mutex<Queue>,
    moved: Notify,
}

struct Queue {
    /// When the next one begins.
    next: Instant,
    tickets: u64,
    waiting: Vec<(u64, Lane)>,
    ours_was_last: bool,
    /// The number of the last turn of each address.
    served: HashMap<Source, u64>,
    turns: u64,
}

/// A place in the queue, given up when dropped.
struct Ticket<'a> {
    number: u64,
    of: &'a Turns,
}

impl Turns {
    pub(super) fn new(interval: Duration) -> Self {
        let queue = Queue {
            next: Instant::now(),
            tickets: 0,
            waiting: Vec::new(),
            ours_was_last: false,
            served: HashMap::new(),
            turns: 0,
        };
        Self { interval, queue: Mutex::new(queue), moved: Notify::new() }
    }

    /// Time between two turns.
    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes the turn that nobody waits for, now.
    ///
    /// # Errors
    /// How long there is none.
    pub(super) fn take_unused(&self, now: Instant) -> Result<(), Duration> {
        let mut queue = self.lock();
        if !queue.waiting.is_empty() || queue.next > now {
            return Err(queue.next.saturating_duration_since(now).max(self.interval));
        }
        queue.next = now + self.interval;
        Ok(())
    }

    /// Whether as many of that lane wait as may.
    pub(super) fn is_full(&self, lane: Lane) -> bool {
        let queue = self.lock();
        lane != Lane::Ours && queue.waiting.iter().filter(|(_, other)| *other == lane).count() >= WAITING_OF_ONE
    }

    /// Waits for a turn.
    pub(super) async fn take(&self, lane: Lane) {
        let ticket = self.join(lane);
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Registered before the look: what moves between the look and the wait is not missed.
            moved.as_mut().enable();
            let step = self.lock().step(ticket.number, self.interval, Instant::now());
            match step {
                Ok(()) => return,
                Err(wait) => tokio::select! {
                    () = sleep(wait) => {}
                    () = moved => {}
                },
            }
        }
    }

    fn join(&self, lane: Lane) -> Ticket<'_> {
        let mut queue = self.lock();
        queue.tickets += 1;
        let number = queue.tickets;
        queue.waiting.push((number, lane));
        Ticket { number, of: self }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.of.lock().waiting.retain(|(number, _)| *number != self.number);
        self.of.moved.notify_waiters();
    }
}

impl Queue {
    /// Takes the turn if it has come and is this ticket's; else says how long to wait before looking again.
    fn step(&mut self, ticket: u64, interval: Duration, now: Instant) -> Result<(), Duration> {
        if self.next > now {
            return Err(self.next - now);
        }
        match self.first() {
            Some((first, lane)) if first == ticket => {
                self.next = now + interval;
                self.turns += 1;
                self.ours_was_last = lane == Lane::Ours;
                if let Lane::Claims(source) = lane {
                    self.remember(source);
                }
                Ok(())
            }
            // Whose it is takes it at once and moves the queue.
            _ => Err(interval.max(Duration::from_millis(10))),
        }
    }

    fn first(&self) -> Option<(u64, Lane)> {
        let ours = self.waiting.iter().find(|(_, lane)| *lane == Lane::Ours).copied();
        let claims = self.waiting.iter().filter_map(|(ticket, lane)| match lane {
            Lane::Ours => None,
            Lane::Claims(source) => Some((self.served.get(source).copied().unwrap_or(0), *ticket, *lane)),
        });
        let claims =
            claims.min_by_key(|(served, ticket, _)| (*served, *ticket)).map(|(_, ticket, lane)| (ticket, lane));
        if self.ours_was_last { claims.or(ours) } else { ours.or(claims) }
    }

    fn remember(&mut self, source: Source) {
        if self.served.len() >= SERVED_MAX && !self.served.contains_key(&source) {
            let oldest = self.served.iter().min_by_key(|(_, turn)| **turn).map(|(source, _)| *source);
            oldest.map(|oldest| self.served.remove(&oldest));
        }
        self.served.insert(source, self.turns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(last: u8) -> Lane {
        Lane::Claims(Source::of([10, 0, 0, last].into()))
    }

    /// In which order those lanes are served that wait at the same time.
    fn order(lanes: &[Lane]) -> Vec<Lane> {
        let turns = Turns::new(Duration::from_secs(10));
        let mut tickets: Vec<_> = lanes.iter().map(|lane| (*lane, turns.join(*lane))).collect();
        let mut served = Vec::new();
        while !tickets.is_empty() {
            let now = turns.lock().next;
            let is_first =
                |(_, ticket): &(Lane, Ticket<'_>)| turns.lock().step(ticket.number, turns.interval, now).is_ok();
            let at = tickets.iter().position(is_first).unwrap();
            let (lane, ticket) = tickets.remove(at);
            served.push(lane);
            drop(ticket);
            let early = tickets.iter().any(|(_, ticket)| turns.lock().step(ticket.number, turns.interval, now).is_ok());
            assert!(!early, "one an interval");
        }
        served
    }

    #[test]
    fn one_address_after_the_other_however_many_one_of_them_has() {
        let [a, b] = [claims(1), claims(2)];
        assert_eq!(order(&[a, a, a, a, b]), [a, b, a, a, a]);
    }

    #[test]
    fn ours_and_those_who_claim_to_be_take_turns() {
        let [ours, a] = [Lane::Ours, claims(1)];
        assert_eq!(order(&[a, a, ours, ours, ours]), [ours, a, ours, a, ours]);
    }

    #[tokio::test]
    async fn who_leaves_holds_nobody_up() {
        let turns = Turns::new(Duration::from_millis(20));
        turns.take_unused(Instant::now()).unwrap();
        let left = tokio::time::timeout(Duration::from_millis(1), turns.take(Lane::Ours)).await;
        assert!(left.is_err() && turns.lock().waiting.is_empty());
        turns.take(claims(1)).await;
    }

    #[tokio::test]
    async fn one_address_has_so_many_in_the_queue() {
        let turns = Turns::new(Duration::from_secs(60));
        let held: Vec<_> = (0..WAITING_OF_ONE).map(|_| turns.join(claims(1))).collect();
        assert!(turns.is_full(claims(1)) && !turns.is_full(claims(2)) && !turns.is_full(Lane::Ours));
        drop(held);
        assert!(!turns.is_full(claims(1)));
    }
}
