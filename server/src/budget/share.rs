//! Places that sources share: one of them has at most three quarters of what the others leave. Whoever takes all that he can
//! leaves room for one more, and where he is alone, a whole fleet behind one address is let in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Source;

/// Of the places that others leave, how many one source may have.
const SHARE: (usize, usize) = (3, 4);

/// The places.
#[derive(Clone, Debug)]
pub struct Shared {
    places: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    by: HashMap<Source, usize>,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub struct Held {
    source: Source,
    taken: Arc<Mutex<Taken>>,
}

impl Shared {
    /// So many.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self { places, taken: Arc::default() }
    }

    /// Takes one; nothing where none is left for this source.
    #[must_use]
    pub fn take(&self, source: Source) -> Option<Held> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.places.saturating_sub(taken.count);
        let own = taken.by.get(&source).copied().unwrap_or(0);
        // By the whole above: the last place of all is somebody's too, who has none.
        if left == 0 || own >= ((left + own) * SHARE.0).div_ceil(SHARE.1) {
            return None;
        }
        taken.count += 1;
        taken.by.insert(source, own + 1);
        Some(Held { source, taken: self.taken.clone() })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.count = taken.count.saturating_sub(1);
        if let Some(own) = taken.by.get_mut(&self.source) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> Source {
        Source::of([192, 0, 2, n].into())
    }

    fn all(shared: &Shared, n: u8) -> Vec<Held> {
        std::iter::from_fn(|| shared.take(source(n))).collect()
    }

    #[test]
    fn one_source_leaves_a_quarter_of_what_the_others_leave_it() {
        let shared = Shared::new(4096);
        let taken: Vec<_> = (0..4).map(|n| all(&shared, n)).collect();
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [3072, 768, 192, 48]);
        assert!(shared.take(source(9)).is_some());
        drop(taken);
        assert_eq!(all(&shared, 1).len(), 3072);
        assert!(shared.taken.lock().unwrap().by.is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn the_last_place_is_somebodys_too() {
        assert_eq!((all(&Shared::new(1), 1).len(), all(&Shared::new(0), 1).len()), (1, 0));
        let shared = Shared::new(2);
        let _held = shared.take(source(1)).unwrap();
        assert!(shared.take(source(2)).is_some() && shared.take(source(1)).is_some());
    }
}
