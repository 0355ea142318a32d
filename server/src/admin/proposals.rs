//! What one operator proposed and another decides about.

use holdfast_identity::UnixTime;
use holdfast_protocol::admin;

use super::Admin;
use super::plan::{Done, Wanted};
use super::refusal::Refusal;
use crate::clock;
use crate::store::{Actor, Proposal, ProposalState, RolloutRefusal};

impl Admin {
    /// Does what was proposed, as the fleet is now: whom it refuses is counted again.
    pub(super) async fn approve_proposal(&self, number: u64, by: Actor) -> Result<admin::RolloutResponse, Refusal> {
        let proposal = self.proposal(number).await?;
        proposal.check_open(clock::now())?;
        if let Actor::Operator { uid, .. } = &by
            && *uid == proposal.author_uid
        {
            return Err(RolloutRefusal::OwnProposal { author: proposal.author }.into());
        }
        let unreadable = || Refusal::Unreadable { version: format!("of proposal {number}") };
        let wanted: Wanted = serde_json::from_str(&proposal.draft.content).map_err(|_| unreadable())?;
        let mut planned = self.plan(&wanted).await?;
        planned.next.proposal = Some(number);
        let rollout = self.store.roll_out(planned.next, by, clock::now()).await??;
        self.response(Done::Rollout(Box::new(rollout), planned.notes)).await
    }

    pub(super) async fn proposal(&self, number: u64) -> Result<Proposal, Refusal> {
        self.store.proposal(number).await?.ok_or_else(|| RolloutRefusal::UnknownProposal.into())
    }

    pub(super) async fn proposal_message(&self, number: u64) -> Result<admin::Proposal, Refusal> {
        self.proposal(number).await.map(|proposal| message(proposal, clock::now()))
    }
}

/// A proposal as the operator sees it.
pub(super) fn message(proposal: Proposal, now: UnixTime) -> admin::Proposal {
    let state = match proposal.state {
        ProposalState::Open if proposal.check_open(now).is_err() => "expired",
        state => state.as_str(),
    };
    admin::Proposal {
        number: proposal.number,
        made_at: proposal.made_at.seconds(),
        expires_at: proposal.draft.expires_at.seconds(),
        author: proposal.author,
        what: proposal.draft.what,
        message: proposal.draft.message,
        state: state.to_owned(),
        closed_at: proposal.closed_at.map(UnixTime::seconds).unwrap_or_default(),
        closed_by: proposal.closed_by,
    }
}
