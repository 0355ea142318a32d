//! How many JWT-SVIDs are signed by one entry: each is an entry of the server's record, which forgets nothing, and whoever
//! names ever new audiences would fill it.

use std::collections::HashMap;
use std::time::Instant;

/// Signatures at once, after a time without any: more than audiences are kept of one entry.
pub(super) const AT_ONCE: f64 = 256.0;
/// Signatures a second, on average.
const PER_SECOND: f64 = 16.0;

/// What each entry has left.
#[derive(Debug, Default)]
pub(super) struct Budgets(HashMap<String, (f64, Instant)>);

impl Budgets {
    /// Takes one signature out of the entry's budget; false if there is none.
    pub(super) fn take(&mut self, entry_id: &str, now: Instant) -> bool {
        let (left, counted) = self.0.entry(entry_id.to_owned()).or_insert((AT_ONCE, now));
        let earned = now.saturating_duration_since(*counted).as_secs_f64() * PER_SECOND;
        (*left, *counted) = ((*left + earned).min(AT_ONCE), now);
        let has_one = *left >= 1.0;
        if has_one {
            *left -= 1.0;
        }
        has_one
    }

    /// Forgets entries that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|entry_id, _| is_there(entry_id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_entry_has_so_many_at_once_and_then_some_a_second_and_takes_none_of_anothers() {
        let (mut budgets, now) = (Budgets::default(), Instant::now());
        assert_eq!((0..1000).filter(|_| budgets.take("a", now)).count(), 256);
        assert!(budgets.take("b", now));
        assert_eq!((0..1000).filter(|_| budgets.take("a", now + Duration::from_secs(2))).count(), 32);
        budgets.retain(|entry| entry == "b");
        assert_eq!(budgets.0.len(), 1);
    }
}
