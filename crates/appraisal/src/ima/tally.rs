//! What was found in a list so far, by rule: counts, and the first entries of each kind of refusal. Goes on from one
//! attestation to the next, so that an old refusal is not forgotten with the entries that are not read again.

use std::collections::BTreeMap;

use holdfast_evidence::tpm::ima::Resume;
use serde::{Deserialize, Serialize};

use super::code::ImaReason;

/// Most entries that are named for one reason; the others are counted.
pub(super) const NAMED_MAX: usize = 8;
/// Longest name that is kept, in characters.
pub(super) const NAME_CHARACTERS_MAX: usize = 256;

/// What one rule found in the proven entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// How many entries each reason refuses; nothing for a list that is good.
    pub refused: BTreeMap<ImaReason, u64>,
    /// The first of them.
    pub first: Vec<RefusedEntry>,
    /// Files that a set lists or a key signed. A list without one says of no file that it is good.
    pub vouched_for: u64,
}

/// An entry that a rule refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedEntry {
    /// Why.
    pub reason: ImaReason,
    /// Place in the list, from 0.
    pub index: u64,
    /// Name of the template; proven by nothing.
    pub template: String,
    /// Path or name. Of a violation it is proven by nothing.
    pub name: String,
    /// What was measured, hex.
    pub digest: String,
    /// What is wrong in particular, where there is more to say than the reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// How far a machine's list is judged, and what came of it: what a record keeps for the next attestation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImaState {
    /// Digest of the policy version, with its sets, under which it was judged.
    pub policy: String,
    /// From where replay goes on.
    pub resume: Resume,
    /// Violations among the proven entries.
    pub violations: u64,
    /// Entries named `boot_aggregate`: one, and one more for each kexec.
    pub aggregates: u64,
    /// What each rule with an `ima` table found.
    pub rules: BTreeMap<String, Tally>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u8,
    policy: String,
    resume: String,
    violations: u64,
    aggregates: u64,
    rules: BTreeMap<String, Tally>,
}

const VERSION: u8 = 2;

impl RefusedEntry {
    /// An entry of which nothing but its place is known.
    pub(super) fn unreadable(index: u64) -> Self {
        let nothing = String::new;
        let (template, name, digest, detail) = (nothing(), nothing(), nothing(), nothing());
        Self { reason: ImaReason::Template, index, template, name, digest, detail }
    }
}

impl Tally {
    /// Whether files were vouched for, and nothing is refused.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.refused.is_empty() && self.vouched_for > 0
    }

    pub(super) fn refuse(&mut self, entry: impl FnOnce() -> RefusedEntry, reason: ImaReason) {
        let count = self.refused.entry(reason).or_default();
        *count = count.saturating_add(1);
        if *count <= NAMED_MAX as u64 {
            self.first.push(entry());
        }
    }
}

impl ImaState {
    /// The text that a record keeps.
    #[must_use]
    pub fn encode(&self) -> String {
        let kept = Kept {
            version: VERSION,
            policy: self.policy.clone(),
            resume: hex::encode(self.resume.encode()),
            violations: self.violations,
            aggregates: self.aggregates,
            rules: self.rules.clone(),
        };
        // A map of strings and numbers: there is nothing in it that JSON could not write.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else, and then replay begins at the first entry.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kept: Kept = serde_json::from_str(text).ok().filter(|kept: &Kept| kept.version == VERSION)?;
        let resume = Resume::parse(&hex::decode(kept.resume).ok()?).ok()?;
        let Kept { policy, violations, aggregates, rules, .. } = kept;
        Some(Self { policy, resume, violations, aggregates, rules })
    }

    /// Reads the states that are kept of one node: one a policy that judged its list. What cannot be read is as good as
    /// forgotten.
    #[must_use]
    pub fn parse_all(text: &str) -> Vec<Self> {
        let texts: Vec<String> = serde_json::from_str(text).unwrap_or_default();
        texts.iter().filter_map(|text| Self::parse(text)).collect()
    }
}
