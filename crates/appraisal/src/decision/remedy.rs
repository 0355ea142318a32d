//! What would have to change for something to hold, in words: on the machine, in the operator's records, or in the
//! policy. Decides nothing.

use super::explanation::{ConditionEntry, Word};
use crate::facts::FactId;
use crate::policy::{Condition, Test};

/// Most values named in one sentence.
const NAMED_MAX: usize = 3;

/// For a condition that does not hold.
pub(super) fn condition(condition: &Condition, entry: &ConditionEntry) -> String {
    let fact = &entry.fact;
    if entry.code.as_deref() == Some("policy.fact.not_proven") {
        return not_proven(condition.fact);
    }
    let place = place(condition, entry);
    let found: Vec<&str> = entry.values.iter().filter_map(|value| value.found.as_deref()).collect();
    let lacking: Vec<&str> = entry
        .values
        .iter()
        .filter(|value| value.found.is_none())
        .filter_map(|value| value.expected.as_deref())
        .collect();
    match &condition.test {
        Test::Equals(_) | Test::AtLeast(_) | Test::AtMost(_) | Test::EachAtLeast(_) | Test::AllBits(_) => {
            format!("the machine shows {fact} {}, not {}; or {place} says otherwise", entry.expected, entry.found)
        }
        Test::Matches(_) => format!("the machine shows {fact} as {place} describes it, not {}", named(&found)),
        Test::NoneOf(_) | Test::NoneMatches(_) => {
            format!("the machine shows no {} in {fact}; or {place} allows it", named(&found))
        }
        Test::SupersetOf(_) => format!("the machine shows {} in {fact}; or {place} does without", named(&lacking)),
        Test::OneOf(_) | Test::SubsetOf(_) | Test::Exactly(_) | Test::Sequence(_) | Test::AnyOf(_) => {
            match (found.is_empty(), lacking.is_empty()) {
                (true, false) => {
                    format!("the machine shows {} in {fact}; or {place} does without", named(&lacking))
                }
                _ => format!("{place} lists {} for {fact}; or the machine shows what is listed", named(&found)),
            }
        }
    }
}

/// For a fact that nothing proves.
fn not_proven(fact: FactId) -> String {
    let pcrs: Vec<String> = fact.pcrs().iter().map(u8::to_string).collect();
    if pcrs.is_empty() {
        return format!("the evidence proves {fact}; none that came does");
    }
    format!("the evidence proves {fact}: an event log that explains PCR {}", pcrs.join(", "))
}

/// For an ownership factor, a kind of evidence, a class of roots, a date or a register; `code` says which.
pub(super) fn check(code: &str, subject: &Word, expected: &str, found: &str) -> String {
    match code {
        "policy.ownership.not_in_inventory" => format!("an operator lists the machine in the inventory: {found}"),
        "policy.ownership.not_a_registered_launch" => {
            format!("the launch is registered before the machine starts: {found}")
        }
        "policy.ownership.approval_awaited" => "an operator approves the machine".to_owned(),
        "policy.ownership.approval_denied" => "an operator who turned the machine down thinks otherwise".to_owned(),
        "policy.evidence.missing" => format!("the machine brings {expected}; it brought {found}"),
        "policy.trust_class" => format!("the rule admits {subject} {found}, or the machine is another: {expected}"),
        "policy.alternative.not_yet_valid" => format!("time passes, or valid_from is earlier: {expected}"),
        "policy.alternative.not_valid_any_more" => format!("valid_until is later: {expected}"),
        "policy.pcr.unexplained" => {
            format!("the log explains {subject} ({found}); or the policy gives the value: {subject} = \"…\"")
        }
        _ => format!("{subject} is {expected}; found {found}"),
    }
}

/// Where somebody would write another good value.
fn place(condition: &Condition, entry: &ConditionEntry) -> String {
    match condition.origins.as_slice() {
        [] => format!("policy line {}", entry.line),
        [one] => format!("@{} ({})", one.name, one.file),
        several => {
            let names: Vec<String> = several.iter().map(|origin| format!("@{}", origin.name)).collect();
            format!("one of {}", names.join(", "))
        }
    }
}

fn named(values: &[&str]) -> String {
    let first = values.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match values.len() {
        0 => "nothing that is listed".to_owned(),
        count if count > NAMED_MAX => format!("{first} and {} more", count - NAMED_MAX),
        _ => first,
    }
}
