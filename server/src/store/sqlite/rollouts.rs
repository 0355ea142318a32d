//! Making a state of the rollout: versions, state, approval and record in one transaction.

use super::super::changes::Notice;
use super::super::ledger::Actor;
use super::super::proposals::{Proposal, ProposalDraft, Proposed};
use super::super::rollouts::{NewVersion, NextRollout, Rollout, RolloutRefusal, Rollouts, SCOPES_MAX};
use super::super::{Held, StoreFault};
use super::writer::{Tx, Verb};
use super::{SqliteStore, policies, proposals, rollout_rows};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;

impl Rollouts for SqliteStore {
    fn rollout(&self) -> Held<'_, Rollout> {
        Box::pin(async move { rollout_rows::present(&mut *self.reader().await?).await })
    }

    fn rollouts(&self, before: u64, limit: u32) -> Held<'_, Vec<Rollout>> {
        Box::pin(async move { rollout_rows::page(&mut *self.reporter().await?, before, limit).await })
    }

    fn roll_out(&self, next: NextRollout, by: Actor, at: UnixTime) -> Held<'_, Result<Rollout, RolloutRefusal>> {
        Box::pin(self.queue.run(RollOut { next, by, at }))
    }

    fn propose(&self, draft: ProposalDraft, about: Proposed, by: Actor, at: UnixTime) -> Held<'_, Proposal> {
        Box::pin(self.queue.run(proposals::Propose { draft, about, by, at }))
    }

    fn proposals(&self) -> Held<'_, Vec<Proposal>> {
        Box::pin(async move { proposals::list(&mut *self.reporter().await?).await })
    }

    fn proposal(&self, number: u64) -> Held<'_, Option<Proposal>> {
        Box::pin(async move { proposals::find(&mut *self.reporter().await?, number).await })
    }

    fn withdraw_proposal(&self, number: u64, by: Actor, at: UnixTime) -> Held<'_, Result<Proposal, RolloutRefusal>> {
        Box::pin(self.queue.run(proposals::Withdraw { number, by, at }))
    }
}

struct RollOut {
    next: NextRollout,
    by: Actor,
    at: UnixTime,
}

impl Verb for RollOut {
    type Reply = Result<Rollout, RolloutRefusal>;
    const NAME: &'static str = "roll_out";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let next = &self.next;
        if tx.rollout().number != next.state.number {
            return Ok(Err(RolloutRefusal::Moved));
        }
        if next.state.scopes.len() > SCOPES_MAX {
            return Ok(Err(RolloutRefusal::Scopes { found: next.state.scopes.len() }));
        }
        let mut author = self.by.to_string();
        let mut approver = String::new();
        if let Some(number) = next.proposal {
            let proposal = match proposals::approve(tx, number, &self.by, self.at).await? {
                Ok(proposal) => proposal,
                Err(refusal) => return Ok(Err(refusal)),
            };
            approver = std::mem::replace(&mut author, proposal.author);
        }
        for NewVersion { draft, signature, waivers } in &next.versions {
            policies::keep(tx, draft, signature.as_ref(), waivers, &author, self.at).await?;
        }
        let rollout = Rollout {
            state: next.state.clone(),
            at: self.at,
            author,
            approver,
            action: next.action.to_owned(),
            message: next.message.clone(),
            restored: next.restored,
            refused: next.refused,
        };
        write(tx, rollout).await.map(Ok)
    }
}

/// Records the state, writes it, and makes it the present one.
pub(super) async fn write(tx: &mut Tx, rollout: Rollout) -> Result<Rollout, StoreFault> {
    let Rollout { state, at, author, approver, action, message, restored, refused } = &rollout;
    let scopes = state.scopes.iter().map(|scope| {
        let selectors: Vec<String> = scope.selectors.iter().map(ToString::to_string).collect();
        json!({ "selectors": selectors, "policy": scope.policy.to_string() })
    });
    tx.append(&Leaf::Act(json!({
        "at": at.seconds(), "by": author, "action": action,
        "subject": state.enforced.map(|digest| digest.to_string()).unwrap_or_default(),
        "detail": {
            "approved_by": approver, "message": message, "scopes": scopes.collect::<Vec<_>>(),
            "observed": state.observed.map(|digest| digest.to_string()), "restored": restored, "refused": refused,
        },
    })));
    let rollout = rollout_rows::insert(tx, rollout).await?;
    tx.roll_out(rollout.state.clone());
    let n = tx.next_n();
    tx.notify(Notice::Policy { n });
    Ok(rollout)
}
