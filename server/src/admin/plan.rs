//! From what an operator wants to a state of the rollout: which versions, which nodes, whom it would refuse, and whether
//! another operator must say yes. What is read is checked again by the store, which refuses if it moved.

use std::collections::BTreeSet;

use holdfast_appraisal::{Document as PolicyText, Policy};
use holdfast_identity::Selector;
use holdfast_protocol::admin;
use serde::{Deserialize, Serialize};

use super::Admin;
use super::gate::compiled;
use super::refusal::{Refusal, argument};
use crate::clock;
use crate::config::Simulated;
use crate::fleet::scope_selector;
use crate::rollout::Approval;
use crate::store::{
    Actor, Document, Mode, NewVersion, NextRollout, PolicyDraft, PolicyVersion, ProposalDraft, Proposed, Rollout,
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
    /// Bring back what a former state enforced, for all nodes or in one scope; 0 is the state before.
    Restore { to: u64, selectors: Vec<String> },
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
                let wanted = &said(wanted, &planned);
                let content = serde_json::to_string(wanted).map_err(|error| argument("change", error.to_string()))?;
                let draft = ProposalDraft {
                    content,
                    what: in_words(wanted),
                    message: wanted.message.clone(),
                    expires_at: now.plus(self.rollout.proposal_lifetime),
                };
                let about = self.proposed(wanted, &planned).await?;
                let proposal = self.store.propose(draft, about, by, now).await?;
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
                let mut version = self.rollout.check_signature(draft, &signature)?;
                version.waivers = compiled(&version.draft.documents)?.exemptions().map(Into::into).collect();
                self.planned_version(&now, version, &wanted.message)?
            }
            Change::Promote { version, selectors } => {
                let digest = Sha256::from_hex(version).ok_or_else(|| argument("version", "is no digest"))?;
                let version = self.store.policy(digest).await?.ok_or(Refusal::NotFound { what: "policy version" })?;
                let selectors = scope(selectors)?;
                let state = now.enforce(version.digest, selectors);
                Planned { next: next(state, "policy.enforce", &wanted.message), notes: Vec::new() }
            }
            Change::Restore { to, selectors } => {
                let present = self.store.rollout().await?;
                let selectors = exact(selectors)?;
                let former = self.former(&present, *to, &selectors).await?;
                let state = present.state.restore(&former.state, &selectors);
                let restored = Some(former.state.number);
                let next = NextRollout { restored, ..next(state, "policy.restore", &wanted.message) };
                Planned { next, notes: Vec::new() }
            }
        };
        self.pass(&now, &mut planned, wanted.accept_refusals).await?;
        Ok(planned)
    }

    /// What the record says of a proposal.
    async fn proposed(&self, wanted: &Wanted, planned: &Planned) -> Result<Proposed, Refusal> {
        let NextRollout { state, versions, restored, .. } = &planned.next;
        let (mode, selectors) = match &wanted.change {
            Change::Apply { enforce: true, .. } => (Mode::Enforce, BTreeSet::new()),
            Change::Apply { enforce: false, .. } => (Mode::Observe, BTreeSet::new()),
            Change::Promote { selectors, .. } | Change::Restore { selectors, .. } => (Mode::Enforce, exact(selectors)?),
        };
        let missing = Refusal::NotFound { what: "policy version" };
        let (policy, name) = match versions.last() {
            Some(version) => (version.draft.digest(), version.draft.name.clone()),
            None => {
                let decides = state.version_for(Some(&selectors)).ok_or(missing)?;
                let kept = self.store.policy(decides).await?;
                (decides, kept.map(|version| version.name).unwrap_or_default())
            }
        };
        Ok(Proposed { policy, name, mode, selectors, restored: *restored })
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
    pub(super) fn first_policy(&self) -> Result<NewVersion, Refusal> {
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
        Ok(NewVersion { draft, signature: None, waivers: policy.exemptions().map(Into::into).collect() })
    }

    /// The version of that name: a digest or its first digits, a number, or `enforce` or `observe`.
    pub(super) async fn version(&self, name: &str) -> Result<PolicyVersion, Refusal> {
        let missing = Refusal::NotFound { what: "policy version" };
        match name {
            "enforce" => {
                let none = Refusal::NotFound { what: "policy that is enforced for all nodes" };
                return self.store.policy_in(Mode::Enforce).await?.ok_or(none);
            }
            "observe" => {
                let none = Refusal::NotFound { what: "policy that is observed" };
                return self.store.policy_in(Mode::Observe).await?.ok_or(none);
            }
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

pub(super) fn next(state: RolloutState, action: &'static str, message: &str) -> NextRollout {
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

/// The selectors of a scope: none, or some that no machine can choose.
pub(super) fn scope(texts: &[String]) -> Result<BTreeSet<Selector>, Refusal> {
    let selectors = exact(texts)?;
    selectors.iter().try_for_each(scope_selector)?;
    Ok(selectors)
}

/// The selectors that name a scope, whichever it is.
fn exact(texts: &[String]) -> Result<BTreeSet<Selector>, Refusal> {
    if texts.len() > SELECTORS_MAX {
        return Err(argument("selectors", format!("{} selectors, limit {SELECTORS_MAX}", texts.len())));
    }
    let parsed = texts.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().map_err(|source| Refusal::Selector { field: "selectors", source })
}

/// What is wanted, so that it is the same when another approves it: the state before is another one by then.
fn said(wanted: &Wanted, planned: &Planned) -> Wanted {
    let mut wanted = wanted.clone();
    if let (Change::Restore { to, .. }, Some(restored)) = (&mut wanted.change, planned.next.restored) {
        *to = restored;
    }
    wanted
}

/// What is wanted, in words: whoever approves it has nothing else, and compares the digest.
fn in_words(wanted: &Wanted) -> String {
    let accepting = accepting(wanted.accept_refusals);
    let whom = |selectors: &[String]| match selectors {
        [] => "every node".to_owned(),
        some => some.join(" and "),
    };
    match &wanted.change {
        Change::Apply { name, documents, enforce, .. } => {
            let verb = if *enforce { "enforce" } else { "observe" };
            let kept = documents.iter().map(|(name, text)| Document { name: name.clone(), text: text.clone() });
            let (documents, mode) = (kept.collect::<Vec<_>>(), Mode::Observe);
            let files = documents.len();
            let draft = PolicyDraft { name: name.clone(), documents, mode, message: String::new() };
            format!("{verb} a new version of {name} ({files} files, digest {}){accepting}", draft.digest())
        }
        Change::Promote { version, selectors } => {
            format!("enforce version {} for {}{accepting}", version.get(..12).unwrap_or(version), whom(selectors))
        }
        Change::Restore { to: 0, selectors } => {
            format!("bring back what was enforced before for {}{accepting}", whom(selectors))
        }
        Change::Restore { to, selectors } => {
            format!("bring back what state {to} enforced for {}{accepting}", whom(selectors))
        }
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
