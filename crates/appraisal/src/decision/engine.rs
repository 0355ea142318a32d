//! Evaluates a policy over facts. The fast path says yes and builds nothing else; what differs is found out only for
//! a machine that is not admitted.

use holdfast_evidence::{EvidenceKind, Provenance, TrustClass};
use holdfast_identity::UnixTime;

use super::ownership::{Approval, Ownership};
use super::question::{Asking, Reply};
use super::waived::{self, WaivedWay};
use crate::facts::{Fact, FactId, Facts, Ownable, OwnerMark, owner_marks};
use crate::policy::{Alternative, Condition, Deny, Factor, Policy, Rule, Test, Waiver};
use crate::value::Value;

/// Whether one condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
    /// The fact is not proven.
    Unknown,
}

/// How far the machine is ours by one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    Yes,
    /// But for an approval that nobody has given yet.
    Awaited,
    No,
}

/// What the rules say of the facts.
pub(super) enum Outcome<'p> {
    Satisfied(&'p Rule, Option<&'p Alternative>),
    /// With waivers or change windows.
    Waived(&'p Rule, WaivedWay<'p>),
    Awaits(&'p Rule, Option<&'p Alternative>),
    Denied(&'p Deny, Holds),
    Nothing,
}

/// Who and what is asked about.
#[derive(Clone, Copy)]
pub(super) struct Machine<'a> {
    pub(super) facts: &'a Facts,
    pub(super) ownership: &'a Ownership,
    pub(super) now: UnixTime,
}

pub(super) fn evaluate<'p>(policy: &'p Policy, facts: &Facts, ownership: &Ownership, now: UnixTime) -> Outcome<'p> {
    for deny in &policy.denies {
        match denied(deny, facts) {
            Holds::No => {}
            decided => return Outcome::Denied(deny, decided),
        }
    }
    let machine = Machine { facts, ownership, now };
    let awaits = match first_way(policy, machine, |_| Some(Vec::new())) {
        Ok((rule, way)) => return Outcome::Satisfied(rule, way.alternative),
        Err(awaits) => awaits,
    };
    if policy.waivers.is_empty() {
        return awaits.map_or(Outcome::Nothing, |(rule, alternative)| Outcome::Awaits(rule, alternative));
    }
    // Only where no rule holds as it stands is anything waived.
    let in_force = |rule| Some(waived::in_force(policy, rule, facts, now)).filter(|waivers| !waivers.is_empty());
    match first_way(policy, machine, in_force) {
        Ok((rule, way)) => Outcome::Waived(rule, way),
        Err(waived) => {
            awaits.or(waived).map_or(Outcome::Nothing, |(rule, alternative)| Outcome::Awaits(rule, alternative))
        }
    }
}

type Awaited<'p> = Option<(&'p Rule, Option<&'p Alternative>)>;

/// The first rule that is satisfied, or the first that only an approval keeps from being so. `None` of `waivers` leaves a
/// rule out.
fn first_way<'p>(
    policy: &'p Policy,
    machine: Machine<'_>,
    waivers: impl Fn(&'p Rule) -> Option<Vec<&'p Waiver>>,
) -> Result<(&'p Rule, WaivedWay<'p>), Awaited<'p>> {
    let Machine { facts, ownership, now } = machine;
    let mut awaits = None;
    for rule in &policy.rules {
        let Some(waivers) = waivers(rule) else { continue };
        let asking = Asking { rule, facts, ownership, now, waivers: &waivers };
        match satisfied(&asking) {
            Some((way, Ours::Yes)) => return Ok((rule, way)),
            Some((way, Ours::Awaited | Ours::No)) => {
                awaits.get_or_insert((rule, way.alternative));
            }
            None => {}
        }
    }
    Err(awaits)
}

/// The first way in which every answer is good, but for an approval that may be awaited.
fn satisfied<'p>(asking: &Asking<'_, 'p>) -> Option<(WaivedWay<'p>, Ours)> {
    let mut ours = Ours::Yes;
    let mut of_rule = WaivedWay::new(None);
    for question in asking.of_rule() {
        match asking.reply(question, None) {
            Reply::Awaited => ours = Ours::Awaited,
            reply => of_rule.take(question, reply)?,
        }
    }
    let way = |alternative: Option<&'p Alternative>| {
        let mut way = of_rule.clone().by(alternative);
        for question in asking.of_way(alternative) {
            way.take(question, asking.reply(question, alternative))?;
        }
        Some(way)
    };
    let found = match asking.rule.alternatives.as_slice() {
        [] => way(None),
        alternatives => alternatives.iter().find_map(|alternative| way(Some(alternative))),
    };
    found.map(|way| (way, ours))
}

/// The conditions of one way to satisfy the rule.
fn conditions_of<'r>(rule: &'r Rule, alternative: Option<&'r Alternative>) -> impl Iterator<Item = &'r Condition> {
    rule.require.iter().chain(alternative.into_iter().flat_map(|alternative| &alternative.require))
}

/// Whether the alternative's dates include `now`.
pub(super) fn counts(alternative: &Alternative, now: UnixTime) -> bool {
    alternative.valid_from.is_none_or(|from| from <= now) && alternative.valid_until.is_none_or(|until| now < until)
}

/// Whether the policy gives the value of a register that no event explains. A value that is waived is not given, but by
/// what the waiver wants in its place.
pub(super) fn is_given(
    pcr: u8,
    rule: &Rule,
    alternative: Option<&Alternative>,
    facts: &Facts,
    waivers: &[&Waiver],
) -> bool {
    let fact = FactId::Pcr(pcr);
    let gives = |condition: &&Condition| condition.fact == fact && condition.test.gives_the_value();
    let mut given = conditions_of(rule, alternative).filter(gives);
    given.any(|condition| match waived::waiver_of(condition, facts, waivers) {
        Some(waiver) => waiver.gives_the_value_of(fact),
        None => true,
    })
}

/// Whether the class of a maker's root is as good as one that the rule admits: a maker's root has a class like that of any
/// other, and who vouches for a machine under a rule for hardware must be as good as its TPM's maker. What is said and has
/// no class has the lowest.
pub(super) fn is_maker_admitted(rule: &Rule, class: Option<&Fact>) -> bool {
    let is_admitted = |value: &Value| match value {
        Value::Text(word) => {
            word.parse::<TrustClass>().is_ok_and(|class| rule.trust_classes.iter().any(|admitted| class <= *admitted))
        }
        _ => false,
    };
    class.is_some_and(|fact| !fact.values.is_empty() && fact.values.iter().all(is_admitted))
}

/// Which classes of makers' roots the rule believes, in words.
pub(super) fn makers_admitted(rule: &Rule) -> String {
    rule.trust_classes.iter().max().map_or_else(|| "none".to_owned(), |lowest| format!("{lowest} or better"))
}

/// Whether evidence of this kind came.
pub(super) fn came(kind: EvidenceKind, facts: &Facts) -> bool {
    facts.get(FactId::class_of(kind)).is_some()
}

/// Whether the root of this evidence is of a class that the rule admits; what has no class has none.
pub(super) fn is_of_admitted_class(rule: &Rule, kind: EvidenceKind, facts: &Facts) -> bool {
    let admitted = |value: &Value| match value {
        Value::Text(word) => word.parse::<TrustClass>().is_ok_and(|class| rule.trust_classes.contains(&class)),
        _ => false,
    };
    let classes = facts.get(FactId::class_of(kind)).map(|fact| fact.values.as_slice()).unwrap_or_default();
    !classes.is_empty() && classes.iter().all(admitted)
}

pub(super) fn factor_holds(rule: &Rule, factor: Factor, facts: &Facts, ownership: &Ownership) -> Ours {
    match factor {
        Factor::AnyGenuineDevice => Ours::Yes,
        Factor::Inventory if is_listed(rule, Ownable::Inventory, facts, ownership) => Ours::Yes,
        Factor::Launch if is_listed(rule, Ownable::Launch, facts, ownership) => Ours::Yes,
        Factor::Inventory | Factor::Launch => Ours::No,
        Factor::Approval => match ownership.approval {
            Approval::Given => Ours::Yes,
            Approval::NotGiven => Ours::Awaited,
            Approval::Denied => Ours::No,
        },
    }
}

/// Whether the operator listed something that is *proven*; an answer about anything else counts for nothing.
fn is_listed(rule: &Rule, ownable: Ownable, facts: &Facts, ownership: &Ownership) -> bool {
    let mut listed = ownership.inventory.iter().filter(|answer| answer.listing.is_listed()).peekable();
    // Most machines come with at most one answer, and many policies never ask.
    listed.peek().is_some()
        && listed.any(|answer| {
            let is_it = |mark: OwnerMark| mark.ownable == ownable && mark.is_listed(answer);
            owner_marks(facts).any(|mark| is_it(mark) && vouched_for(rule, mark.fact, facts))
        })
}

/// Whether the rule believes who vouches for the fact. The roots of evidence are judged by their class; of a maker's, which
/// has none of its own there, a simulated one makes no machine ours where only hardware counts.
fn vouched_for(rule: &Rule, fact: FactId, facts: &Facts) -> bool {
    let is_simulated = || facts.get(fact).is_none_or(|fact| fact.provenance == Provenance::Simulated);
    !matches!(fact, FactId::Owned(_)) || rule.trust_classes.contains(&TrustClass::Simulated) || !is_simulated()
}

/// The facts by which the machine is ours under this rule: those whose values the operator listed.
pub(super) fn owned_by(rule: &Rule, facts: &Facts, ownership: &Ownership) -> Vec<String> {
    let is_asked = |ownable| match ownable {
        Ownable::No => false,
        Ownable::Inventory => rule.ownership.contains(&Factor::Inventory),
        Ownable::Launch => rule.ownership.contains(&Factor::Launch),
    };
    let is_listed = |mark: &OwnerMark| ownership.inventory.iter().any(|answer| mark.is_listed(answer));
    let marks = owner_marks(facts).filter(|mark| is_asked(mark.ownable) && is_listed(mark));
    let marks = marks.filter(|mark| vouched_for(rule, mark.fact, facts));
    let mut found: Vec<String> = marks.map(|mark| mark.fact.to_string()).collect();
    found.dedup();
    found
}

/// Whether a deny list's entry is met. One fact that differs clears it, and so does one of a kind of evidence that the
/// machine did not bring at all; a fact that is merely not proven does not.
pub(super) fn denied(deny: &Deny, facts: &Facts) -> Holds {
    let mut found = Holds::Yes;
    for condition in &deny.when {
        if !facts.speak_of(condition.fact.kind()) {
            return Holds::No;
        }
        match holds(condition, facts) {
            Holds::No => return Holds::No,
            Holds::Unknown => found = Holds::Unknown,
            Holds::Yes => {}
        }
    }
    found
}

pub(super) fn holds(condition: &Condition, facts: &Facts) -> Holds {
    match facts.get(condition.fact) {
        Some(fact) if passes(&condition.test, fact) => Holds::Yes,
        Some(_) => Holds::No,
        None => Holds::Unknown,
    }
}

fn passes(test: &Test, fact: &Fact) -> bool {
    let values = fact.values.as_slice();
    // A test of one value that meets none, or several, does not hold.
    let one = match values {
        [value] => Some(value),
        _ => None,
    };
    match test {
        Test::Equals(wanted) => one.is_some_and(|value| wanted.is(value)),
        Test::OneOf(wanted) => one.is_some_and(|value| wanted.contains(value)),
        Test::AtLeast(least) => one.is_some_and(|value| value.value_type() == least.value_type() && value >= least),
        Test::AtMost(most) => one.is_some_and(|value| value.value_type() == most.value_type() && value <= most),
        Test::EachAtLeast(least) => {
            matches!(one, Some(Value::Version(version)) if version.each_at_least(least))
        }
        Test::AllBits(needed) => matches!(one, Some(Value::Bits(bits)) if bits & needed == *needed),
        Test::NoneOf(denied) => !values.iter().any(|value| denied.contains(value)),
        Test::SubsetOf(allowed) => !values.is_empty() && values.iter().all(|value| allowed.contains(value)),
        Test::SupersetOf(least) => least.covered_by(values).0,
        Test::Exactly(wanted) => wanted.covered_by(values) == (true, 0),
        Test::Sequence(wanted) => {
            wanted.len() == values.len() && wanted.iter().zip(values).all(|(wanted, value)| wanted.is(value))
        }
        Test::AnyOf(wanted) => values.iter().any(|value| wanted.contains(value)),
        Test::Matches(pattern) => {
            !values.is_empty() && values.iter().all(|value| pattern.is_whole(value) == Some(true))
        }
        Test::NoneMatches(pattern) => values.iter().all(|value| pattern.is_whole(value) == Some(false)),
    }
}
