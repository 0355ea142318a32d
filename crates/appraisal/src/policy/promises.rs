//! Rules that promise what they do not keep: conditions that nothing satisfies, names that say more than is checked,
//! templates that cannot be filled or that two kinds of machines share.

use holdfast_evidence::TrustClass;

use super::implication;
use super::reach::Budget;
use super::rule::{Alternative, Rule};
use super::survey::{finding, says};
use super::{Condition, Policy, Segment};
use crate::facts::{FactId, Subject};
use crate::finding::{Finding, Kind};

/// Words of a name that promise a root in hardware of one's own.
const OF_HARDWARE: [&str; 4] = ["hardware", "discrete", "bare-metal", "physical"];
/// Words of a name that promise that what was booted is looked at.
const OF_A_MEASURED_BOOT: [&str; 4] = ["measured", "trusted-boot", "verified-boot", "golden"];
/// Words of a name that promise that Secure Boot is looked at.
const OF_A_SECURE_BOOT: [&str; 3] = ["secure-boot", "secureboot", "secure_boot"];

/// Ways to satisfy a rule that contradict themselves, and those that a deny list refuses whatever the machine shows.
pub(super) fn never_holding(file: &str, policy: &Policy, budget: &mut Budget) -> Vec<Finding> {
    let mut findings = Vec::new();
    let denied: Vec<Vec<&Condition>> = policy.denies.iter().map(|deny| deny.when.iter().collect()).collect();
    for rule in &policy.rules {
        for (alternative, conditions) in ways(rule) {
            let (what, line, column) = match alternative {
                Some(Alternative { name, line, column, .. }) => (format!("alternative {name:?}"), *line, *column),
                None => (format!("rule {:?}", rule.name), rule.line, rule.column),
            };
            if !budget.pays(&conditions, &conditions) || !denied.iter().all(|when| budget.pays(&conditions, when)) {
                findings.push(budget.finding(file, (line, column), "holds for no machine"));
                return findings;
            }
            if let Some((a, b)) = contradiction(&conditions) {
                let message =
                    format!("{what} admits no machine: lines {} and {} contradict each other", a.line, b.line);
                let suggestion = Some(format!("say what \"{}\" must be in one place", a.fact));
                findings.push(finding(file, line, column, Kind::NeverHolds, message, suggestion));
            }
            let met = |when: &Condition| conditions.iter().any(|condition| implication::implies(condition, when));
            if let Some(deny) = policy.denies.iter().find(|deny| !deny.when.is_empty() && deny.when.iter().all(met)) {
                let message =
                    format!("{what} admits no machine: deny list {:?} refuses all that satisfy it", deny.name);
                let suggestion = Some("take the denied values out of what is allowed".to_owned());
                findings.push(finding(file, line, column, Kind::NeverHolds, message, suggestion));
            }
        }
    }
    findings
}

fn ways(rule: &Rule) -> Vec<(Option<&Alternative>, Vec<&Condition>)> {
    if rule.alternatives.is_empty() {
        return vec![(None, rule.require.iter().collect())];
    }
    rule.alternatives.iter().map(|one| (Some(one), rule.require.iter().chain(&one.require).collect())).collect()
}

fn contradiction<'c>(conditions: &[&'c Condition]) -> Option<(&'c Condition, &'c Condition)> {
    let mut rest = conditions.iter();
    while let Some(a) = rest.next() {
        if let Some(b) = rest.clone().find(|b| implication::contradict(a, b)) {
            return Some((a, b));
        }
    }
    None
}

/// Names that promise more than the rule rests on.
pub(super) fn names(file: &str, rules: &[Rule]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in rules {
        let says_one_of =
            |words: &'static [&'static str]| words.iter().find(|word| rule.name.contains(**word)).copied();
        let mut note = |message: String, suggestion: &str| {
            let suggestion = Some(suggestion.to_owned());
            findings.push(finding(file, rule.line, rule.column, Kind::NameOverstates, message, suggestion));
        };
        let hardware = says_one_of(&OF_HARDWARE);
        let promised = hardware.or_else(|| says_one_of(&OF_A_MEASURED_BOOT)).or_else(|| says_one_of(&OF_A_SECURE_BOOT));
        let soft = rule.trust_classes.iter().find(|class| match class {
            TrustClass::Vtpm | TrustClass::Cloud => hardware.is_some(),
            TrustClass::Simulated => true,
            TrustClass::Discrete | TrustClass::Firmware => false,
        });
        if let (Some(word), Some(class)) = (promised, soft) {
            let message = format!("rule {:?} says {word:?} and admits the class {}", rule.name, class.as_str());
            note(message, "name it after what it rests on, or take the class out");
        }
        let holds = |is: &dyn Fn(FactId) -> bool| {
            ways(rule).iter().all(|(_, conditions)| conditions.iter().any(|condition| is(condition.fact)))
        };
        let of_state = |fact: FactId| fact.definition().subject == Subject::State;
        if let Some(word) = says_one_of(&OF_A_MEASURED_BOOT).filter(|_| rule.ima.is_none() && !holds(&of_state)) {
            let message = format!("rule {:?} says {word:?} and asks nothing about what was booted", rule.name);
            note(message, "write under [rule.require] what must have been booted, or give it another name");
        }
        let of_secure_boot = |fact: FactId| fact.to_string().contains("secure_boot") || matches!(fact, FactId::Pcr(7));
        if let Some(word) = says_one_of(&OF_A_SECURE_BOOT).filter(|_| !holds(&of_secure_boot)) {
            let message = format!("rule {:?} says {word:?} and does not ask for it in every alternative", rule.name);
            note(message, "write: tpm.secure_boot.enabled = true");
        }
    }
    findings
}

/// Templates that the rule's evidence cannot fill, and two that give IDs of one shape after different facts.
pub(super) fn templates(file: &str, rules: &[Rule]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        for segment in &rule.issue.node_id {
            let Segment::Fact(fact) = segment else { continue };
            if !rule.evidence.iter().any(|kind| says(*kind, *fact)) {
                let message =
                    format!("rule {:?} names nodes after \"{fact}\", which its evidence does not say", rule.name);
                let suggestion = "give it an [rule.issue] with a fact that its evidence proves".to_owned();
                findings.push(finding(file, rule.line, rule.column, Kind::EvidenceLacks, message, Some(suggestion)));
            }
        }
        let other = rules.iter().take(at).find(|other| look_alike(&rule.issue.node_id, &other.issue.node_id));
        if let Some(other) = other {
            let message = format!(
                "rules {:?} and {:?} name nodes alike, after different facts: two machines may claim one ID",
                other.name, rule.name
            );
            let suggestion = Some("give each a segment of its own, such as /tpm/ and /snp/".to_owned());
            findings.push(finding(file, rule.line, rule.column, Kind::TemplateShared, message, suggestion));
        }
    }
    findings
}

/// Whether an ID of one template could be one of the other, though they name machines by different facts.
fn look_alike(a: &[Segment], b: &[Segment]) -> bool {
    let pairs = || a.iter().zip(b);
    let apart = pairs().any(|pair| matches!(pair, (Segment::Literal(a), Segment::Literal(b)) if a != b));
    a.len() == b.len() && !apart && a != b
}
