//! The proof that a node stands, and what its streams watch.

use holdfast_identity::{SpiffeId, UnixTime};
use tokio::sync::watch;

use crate::store::NodeNumber;

/// How it is with a node's standing on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It stands until its evidence expires.
    Stands {
        /// That moment.
        evidence_expires: UnixTime,
    },
    /// A newer connection has quoted: nothing is pushed here any more, and nothing is said about it.
    Silenced,
    /// It is over; the stream says so and closes.
    Ended(Ending),
}

/// Why a standing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Evidence expired, or policy or endorsements changed: a new quote may restore it.
    AttestAgain,
    /// The node was refused, banned, frozen, denied or evicted.
    Refused,
}

/// A node that stands: the record says yes, and the connection that this was asked on has passed a quote whose evidence
/// is unexpired. Made by [`super::LiveNodes::standing`] alone; workload SVIDs are drafted against it, nothing else is.
#[derive(Debug)]
pub struct StandingNode {
    number: NodeNumber,
    spiffe_id: SpiffeId,
    evidence_expires: UnixTime,
    state: StandingWatch,
}

/// What a stream watches: [`State`] as it changes. The sender's end means that the connection is gone.
pub type StandingWatch = watch::Receiver<State>;

impl StandingNode {
    pub(super) fn new(
        number: NodeNumber,
        spiffe_id: SpiffeId,
        evidence_expires: UnixTime,
        state: &watch::Sender<State>,
    ) -> Self {
        Self { number, spiffe_id, evidence_expires, state: state.subscribe() }
    }

    /// Its number in the store.
    #[must_use]
    pub const fn number(&self) -> NodeNumber {
        self.number
    }

    /// Its name.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// Nothing under it outlives this moment.
    #[must_use]
    pub const fn evidence_expires(&self) -> UnixTime {
        self.evidence_expires
    }

    /// What its streams watch.
    #[must_use]
    pub fn watch(&self) -> StandingWatch {
        self.state.clone()
    }
}
