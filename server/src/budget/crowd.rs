//! How many of one source may be here at the same time: whoever waits for his own reasons takes no place of another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Source;

/// Those who are here, by where they come from.
#[derive(Clone, Debug)]
pub struct Crowd {
    each: usize,
    here: Arc<Mutex<HashMap<Source, usize>>>,
}

/// One of them; leaves when dropped.
#[derive(Debug)]
pub struct Guest {
    source: Source,
    here: Arc<Mutex<HashMap<Source, usize>>>,
}

impl Crowd {
    /// At most `each` of every source.
    #[must_use]
    pub fn new(each: usize) -> Self {
        Self { each, here: Arc::default() }
    }

    /// Comes in; nothing where as many of `source` are here as may be.
    #[must_use]
    pub fn enter(&self, source: Source) -> Option<Guest> {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let count = here.entry(source).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(Guest { source, here: self.here.clone() })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = here.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                here.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_one_source_are_here_and_who_leaves_makes_room() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        let (one, other) = (source("192.0.2.1"), source("192.0.2.2"));
        let crowd = Crowd::new(2);
        let guests = [crowd.enter(one).unwrap(), crowd.enter(one).unwrap()];
        assert!(crowd.enter(one).is_none());
        let guest = crowd.enter(other).unwrap();
        drop(guests);
        assert!(crowd.enter(one).is_some());
        drop(guest);
        assert!(crowd.here.lock().unwrap().is_empty(), "who is gone is forgotten");
    }
}
