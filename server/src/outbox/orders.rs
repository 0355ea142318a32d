//! What operators may have done at a sink.

use tokio::sync::oneshot;

use crate::store::{Actor, StoreFault};

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send one event that is in no record, now.
    Test,
    /// Send again from this entry on.
    Replay {
        /// Its index.
        from: u64,
    },
    /// Leave out the next entry.
    Skip,
    /// Send again after the sink was parked.
    Resume,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OrderRefused {
    /// No such sink.
    #[error("no sink of that name is configured, or was")]
    Unknown,
    /// It is sent to.
    #[error("the sink is configured: take it out of the configuration and restart the server before it is forgotten")]
    Configured,
    /// Beyond the end.
    #[error("the record has {size} entries, it cannot be sent from entry {from} on")]
    BeyondHead {
        /// What was asked.
        from: u64,
        /// What there is.
        size: u64,
    },
    /// Nothing waits.
    #[error("no entry waits for the sink")]
    NothingToSkip,
    /// The trial failed.
    #[error("the test event did not get through: {0}")]
    Test(String),
    /// The server ends.
    #[error("the server is about to end")]
    Ended,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl OrderRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "events.sink_unknown",
            Self::Configured => "events.sink_configured",
            Self::BeyondHead { .. } => "events.beyond_head",
            Self::NothingToSkip => "events.nothing_to_skip",
            Self::Test(_) => "events.test_failed",
            Self::Ended => "events.ended",
            Self::Store(fault) => fault.code(),
        }
    }
}

/// An order on its way to the courier.
pub(super) struct Ordered {
    pub(super) order: Order,
    pub(super) by: Actor,
    pub(super) reply: oneshot::Sender<Result<(), OrderRefused>>,
}
