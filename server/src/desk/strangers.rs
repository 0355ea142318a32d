//! Strangers leave no entry in the record: they are counted by source, minute and code, in a table with a bound, and
//! the lines go to the store's rotating sample.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_identity::UnixTime;

use crate::budget::Source;
use crate::store::StrangerLine;

/// Sources told apart in one minute; the rest are `others`.
const SOURCES_MAX: usize = 256;

/// Counts of this minute.
#[derive(Debug, Default)]
pub struct Strangers {
    counts: Mutex<HashMap<Option<Source>, BTreeMap<&'static str, u64>>>,
}

impl Strangers {
    /// Counts one failure of `source`.
    pub fn count(&self, source: Source, code: &'static str) {
        let mut counts = self.lock();
        let known = counts.contains_key(&Some(source)) || counts.len() < SOURCES_MAX;
        // Codes are literals of ours: their number is bounded by the program.
        *counts.entry(known.then_some(source)).or_default().entry(code).or_default() += 1;
    }

    /// Takes what was counted, as lines of the minute that began at `minute`.
    #[must_use]
    pub fn take(&self, minute: UnixTime) -> Vec<StrangerLine> {
        std::mem::take(&mut *self.lock())
            .into_iter()
            .map(|(source, counts)| StrangerLine {
                minute,
                source: source.map_or_else(|| "others".to_owned(), |source| source.to_string()),
                counts: counts.into_iter().map(|(code, count)| (code.to_owned(), count)).collect(),
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<Source>, BTreeMap<&'static str, u64>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> Source {
        Source::of(std::net::Ipv4Addr::from(n).into())
    }

    #[test]
    fn failures_are_counted_by_source_and_code() {
        let strangers = Strangers::default();
        strangers.count(source(1), "a");
        strangers.count(source(1), "a");
        strangers.count(source(1), "b");
        let lines = strangers.take(UnixTime(60));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].source, "0.0.0.1");
        assert_eq!(lines[0].counts, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert!(strangers.take(UnixTime(120)).is_empty());
    }

    #[test]
    fn a_flood_of_sources_grows_nothing() {
        let strangers = Strangers::default();
        (0..10_000).for_each(|n| strangers.count(source(n), "a"));
        let lines = strangers.take(UnixTime(0));
        assert_eq!(lines.len(), SOURCES_MAX + 1);
        let others = lines.iter().find(|line| line.source == "others").unwrap();
        assert_eq!(others.counts, [("a".to_owned(), 10_000 - SOURCES_MAX as u64)]);
    }
}
