//! The rollout: which policy version decides about which node, which one is observed, and everything it ever was. The
//! choice is pure; versions themselves are in `policies`.

use super::ledger::Actor;
use super::policies::{Mode, PolicyDigest, PolicyDraft};
use super::proposals::{Proposal, ProposalDraft, Proposed};
use super::{Held, NodeNumber, Sha256};
use crate::store::attempts::AttemptId;
use holdfast_appraisal::policy::Exemption;
use holdfast_identity::{Selector, UnixTime};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Versions enforced for some nodes beside that for all others.
pub const SCOPES_MAX: usize = 64;

/// Verbs about the rollout and its proposals.
pub trait Rollouts: Send + Sync {
    /// The present state; number 0 if there never was a policy.
    fn rollout(&self) -> Held<'_, Rollout>;
    /// Every state, newest first, at most `limit` (0 means 100, limit 1000), before number `before` if it is not 0.
    fn rollouts(&self, before: u64, limit: u32) -> Held<'_, Vec<Rollout>>;
    /// Keeps the versions and makes the state; all of it or nothing.
    fn roll_out(&self, next: NextRollout, by: Actor, at: UnixTime) -> Held<'_, Result<Rollout, RolloutRefusal>>;
    /// Keeps what an operator wants until another approves it.
    fn propose(&self, draft: ProposalDraft, about: Proposed, by: Actor, at: UnixTime) -> Held<'_, Proposal>;
    /// Proposals, newest first, at most 1000, without their contents: each may be as large as a policy.
    fn proposals(&self) -> Held<'_, Vec<Proposal>>;
    /// One proposal, whole.
    fn proposal(&self, number: u64) -> Held<'_, Option<Proposal>>;
    /// Closes an open proposal without doing it.
    fn withdraw_proposal(&self, number: u64, by: Actor, at: UnixTime) -> Held<'_, Result<Proposal, RolloutRefusal>>;
}

/// Verbs about the facts of the latest appraised evidence, which [`super::Attempts::record_attempt`] keeps.
pub trait KeptFactsOf: Send + Sync {
    /// Of the nodes with numbers above `after`, in order, at most `limit` (limit 1000).
    fn facts_of_nodes(&self, after: NodeNumber, limit: u32) -> Held<'_, Vec<NodeFacts>>;
    /// A body of facts by its digest.
    fn fact_body(&self, digest: Sha256) -> Held<'_, Option<Vec<u8>>>;
    /// Which of these digests the inventory lists, and whether it does so without saying what they are of.
    fn listed(&self, digests: Vec<Sha256>) -> Held<'_, BTreeMap<Sha256, bool>>;
}

/// Which version decides about which node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutState {
    /// Counts states from 1; 0 before the first.
    pub number: u64,
    /// Decides about every node that no scope names, and about every unknown machine. Without one nobody is admitted.
    pub enforced: Option<PolicyDigest>,
    /// Versions for some nodes; the first that fits decides, the latest promotion stands first.
    pub scopes: Vec<Scope>,
    /// Its verdict is recorded beside.
    pub observed: Option<PolicyDigest>,
}

/// A version for the nodes that have all of these selectors on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Not empty; only of facts that a machine cannot change: see [`super::super::fleet::scope_selector`].
    pub selectors: BTreeSet<Selector>,
    /// The version.
    pub policy: PolicyDigest,
}

impl RolloutState {
    /// The version that decides about a node with these selectors *on record*, or about an unknown machine. What a
    /// machine shows now chooses nothing.
    #[must_use]
    pub fn version_for(&self, recorded: Option<&BTreeSet<Selector>>) -> Option<PolicyDigest> {
        let fits = |scope: &&Scope| recorded.is_some_and(|has| scope.selectors.is_subset(has));
        self.scopes.iter().find(fits).map(|scope| scope.policy).or(self.enforced)
    }

    /// Every version that decides about anybody, the one for all others first.
    pub fn enforcing(&self) -> impl Iterator<Item = PolicyDigest> + '_ {
        self.enforced.into_iter().chain(self.scopes.iter().map(|scope| scope.policy))
    }

    /// What a version does in this state.
    #[must_use]
    pub fn mode_of(&self, policy: PolicyDigest) -> Mode {
        if self.enforcing().any(|one| one == policy) {
            Mode::Enforce
        } else if self.observed == Some(policy) {
            Mode::Observe
        } else {
            Mode::Retired
        }
    }

    /// With `policy` deciding about the nodes of `selectors`; about all, if there are none: scopes end with that.
    #[must_use]
    pub fn enforce(&self, policy: PolicyDigest, selectors: BTreeSet<Selector>) -> Self {
        let mut next = self.clone();
        if selectors.is_empty() {
            next.enforced = Some(policy);
            next.scopes.clear();
            next.observed = next.observed.filter(|observed| *observed != policy);
        } else {
            next.scopes.retain(|scope| scope.selectors != selectors);
            next.scopes.insert(0, Scope { selectors, policy });
        }
        next
    }

    /// With `policy` observed.
    #[must_use]
    pub fn observe(&self, policy: PolicyDigest) -> Self {
        Self { observed: Some(policy), ..self.clone() }
    }

    /// What is enforced in `former` brought back: all of it, or for the nodes of `selectors` alone.
    #[must_use]
    pub fn restore(&self, former: &Self, selectors: &BTreeSet<Selector>) -> Self {
        let mut next = self.clone();
        if selectors.is_empty() {
            next.enforced = former.enforced;
            next.scopes.clone_from(&former.scopes);
        } else {
            let at = next.scopes.iter().position(|scope| scope.selectors == *selectors);
            next.scopes.retain(|scope| scope.selectors != *selectors);
            if let Some(scope) = former.scopes.iter().find(|scope| scope.selectors == *selectors) {
                next.scopes.insert(at.unwrap_or(0).min(next.scopes.len()), scope.clone());
            }
        }
        next.observed = next.observed.filter(|observed| next.enforced != Some(*observed));
        next
    }

    /// Whether the same versions decide about the same nodes.
    #[must_use]
    pub fn enforces_as(&self, other: &Self) -> bool {
        self.enforced == other.enforced && self.scopes == other.scopes
    }
}

/// A state with who made it and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The state.
    pub state: RolloutState,
    /// When.
    pub at: UnixTime,
    /// By whom.
    pub author: String,
    /// Who approved it; empty where nobody had to.
    pub approver: String,
    /// `policy.observe`, `policy.enforce`, `policy.rollback`, `rollout.begin`.
    pub action: String,
    /// Why.
    pub message: String,
    /// The state whose enforced versions came back.
    pub restored: Option<u64>,
    /// Nodes that it was known to refuse and that the state before admitted.
    pub refused: u64,
}

/// A state to be made.
#[derive(Clone, Debug)]
pub struct NextRollout {
    /// Versions that it names and that may not be kept yet.
    pub versions: Vec<NewVersion>,
    /// The state, with the number of the one that it was made from: if that has moved, nothing is done.
    pub state: RolloutState,
    /// As in [`Rollout::action`].
    pub action: &'static str,
    /// Why.
    pub message: String,
    /// As in [`Rollout::restored`].
    pub restored: Option<u64>,
    /// As in [`Rollout::refused`].
    pub refused: u64,
    /// The proposal that is approved with it.
    pub proposal: Option<u64>,
}

/// A waiver or change window as the record announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedWaiver {
    /// `waiver` or `change-window`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// First second at which it does not count any more.
    pub valid_until: UnixTime,
}

impl From<Exemption<'_>> for AnnouncedWaiver {
    fn from(one: Exemption<'_>) -> Self {
        let (name, owner) = (one.name().to_owned(), one.owner().to_owned());
        Self { kind: one.kind(), name, owner, valid_until: one.valid_until() }
    }
}

/// A version with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// What it says. Its mode counts for nothing here.
    pub draft: PolicyDraft,
    /// Who signed it, where signatures are demanded.
    pub signature: Option<PolicySignature>,
    /// What it lets differ for a time, for the record.
    pub waivers: Vec<AnnouncedWaiver>,
}

/// A signature that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySignature {
    /// First 16 hexadecimal digits of SHA-256 over the key's SubjectPublicKeyInfo.
    pub key: String,
    /// As it came.
    pub bytes: Vec<u8>,
}

/// Why the rollout stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloutRefusal {
    /// Somebody was faster.
    #[error("the rollout moved meanwhile: look again")]
    Moved,
    /// It is what decides already.
    #[error("this version is enforced already: to observe another one, apply it")]
    AlreadyEnforced,
    /// There was no other state.
    #[error("no earlier state enforces anything else")]
    NothingBefore,
    /// There was no such state before.
    #[error("no state {number} before the present one: `policy history` lists them")]
    UnknownState {
        /// Its number.
        number: u64,
    },
    /// It would change nothing.
    #[error("state {number} enforces {what}: bring back another one, `policy history` lists them")]
    SameState {
        /// Its number.
        number: u64,
        /// What it enforces.
        what: &'static str,
    },
    /// No such proposal.
    #[error("no such proposal")]
    UnknownProposal,
    /// It was approved, withdrawn, or expired.
    #[error("the proposal is {state}")]
    Closed {
        /// What it is.
        state: &'static str,
    },
    /// Who proposed it must not approve it; a second login of the same user is the same person.
    #[error("{author} proposed it: another operator must approve it")]
    OwnProposal {
        /// Who proposed it.
        author: String,
    },
    /// The state names too many scopes.
    #[error("{found} selector scopes, limit {SCOPES_MAX}")]
    Scopes {
        /// How many.
        found: usize,
    },
}

impl RolloutRefusal {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Moved => "rollout.moved",
            Self::AlreadyEnforced => "rollout.already_enforced",
            Self::NothingBefore => "rollout.nothing_before",
            Self::UnknownState { .. } => "rollout.state.unknown",
            Self::SameState { .. } => "rollout.state.same",
            Self::UnknownProposal => "rollout.proposal.unknown",
            Self::Closed { .. } => "rollout.proposal.closed",
            Self::OwnProposal { .. } => "rollout.proposal.own",
            Self::Scopes { .. } => "rollout.scopes",
        }
    }
}

/// The facts of an attempt's evidence, as bytes.
#[derive(Clone, Debug)]
pub struct KeptFacts {
    /// The machine's own.
    pub own: FactBody,
    /// Those of its log, which other machines share.
    pub log: Option<FactBody>,
}

/// One body with its name.
#[derive(Clone, Debug)]
pub struct FactBody {
    /// SHA-256 of `bytes`.
    pub digest: Sha256,
    /// What [`holdfast_appraisal::facts::HeldFacts`] wrote.
    pub bytes: Arc<[u8]>,
}

impl FactBody {
    /// These bytes with their name.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Sha256::of(&bytes), bytes: bytes.into() }
    }
}

/// The facts of a node's latest appraised evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Whose.
    pub node: NodeNumber,
    /// The body of its own facts.
    pub own: Vec<u8>,
    /// The body of its log's facts, by name.
    pub log: Option<Sha256>,
    /// When it was appraised.
    pub at: UnixTime,
    /// In which attempt.
    pub attempt: AttemptId,
}
