//! Proposals: what one operator wants and another must approve. Their rows are in `sqlite/proposals`, what they do in `rollouts`.

use std::collections::BTreeSet;

use holdfast_identity::{Selector, UnixTime};

use super::policies::{Mode, PolicyDigest};
use super::rollouts::RolloutRefusal;

/// What is proposed, as the record says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The version.
    pub policy: PolicyDigest,
    /// Its name.
    pub name: String,
    /// Whether it would decide, or be observed.
    pub mode: Mode,
    /// About which nodes; none for all.
    pub selectors: BTreeSet<Selector>,
    /// The former state that is brought back, by its number.
    pub restored: Option<u64>,
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalDraft {
    /// What is to be done, as JSON of the admin services; opaque here, at most a policy. Empty in lists.
    pub content: String,
    /// The same in words.
    pub what: String,
    /// Why.
    pub message: String,
    /// When it is void.
    pub expires_at: UnixTime,
}

/// A proposal as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Counts from 1.
    pub number: u64,
    /// What and why.
    pub draft: ProposalDraft,
    /// When it was made.
    pub made_at: UnixTime,
    /// By whom.
    pub author: String,
    /// The author's user ID.
    pub author_uid: u32,
    /// What became of it; an open one may be past its end.
    pub state: ProposalState,
    /// When that was decided.
    pub closed_at: Option<UnixTime>,
    /// By whom; empty while open.
    pub closed_by: String,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalState {
    /// Nobody decided yet.
    Open,
    /// It was done.
    Approved,
    /// It will not be done.
    Withdrawn,
}

impl ProposalState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Open, Self::Approved, Self::Withdrawn];

    /// As it is kept and printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl Proposal {
    /// Whether it can still be decided, and what keeps it from that.
    ///
    /// # Errors
    /// [`RolloutRefusal::Closed`].
    pub fn check_open(&self, now: UnixTime) -> Result<(), RolloutRefusal> {
        match self.state {
            ProposalState::Open if self.draft.expires_at <= now => Err(RolloutRefusal::Closed { state: "expired" }),
            ProposalState::Open => Ok(()),
            closed => Err(RolloutRefusal::Closed { state: closed.as_str() }),
        }
    }
}
