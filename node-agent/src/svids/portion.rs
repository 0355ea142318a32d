//! How many SVIDs are asked for at once: fewer where the server says that it is too much now. The first of them are those that
//! somebody waits for, and a few are granted sooner than many.

use holdfast_protocol::limits::SVID_REQUESTS_MAX;
use tonic::{Code, Status};

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion(usize);

impl Portion {
    /// As many as one request may have.
    pub(super) const fn whole() -> Self {
        Self(SVID_REQUESTS_MAX)
    }

    /// So many.
    pub(super) const fn get(self) -> usize {
        self.0
    }

    /// All of them were answered: more the next time.
    pub(super) fn answered(&mut self) {
        self.0 = self.0.saturating_mul(2).min(SVID_REQUESTS_MAX);
    }

    /// None was, for this reason; says whether they were too many.
    pub(super) fn refused(&mut self, status: &Status) -> bool {
        let is_too_much = status.code() == Code::ResourceExhausted;
        if is_too_much {
            self.0 = (self.0 / 2).max(1);
        }
        is_too_much
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_too_much_asks_for_less_and_then_for_more_again() {
        let mut portion = Portion::whole();
        assert!(portion.refused(&Status::resource_exhausted("busy")));
        assert_eq!(portion.get(), SVID_REQUESTS_MAX / 2);
        for _ in 0..100 {
            assert!(portion.refused(&Status::resource_exhausted("busy")));
        }
        assert_eq!(portion.get(), 1, "it goes on asking");
        for _ in 0..100 {
            portion.answered();
        }
        assert_eq!(portion, Portion::whole());
    }

    #[test]
    fn a_fault_says_nothing_about_how_many_they_are() {
        let mut portion = Portion::whole();
        for status in [Status::unavailable(""), Status::deadline_exceeded(""), Status::internal("")] {
            assert!(!portion.refused(&status));
        }
        assert_eq!(portion, Portion::whole());
    }
}
