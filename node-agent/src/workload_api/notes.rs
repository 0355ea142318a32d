//! How much of the log callers may fill: a few lines at once for each user, and one a second. A log that is full of one
//! caller's refusals hides another's.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines at once, after a time without any.
const AT_ONCE: u32 = 20;
/// After which one more may be written.
const EACH: Duration = Duration::from_secs(1);

/// Lines that users may still cause.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Users>);

#[derive(Debug, Default)]
struct Users {
    users: HashMap<u32, User>,
    /// How many there may be before those who have been quiet are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct User {
    left: u32,
    counted: Instant,
    /// Lines that were not written since the last one that was.
    passed_over: u64,
}

impl User {
    fn earn(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.counted).as_secs() / EACH.as_secs();
        if earned > 0 {
            self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(AT_ONCE);
            self.counted = now;
        }
    }
}

impl Notes {
    /// Whether a line about a process of user `uid` may be written at `now`, and how many were not since the last.
    pub(super) fn may(&self, uid: u32, now: Instant) -> Option<u64> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Users { users, sweep_at } = &mut *guard;
        if users.len() >= *sweep_at {
            users.retain(|_, user| {
                user.earn(now);
                user.left < AT_ONCE
            });
            *sweep_at = (users.len() * 2).max(64);
        }
        let user = users.entry(uid).or_insert(User { left: AT_ONCE, counted: now, passed_over: 0 });
        user.earn(now);
        if user.left == 0 {
            user.passed_over = user.passed_over.saturating_add(1);
            return None;
        }
        user.left -= 1;
        Some(std::mem::take(&mut user.passed_over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_user_fills_no_log_and_what_was_left_out_is_counted() {
        let (notes, begun) = (Notes::default(), Instant::now());
        let written = (0..1000).filter(|_| notes.may(1, begun).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(notes.may(2, begun), Some(0), "another user's are written");
        assert_eq!(notes.may(1, begun + EACH), Some(980));
        assert_eq!(notes.may(1, begun + EACH), None);
    }

    #[test]
    fn users_who_are_quiet_again_are_forgotten() {
        let (notes, begun) = (Notes::default(), Instant::now());
        for uid in 0..1000 {
            notes.may(uid, begun + EACH * uid);
        }
        assert!(notes.0.lock().unwrap().users.len() <= 65);
    }
}
