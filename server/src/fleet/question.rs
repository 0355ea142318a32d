//! One question to the whole fleet, and its answer for one node: what does the rollout that stands decide about the facts
//! on record, and what would another? Pure; `what_if` asks it of everybody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_appraisal::decision::{Approval, MachineRecord};
use holdfast_appraisal::facts::HeldFacts;
use holdfast_appraisal::ima::{ImaState, remembered};
use holdfast_appraisal::{Appraiser, Ownership, Policy, Rejection, Verdict};
use holdfast_identity::UnixTime;

use super::floor::{Floor, NotMet};
use crate::store::{Node, NodeState, PolicyDigest, RolloutState, Standing};

/// Causes that are told of one refusal.
const CAUSES_MAX: usize = 8;

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// The rollout that stands.
    pub now: RolloutState,
    /// The one that is thought of.
    pub then: RolloutState,
    /// Every version that either names.
    pub policies: BTreeMap<PolicyDigest, Arc<Policy>>,
    /// Floors beside the policy that is thought of.
    pub floors: Vec<Floor>,
    /// Who appraises.
    pub appraiser: Appraiser,
    /// The moment of both.
    pub at: UnixTime,
    /// How long lists of measured files are judged again; `None` for as long as it takes. What is not judged is unknown.
    pub lists_within: Option<Duration>,
}

/// What a policy says of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side {
    /// In a word.
    pub word: Word,
    /// Name of the policy.
    pub policy: String,
    /// The rule, or the nearest.
    pub rule: String,
    /// Its alternative, or the nearest.
    pub alternative: String,
    /// Stable code of a refusal.
    pub code: String,
    /// What is in the way.
    pub causes: Vec<Cause>,
}

/// A verdict in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// The policy is satisfied.
    Admitted,
    /// But for an operator's approval.
    AwaitsApproval,
    /// It is not.
    Refused,
    /// The evidence on record does not show what the policy asks for: the next will.
    Unknown,
    /// No policy decides.
    NoPolicy,
}

impl Word {
    /// As commands print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::AwaitsApproval => "awaits-approval",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::NoPolicy => "no-policy",
        }
    }
}

/// One condition that does not hold. Only code and fact tell groups apart; the rest is one node's.
#[derive(Clone, Debug)]
pub struct Cause {
    /// Stable code.
    pub code: String,
    /// The fact; empty where it is about none.
    pub fact: String,
    /// What the policy wants.
    pub expected: String,
    /// What was found; attacker-written.
    pub found: String,
}

impl Cause {
    fn key(&self) -> (&str, &str) {
        (&self.code, &self.fact)
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Cause {}

impl PartialOrd for Cause {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cause {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// What the other rollout does to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Admitted now, refused then.
    NewlyRefused,
    /// Admitted now, then waiting for an operator.
    NewlyWaiting,
    /// Admitted now; whether it were then cannot be known from its evidence on record.
    NewlyUnknown,
    /// No evidence of it was kept, and it stands.
    NoEvidence,
    /// Not admitted now, admitted then.
    NewlyAdmitted,
    /// Neither now nor then.
    StillRefused,
    /// Now and then.
    StillAdmitted,
    /// It was admitted and its evidence has expired: it does not stand, and nobody loses it.
    Expired,
    /// Banned, frozen, denied or evicted: no policy is asked.
    Barred,
}

impl Effect {
    /// As commands print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewlyRefused => "newly-refused",
            Self::NewlyWaiting => "newly-waiting",
            Self::NewlyUnknown => "newly-unknown",
            Self::NoEvidence => "no-evidence",
            Self::NewlyAdmitted => "newly-admitted",
            Self::StillRefused => "still-refused",
            Self::StillAdmitted => "still-admitted",
            Self::Expired => "expired",
            Self::Barred => "barred",
        }
    }

    /// Whether a node that is admitted now may not be then.
    #[must_use]
    pub const fn loses(self) -> bool {
        match self {
            Self::NewlyRefused | Self::NewlyWaiting | Self::NewlyUnknown | Self::NoEvidence => true,
            Self::NewlyAdmitted | Self::StillRefused | Self::StillAdmitted | Self::Expired | Self::Barred => false,
        }
    }

    /// Whether the node stands: admitted on record, and its evidence counts.
    #[must_use]
    pub const fn is_admitted_now(self) -> bool {
        match self {
            Self::NewlyRefused | Self::NewlyWaiting | Self::NewlyUnknown | Self::NoEvidence | Self::StillAdmitted => {
                true
            }
            Self::NewlyAdmitted | Self::StillRefused | Self::Expired | Self::Barred => false,
        }
    }
}

impl Question {
    /// Whether any version rests on measured files.
    #[must_use]
    pub fn needs_ima(&self) -> bool {
        self.policies.values().any(|policy| policy.needs_ima())
    }

    /// The versions that decide about a node, now and then.
    #[must_use]
    pub fn policies_for(&self, node: &Node) -> Vec<&Arc<Policy>> {
        let recorded = Some(&node.fixed);
        let (now, then) = (self.now.version_for(recorded), self.then.version_for(recorded));
        let versions = [now, then.filter(|_| now != then)];
        versions.into_iter().flatten().filter_map(|version| self.policies.get(&version)).collect()
    }

    /// Whether the other rollout changes nothing for a node, whatever its evidence says.
    #[must_use]
    pub fn leaves(&self, node: &Node) -> bool {
        let recorded = Some(&node.fixed);
        self.floors.is_empty() && self.now.version_for(recorded) == self.then.version_for(recorded)
    }

    /// What either rollout says of a node, given the facts of its evidence, what of them the inventory lists, and what was
    /// found in its list of measured files.
    #[must_use]
    pub fn ask(
        &self,
        node: &Node,
        held: &HeldFacts,
        lists: &[ImaState],
        mut ownership: Ownership,
    ) -> (Side, Side, Effect) {
        ownership.machine = MachineRecord::New;
        ownership.approval = match (node.standing, &node.approval) {
            (Standing::Denied, _) => Approval::Denied,
            (_, Some(_)) => Approval::Given,
            (_, None) => Approval::NotGiven,
        };
        let recorded = Some(&node.fixed);
        let (now, then) = (self.now.version_for(recorded), self.then.version_for(recorded));
        let is = self.side(now, held, lists, &ownership);
        let mut would = if now == then { is.clone() } else { self.side(then, held, lists, &ownership) };
        if would.word == Word::Admitted {
            self.raise(node, held, &mut would);
        }
        let effect = effect(node, self.at, &is, &would, now == then);
        (is, would, effect)
    }

    fn side(&self, version: Option<PolicyDigest>, held: &HeldFacts, lists: &[ImaState], ownership: &Ownership) -> Side {
        let Some(policy) = version.and_then(|version| self.policies.get(&version)) else {
            return Side::of(Word::NoPolicy, "");
        };
        let name = &policy.version().name;
        let remembered = remembered(held, policy, lists);
        let list_is_known = remembered.is_some() || !policy.needs_ima();
        match self.appraiser.judge_held(policy, remembered.as_ref().unwrap_or(held), ownership, self.at) {
            Verdict::Admit(grant) => Side {
                rule: grant.rule,
                alternative: grant.alternative.unwrap_or_default(),
                ..Side::of(Word::Admitted, name)
            },
            Verdict::AwaitsApproval(rejection) => rejected(Word::AwaitsApproval, name, rejection),
            // No list of it is on record, or not the whole of it: what the policy would find in it nobody knows.
            Verdict::Refuse(rejection) if rejection.code == NOT_QUOTED || !list_is_known => {
                rejected(Word::Unknown, name, rejection)
            }
            Verdict::Refuse(rejection) => rejected(Word::Refused, name, rejection),
        }
    }

    /// Refuses what does not meet the floors.
    fn raise(&self, node: &Node, held: &HeldFacts, side: &mut Side) {
        let kinds: Vec<String> = node.kinds.iter().cloned().collect();
        for floor in &self.floors {
            let (word, found) = match floor.not_met_by(&kinds, &super::tcb::of_facts(&held.facts)) {
                NotMet::No => continue,
                NotMet::By(found) => (Word::Refused, found),
                NotMet::Unknown => (Word::Unknown, "not on record".to_owned()),
            };
            (side.word, side.code) = (word, BELOW_FLOOR.to_owned());
            let (fact, expected) = floor.shown();
            side.causes.push(Cause { code: BELOW_FLOOR.to_owned(), fact, expected, found });
        }
    }
}

/// What a floor that is thought of refuses by, as the policy would that has it.
const BELOW_FLOOR: &str = "policy.fact.below_minimum";
/// The evidence does not show what the policy asks for.
const NOT_QUOTED: &str = "policy.evidence.not_quoted";

impl Side {
    /// A side without a rule.
    #[must_use]
    pub fn of(word: Word, policy: &str) -> Self {
        let empty = String::new;
        Self { word, policy: policy.to_owned(), rule: empty(), alternative: empty(), code: empty(), causes: Vec::new() }
    }
}

fn rejected(word: Word, policy: &str, rejection: Rejection) -> Side {
    let causes = rejection.differences.into_iter().take(CAUSES_MAX).map(|difference| Cause {
        code: difference.code.to_owned(),
        fact: difference.fact.unwrap_or_default(),
        expected: difference.expected,
        found: difference.found,
    });
    Side {
        rule: rejection.rule.unwrap_or_default(),
        alternative: rejection.alternative.unwrap_or_default(),
        code: rejection.code.to_owned(),
        causes: causes.collect(),
        ..Side::of(word, policy)
    }
}

/// Who stands is admitted now, whatever its facts say of that: only whoever stands can be lost.
fn effect(node: &Node, at: UnixTime, now: &Side, then: &Side, same_version: bool) -> Effect {
    if let Some(effect) = absent(node, at) {
        return effect;
    }
    match (node.stands(at), then.word) {
        (true, Word::Admitted) => Effect::StillAdmitted,
        // Nothing changes for it; if it is lost at its next attestation, then not by this.
        (true, word) if same_version && word == now.word => Effect::StillAdmitted,
        (true, Word::AwaitsApproval) => Effect::NewlyWaiting,
        (true, Word::Unknown) => Effect::NewlyUnknown,
        (true, Word::Refused | Word::NoPolicy) => Effect::NewlyRefused,
        (false, Word::Admitted) => Effect::NewlyAdmitted,
        (false, _) => Effect::StillRefused,
    }
}

/// What becomes of a node that no policy is asked about, or whose answer counts for nothing.
pub(super) fn absent(node: &Node, at: UnixTime) -> Option<Effect> {
    match () {
        () if is_barred(node) => Some(Effect::Barred),
        () if node.state(at) == NodeState::Expired => Some(Effect::Expired),
        () => None,
    }
}

/// Whether no policy is asked about the node.
#[must_use]
fn is_barred(node: &Node) -> bool {
    let barred = node.ban.is_some() || node.freeze.is_some();
    barred || matches!(node.standing, Standing::Denied | Standing::Evicted)
}
