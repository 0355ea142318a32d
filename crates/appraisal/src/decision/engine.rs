//! Evaluates a policy over facts. The fast path says yes and builds nothing else; what differs is found out only for
//! a machine that is not admitted.

use holdfast_evidence::{EvidenceKind, Provenance, TrustClass};
use holdfast_identity::UnixTime;

use super::ownership::{Approval, Ownership};
use super::waived::{self, WaivedWay};
use crate::facts::{Fact, FactId, Facts, Ownable, OwnerMark, maker_classes, owner_marks};
use crate::ima;
use crate::policy::site::Site;
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

pub(super) fn evaluate<'p>(policy: &'p Policy, facts: &Facts, ownership: &Ownership, now: UnixTime) -> Outcome<'p> {
    for deny in &policy.denies {
        match denied(deny, facts) {
            Holds::No => {}
            decided => return Outcome::Denied(deny, decided),
        }
    }
    let mut awaits = None;
    for rule in &policy.rules {
        let ours = ours(rule, facts, ownership);
        if ours == Ours::No || (ours == Ours::Awaited && awaits.is_some()) || !class_admitted(rule, facts) {
            continue;
        }
        let Some(alternative) = satisfied(rule, facts, now) else { continue };
        match ours {
            Ours::Yes => return Outcome::Satisfied(rule, alternative),
            Ours::Awaited | Ours::No => awaits = Some((rule, alternative)),
        }
    }
    match awaits {
        // Only where no rule holds as it stands is anything waived.
        None => with_waivers(policy, facts, ownership, now),
        Some((rule, alternative)) => match with_waivers(policy, facts, ownership, now) {
            waived @ Outcome::Waived(..) => waived,
            _ => Outcome::Awaits(rule, alternative),
        },
    }
}

/// What the rules say together with the waivers and change windows that count for the machine now.
fn with_waivers<'p>(policy: &'p Policy, facts: &Facts, ownership: &Ownership, now: UnixTime) -> Outcome<'p> {
    let mut awaits = None;
    if policy.waivers.is_empty() {
        return Outcome::Nothing;
    }
    for rule in &policy.rules {
        let ours = ours(rule, facts, ownership);
        if ours == Ours::No || (ours == Ours::Awaited && awaits.is_some()) || !class_admitted(rule, facts) {
            continue;
        }
        let waivers = waived::in_force(policy, rule, facts, now);
        if waivers.is_empty() {
            continue;
        }
        let Some(way) = waived::satisfied(rule, facts, now, &waivers) else { continue };
        match ours {
            Ours::Yes => return Outcome::Waived(rule, way),
            Ours::Awaited | Ours::No => awaits = Some((rule, way.alternative)),
        }
    }
    awaits.map_or(Outcome::Nothing, |(rule, alternative)| Outcome::Awaits(rule, alternative))
}

/// The site conditions of one way to satisfy the rule.
pub(super) fn sites_of<'r>(rule: &'r Rule, alternative: Option<&'r Alternative>) -> impl Iterator<Item = &'r Site> {
    rule.sites.iter().chain(alternative.into_iter().flat_map(|alternative| &alternative.sites))
}

/// The conditions of one way to satisfy the rule.
pub(super) fn conditions_of<'r>(
    rule: &'r Rule,
    alternative: Option<&'r Alternative>,
) -> impl Iterator<Item = &'r Condition> {
    rule.require.iter().chain(alternative.into_iter().flat_map(|alternative| &alternative.require))
}

/// `Some` if the rule's conditions hold: with the alternative that does, where there are any.
fn satisfied<'p>(rule: &'p Rule, facts: &Facts, now: UnixTime) -> Option<Option<&'p Alternative>> {
    let all = |conditions: &[Condition]| conditions.iter().all(|condition| holds(condition, facts) == Holds::Yes);
    if !all(&rule.require) {
        return None;
    }
    if rule.alternatives.is_empty() {
        return keeps_the_rest(rule, None, facts, &[]).then_some(None);
    }
    let found = rule.alternatives.iter().find(|alternative| {
        counts(alternative, now) && all(&alternative.require) && keeps_the_rest(rule, Some(alternative), facts, &[])
    });
    found.map(Some)
}

/// Whether all holds that a way asks beside its conditions on facts: site conditions, measured files, registers without
/// events. No waiver is about any of it, so that this is the one place that both ways to be admitted ask; whoever adds a
/// check here tells what differs in `explain::rest` and in `tree::Tree::rule`, and adds it to the test
/// `what_no_waiver_is_about_is_asked_wherever_a_rule_is`.
pub(super) fn keeps_the_rest(
    rule: &Rule,
    alternative: Option<&Alternative>,
    facts: &Facts,
    waivers: &[&Waiver],
) -> bool {
    sites_of(rule, alternative).all(|site| site.holds(facts).is_ok())
        && ima::admits(rule, facts)
        && unexplained(rule, alternative, facts, waivers).next().is_none()
}

/// Whether the alternative's dates include `now`.
pub(super) fn counts(alternative: &Alternative, now: UnixTime) -> bool {
    alternative.valid_from.is_none_or(|from| from <= now) && alternative.valid_until.is_none_or(|until| now < until)
}

/// Quoted PCRs that were extended, that no event explains, and whose value the policy does not give. A value that is
/// waived is not given, but by what the waiver wants in its place.
pub(super) fn unexplained<'f>(
    rule: &'f Rule,
    alternative: Option<&'f Alternative>,
    facts: &'f Facts,
    waivers: &'f [&Waiver],
) -> impl Iterator<Item = u8> + 'f {
    facts.unexplained_pcrs().iter().copied().filter(move |pcr| {
        let gives = |condition: &&Condition| condition.fact == FactId::Pcr(*pcr) && condition.test.gives_the_value();
        let mut given = conditions_of(rule, alternative).filter(gives);
        !given.any(|condition| match waived::waiver_of(condition, facts, waivers) {
            Some(waiver) => waiver.gives_the_value_of(FactId::Pcr(*pcr)),
            None => true,
        })
    })
}

/// Whether all evidence is there that the rule needs, and the trust class of every item that came is one that it
/// admits; a machine without a class has none.
pub(super) fn class_admitted(rule: &Rule, facts: &Facts) -> bool {
    lacking(rule, facts).next().is_none()
        && foreign(rule, facts).next().is_none()
        && foreign_makers(rule, facts).next().is_none()
}

/// The classes of makers' roots that are lower than any that the rule admits: a maker's root has a class like that of any
/// other, and who vouches for a machine under a rule for hardware must be as good as its TPM's maker. What is said and has
/// no class has the lowest.
pub(super) fn foreign_makers<'r>(rule: &'r Rule, facts: &'r Facts) -> impl Iterator<Item = FactId> + 'r {
    let is_admitted = move |value: &Value| match value {
        Value::Text(word) => {
            word.parse::<TrustClass>().is_ok_and(|class| rule.trust_classes.iter().any(|admitted| class <= *admitted))
        }
        _ => false,
    };
    let is_believed = move |class: Option<&Fact>| {
        class.is_some_and(|fact| !fact.values.is_empty() && fact.values.iter().all(is_admitted))
    };
    maker_classes(facts).filter(move |(_, class)| !is_believed(*class)).map(|(fact, _)| fact)
}

/// The kinds of evidence whose root is of a class that the rule does not admit.
pub(super) fn foreign<'r>(rule: &'r Rule, facts: &'r Facts) -> impl Iterator<Item = EvidenceKind> + 'r {
    let admitted = |value: &Value| match value {
        Value::Text(word) => word.parse::<TrustClass>().is_ok_and(|class| rule.trust_classes.contains(&class)),
        _ => false,
    };
    facts.kinds().filter(move |kind| {
        let classes = facts.get(FactId::class_of(*kind)).map(|fact| fact.values.as_slice()).unwrap_or_default();
        classes.is_empty() || !classes.iter().all(admitted)
    })
}

/// Which classes of makers' roots the rule believes, in words.
pub(super) fn makers_admitted(rule: &Rule) -> String {
    rule.trust_classes.iter().max().map_or_else(|| "none".to_owned(), |lowest| format!("{lowest} or better"))
}

/// The kinds of evidence that the rule needs and that did not come.
pub(super) fn lacking<'r>(rule: &'r Rule, facts: &'r Facts) -> impl Iterator<Item = EvidenceKind> + 'r {
    rule.evidence.iter().copied().filter(|kind| facts.get(FactId::class_of(*kind)).is_none())
}

pub(super) fn ours(rule: &Rule, facts: &Facts, ownership: &Ownership) -> Ours {
    let mut found = if rule.ownership.is_empty() { Ours::No } else { Ours::Yes };
    for factor in &rule.ownership {
        let this = factor_holds(rule, *factor, facts, ownership);
        found = match (found, this) {
            (Ours::No, _) | (_, Ours::No) => Ours::No,
            (Ours::Awaited, _) | (_, Ours::Awaited) => Ours::Awaited,
            (Ours::Yes, Ours::Yes) => Ours::Yes,
        };
    }
    found
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
