//! The explanation of a decision: a tree of everything that was asked, with what was found, by which event, and where
//! the good value comes from. A value that is stored, carried and read back. Judges nothing: see `tree`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A word of the program, or one that was read back.
pub type Word = Cow<'static, str>;

/// What was decided, by which policy, and why. Bounded; what found no place is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// `admitted`, `awaits-approval` or `refused`.
    pub decision: Word,
    /// Stable code of what is no admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Word>,
    /// Name of the policy; empty where none was asked.
    pub policy: String,
    /// Digest of the policy, hex.
    pub policy_digest: String,
    /// The moment, seconds since the epoch.
    pub at: i64,
    /// What kept the rules from being asked, or the identity from being named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Check>,
    /// The deny lists' entries that were consulted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denies: Vec<DenyEntry>,
    /// The waivers and change windows that count for the machine now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<WaiverEntry>,
    /// The rules, in the order of the policy; of an admission the one that was satisfied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleEntry>,
    /// The rule and alternative that came nearest to an admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
    /// What would have to change for the machine to be admitted that way, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Where the good values come from that are mentioned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// How many conditions and values were left out for the explanation's size.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

/// Whether something that was asked is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is.
    Holds,
    /// It is not.
    Differs,
    /// It is not, and a waiver or change window says that it need not be.
    Waived,
    /// Nothing in the evidence proves it.
    NotProven,
}

/// One thing that was asked beside the facts: ownership, evidence, trust class, dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked about, such as `ownership inventory`.
    pub subject: Word,
    /// The answer.
    pub answer: Answer,
    /// Stable code, where it is not so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Word>,
    /// What the policy wants.
    pub expected: String,
    /// What was found.
    pub found: String,
}

/// One condition on one fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionEntry {
    /// The fact.
    pub fact: String,
    /// Line in the policy, from 1.
    pub line: usize,
    /// The answer.
    pub answer: Answer,
    /// Stable code, where it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Word>,
    /// What the policy wants, in short.
    pub expected: String,
    /// What the evidence proves, in short.
    pub found: String,
    /// Who vouches for what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Word>,
    /// Names of the sets and files that the good values come from; see [`Explanation::origins`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// The waiver or change window that says it may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived_by: Option<String>,
    /// Indices of the events that prove what was found, where it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<u32>,
    /// The values that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueEntry>,
}

/// One value of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueEntry {
    /// The value expected in this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the reference values note about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The value found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The event that proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventEntry>,
}

/// The event behind a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventEntry {
    /// Place in the log, from 0.
    pub index: u32,
    /// PCR that it extended.
    pub pcr: u8,
    /// Type, as the log names it; proven by nothing.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digest in the quoted bank, hex.
    pub digest: String,
    /// What of the event the quote proves.
    pub proven: Proven,
    /// What the event says of itself beside that; proven by nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What of an event the quoted register proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proven {
    /// The digest alone: what it is of, the log merely says.
    Digest,
    /// The contents, which hash to the digest.
    Contents,
}

/// One entry of the deny lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyEntry {
    /// Its name.
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// Whether it refuses: it does not (`differs`), it does (`holds`), or it cannot be ruled out (`not-proven`).
    pub answer: Answer,
    /// Its conditions, where it refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionEntry>,
}

/// A waiver or change window that counts for the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiverEntry {
    /// `waiver` or `change-window`.
    pub kind: Word,
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// First moment at which it counts, seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<i64>,
    /// First moment at which it does not count any more.
    pub valid_until: i64,
    /// The facts that may differ.
    pub facts: Vec<String>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleEntry {
    /// Its name.
    pub name: String,
    /// Line in the policy, from 1.
    pub line: usize,
    /// Whether the machine satisfies it.
    pub answer: Answer,
    /// Ownership, evidence, trust classes.
    pub checks: Vec<Check>,
    /// What it requires.
    pub conditions: Vec<ConditionEntry>,
    /// Its alternatives; of an admission the one that holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<AlternativeEntry>,
}

/// One alternative of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlternativeEntry {
    /// Its name.
    pub name: String,
    /// Line in the policy, from 1.
    pub line: usize,
    /// Whether it holds.
    pub answer: Answer,
    /// First moment at which it counts, seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<i64>,
    /// First moment at which it does not count any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<i64>,
    /// Its dates, where they are in the way; registers without events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// What it requires.
    pub conditions: Vec<ConditionEntry>,
}

/// What came nearest to an admission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// The rule.
    pub rule: String,
    /// Its alternative, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative: Option<String>,
}

/// Where good values come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name, as the policy writes it behind `@`.
    pub name: String,
    /// The file.
    pub file: String,
    /// Where the values come from, in the words of whoever made the file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// When the file was made, in its own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// What the file says of itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the key that signed the file, hex, where the policy wants it signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signed_by: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Answer {
    /// The mark in front of a line.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Holds => "[yes]",
            Self::Differs => "[NO]",
            Self::Waived => "[waived]",
            Self::NotProven => "[?]",
        }
    }

    /// Both together: one that differs is worse than one that is not proven.
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Differs, _) | (_, Self::Differs) => Self::Differs,
            (Self::NotProven, _) | (_, Self::NotProven) => Self::NotProven,
            (Self::Waived, _) | (_, Self::Waived) => Self::Waived,
            (Self::Holds, Self::Holds) => Self::Holds,
        }
    }

    /// Whether nothing is in the way.
    pub(super) const fn is_good(self) -> bool {
        matches!(self, Self::Holds | Self::Waived)
    }
}
