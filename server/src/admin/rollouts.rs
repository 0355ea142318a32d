//! The rollout's states as operators see them, and bringing one back.

use std::collections::BTreeMap;

use holdfast_protocol::admin;

use super::Admin;
use super::plan::{Done, scope};
use super::policies;
use super::refusal::Refusal;
use crate::clock;
use crate::store::{Actor, NextRollout, PolicyDigest, PolicyVersion, Rollout, RolloutRefusal};

/// States of the past that are looked through for one to bring back.
const LOOKED_AT_MAX: u32 = 1000;

/// Versions by digest.
pub(super) type Versions = BTreeMap<PolicyDigest, PolicyVersion>;

impl Admin {
    /// Brings back what was enforced before, at once and whatever it refuses: it was in force already.
    pub(super) async fn roll_back(
        &self,
        request: admin::RollbackPolicyRequest,
        by: Actor,
    ) -> Result<admin::RolloutResponse, Refusal> {
        let selectors = scope(&request.selectors)?;
        let now = self.store.rollout().await?;
        let past = self.store.rollouts(now.state.number, LOOKED_AT_MAX).await?;
        // After a rollback the next one goes further back, not forth again.
        let before = now.restored.unwrap_or(now.state.number);
        let other = |former: &&Rollout| {
            let restored = now.state.restore(&former.state, &selectors);
            former.state.enforced.is_some() && !restored.enforces_as(&now.state)
        };
        let found = match request.to {
            0 => past.iter().filter(|former| former.state.number < before).find(other),
            number => past.iter().filter(|former| former.state.number == number).find(other),
        };
        let former = found.ok_or(RolloutRefusal::NothingBefore)?;
        let next = NextRollout {
            versions: Vec::new(),
            state: now.state.restore(&former.state, &selectors),
            action: "policy.rollback",
            message: request.message,
            restored: Some(former.state.number),
            refused: 0,
            proposal: None,
        };
        let rollout = self.store.roll_out(next, by, clock::now()).await??;
        self.response(Done::Rollout(Box::new(rollout), Vec::new())).await
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
