//! What came of exchanges lately, for operators: the last ones whose tokens were genuine. Those of strangers are counted.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use holdfast_identity::UnixTime;

use super::rule::Differs;

/// Exchanges that are remembered, in memory alone.
pub const SEEN_MAX: usize = 256;

/// One exchange, or one that was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What whoever asked was told to name it by.
    pub id: String,
    /// When.
    pub at: UnixTime,
    /// Whence.
    pub source: String,
    /// Why not; empty where a JWT-SVID was given.
    pub code: &'static str,
    /// The same in words.
    pub problem: String,
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// The token's subject.
    pub subject: String,
    /// The rule, or the nearest one.
    pub rule: String,
    /// What the token does not meet of it.
    pub differs: Vec<Differs>,
    /// The identity that was given.
    pub spiffe_id: String,
}

/// The last ones.
#[derive(Debug, Default)]
pub(super) struct Window(Mutex<VecDeque<Seen>>);

impl Window {
    pub(super) fn push(&self, seen: Seen) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.truncate(SEEN_MAX - 1);
        window.push_front(seen);
    }

    /// Newest first.
    pub(super) fn newest(&self, limit: usize) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().take(limit).cloned().collect()
    }
}
