//! Finds out what differs: for each way to be admitted, which conditions do not hold, by which values and events.

use holdfast_identity::UnixTime;

use super::code::Reason;
use super::engine::{self, Holds};
use super::ownership::{Approval, Ownership};
use super::pairing;
use super::question::{Asking, Question, Reply};
use super::rejection::{Considered, Difference, Rejection};
use super::waived;
use crate::facts::{FactId, Facts, Ownable};
use crate::ima;
use crate::policy::site::{Site, SiteProblem};
use crate::policy::{Alternative, Condition, Deny, Factor, Policy, Rule, Test, moment};
use crate::value::Value;

/// Most values that stand in the short texts of expected and found; the differing ones are listed beside them.
const VALUES_SHOWN: usize = 4;
/// Most rules and alternatives listed beside the nearest.
const OTHERS_SHOWN: usize = 64;

/// One way to be admitted, and what is in its way.
struct Way<'p> {
    rule: &'p Rule,
    alternative: Option<&'p Alternative>,
    differences: Vec<Difference>,
    /// Not ours and not of an admitted class weigh more than anything that it booted.
    /// What only a date is in the way of is nearer than what differs.
    weight: (usize, usize, usize),
}

/// Why no rule admits the facts.
pub(super) fn refusal(policy: &Policy, facts: &Facts, ownership: &Ownership, now: UnixTime) -> Rejection {
    let mut ways: Vec<Way<'_>> = Vec::new();
    for rule in &policy.rules {
        if rule.alternatives.is_empty() {
            ways.push(way(policy, rule, None, facts, ownership, now));
        }
        ways.extend(
            rule.alternatives.iter().map(|alternative| way(policy, rule, Some(alternative), facts, ownership, now)),
        );
    }
    let nearest = ways.iter().enumerate().min_by_key(|(_, way)| way.weight).map_or(0, |(at, _)| at);
    let others = ways.iter().enumerate().filter(|(at, _)| *at != nearest).take(OTHERS_SHOWN);
    let others = others.map(|(_, way)| Considered {
        rule: way.rule.name.clone(),
        alternative: way.alternative.map(|alternative| alternative.name.clone()),
        codes: way.differences.iter().map(|difference| difference.code).collect(),
    });
    let others = others.collect();
    let nearest = (nearest < ways.len()).then(|| ways.swap_remove(nearest));
    Rejection {
        code: Reason::NoRuleMatched.code(),
        policy: policy.version.clone(),
        rule: nearest.as_ref().map(|way| way.rule.name.clone()),
        alternative: nearest.as_ref().and_then(|way| way.alternative).map(|alternative| alternative.name.clone()),
        differences: nearest.map(|way| way.differences).unwrap_or_default(),
        others,
    }
}

/// Everything holds but an approval.
pub(super) fn awaited(policy: &Policy, rule: &Rule, alternative: Option<&Alternative>) -> Rejection {
    let reason = Reason::ApprovalAwaited;
    let difference = bare(reason, rule.line, "an operator's approval of this machine", "none yet");
    Rejection {
        code: reason.code(),
        policy: policy.version.clone(),
        rule: Some(rule.name.clone()),
        alternative: alternative.map(|alternative| alternative.name.clone()),
        differences: vec![difference],
        others: Vec::new(),
    }
}

/// A deny list's entry is met, or cannot be ruled out.
pub(super) fn denial(policy: &Policy, deny: &Deny, decided: Holds, facts: &Facts) -> Rejection {
    let reason = Reason::of_denial(decided);
    let mut differences = Vec::new();
    for condition in &deny.when {
        let found = match facts.get(condition.fact) {
            Some(fact) => shown(fact.values.iter()),
            None => "not proven".to_owned(),
        };
        differences.push(Difference {
            code: reason.code(),
            fact: Some(condition.fact.to_string()),
            line: condition.line,
            expected: format!("not ({}): {}", wanted(&condition.test), deny.reason),
            found,
            values: Vec::new(),
        });
    }
    Rejection {
        code: reason.code(),
        policy: policy.version.clone(),
        rule: Some(deny.name.clone()),
        alternative: None,
        differences,
        others: Vec::new(),
    }
}

/// An operator turned the machine down: no rule is asked.
pub(super) fn turned_down(policy: &Policy) -> Rejection {
    let reason = Reason::ApprovalDenied;
    alone(policy, reason, bare(reason, 0, "a machine that no operator turned down", "turned down by an operator"))
}

/// A rejection with one difference and no rule.
pub(super) fn alone(policy: &Policy, reason: Reason, difference: Difference) -> Rejection {
    Rejection {
        code: reason.code(),
        policy: policy.version.clone(),
        rule: None,
        alternative: None,
        differences: vec![difference],
        others: Vec::new(),
    }
}

/// A difference that is about no fact.
pub(super) fn bare(reason: Reason, line: usize, expected: impl Into<String>, found: impl Into<String>) -> Difference {
    Difference {
        code: reason.code(),
        fact: None,
        line,
        expected: expected.into(),
        found: found.into(),
        values: Vec::new(),
    }
}

fn way<'p>(
    policy: &'p Policy,
    rule: &'p Rule,
    alternative: Option<&'p Alternative>,
    facts: &Facts,
    ownership: &Ownership,
    now: UnixTime,
) -> Way<'p> {
    let waivers = waived::in_force(policy, rule, facts, now);
    let asking = Asking { rule, facts, ownership, now, waivers: &waivers };
    let mut found: Vec<(Question<'p>, Difference)> = Vec::new();
    for question in asking.of_rule().chain(asking.of_way(alternative)) {
        let reply = asking.reply(question, alternative);
        found.extend(told(question, reply, &asking).into_iter().map(|difference| (question, difference)));
    }
    found.sort_by_key(|(question, _)| question.rank());
    let count = |is: fn(&Question<'_>) -> bool| found.iter().filter(|(question, _)| is(question)).count();
    let foreign = count(|question| question.is_of_identity());
    let late = count(|question| matches!(question, Question::Dates(_)));
    let weight = (foreign, found.len() - foreign - late, late);
    Way { rule, alternative, differences: found.into_iter().map(|(_, difference)| difference).collect(), weight }
}

/// What is wrong, if the answer is not good: at least one difference.
pub(super) fn told(question: Question<'_>, reply: Reply<'_>, asking: &Asking<'_, '_>) -> Vec<Difference> {
    let Asking { rule, facts, now, .. } = *asking;
    if reply.is_good() {
        return Vec::new();
    }
    vec![match question {
        Question::NoFactor => {
            bare(Reason::NotInInventory, rule.line, "a factor by which the machine is ours", "the rule names none")
        }
        Question::Factor(factor) => not_ours(factor, asking),
        Question::Evidence(kind) => {
            bare(Reason::EvidenceMissing, rule.line, format!("evidence of kind {kind}"), kinds_that_came(facts))
        }
        Question::Class(kind) => {
            let id = FactId::class_of(kind);
            let found = facts.get(id).map_or_else(|| "none".to_owned(), |fact| shown(fact.values.iter()));
            Difference { fact: Some(id.to_string()), ..bare(Reason::TrustClass, rule.line, admitted(rule), found) }
        }
        Question::Maker(id) => {
            let found = facts.get(id).map_or_else(|| "none".to_owned(), |fact| shown(fact.values.iter()));
            let expected = engine::makers_admitted(rule);
            Difference { fact: Some(id.to_string()), ..bare(Reason::TrustClass, rule.line, expected, found) }
        }
        Question::Dates(alternative) => out_of_date(alternative, now),
        Question::Condition(condition) => difference(condition, facts),
        Question::MeasuredFiles => {
            let differences = ima::differences(rule, facts);
            if !differences.is_empty() {
                return differences;
            }
            bare(Reason::NoRuleMatched, rule.line, "measured files that the rule allows", "others")
        }
        Question::Site(site) => site_difference(site, facts),
        Question::Register(pcr) => unexplained(pcr, facts),
    }]
}

/// The classes that a rule admits, in words.
pub(super) fn admitted(rule: &Rule) -> String {
    let admitted: Vec<&str> = rule.trust_classes.iter().map(|class| class.as_str()).collect();
    format!("only {}", admitted.join(", "))
}

/// The kinds of evidence that came.
pub(super) fn kinds_that_came(facts: &Facts) -> String {
    let came: Vec<&str> = facts.kinds().map(|kind| kind.as_str()).collect();
    if came.is_empty() { "none".to_owned() } else { came.join(", ") }
}

/// What is to be for a machine to be ours by this factor.
pub(super) const fn owned(factor: Factor) -> &'static str {
    match factor {
        Factor::Inventory => "a key, chip or instance that the inventory lists",
        Factor::Launch => "a launch that was registered beforehand",
        Factor::Approval => "an operator's approval of this machine",
        Factor::AnyGenuineDevice => "a genuine device",
    }
}

fn not_ours(factor: Factor, asking: &Asking<'_, '_>) -> Difference {
    let Asking { rule, facts, ownership, .. } = *asking;
    let (reason, found) = match factor {
        Factor::Inventory => (Reason::NotInInventory, listable(facts, Ownable::Inventory)),
        Factor::Launch => (Reason::NotALaunch, listable(facts, Ownable::Launch)),
        Factor::Approval if ownership.approval == Approval::NotGiven => {
            (Reason::ApprovalAwaited, "none yet".to_owned())
        }
        Factor::Approval => (Reason::ApprovalDenied, "turned down".to_owned()),
        Factor::AnyGenuineDevice => (Reason::NoRuleMatched, "none".to_owned()),
    };
    bare(reason, rule.line, owned(factor), found)
}

/// What the operator could list to make this machine ours.
pub(super) fn listable(facts: &Facts, ownable: Ownable) -> String {
    let found = facts.iter().filter(|(id, _)| id.definition().ownable == ownable);
    let found: Vec<String> = found.map(|(id, fact)| format!("{id} {}", shown(fact.values.iter()))).collect();
    if found.is_empty() { "nothing that could be listed".to_owned() } else { found.join(", ") }
}

fn out_of_date(alternative: &Alternative, now: UnixTime) -> Difference {
    let now_text = moment::format(now);
    match (alternative.valid_from, alternative.valid_until) {
        (Some(from), _) if now < from => {
            let expected = format!("alternative {} counts from {}", alternative.name, moment::format(from));
            bare(Reason::NotYetValid, alternative.line, expected, now_text)
        }
        (_, until) => {
            let until = until.map(moment::format).unwrap_or_default();
            let expected = format!("alternative {} counted until {until}", alternative.name);
            bare(Reason::NotValidAnyMore, alternative.line, expected, now_text)
        }
    }
}

fn unexplained(pcr: u8, facts: &Facts) -> Difference {
    let id = FactId::Pcr(pcr);
    let found = facts.get(id).map_or_else(|| "another value".to_owned(), |fact| shown(fact.values.iter()));
    let expected = format!("events that explain PCR {pcr}, or a policy that gives its value");
    Difference {
        fact: Some(id.to_string()),
        ..bare(Reason::PcrUnexplained, 0, expected, format!("{found}, no events"))
    }
}

/// What is wrong with a site condition that does not hold.
fn site_difference(site: &Site, facts: &Facts) -> Difference {
    let (reason, found) = match site.holds(facts) {
        Err(SiteProblem::NotProven(fact)) => (Reason::SiteNotProven, format!("{fact} is not proven")),
        Ok(()) | Err(SiteProblem::False) => (Reason::SiteDiffers, "false".to_owned()),
        Err(SiteProblem::Failed(problem)) => (Reason::SiteDiffers, problem),
    };
    bare(reason, site.line, format!("cel {}", site.source), found)
}

/// What is wrong with a condition that does not hold.
fn difference(condition: &Condition, facts: &Facts) -> Difference {
    let Condition { fact: id, test, line, origins: _ } = condition;
    let (reason, found, values) = match facts.get(*id) {
        None => (Reason::FactNotProven, "not proven".to_owned(), pairing::all_missing(test)),
        Some(fact) => (reason(test, &fact.values), shown(fact.values.iter()), pairing::differing(test, fact, facts)),
    };
    let expected = wanted(test);
    Difference { code: reason.code(), fact: Some(id.to_string()), line: *line, expected, found, values }
}

pub(super) fn reason(test: &Test, found: &[Value]) -> Reason {
    match test {
        Test::Equals(_) | Test::Exactly(_) | Test::Sequence(_) => Reason::FactDiffers,
        Test::OneOf(_) | Test::SubsetOf(_) if !found.is_empty() => Reason::FactNotAllowed,
        Test::OneOf(_) | Test::SubsetOf(_) | Test::SupersetOf(_) | Test::AnyOf(_) | Test::AllBits(_) => {
            Reason::FactLacks
        }
        Test::Matches(_) if !found.is_empty() => Reason::FactNotAllowed,
        Test::Matches(_) => Reason::FactLacks,
        Test::NoneOf(_) | Test::NoneMatches(_) => Reason::FactDenied,
        Test::AtLeast(_) | Test::EachAtLeast(_) => Reason::FactBelowMinimum,
        Test::AtMost(_) => Reason::FactAboveMaximum,
    }
}

/// The condition in words.
pub(super) fn wanted(test: &Test) -> String {
    let list = |word: &str| format!("{word} {}", shown(test.values()));
    match test {
        Test::Equals(noted) => noted.value.to_string(),
        Test::OneOf(_) => list("one of"),
        Test::NoneOf(_) => list("none of"),
        Test::AtLeast(least) => format!("at least {least}"),
        Test::AtMost(most) => format!("at most {most}"),
        Test::EachAtLeast(least) => format!("each component at least {least}"),
        Test::AllBits(bits) => format!("all bits of {bits:#x}"),
        Test::SubsetOf(_) => list("only"),
        Test::SupersetOf(_) => list("all of"),
        Test::Exactly(_) => list("exactly, in any order,"),
        Test::Sequence(_) => list("exactly, in this order,"),
        Test::AnyOf(_) => list("at least one of"),
        Test::Matches(pattern) => {
            format!("a text that matches {:?}, from its first to its last character", pattern.source())
        }
        Test::NoneMatches(pattern) => format!("texts of which none matches {:?}", pattern.source()),
    }
}

/// The first values, and how many more there are.
pub(super) fn shown<'v>(values: impl Iterator<Item = &'v Value>) -> String {
    let texts: Vec<String> = values.map(ToString::to_string).collect();
    match texts.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        few if few.len() <= VALUES_SHOWN => format!("[{}]", few.join(", ")),
        many => {
            let first: Vec<&str> = many.iter().take(VALUES_SHOWN).map(String::as_str).collect();
            format!("[{}, and {} more]", first.join(", "), many.len() - VALUES_SHOWN)
        }
    }
}
