//! Places for work that waits for whoever asked for it: so many at one time, and a part of them for one source, which waits
//! for itself alone when it has those.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::Source;

/// Sources beside whom nobody is looked for who has left.
const FEW: usize = 64;

/// The places.
#[derive(Debug)]
pub struct Turns {
    places: Semaphore,
    each: usize,
    sources: Mutex<Sources>,
}

#[derive(Debug)]
struct Sources {
    places: HashMap<Source, Arc<Semaphore>>,
    /// How many there may be before those who left are looked for.
    sweep_at: usize,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _own: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at one time, a quarter of them for one source.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let sources = Mutex::new(Sources { places: HashMap::new(), sweep_at: FEW });
        Self { places: Semaphore::new(places), each: places.div_ceil(4), sources }
    }

    /// Waits for one: behind those of the same source first, then behind everybody.
    pub async fn wait(&self, source: Source) -> Option<Turn<'_>> {
        let own = self.of(source).acquire_owned().await.ok()?;
        let place = self.places.acquire().await.ok()?;
        Some(Turn { _place: place, _own: own })
    }

    fn of(&self, source: Source) -> Arc<Semaphore> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.places.len() >= sources.sweep_at {
            // Whoever holds a place or waits for one holds its semaphore too.
            sources.places.retain(|_, place| Arc::strong_count(place) > 1);
            sources.sweep_at = (sources.places.len() * 2).max(FEW);
        }
        Arc::clone(sources.places.entry(source).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn source(n: u32) -> Source {
        Source::of(n.to_be_bytes().into())
    }

    #[test]
    fn one_source_has_a_quarter_and_waits_for_itself_alone() {
        let turns = Turns::new(8);
        let now = |n: u32| turns.wait(source(n)).now_or_never().flatten();
        let held: Vec<_> = (0..4).map(|_| now(1)).collect();
        assert_eq!(held.iter().filter(|turn| turn.is_some()).count(), 2);
        let others: Vec<_> = (2..5).flat_map(|n| [now(n), now(n)]).collect();
        assert!(others.iter().all(Option::is_some));
        assert!(now(9).is_none(), "all eight are taken");
        drop(held);
        assert!(now(9).is_some());
    }

    #[test]
    fn whoever_gave_up_waiting_holds_nothing_and_is_forgotten() {
        let turns = Turns::new(1);
        let held = turns.wait(source(0)).now_or_never().unwrap();
        for n in 0..1_000 {
            assert!(turns.wait(source(n)).now_or_never().is_none());
        }
        assert!(turns.sources.lock().unwrap().places.len() <= FEW + 1);
        drop(held);
        assert!(turns.wait(source(7)).now_or_never().is_some());
    }
}
