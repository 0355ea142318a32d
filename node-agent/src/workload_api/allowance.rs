//! How much one process and one user may ask of the agent, so that a noisy workload harms nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::refusal::Refusal;

/// What one caller may hold and ask at most.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Open connections.
    pub connections: usize,
    /// Open streams, over all its connections.
    pub streams: usize,
    /// Requests a second, on average.
    pub requests_per_second: u32,
    /// Requests at once, after a time without any.
    pub requests_at_once: u32,
}

/// What callers may hold and ask at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Each process: it would need as many threads to use them all, and its neighbours of the same user (all
    /// containers run as root, say) are left enough.
    pub process: Allowance,
    /// All processes of one user together.
    pub user: Allowance,
    /// Open connections of all users together; each costs the agent two descriptors. One user gets at most
    /// `USER_SHARE` of what the others leave of them, so that there is always room for one more.
    pub connections: usize,
}

/// Of the connections that other users leave, how many one user may have.
const USER_SHARE: (usize, usize) = (3, 4);

impl Default for Limits {
    fn default() -> Self {
        Self {
            process: Allowance { connections: 1024, streams: 1024, requests_per_second: 1000, requests_at_once: 2000 },
            user: Allowance { connections: 6144, streams: 8192, requests_per_second: 4000, requests_at_once: 8000 },
            connections: 8192,
        }
    }
}

/// Whose account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Process(i32),
    User(u32),
}

/// What one owner holds now.
#[derive(Debug)]
struct Account {
    connections: usize,
    streams: usize,
    /// Requests left, in thousandths.
    requests: u64,
    counted: Instant,
}

/// The accounts of all who are connected.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    accounts: Mutex<Accounts>,
}

#[derive(Debug, Default)]
struct Accounts {
    connections: usize,
    owners: HashMap<Owner, Account>,
    /// Accounts at which those of owners who left are looked for.
    sweep_at: usize,
}

impl Account {
    /// Adds the requests earned since the last count.
    fn earn(&mut self, allowance: Allowance, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_millis();
        let earned = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(allowance.requests_per_second.into());
        self.requests = self.requests.saturating_add(earned).min(allowance.requests_full());
        self.counted = now;
    }
}

impl Allowance {
    /// All requests at once, in thousandths.
    fn requests_full(&self) -> u64 {
        u64::from(self.requests_at_once) * 1000
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    ledger: Arc<Ledger>,
    owners: [Owner; 2],
}

/// A stream's place; given back when dropped.
#[derive(Debug)]
pub(super) struct StreamPlace {
    connection: Arc<Place>,
}

impl Ledger {
    /// Nobody is connected.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, accounts: Mutex::default() }
    }

    fn allowance(&self, owner: Owner) -> Allowance {
        match owner {
            Owner::Process(_) => self.limits.process,
            Owner::User(_) => self.limits.user,
        }
    }

    /// A connection of process `pid` of user `uid`.
    pub(super) fn connect(self: &Arc<Self>, pid: i32, uid: u32, now: Instant) -> Result<Place, Refusal> {
        let owners = [Owner::Process(pid), Owner::User(uid)];
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        self.sweep(&mut accounts, now);
        let held = |owner| accounts.owners.get(&owner).map_or(0, |account| account.connections);
        let left = self.limits.connections.saturating_sub(accounts.connections);
        // By the whole above: the last place of all is somebody's too, who has none.
        let share = ((left + held(Owner::User(uid))) * USER_SHARE.0).div_ceil(USER_SHARE.1);
        let full = left == 0
            || held(Owner::User(uid)) >= share
            || owners.iter().any(|owner| held(*owner) >= self.allowance(*owner).connections);
        if full {
            return Err(Refusal::Overloaded);
        }
        accounts.connections += 1;
        for owner in owners {
            let account = accounts.owners.entry(owner).or_insert_with(|| Account {
                connections: 0,
                streams: 0,
                requests: self.allowance(owner).requests_full(),
                counted: now,
            });
            account.connections += 1;
        }
        Ok(Place { ledger: Arc::clone(self), owners })
    }

    /// Forgets owners who left and have all their requests again: who comes back sooner finds his account as it was.
    fn sweep(&self, accounts: &mut Accounts, now: Instant) {
        if accounts.owners.len() < accounts.sweep_at {
            return;
        }
        accounts.owners.retain(|owner, account| {
            let allowance = self.allowance(*owner);
            account.earn(allowance, now);
            account.connections > 0 || account.requests < allowance.requests_full()
        });
        accounts.sweep_at = (accounts.owners.len() * 2).max(64);
    }
}

impl Place {
    /// A request at `now`.
    pub(super) fn request(&self, now: Instant) -> Result<(), Refusal> {
        let mut accounts = self.ledger.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut short = false;
        for owner in self.owners {
            if let Some(account) = accounts.owners.get_mut(&owner) {
                account.earn(self.ledger.allowance(owner), now);
                short |= account.requests < 1000;
            }
        }
        if short {
            return Err(Refusal::Overloaded);
        }
        for owner in self.owners {
            if let Some(account) = accounts.owners.get_mut(&owner) {
                account.requests = account.requests.saturating_sub(1000);
            }
        }
        Ok(())
    }

    /// A stream on this connection.
    pub(super) fn stream(self: &Arc<Self>) -> Result<StreamPlace, Refusal> {
        let mut accounts = self.ledger.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let full = self.owners.iter().any(|owner| {
            let held = accounts.owners.get(owner).map_or(0, |account| account.streams);
            held >= self.ledger.allowance(*owner).streams
        });
        if full {
            return Err(Refusal::Overloaded);
        }
        for owner in self.owners {
            if let Some(account) = accounts.owners.get_mut(&owner) {
                account.streams += 1;
            }
        }
        Ok(StreamPlace { connection: Arc::clone(self) })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut accounts = self.connection.ledger.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in self.connection.owners {
            if let Some(account) = accounts.owners.get_mut(&owner) {
                account.streams = account.streams.saturating_sub(1);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut accounts = self.ledger.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.connections = accounts.connections.saturating_sub(1);
        for owner in self.owners {
            if let Some(account) = accounts.owners.get_mut(&owner) {
                account.connections = account.connections.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ledger() -> Arc<Ledger> {
        let process = Allowance { connections: 2, streams: 2, requests_per_second: 10, requests_at_once: 3 };
        let user = Allowance { connections: 3, streams: 3, requests_per_second: 100, requests_at_once: 100 };
        Arc::new(Ledger::new(Limits { process, user, connections: 4 }))
    }

    #[test]
    fn connections_are_counted_by_process_user_and_in_all() {
        let ledger = ledger();
        let now = Instant::now();
        let first = ledger.connect(1, 0, now).unwrap();
        let _second = ledger.connect(1, 0, now).unwrap();
        assert!(ledger.connect(1, 0, now).is_err(), "two a process");
        let _third = ledger.connect(2, 0, now).unwrap();
        assert!(ledger.connect(3, 0, now).is_err(), "three a user");
        let _fourth = ledger.connect(4, 7, now).unwrap();
        assert!(ledger.connect(5, 8, now).is_err(), "four in all");
        drop(first);
        assert!(ledger.connect(5, 8, now).is_ok());
    }

    #[test]
    fn whoever_takes_all_he_can_leaves_room_for_one_more_user() {
        let ledger = Arc::new(Ledger::new(Limits::default()));
        let now = Instant::now();
        let greedy = |uid: u32| {
            let pids = 1_000_000 * i32::try_from(uid).unwrap()..;
            let places: Vec<_> = pids.map_while(|pid| ledger.connect(pid, uid, now).ok()).collect();
            places
        };
        let taken: Vec<_> = (1..=4).map(greedy).collect();
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [6144, 1536, 384, 96]);
        let quiet: Vec<_> = (100..110).map(|uid| ledger.connect(i32::try_from(uid).unwrap(), uid, now)).collect();
        assert!(quiet.iter().all(Result::is_ok), "each of ten more users gets in");
        drop(taken);
        assert_eq!(greedy(5).len(), 6137, "three quarters of what ten others leave");
    }

    #[test]
    fn one_user_leaves_room_for_others_where_descriptors_are_few() {
        let ledger = Arc::new(Ledger::new(Limits { connections: 448, ..Limits::default() }));
        let now = Instant::now();
        let taken: Vec<_> = (0..).map_while(|pid| ledger.connect(pid, 1, now).ok()).collect();
        assert_eq!(taken.len(), 336);
        assert!(ledger.connect(-1, 2, now).is_ok());
    }

    #[test]
    fn streams_are_counted_over_all_connections() {
        let ledger = ledger();
        let now = Instant::now();
        let places: Vec<_> = [1, 1, 2].map(|pid| Arc::new(ledger.connect(pid, 0, now).unwrap())).into();
        let first = places[0].stream().unwrap();
        let _second = places[1].stream().unwrap();
        assert!(places[0].stream().is_err(), "two a process");
        let _third = places[2].stream().unwrap();
        assert!(places[2].stream().is_err(), "three a user");
        drop(first);
        assert!(places[2].stream().is_ok());
    }

    #[test]
    fn requests_are_earned_over_time_up_to_a_burst() {
        let ledger = ledger();
        let now = Instant::now();
        let place = ledger.connect(1, 0, now).unwrap();
        for _ in 0..3 {
            place.request(now).unwrap();
        }
        assert_eq!(place.request(now), Err(Refusal::Overloaded));
        assert_eq!(place.request(now + Duration::from_millis(99)), Err(Refusal::Overloaded));
        place.request(now + Duration::from_millis(200)).unwrap();
        let later = now + Duration::from_secs(3600);
        for _ in 0..3 {
            place.request(later).unwrap();
        }
        assert!(place.request(later).is_err());
    }

    #[test]
    fn a_process_that_may_not_ask_takes_nothing_from_its_user() {
        let ledger = ledger();
        let now = Instant::now();
        let (noisy, quiet) = (ledger.connect(1, 0, now).unwrap(), ledger.connect(2, 0, now).unwrap());
        for _ in 0..1000 {
            let _ = noisy.request(now);
        }
        quiet.request(now).unwrap();
    }

    #[test]
    fn reconnecting_does_not_restore_what_was_asked() {
        let ledger = ledger();
        let now = Instant::now();
        for _ in 0..3 {
            ledger.connect(1, 0, now).unwrap().request(now).unwrap();
        }
        assert_eq!(ledger.connect(1, 0, now).unwrap().request(now), Err(Refusal::Overloaded));
    }

    #[test]
    fn who_left_is_forgotten_in_time() {
        let ledger = ledger();
        let begun = Instant::now();
        for pid in 0..1000 {
            let now = begun + Duration::from_secs(u64::try_from(pid).unwrap());
            let place = Arc::new(ledger.connect(pid, 0, now).unwrap());
            place.request(now).unwrap();
            drop(place.stream().unwrap());
        }
        let accounts = ledger.accounts.lock().unwrap();
        assert!(accounts.owners.len() <= 65 && accounts.connections == 0, "{}", accounts.owners.len());
    }
}
