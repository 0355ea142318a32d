//! What happened in a period, counted: for reports. Reads alone.

use super::Held;
use holdfast_identity::UnixTime;

/// Verbs of reports.
pub trait Reports: Send + Sync {
    /// What the attempts from `from` on and before `to` came to, and which waivers hold nodes
    /// in at `now`.
    fn activity(&self, from: UnixTime, to: UnixTime, now: UnixTime) -> Held<'_, Activity>;
}

/// Counts of a period, the most frequent first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Attempts by verdict.
    pub outcomes: Vec<(String, u64)>,
    /// Refusals by code.
    pub refusals: Vec<(String, u64)>,
    /// Admissions by policy and rule.
    pub rules: Vec<(String, u64)>,
    /// Admissions that the observed policy would not have given, by its name and code.
    pub observed: Vec<(String, u64)>,
    /// Waivers without which nodes would not be admitted.
    pub waivers: Vec<WaiverInForce>,
}

/// A waiver that decisions on record took, and whom it holds in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaiverInForce {
    /// `waiver` or `change-window`; empty where the decision does not say.
    pub kind: String,
    /// The facts that differed, of one of the decisions.
    pub facts: Vec<String>,
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// When it ends.
    pub valid_until: UnixTime,
    /// How many nodes it holds in.
    pub nodes: u64,
    /// One of them.
    pub sample: String,
}
