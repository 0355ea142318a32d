//! Nodes: machines by what they proved, what operators said about them, and the inventory of keys that are ours.

use super::attempts::{AttemptId, ClockReading};
use super::ledger::Actor;
use super::policies::PolicyDigest;
use super::{Held, Sha256};
use holdfast_identity::{Selector, SpiffeId, UnixTime};
use std::collections::BTreeSet;

/// Verbs about nodes and the inventory.
pub trait Nodes: Send + Sync {
    /// By whichever name.
    fn node(&self, target: NodeTarget) -> Held<'_, Option<Node>>;
    /// Nodes in order of their numbers; their state is judged as of `now`.
    fn nodes(&self, filter: NodeFilter, now: UnixTime) -> Held<'_, Vec<Node>>;
    /// How many nodes are in each state, and which SVID ends first.
    fn count_nodes(&self, now: UnixTime) -> Held<'_, Fleet>;
    /// What operators say about the machine with these proven marks, and which of its `listable` digests the inventory lists:
    /// keys, chips, instances, launches.
    fn ownership(&self, marks: Vec<Mark>, listable: Vec<Sha256>) -> Held<'_, Ownership>;
    /// An operator's (or the server's own) act on the machine, recorded before it takes effect.
    fn act(
        &self,
        target: NodeTarget,
        action: NodeAction,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Node, NodeRefusal>>;
    /// Puts keys into the inventory; returns how many were new. A known digest gets the new label.
    fn allow(&self, keys: Vec<Allowed>, by: Actor, at: UnixTime) -> Held<'_, u64>;
    /// Takes keys out of the inventory; returns how many were there. Nodes admitted by them are refused at their next quote.
    fn disallow(&self, digests: Vec<Sha256>, by: Actor, at: UnixTime) -> Held<'_, u64>;
    /// The inventory in order of digests, after `after`, at most `limit` (0 means 100, limit 1000).
    fn inventory(&self, after: Option<Sha256>, limit: u32) -> Held<'_, Vec<InventoryEntry>>;
}

/// A node's number in this store; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(pub u64);

/// One thing that is said of a machine: proven by a key of its own, or by its maker's word alone (see [`Marks`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// `ek.certificate` (SHA-256 of its DER), `ek.spki` (of its SubjectPublicKeyInfo), or a later kind's.
    pub kind: String,
    /// The digest.
    pub digest: Sha256,
}

/// By what a machine is known in one attempt. What a key proves in this very attempt, and what somebody merely says, are kept
/// apart: who makes certificates could otherwise name his machine as another's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Proven by keys that answered this very challenge: by these a machine is recognised.
    pub proven: Vec<Mark>,
    /// Its maker's word for it: by these it may be banned, and is never recognised.
    pub mentioned: Vec<Mark>,
}

impl From<Vec<Mark>> for Marks {
    fn from(proven: Vec<Mark>) -> Self {
        Self { proven, mentioned: Vec::new() }
    }
}

impl Mark {
    /// The two marks of one endorsement key.
    #[must_use]
    pub fn endorsement_key(certificate_sha256: Sha256, spki_sha256: Sha256) -> [Self; 2] {
        [
            Self { kind: "ek.certificate".to_owned(), digest: certificate_sha256 },
            Self { kind: "ek.spki".to_owned(), digest: spki_sha256 },
        ]
    }
}

/// How a node is named in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeTarget {
    /// By its number.
    Number(NodeNumber),
    /// By its present SPIFFE ID.
    SpiffeId(SpiffeId),
    /// By the name of its attestation key.
    AkName(Vec<u8>),
    /// By SHA-256 over the DER SubjectPublicKeyInfo of its node key.
    NodeKey(Sha256),
    /// By any of its marks (SHA-256 of an EK certificate or of its SubjectPublicKeyInfo), or by its maker's word for it if
    /// no other node has the same.
    Mark(Sha256),
}

/// How far a machine has come. Bans and freezes stand beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Proved itself, waits for an operator.
    Pending,
    /// Admitted; holds until the evidence expires.
    Admitted,
    /// Its last genuine quote was refused.
    Refused,
    /// An operator said no; only `approve` or `reset` lets it ask again.
    Denied,
    /// Forgotten: must enrol from the start.
    Evicted,
}

/// What the operator sees: the gravest of ban, freeze, standing and expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// Proved itself, waits for an operator.
    Pending,
    /// Admitted, evidence fresh.
    Admitted,
    /// Admitted, but its evidence has expired.
    Expired,
    /// Its last genuine quote was refused.
    Refused,
    /// An operator said no.
    Denied,
    /// Forgotten; may enrol from the start.
    Evicted,
    /// Two connections quoted as this node.
    Frozen,
    /// Banned until `unban`.
    Banned,
}

impl NodeState {
    /// Every state, in the order of [`Ord`].
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Admitted,
        Self::Expired,
        Self::Refused,
        Self::Denied,
        Self::Evicted,
        Self::Frozen,
        Self::Banned,
    ];

    /// As commands print and filter it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Admitted => "admitted",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Evicted => "evicted",
            Self::Frozen => "frozen",
            Self::Banned => "banned",
        }
    }
}

/// Something an operator or the server said about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// When.
    pub at: UnixTime,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A machine and what is known of it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub number: NodeNumber,
    /// Its present name; `None` before its first admission.
    pub spiffe_id: Option<SpiffeId>,
    /// How far it has come.
    pub standing: Standing,
    /// Set while it is banned.
    pub ban: Option<Remark>,
    /// Set while it is frozen.
    pub freeze: Option<Remark>,
    /// Set while it must wait for approval whatever the policy says (a copyable TPM whose resetCount fell).
    pub hold: Option<Remark>,
    /// Set by `approve`, cleared by `deny`, `evict`, `reset` and by a fallen resetCount of a copyable class.
    pub approval: Option<Remark>,
    /// What it proved to be its own.
    pub marks: Vec<Mark>,
    /// What its maker says it is: no proof that it is not another one.
    pub mentions: Vec<Mark>,
    /// Kinds of evidence that it once proved; they never shrink without `reset`.
    pub kinds: BTreeSet<String>,
    /// Trust class of the root, in lower case.
    pub trust_class: String,
    /// Whether that class can be copied.
    pub copyable: bool,
    /// Name of its attestation key; empty after `evict` and `reset`.
    pub ak_name: Vec<u8>,
    /// What the evidence folder keeps of it, in its own encoding.
    pub known: Vec<u8>,
    /// Manufacturer, model and the like; attacker-written.
    pub description: String,
    /// DER SubjectPublicKeyInfo of its node key; empty before admission and after `evict`.
    pub node_key_spki: Vec<u8>,
    /// The last clock reading.
    pub clock: Option<ClockReading>,
    /// Selectors that the policy gave it.
    pub selectors: BTreeSet<Selector>,
    /// What it ever proved of itself that it cannot choose: by this, and by nothing that a policy issues, rollouts tell
    /// machines apart. Only ever grows; see [`crate::fleet::fixed_selectors`].
    pub fixed: BTreeSet<Selector>,
    /// The firmware log that was appraised last.
    pub firmware_log: Option<Sha256>,
    /// The policy version that admitted it last.
    pub policy: Option<PolicyDigest>,
    /// The rule that admitted it last.
    pub rule: String,
    /// First proof.
    pub first_seen: UnixTime,
    /// Last admission.
    pub attested_at: UnixTime,
    /// No SVID under this node outlives this moment.
    pub evidence_expires: UnixTime,
    /// Serial of its latest node SVID.
    pub svid_serial: Option<[u8; 16]>,
    /// End of its latest node SVID.
    pub svid_not_after: UnixTime,
    /// Its latest attempt in the record that says why it is what it is: not one that was refused and by which it goes on standing.
    pub last_attempt: Option<AttemptId>,
}

impl Node {
    /// What the operator sees.
    #[must_use]
    pub fn state(&self, now: UnixTime) -> NodeState {
        if self.ban.is_some() {
            return NodeState::Banned;
        }
        if self.freeze.is_some() {
            return NodeState::Frozen;
        }
        match self.standing {
            Standing::Pending => NodeState::Pending,
            Standing::Admitted if self.evidence_expires <= now => NodeState::Expired,
            Standing::Admitted => NodeState::Admitted,
            Standing::Refused => NodeState::Refused,
            Standing::Denied => NodeState::Denied,
            Standing::Evicted => NodeState::Evicted,
        }
    }

    /// Whether its workloads may be given SVIDs now, as far as the record goes; a live connection with a quote on it
    /// is the caller's part.
    #[must_use]
    pub fn stands(&self, now: UnixTime) -> bool {
        self.state(now) == NodeState::Admitted
    }
}

/// What inventory and operators say about a machine.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    /// The inventory entries that its marks match.
    pub inventory: Vec<InventoryEntry>,
    /// Whether an operator approved it.
    pub approved: bool,
    /// The node, if the machine is one of ours.
    pub node: Option<Node>,
}

/// All nodes in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Nodes by state; states that no node is in are left out.
    pub states: Vec<(NodeState, u64)>,
    /// When the first SVID of an admitted node ends.
    pub first_svid_end: Option<UnixTime>,
}

/// An act on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAction {
    /// Lets a waiting machine in at its next attempt; lifts a denial and a hold.
    Approve,
    /// Says no to it and takes back an approval; an admitted node loses its standing.
    Deny {
        /// Why.
        reason: String,
    },
    /// Forgets keys, clock and approval: it must enrol from the start. Does not lift a ban.
    Evict,
    /// Refuses it until `Unban`: it, and whoever comes later with its maker's word for it. A digest bans every machine that
    /// has it, and one never seen may be banned ahead.
    Ban {
        /// Why.
        reason: String,
    },
    /// Lifts a ban.
    Unban,
    /// Forgets what pins it (keys, clock, kinds, freeze, denial, approval). Does not lift a ban; its names stay its own.
    Reset,
    /// Two connections quoted as this node.
    Freeze {
        /// What was seen.
        reason: String,
    },
}

impl NodeAction {
    /// As it stands in the record.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Approve => "node.approve",
            Self::Deny { .. } => "node.deny",
            Self::Evict => "node.evict",
            Self::Ban { .. } => "node.ban",
            Self::Unban => "node.unban",
            Self::Reset => "node.reset",
            Self::Freeze { .. } => "node.freeze",
        }
    }
}

/// Why an act was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeRefusal {
    /// No such node.
    #[error("no such node")]
    Unknown,
    /// It is not banned.
    #[error("node is not banned")]
    NotBanned,
    /// Approval does not lift a ban.
    #[error("node is banned: unban it first")]
    Banned,
    /// Several machines are said to be this one.
    #[error("several nodes have this in common: name one by its number")]
    Ambiguous,
}

impl NodeRefusal {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "node.unknown",
            Self::NotBanned => "node.not_banned",
            Self::Banned => "node.banned",
            Self::Ambiguous => "node.ambiguous",
        }
    }
}

/// Which nodes.
#[derive(Clone, Debug, Default)]
pub struct NodeFilter {
    /// In this state.
    pub state: Option<NodeState>,
    /// With a number above this one: for paging.
    pub after: Option<NodeNumber>,
    /// At most this many; 0 means 100, limit 1000.
    pub limit: u32,
}

/// A key that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// SHA-256 of the EK certificate's DER, or of its SubjectPublicKeyInfo: either matches.
    pub digest: Sha256,
    /// Asset tag, rack position, or nothing.
    pub label: String,
}

/// A key, or whatever else makes a machine ours, in the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryEntry {
    /// SHA-256 of the EK certificate's DER, or of its SubjectPublicKeyInfo; of other facts that of `name=value`.
    pub digest: Sha256,
    /// Whether it was listed before digests said what they are of: then it may be that of a platform certificate, IAK or IDevID
    /// too.
    pub bare: bool,
    /// Asset tag, rack position, or nothing.
    pub label: String,
    /// When it was allowed.
    pub added_at: UnixTime,
    /// By whom.
    pub added_by: String,
}
