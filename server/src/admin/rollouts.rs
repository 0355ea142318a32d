//! The rollout's states as operators see them, and bringing one back.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_identity::Selector;
use holdfast_protocol::admin;

use super::Admin;
use super::gate::INSTANT;
use super::plan::{Change, Done, Planned, Wanted, next};
use super::policies;
use super::refusal::Refusal;
use crate::clock;
use crate::store::{Actor, NextRollout, PolicyDigest, PolicyVersion, Rollout, RolloutRefusal};

/// States of the past that are looked through for one to bring back.
const LOOKED_AT_MAX: u32 = 1000;

/// Versions by digest.
pub(super) type Versions = BTreeMap<PolicyDigest, PolicyVersion>;

impl Admin {
    /// Brings back what was enforced before. To the state just before, at once, by one person and whatever it refuses: it
    /// was in force, and whoever had to approved it. Everything else is a change like any other.
    pub(super) async fn roll_back(
        &self,
        request: admin::RollbackPolicyRequest,
        by: Actor,
    ) -> Result<admin::RolloutResponse, Refusal> {
        let present = self.store.rollout().await?;
        let is_plain = request.to == 0 && request.selectors.is_empty();
        if !is_plain || self.made(&present).await?.restored.is_some() {
            let change = Change::Restore { to: request.to, selectors: request.selectors };
            let wanted = Wanted { change, message: request.message, accept_refusals: request.accept_refusals };
            let done = self.change(&wanted, by).await?;
            return self.response(done).await;
        }
        let former = self.former(&present, 0, &BTreeSet::new()).await?;
        let state = present.state.restore(&former.state, &BTreeSet::new());
        let next = NextRollout { restored: Some(former.state.number), ..next(state, INSTANT, &request.message) };
        let planned = Planned { next, notes: Vec::new() };
        self.check_state(&present.state, &planned).await?;
        let rollout = self.store.roll_out(planned.next, by, clock::now()).await??;
        self.response(Done::Rollout(Box::new(rollout), Vec::new())).await
    }

    /// The state to bring back: of that number, or the one before. It must enforce something, and something else than now.
    pub(super) async fn former(
        &self,
        present: &Rollout,
        to: u64,
        selectors: &BTreeSet<Selector>,
    ) -> Result<Rollout, Refusal> {
        if to != 0 {
            return self.state_before(present, to, selectors).await;
        }
        let past = self.store.rollouts(present.state.number, LOOKED_AT_MAX).await?;
        // After a rollback the next one goes further back, not forth again.
        let before = self.made(present).await?.restored.unwrap_or(present.state.number);
        let found = past.into_iter().find(|former| {
            let restored = present.state.restore(&former.state, selectors);
            former.state.number < before && former.state.enforced.is_some() && !restored.enforces_as(&present.state)
        });
        found.ok_or_else(|| RolloutRefusal::NothingBefore.into())
    }

    /// The state of that number, if bringing it back changes anything.
    async fn state_before(
        &self,
        present: &Rollout,
        number: u64,
        selectors: &BTreeSet<Selector>,
    ) -> Result<Rollout, Refusal> {
        let same = |what| Refusal::from(RolloutRefusal::SameState { number, what });
        if number == present.state.number {
            return Err(same("what is enforced now: it is the present one"));
        }
        let found = match number.checked_add(1).filter(|_| number < present.state.number) {
            Some(next) => self.store.rollouts(next, 1).await?.into_iter().find(|former| former.state.number == number),
            None => None,
        };
        let former = found.ok_or(RolloutRefusal::UnknownState { number })?;
        if former.state.enforced.is_none() {
            return Err(same("nothing"));
        }
        if present.state.restore(&former.state, selectors).enforces_as(&present.state) {
            return Err(same("what is enforced now"));
        }
        Ok(former)
    }

    /// The state since which the same versions decide about the same nodes as now: what is observed changes none of that.
    async fn made(&self, present: &Rollout) -> Result<Rollout, Refusal> {
        let past = self.store.rollouts(present.state.number, LOOKED_AT_MAX).await?;
        let same = past.into_iter().take_while(|former| former.state.enforces_as(&present.state));
        Ok(same.last().unwrap_or_else(|| present.clone()))
    }

    /// What was done, as the operator sees it.
    pub(super) async fn response(&self, done: Done) -> Result<admin::RolloutResponse, Refusal> {
        Ok(match done {
            Done::Rollout(rollout, notes) => {
                let rollout = Some(message(*rollout, &self.versions().await?));
                admin::RolloutResponse { rollout, proposal: None, notes }
            }
            Done::Proposal(number, notes) => {
                let proposal = self.proposal_message(number).await?;
                admin::RolloutResponse { rollout: None, proposal: Some(proposal), notes }
            }
        })
    }

    /// Every version by its digest, without texts.
    pub(super) async fn versions(&self) -> Result<Versions, Refusal> {
        Ok(self.store.policies().await?.into_iter().map(|version| (version.digest, version)).collect())
    }
}

/// A state as the operator sees it.
pub(super) fn message(rollout: Rollout, versions: &Versions) -> admin::Rollout {
    let policy = |digest: PolicyDigest| match versions.get(&digest) {
        Some(version) => policies::message(version.clone()),
        None => admin::Policy { digest: digest.0.to_vec(), ..admin::Policy::default() },
    };
    let scopes = rollout.state.scopes.into_iter().map(|scope| admin::RolloutScope {
        selectors: scope.selectors.iter().map(ToString::to_string).collect(),
        policy: Some(policy(scope.policy)),
    });
    admin::Rollout {
        scopes: scopes.collect(),
        number: rollout.state.number,
        at: rollout.at.seconds(),
        author: rollout.author,
        approver: rollout.approver,
        action: rollout.action,
        message: rollout.message,
        enforced: rollout.state.enforced.map(policy),
        observed: rollout.state.observed.map(policy),
        restored: rollout.restored.unwrap_or_default(),
        refused: rollout.refused,
    }
}
