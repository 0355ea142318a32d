//! What is wrong with waivers and change windows: that nothing comes of them, that too much does, that they last too
//! long.

use std::collections::BTreeSet;

use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;

use super::loosened::Loosened;
use super::rule::Rule;
use super::survey::finding;
use super::waiver::{Waiver, WaiverKind};
use super::{Condition, Policy, moment};
use crate::facts::{FactId, SnpFact, TdxFact};
use crate::finding::{Finding, Kind, nearest};

/// Longest time that somebody remembers an exception, in seconds: 90 days.
const SECONDS_MAX: i64 = 90 * 86_400;

/// Most facts that a suggestion lists.
const FACTS_SHOWN_MAX: usize = 20;

/// Rules and facts that are not there, and rules of which nothing would be left.
pub(super) fn useless(file: &str, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for waiver in &policy.waivers {
        let mut note = |kind: Kind, message: String, suggestion: Option<String>| {
            findings.push(finding(file, waiver.line, waiver.column, kind, message, suggestion));
        };
        let what = described(waiver);
        for name in waiver.rules.iter().filter(|name| !policy.rules().any(|rule| rule == name.as_str())) {
            let suggestion = nearest(name, policy.rules()).map(|near| format!("did you mean {near:?}?"));
            note(Kind::WaiverUseless, format!("{what} is about rule {name:?}, which is not there"), suggestion);
        }
        let about: Vec<&Rule> = policy.rules.iter().filter(|rule| waiver.is_about(&rule.name)).collect();
        let asked: Vec<&Condition> = about.iter().flat_map(|rule| rule.conditions()).collect();
        for loosened in
            waiver.facts.iter().filter(|loosened| !about.is_empty() && !asked.iter().any(|c| loosened.covers(c)))
        {
            let (message, suggestion) = nothing_of(loosened, &asked);
            note(Kind::WaiverUseless, format!("{what} waives \"{loosened}\", {message}"), Some(suggestion));
        }
        for rule in about {
            let named = waiver.facts.iter().map(|loosened| loosened.fact);
            for fact in named.filter(|fact| vouches(*fact, rule) && !waiver.gives_the_value_of(*fact)) {
                let message = format!(
                    "{what} waives \"{fact}\", which says whose word rule {:?} believes: anybody's would do",
                    rule.name
                );
                let suggestion = format!("say whose is believed in its place: instead.{fact} = …");
                note(Kind::WaiverForbidden, message, Some(suggestion));
            }
            if waiver.instead.is_empty() && leaves_nothing(&waiver.facts, rule) {
                let message = format!("{what} leaves nothing of what rule {:?} requires", rule.name);
                let suggestion = "say under instead what must hold in its place".to_owned();
                note(Kind::WaiverOfEverything, message, Some(suggestion));
            } else if waiver.instead.is_empty() && leaves_nothing(&together(policy, rule, |_| true), rule) {
                let facts = together(policy, rule, |other| waiver.may_meet(other));
                if leaves_nothing(&facts, rule) {
                    let message = format!(
                        "{what} and others that count at the same time leave nothing of what rule {:?} requires",
                        rule.name
                    );
                    let suggestion = "say under instead what must hold in its place, or let one end first".to_owned();
                    note(Kind::WaiverOfEverything, message, Some(suggestion));
                }
            }
        }
        if waiver.valid_from.is_some_and(|from| waiver.valid_until.since(from) > SECONDS_MAX) {
            note(Kind::WaiverTooLong, format!("{what} lasts for more than 90 days"), shorter());
        }
    }
    findings
}

/// What the waivers of a rule waive together that want nothing in its place.
fn together(policy: &Policy, rule: &Rule, of: impl Fn(&Waiver) -> bool) -> Vec<Loosened> {
    let waivers = policy.waivers.iter().filter(|waiver| waiver.instead.is_empty() && waiver.is_about(&rule.name));
    waivers.filter(|waiver| of(waiver)).flat_map(|one| one.facts.iter().copied()).collect()
}

/// Whether a fact says whose word the rule's other facts are: the key of an ID block, the paravisor of an Azure machine.
fn vouches(fact: FactId, rule: &Rule) -> bool {
    let of_a_paravisor = matches!(
        fact,
        FactId::Snp(SnpFact::Measurement | SnpFact::Launch) | FactId::Tdx(TdxFact::MrTd | TdxFact::Launch)
    );
    matches!(fact, FactId::Snp(SnpFact::IdKeyDigest | SnpFact::AuthorKeyDigest))
        || (of_a_paravisor && rule.evidence.contains(&EvidenceKind::Azure))
}

/// Whether one way to satisfy the rule asks for nothing but what is waived. That something is denied says of no machine
/// what it is: such conditions are not counted as something left.
fn leaves_nothing(loosened: &[Loosened], rule: &Rule) -> bool {
    let waived = |condition: &Condition| condition.test.denies() || loosened.iter().any(|one| one.covers(condition));
    let own = rule.require.iter().all(waived);
    let touched = rule.conditions().any(|condition| loosened.iter().any(|one| one.covers(condition)));
    touched
        && match rule.alternatives.as_slice() {
            [] => own,
            alternatives => own && alternatives.iter().any(|alternative| alternative.require.iter().all(waived)),
        }
}

/// Why an entry is about no condition, and what to write in its place.
fn nothing_of(loosened: &Loosened, asked: &[&Condition]) -> (&'static str, String) {
    let of_the_fact: Vec<&&Condition> = asked.iter().filter(|condition| condition.fact == loosened.fact).collect();
    if of_the_fact.is_empty() {
        let facts: BTreeSet<FactId> = asked.iter().map(|condition| condition.fact).collect();
        let facts: Vec<String> = facts.iter().take(FACTS_SHOWN_MAX).map(FactId::to_string).collect();
        return ("which no rule of it asks for", format!("they ask for {}", facts.join(", ")));
    }
    let written: BTreeSet<String> =
        of_the_fact.iter().map(|one| format!("{}.{}", one.fact, one.test.operator())).collect();
    let written = written.into_iter().collect::<Vec<_>>().join(", ");
    match loosened.operator {
        None => ("of which its rules only deny something", format!("name what is denied, if that is meant: {written}")),
        Some(_) => ("which no rule of it asks in this way", format!("they ask {written}")),
    }
}

/// Those that do not count any more at `now`, and those that will still count in 90 days.
pub(super) fn dates(file: &str, waivers: &[Waiver], now: UnixTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    for waiver in waivers {
        let what = described(waiver);
        let (kind, message, suggestion) = if waiver.valid_until <= now {
            let message = format!("{what} has not counted since {}", moment::format(waiver.valid_until));
            (Kind::WaiverExpired, message, Some("take it out".to_owned()))
        } else if waiver.valid_from.is_none() && waiver.valid_until.since(now) > SECONDS_MAX {
            (Kind::WaiverTooLong, format!("{what} lasts for more than 90 days from now"), shorter())
        } else {
            continue;
        };
        findings.push(finding(file, waiver.line, waiver.column, kind, message, suggestion));
    }
    findings
}

fn shorter() -> Option<String> {
    Some("end it sooner and renew it if need be, or write a rule that says what is right".to_owned())
}

fn described(waiver: &Waiver) -> String {
    let kind = match waiver.kind {
        WaiverKind::Waiver => "waiver",
        WaiverKind::ChangeWindow => "change window",
    };
    format!("{kind} {:?}", waiver.name)
}
