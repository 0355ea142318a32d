//! A judged list as the engine sees it: whether a rule's `ima` table holds, and what differs. Judges no entry.

use std::sync::Arc;

use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::ima::Hashing;

use super::code::{ImaReason, ListReason};
use super::judge::ImaUnusable;
use super::tally::{ImaState, RefusedEntry, Tally};
use crate::decision::{Difference, EventFound, ValueDifference};
use crate::facts::{Fact, FactId, Facts, HeldFacts};
use crate::policy::{Policy, Rule};
use crate::value::Value;

/// What came of a machine's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImaSeen {
    /// It replays to the quote; this is what the rules found.
    Judged(ImaState),
    /// It proves nothing.
    Unusable(ImaUnusable),
}

impl ImaSeen {
    fn state(&self) -> Option<&ImaState> {
        match self {
            Self::Judged(state) => Some(state),
            Self::Unusable(_) => None,
        }
    }
}

/// Adds what came of a list to the facts; a judged one only if it is of this very quote and policy.
pub fn attach(facts: &mut Facts, policy: &Policy, seen: Option<&ImaSeen>) {
    let Some(seen) = seen else { return };
    if let Some(state) = seen.state() {
        let quoted = facts.get(FactId::Pcr(10));
        let provenance = quoted.map_or(Provenance::Unauthenticated, |fact| fact.provenance);
        let pcr = [Value::Digest(state.resume.pcr)];
        if state.policy != policy.version.digest || quoted.map(|fact| fact.values.as_slice()) != Some(&pcr) {
            return;
        }
        let hashing = match state.resume.hashing {
            Hashing::OfBank => "bank",
            Hashing::Sha1Padded => "sha1",
        };
        for (id, value) in [
            (FactId::ImaEntries, Value::Integer(state.resume.entries)),
            (FactId::ImaViolations, Value::Integer(state.violations)),
            (FactId::ImaBootAggregates, Value::Integer(state.aggregates)),
            (FactId::ImaTemplateHash, Value::text(hashing)),
        ] {
            facts.insert(id, Fact::of(provenance, vec![value]));
        }
        facts.explained_pcr(10);
    }
    facts.set_ima(Arc::new(seen.clone()));
}

/// Facts that were kept, with what this policy found in the list of their machine; `None` if none of the states is this
/// policy's, and of the very quote that the facts are of: then nobody knows what it would find.
#[must_use]
pub fn remembered(held: &HeldFacts, policy: &Policy, states: &[ImaState]) -> Option<HeldFacts> {
    let state = states.iter().find(|state| state.policy == policy.version.digest)?;
    let mut held = held.clone();
    attach(&mut held.facts, policy, Some(&ImaSeen::Judged(state.clone())));
    held.facts.ima().is_some().then_some(held)
}

/// Whether what the rule says of measured files holds.
pub(crate) fn admits(rule: &Rule, facts: &Facts) -> bool {
    let Some(ima) = &rule.ima else { return true };
    let Some(state) = facts.ima().and_then(ImaSeen::state) else { return false };
    let hashed = match state.resume.hashing {
        Hashing::OfBank => true,
        Hashing::Sha1Padded => ima.sha1_accepted,
    };
    hashed && state.resume.entries > 0 && state.rules.get(&rule.name).is_some_and(Tally::is_good)
}

/// What differs from what the rule says of measured files.
pub(crate) fn differences(rule: &Rule, facts: &Facts) -> Vec<Difference> {
    let Some(ima) = &rule.ima else { return Vec::new() };
    let bare = |code: &'static str, expected: &str, found: String| Difference {
        code,
        fact: None,
        line: ima.line,
        expected: expected.to_owned(),
        found,
        values: Vec::new(),
    };
    let list = "a list of measured files that replays to the quoted PCR 10";
    let state = match facts.ima() {
        None => return vec![bare(ListReason::Absent.code(), list, "none".to_owned())],
        Some(ImaSeen::Unusable(unusable)) => return vec![bare(unusable.code(), list, unusable.to_string())],
        Some(ImaSeen::Judged(state)) => state,
    };
    let mut differences = Vec::new();
    if state.resume.entries == 0 {
        differences.push(bare(ListReason::Absent.code(), list, "an empty list: PCR 10 was never extended".to_owned()));
    }
    if matches!(state.resume.hashing, Hashing::Sha1Padded) && !ima.sha1_accepted {
        let expected = "template hashes of the quoted bank, or sha1_template_hashes = \"accepted\"";
        let found = format!("the kernel extends bank {} with SHA-1 hashes", state.resume.bank);
        differences.push(bare(ListReason::Sha1TemplateHash.code(), expected, found));
    }
    match state.rules.get(&rule.name) {
        Some(tally) if tally.refused.is_empty() && tally.vouched_for == 0 && state.resume.entries > 0 => {
            let expected = "a list in which files were measured that are listed or signed";
            let found = format!("none among {} entries", state.resume.entries);
            differences.push(bare(ListReason::NoFile.code(), expected, found));
        }
        None => differences.push(bare(ListReason::Absent.code(), list, "not judged by this rule".to_owned())),
        Some(tally) => differences.extend(tally.refused.iter().map(|(reason, count)| {
            let found = format!("{count} of {} entries: {}", state.resume.entries, shown(tally, *reason, *count));
            let values = tally.first.iter().filter(|entry| entry.reason == *reason).map(|entry| value(*reason, entry));
            Difference { values: values.collect(), ..bare(reason.code(), reason.expected(), found) }
        })),
    }
    differences
}

/// The names of the first entries, and how many more there are.
fn shown(tally: &Tally, reason: ImaReason, count: u64) -> String {
    let first: Vec<String> = tally
        .first
        .iter()
        .filter(|entry| entry.reason == reason)
        .map(|entry| {
            let name = if entry.name.is_empty() { "without a name" } else { &entry.name };
            if entry.detail.is_empty() { name.to_owned() } else { format!("{name} ({})", entry.detail) }
        })
        .collect();
    let more = count.saturating_sub(first.len() as u64);
    let first = first.join(", ");
    if more == 0 { first } else { format!("{first}, and {more} more") }
}

fn value(reason: ImaReason, entry: &RefusedEntry) -> ValueDifference {
    // A violation's digest and path are proven by nothing, and its digest is zero.
    let found = match reason {
        ImaReason::Violation => "a file that changed while it was measured".to_owned(),
        _ if entry.digest.is_empty() => "nothing that we can read".to_owned(),
        _ => entry.digest.clone(),
    };
    ValueDifference {
        expected: None,
        expected_note: None,
        found: Some(found),
        event: Some(EventFound {
            index: u32::try_from(entry.index).unwrap_or(u32::MAX),
            pcr: 10,
            kind: entry.template.clone(),
            digest: entry.digest.clone(),
            hint: (!entry.name.is_empty()).then(|| entry.name.clone()),
        }),
    }
}
