//! How far each sink of events has come. The events are the record's own entries: nothing of them is kept here.

use super::{Actor, Held, Operation};
use holdfast_identity::UnixTime;

/// Verbs about sinks of events.
pub trait Sinks: Send + Sync {
    /// Every sink that was ever opened, by name.
    fn sinks(&self) -> Held<'_, Vec<Sink>>;
    /// The sink of that name; made where there is none, to begin at the entry that comes next or at the first of all.
    fn open_sink(&self, name: String, start: SinkStart) -> Held<'_, Sink>;
    /// Keeps where a sink stands, after writing `act` into the record; both or neither.
    fn save_sink(&self, sink: Sink, act: Option<(Operation, Actor)>, at: UnixTime) -> Held<'_, ()>;
    /// Forgets where a sink stands, after writing so into the record; `None` if there is none of that name.
    fn forget_sink(&self, name: String, by: Actor, at: UnixTime) -> Held<'_, Option<Sink>>;
}

/// Where a new sink begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkStart {
    /// With what is recorded from now on.
    #[default]
    Head,
    /// With the record's first entry.
    First,
}

/// Where one sink stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name in the configuration.
    pub name: String,
    /// Index of the first entry that it has not acknowledged.
    pub next: u64,
    /// Why nothing is sent to it until an operator resumes it; empty while it runs.
    pub parked: String,
    /// Attempts in a row that did not get through.
    pub failures: u64,
    /// What went wrong last, in words.
    pub last_error: String,
    /// When; 0 for never.
    pub last_failure: UnixTime,
    /// When it acknowledged something last; 0 for never.
    pub last_success: UnixTime,
    /// Entries that it would not take, or that an operator skipped.
    pub skipped: u64,
}

impl Sink {
    /// A sink to which nothing was sent yet.
    #[must_use]
    pub const fn new(name: String, next: u64) -> Self {
        let never = UnixTime(0);
        Self {
            name,
            next,
            parked: String::new(),
            failures: 0,
            last_error: String::new(),
            last_failure: never,
            last_success: never,
            skipped: 0,
        }
    }
}
