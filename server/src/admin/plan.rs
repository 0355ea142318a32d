//! From what an operator wants to a state of the rollout: which versions, which nodes, whom it would refuse, and whether
//! another operator must say yes. What is read is checked again by the store, which refuses if it moved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_appraisal::{Appraiser, Document as PolicyText, Policy};
use holdfast_identity::Selector;
use holdfast_protocol::admin;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::refusal::{Refusal, argument};
use crate::clock;
use crate::config::Simulated;
use crate::fleet::{Floor, Question, scope_selector, what_if};
use crate::rollout::{Approval, NotSigned};
use crate::store::{
    Actor, Document, Mode, NewVersion, NextRollout, PolicyDigest, PolicyDraft, PolicyVersion, ProposalDraft, Rollout,
    RolloutRefusal, RolloutState, Sha256,
};

/// How often a change is thought out anew because the rollout moved under it.
const ATTEMPTS_MAX: usize = 3;
/// Selectors of one scope.
const SELECTORS_MAX: usize = 16;

/// The policy that a server without any begins with: ownership alone.
const KNOWN_MACHINES: (&str, &str) =
    ("known-machines.toml", include_str!("../../../policies/shipped/known-machines.toml"));
/// The same where machines are simulated.
const SIMULATED_MACHINES: (&str, &str) =
    ("simulated-machines.toml", include_str!("../../../policies/shipped/simulated-machines.toml"));

/// What an operator wants; as JSON it is what a proposal keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    pub(super) change: Change,
    pub(super) message: String,
    pub(super) accept_refusals: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) enum Change {
    /// Make a version, to decide or to be observed.
    Apply { name: String, documents: Vec<(String, String)>, enforce: bool, signature: String },
    /// Have a version decide about all nodes, or about some.
    Promote { version: String, selectors: Vec<String> },
}

/// What a change comes to.
pub(super) struct Planned {
    pub(super) next: NextRollout,
    pub(super) notes: Vec<String>,
}

/// What became of it.
pub(super) enum Done {
    Rollout(Box<Rollout>, Vec<String>),
    Proposal(u64, Vec<String>),
}

impl Admin {
    /// Does what is wanted, or proposes it where another must approve.
    pub(super) async fn change(&self, wanted: &Wanted, by: Actor) -> Result<Done, Refusal> {
        for _ in 0..ATTEMPTS_MAX {
            let planned = self.plan(wanted).await?;
            if self.rollout.approval == Approval::TwoPersons {
                let now = clock::now();
                let content = serde_json::to_string(wanted).map_err(|error| argument("change", error.to_string()))?;
                let draft = ProposalDraft {
                    content,
                    message: wanted.message.clone(),
                    expires_at: now.plus(self.rollout.proposal_lifetime),
                };
                let proposal = self.store.propose(draft, by, now).await?;
                return Ok(Done::Proposal(proposal.number, planned.notes));
            }
            match self.store.roll_out(planned.next, by.clone(), clock::now()).await? {
                Ok(rollout) => return Ok(Done::Rollout(Box::new(rollout), planned.notes)),
                Err(RolloutRefusal::Moved) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Err(RolloutRefusal::Moved.into())
    }

    /// The state that is wanted, checked, with what it is known to refuse.
    pub(super) async fn plan(&self, wanted: &Wanted) -> Result<Planned, Refusal> {
        let now = self.store.rollout().await?.state;
        let mut planned = match &wanted.change {
            Change::Apply { name, documents, enforce, signature } => {
                let documents =
                    documents.iter().map(|(name, text)| Document { name: name.clone(), text: text.clone() });
                let draft = PolicyDraft {
                    name: name.clone(),
                    documents: documents.collect(),
                    mode: if *enforce { Mode::Enforce } else { Mode::Observe },
                    message: wanted.message.clone(),
                };
                let signature = hex::decode(signature).map_err(|error| argument("signature", error.to_string()))?;
                self.planned_version(&now, self.rollout.check_signature(draft, &signature)?, &wanted.message)?
            }
            Change::Promote { version, selectors } => {
                let digest = Sha256::from_hex(version).ok_or_else(|| argument("version", "is no digest"))?;
                let version = self.store.policy(digest).await?.ok_or(Refusal::NotFound { what: "policy version" })?;
                self.check_signed(&version)?;
                let selectors = scope(selectors)?;
                let state = now.enforce(version.digest, selectors);
                Planned { next: next(state, "policy.enforce", &wanted.message), notes: Vec::new() }
            }
        };
        let policies = self.policies_of(&[&now, &planned.next.state], &planned.next.versions).await?;
        check_banks(&planned.next.state, &policies)?;
        if !now.enforces_as(&planned.next.state) {
            let question = self.question(&now, &planned.next.state, policies, Vec::new());
            let fleet = what_if(self.store.as_ref(), Arc::new(question), None).await?;
            let (lost, admitted) = (fleet.lost(), fleet.admitted());
            let limit = self.rollout.lost_max_per_mille;
            match wanted.accept_refusals {
                Some(accepted) if lost > accepted => {
                    return Err(Refusal::MoreThanAccepted { lost, admitted, accepted });
                }
                None if fleet.lost_per_mille() > limit => return Err(Refusal::TooMany { lost, admitted, limit }),
                Some(_) | None => planned.next.refused = lost,
            }
            if lost > 0 {
                let note = format!("{lost} of {admitted} admitted nodes are refused, wait, or are unknown by it");
                planned.notes.push(note);
            }
        }
        Ok(planned)
    }

    fn planned_version(&self, now: &RolloutState, version: NewVersion, message: &str) -> Result<Planned, Refusal> {
        let digest = version.draft.digest();
        let mut notes = Vec::new();
        let mut versions = vec![version];
        let enforce = versions.iter().any(|version| version.draft.mode == Mode::Enforce);
        if enforce {
            let next = next(now.enforce(digest, BTreeSet::new()), "policy.enforce", message);
            return Ok(Planned { next: NextRollout { versions, ..next }, notes });
        }
        if now.mode_of(digest) == Mode::Enforce {
            return Err(RolloutRefusal::AlreadyEnforced.into());
        }
        let mut state = now.observe(digest);
        if state.enforced.is_none() {
            let first = self.first_policy()?;
            state.enforced = Some(first.draft.digest());
            notes.push(format!(
                "no policy was enforced: {} is now, as it is shipped; it admits by ownership alone, and {} is observed",
                first.draft.name,
                versions.iter().map(|version| version.draft.name.as_str()).collect::<String>()
            ));
            versions.insert(0, first);
        }
        let next = next(state, "policy.observe", message);
        Ok(Planned { next: NextRollout { versions, ..next }, notes })
    }

    /// The shipped policy that a server without any enforces first.
    fn first_policy(&self) -> Result<NewVersion, Refusal> {
        let (name, text) = match self.simulated {
            Simulated::Refused => KNOWN_MACHINES,
            Simulated::Allowed => SIMULATED_MACHINES,
        };
        let policy = Policy::parse(PolicyText { name, text }, &[])
            .map_err(|_| Refusal::Unreadable { version: name.to_owned() })?;
        let draft = PolicyDraft {
            name: policy.version().name.clone(),
            documents: vec![Document { name: name.to_owned(), text: text.to_owned() }],
            mode: Mode::Enforce,
            message: "shipped, enforced with the first rollout".to_owned(),
        };
        Ok(NewVersion { draft, signature: None })
    }

    /// A version that was kept before signatures were demanded, or is signed by a key that is gone, decides nothing new.
    fn check_signed(&self, version: &PolicyVersion) -> Result<(), Refusal> {
        let keys = &self.rollout.signing_keys;
        let is_shipped = self.first_policy()?.draft.digest() == version.digest;
        if keys.is_empty() || is_shipped || keys.iter().any(|key| key.id() == version.signing_key) {
            Ok(())
        } else {
            Err(NotSigned::Missing.into())
        }
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
        }
    }

    /// The version of that name: a digest or its first digits, a number, or `enforce` or `observe`.
    pub(super) async fn version(&self, name: &str) -> Result<PolicyVersion, Refusal> {
        let missing = Refusal::NotFound { what: "policy version" };
        match name {
            "enforce" => return self.store.policy_in(Mode::Enforce).await?.ok_or(missing),
            "observe" => return self.store.policy_in(Mode::Observe).await?.ok_or(missing),
            _ => {}
        }
        let versions = self.store.policies().await?;
        let numbered = versions.iter().find(|version| name.parse() == Ok(version.number));
        let begins = |version: &&PolicyVersion| name.len() >= 4 && version.digest.to_string().starts_with(name);
        let found = match (numbered, versions.iter().filter(begins).collect::<Vec<_>>().as_slice()) {
            (Some(version), _) => version.digest,
            (None, [version]) => version.digest,
            (None, []) => return Err(missing),
            (None, _) => return Err(argument("version", "begins several digests: give more of it")),
        };
        self.store.policy(found).await?.ok_or(missing)
    }
}

fn next(state: RolloutState, action: &'static str, message: &str) -> NextRollout {
    NextRollout {
        versions: Vec::new(),
        state,
        action,
        message: message.to_owned(),
        restored: None,
        refused: 0,
        proposal: None,
    }
}

pub(super) fn compiled(documents: &[Document]) -> Result<Arc<Policy>, Refusal> {
    let mut texts = documents.iter().map(|document| PolicyText { name: &document.name, text: &document.text });
    let unreadable =
        || Refusal::Unreadable { version: documents.first().map(|document| document.name.clone()).unwrap_or_default() };
    let first = texts.next().ok_or_else(unreadable)?;
    Policy::parse(first, &texts.collect::<Vec<_>>()).map(Arc::new).map_err(|_| unreadable())
}

/// The selectors of a scope: none, or some that no machine can change.
pub(super) fn scope(texts: &[String]) -> Result<BTreeSet<Selector>, Refusal> {
    if texts.len() > SELECTORS_MAX {
        return Err(argument("selectors", format!("{} selectors, limit {SELECTORS_MAX}", texts.len())));
    }
    let parsed = texts.iter().map(|text| -> Result<Selector, Refusal> {
        let selector: Selector = text.parse().map_err(|source| Refusal::Selector { field: "selectors", source })?;
        scope_selector(&selector)?;
        Ok(selector)
    });
    parsed.collect()
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

/// What is wanted, in words.
pub(super) fn in_words(content: &str) -> String {
    match serde_json::from_str::<Wanted>(content).map(|wanted| (wanted.change, wanted.accept_refusals)) {
        Ok((Change::Apply { name, documents, enforce, .. }, accepted)) => {
            let verb = if enforce { "enforce" } else { "observe" };
            format!("{verb} a new version of {name} ({} files){}", documents.len(), accepting(accepted))
        }
        Ok((Change::Promote { version, selectors }, accepted)) => {
            let whom = if selectors.is_empty() { "every node".to_owned() } else { selectors.join(" and ") };
            format!("enforce version {} for {whom}{}", version.get(..12).unwrap_or(&version), accepting(accepted))
        }
        Err(_) => "something that another version of the server proposed".to_owned(),
    }
}

fn accepting(accepted: Option<u64>) -> String {
    accepted.map(|accepted| format!(", accepting {accepted} refusals")).unwrap_or_default()
}

/// The message of a proposal's request.
pub(super) fn wanted_apply(request: admin::ApplyPolicyRequest, name: String) -> Wanted {
    let documents = request.documents.into_iter().map(|document| (document.name, document.text)).collect();
    Wanted {
        change: Change::Apply {
            name,
            documents,
            enforce: request.mode == "enforce",
            signature: hex::encode(request.signature),
        },
        message: request.message,
        accept_refusals: request.accept_refusals,
    }
}
