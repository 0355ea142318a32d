//! The gate before every state of the rollout that another version decides by, whoever makes it and however. What decides
//! anew must be signed where that is demanded, be read by this server, be told apart by what no machine chooses, be of
//! one bank, and lose no more nodes than a share or than was accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_appraisal::{Appraiser, Document as PolicyText, Policy};

use super::Admin;
use super::plan::Planned;
use super::refusal::Refusal;
use crate::clock;
use crate::fleet::{Floor, Question, scope_selector, what_if};
use crate::store::{Document, Mode, NewVersion, PolicyDigest, PolicyDraft, PolicyVersion, RolloutState, Scope};

/// How long lists of measured files are judged again before a change, of the minute that its request has: machines choose how long
/// their lists are, and must not keep anybody from a stricter policy. What is not judged is unknown, which counts as lost.
pub(super) const LISTS_WITHIN: Duration = Duration::from_secs(20);

/// The one change that is asked neither for its share nor for a second person: back to what was enforced just before.
pub(super) const INSTANT: &str = "policy.rollback";

impl Admin {
    /// Lets a change pass, with what it is known to refuse.
    pub(super) async fn pass(
        &self,
        now: &RolloutState,
        planned: &mut Planned,
        accept_refusals: Option<u64>,
    ) -> Result<(), Refusal> {
        let policies = self.check_state(now, planned).await?;
        if now.enforces_as(&planned.next.state) {
            return Ok(());
        }
        let mut question = self.question(now, &planned.next.state, policies, Vec::new());
        question.lists_within = Some(LISTS_WITHIN);
        let fleet = what_if(self.store.as_ref(), Arc::new(question), None).await?;
        let (lost, admitted) = (fleet.lost(), fleet.admitted());
        let limit = self.rollout.lost_max_per_mille;
        match accept_refusals {
            Some(accepted) if lost > accepted => return Err(Refusal::MoreThanAccepted { lost, admitted, accepted }),
            None if fleet.lost_per_mille() > limit => return Err(Refusal::TooMany { lost, admitted, limit }),
            Some(_) | None => planned.next.refused = lost,
        }
        if lost > 0 {
            let note = format!("{lost} of {admitted} admitted nodes are refused, wait, or are unknown by it");
            planned.notes.push(note);
        }
        if fleet.lists_left > 0 {
            let (left, seconds) = (fleet.lists_left, LISTS_WITHIN.as_secs());
            planned
                .notes
                .push(format!("{left} lists of measured files were not judged within {seconds} s, and are unknown"));
        }
        Ok(())
    }

    /// Everything but whom it refuses: what even the state of just before must be to come back.
    pub(super) async fn check_state(
        &self,
        now: &RolloutState,
        planned: &Planned,
    ) -> Result<BTreeMap<PolicyDigest, Arc<Policy>>, Refusal> {
        let next = &planned.next;
        let policies = self.policies_of(&[now, &next.state], &next.versions).await?;
        // What decides already goes on where it does, whatever was demanded since; a draft was checked as it came.
        let scopes: Vec<&Scope> = next.state.scopes.iter().filter(|scope| !now.scopes.contains(scope)).collect();
        let enforced = next.state.enforced.filter(|enforced| now.enforced != Some(*enforced));
        let mut anew: BTreeSet<PolicyDigest> =
            enforced.into_iter().chain(scopes.iter().map(|one| one.policy)).collect();
        anew.retain(|digest| next.versions.iter().all(|version| version.draft.digest() != *digest));
        for digest in anew {
            let version = self.store.policy(digest).await?.ok_or(Refusal::NotFound { what: "policy version" })?;
            if !policies.contains_key(&digest) {
                return Err(Refusal::Unreadable { version: digest.to_string() });
            }
            self.check_signed(version, next.action)?;
        }
        for scope in scopes {
            scope.selectors.iter().try_for_each(scope_selector)?;
        }
        check_banks(&next.state, &policies)?;
        Ok(policies)
    }

    /// A version that was kept before signatures were demanded, or is signed by a key that is gone, decides nothing new.
    /// The signature is verified again, over what is kept. The shipped policy that a first rollout enforced comes back
    /// unsigned at once or never: later it would be a way around the measurements.
    fn check_signed(&self, version: PolicyVersion, action: &str) -> Result<(), Refusal> {
        if self.rollout.signing_keys.is_empty() {
            return Ok(());
        }
        let PolicyVersion { digest, name, documents, signature, .. } = version;
        let draft = PolicyDraft { name, documents, mode: Mode::Enforce, message: String::new() };
        if draft.digest() != digest {
            return Err(Refusal::Unreadable { version: digest.to_string() });
        }
        if action != INSTANT || self.first_policy()?.draft.digest() != digest {
            self.rollout.check_signature(draft, &signature)?;
        }
        Ok(())
    }

    /// Every version that the states name, compiled: of the drafts, or of the store.
    pub(super) async fn policies_of(
        &self,
        states: &[&RolloutState],
        drafts: &[NewVersion],
    ) -> Result<BTreeMap<PolicyDigest, Arc<Policy>>, Refusal> {
        let mut policies = BTreeMap::new();
        for version in drafts {
            policies.insert(version.draft.digest(), compiled(&version.draft.documents)?);
        }
        for digest in states.iter().flat_map(|state| state.enforcing()) {
            if policies.contains_key(&digest) {
                continue;
            }
            // One that does not compile decides about nobody, here as at the desk.
            if let Some(version) = self.store.policy(digest).await?
                && let Ok(policy) = compiled(&version.documents)
            {
                policies.insert(digest, policy);
            }
        }
        Ok(policies)
    }

    pub(super) fn question(
        &self,
        now: &RolloutState,
        then: &RolloutState,
        policies: BTreeMap<PolicyDigest, Arc<Policy>>,
        floors: Vec<Floor>,
    ) -> Question {
        Question {
            now: now.clone(),
            then: then.clone(),
            policies,
            floors,
            appraiser: Appraiser::new(self.trust_domain.clone()),
            at: clock::now(),
            lists_within: None,
        }
    }
}

pub(super) fn compiled(documents: &[Document]) -> Result<Arc<Policy>, Refusal> {
    let mut texts = documents.iter().map(|document| PolicyText { name: &document.name, text: &document.text });
    let unreadable =
        || Refusal::Unreadable { version: documents.first().map(|document| document.name.clone()).unwrap_or_default() };
    let first = texts.next().ok_or_else(unreadable)?;
    Policy::parse(first, &texts.collect::<Vec<_>>()).map(Arc::new).map_err(|_| unreadable())
}

/// One quote is of one bank, so all versions that decide must be; and where some decide about few, one must about all.
fn check_banks(state: &RolloutState, policies: &BTreeMap<PolicyDigest, Arc<Policy>>) -> Result<(), Refusal> {
    let Some(enforced) = state.enforced else {
        return if state.scopes.is_empty() { Ok(()) } else { Err(Refusal::NoDefault) };
    };
    let Some(expected) = policies.get(&enforced).map(|policy| policy.pcr_bank()) else { return Ok(()) };
    let banks = state.scopes.iter().filter_map(|scope| policies.get(&scope.policy)).map(|policy| policy.pcr_bank());
    match banks.into_iter().find(|bank| *bank != expected) {
        Some(found) => Err(Refusal::Bank { found: found.to_string(), expected: expected.to_string() }),
        None => Ok(()),
    }
}
