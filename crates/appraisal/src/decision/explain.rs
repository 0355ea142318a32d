//! Finds out what differs: for each way to be admitted, which conditions do not hold, by which values and events.

use holdfast_identity::UnixTime;

use super::code::Reason;
use super::engine::{self, Holds, Ours};
use super::ownership::{Approval, Ownership};
use super::pairing;
use super::rejection::{Considered, Difference, Rejection};
use super::waived;
use crate::facts::{FactId, Facts, Ownable};
use crate::ima;
use crate::policy::site::{Site, SiteProblem};
use crate::policy::{Alternative, Condition, Deny, Factor, Policy, Rule, Test, Waiver, moment};
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
    let mut differences = Vec::new();
    not_ours(rule, facts, ownership, &mut differences);
    differences.extend(engine::lacking(rule, facts).map(|kind| {
        let came: Vec<&str> = facts.kinds().map(|kind| kind.as_str()).collect();
        let found = if came.is_empty() { "none".to_owned() } else { came.join(", ") };
        bare(Reason::EvidenceMissing, rule.line, format!("evidence of kind {kind}"), found)
    }));
    differences.extend(engine::foreign(rule, facts).map(|kind| {
        let id = FactId::class_of(kind);
        let admitted: Vec<&str> = rule.trust_classes.iter().map(|class| class.as_str()).collect();
        let found = facts.get(id).map_or_else(|| "none".to_owned(), |fact| shown(fact.values.iter()));
        let difference = bare(Reason::TrustClass, rule.line, format!("only {}", admitted.join(", ")), found);
        Difference { fact: Some(id.to_string()), ..difference }
    }));
    differences.extend(engine::foreign_makers(rule, facts).map(|id| {
        let found = facts.get(id).map_or_else(|| "none".to_owned(), |fact| shown(fact.values.iter()));
        let difference = bare(Reason::TrustClass, rule.line, engine::makers_admitted(rule), found);
        Difference { fact: Some(id.to_string()), ..difference }
    }));
    let foreign = differences.len();
    let late = alternative.filter(|alternative| !engine::counts(alternative, now));
    differences.extend(late.map(|alternative| out_of_date(alternative, now)));
    let waivers = waived::in_force(policy, rule, facts, now);
    let conditions = engine::conditions_of(rule, alternative);
    let conditions = conditions.filter(|condition| waived::waiver_of(condition, facts, &waivers).is_none());
    differences.extend(conditions.filter_map(|condition| difference(condition, facts)));
    differences.extend(rest(rule, alternative, facts, &waivers));
    let late = usize::from(late.is_some());
    let weight = (foreign, differences.len() - foreign - late, late);
    Way { rule, alternative, differences, weight }
}

/// What of a way's checks beside its conditions on facts is not so: empty where [`engine::keeps_the_rest`].
fn rest(rule: &Rule, alternative: Option<&Alternative>, facts: &Facts, waivers: &[&Waiver]) -> Vec<Difference> {
    let mut differences = ima::differences(rule, facts);
    differences.extend(engine::sites_of(rule, alternative).filter_map(|site| site_difference(site, facts)));
    differences.extend(engine::unexplained(rule, alternative, facts, waivers).map(|pcr| unexplained(pcr, facts)));
    differences
}

fn not_ours(rule: &Rule, facts: &Facts, ownership: &Ownership, differences: &mut Vec<Difference>) {
    for factor in &rule.ownership {
        if engine::factor_holds(rule, *factor, facts, ownership) == Ours::Yes {
            continue;
        }
        differences.push(match factor {
            Factor::Inventory => {
                let found = listable(facts, Ownable::Inventory);
                bare(Reason::NotInInventory, rule.line, "a key, chip or instance that the inventory lists", found)
            }
            Factor::Launch => {
                let found = listable(facts, Ownable::Launch);
                bare(Reason::NotALaunch, rule.line, "a launch that was registered beforehand", found)
            }
            Factor::Approval if ownership.approval == Approval::NotGiven => {
                bare(Reason::ApprovalAwaited, rule.line, "an operator's approval of this machine", "none yet")
            }
            Factor::Approval => {
                bare(Reason::ApprovalDenied, rule.line, "an operator's approval of this machine", "turned down")
            }
            Factor::AnyGenuineDevice => continue,
        });
    }
}

/// What the operator could list to make this machine ours.
pub(super) fn listable(facts: &Facts, ownable: Ownable) -> String {
    let found = facts.iter().filter(|(id, _)| id.definition().ownable == ownable);
    let found: Vec<String> = found.map(|(id, fact)| format!("{id} {}", shown(fact.values.iter()))).collect();
    if found.is_empty() { "nothing that could be listed".to_owned() } else { found.join(", ") }
}

pub(super) fn out_of_date(alternative: &Alternative, now: UnixTime) -> Difference {
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

pub(super) fn unexplained(pcr: u8, facts: &Facts) -> Difference {
    let id = FactId::Pcr(pcr);
    let found = facts.get(id).map_or_else(|| "another value".to_owned(), |fact| shown(fact.values.iter()));
    let expected = format!("events that explain PCR {pcr}, or a policy that gives its value");
    Difference {
        fact: Some(id.to_string()),
        ..bare(Reason::PcrUnexplained, 0, expected, format!("{found}, no events"))
    }
}

/// What is wrong with one site condition, if it does not hold.
pub(super) fn site_difference(site: &Site, facts: &Facts) -> Option<Difference> {
    let (reason, found) = match site.holds(facts) {
        Ok(()) => return None,
        Err(SiteProblem::NotProven(fact)) => (Reason::SiteNotProven, format!("{fact} is not proven")),
        Err(SiteProblem::False) => (Reason::SiteDiffers, "false".to_owned()),
        Err(SiteProblem::Failed(problem)) => (Reason::SiteDiffers, problem),
    };
    Some(bare(reason, site.line, format!("cel {}", site.source), found))
}

/// What is wrong with one condition, if it does not hold.
fn difference(condition: &Condition, facts: &Facts) -> Option<Difference> {
    let Condition { fact: id, test, line, origins: _ } = condition;
    let (reason, found, values) = match (engine::holds(condition, facts), facts.get(*id)) {
        (Holds::Yes, _) => return None,
        (_, None) => (Reason::FactNotProven, "not proven".to_owned(), pairing::all_missing(test)),
        (_, Some(fact)) => {
            (reason(test, &fact.values), shown(fact.values.iter()), pairing::differing(test, fact, facts))
        }
    };
    let expected = wanted(test);
    Some(Difference { code: reason.code(), fact: Some(id.to_string()), line: *line, expected, found, values })
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
