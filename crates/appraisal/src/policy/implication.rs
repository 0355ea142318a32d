//! Whether one set of conditions holds wherever another does: what `reach` finds unreachable rules by. Errs on the side of
//! "no": what it calls unreachable is.

use super::rule::{Factor, Rule};
use super::site::Site;
use super::{Alternative, Condition, Set, Test};
use crate::facts::FactId;
use crate::value::Value;

/// Whether, but for their conditions, everything that `later` admits is admitted by `earlier` first.
pub(super) fn may_shadow(earlier: &Rule, later: &Rule) -> bool {
    let ownership =
        earlier.ownership.iter().all(|factor| *factor == Factor::AnyGenuineDevice || later.ownership.contains(factor));
    let classes = later.trust_classes.iter().all(|class| earlier.trust_classes.contains(class));
    // Evidence that the later rule does not need may be lacking, and then the earlier one admits nothing.
    let evidence = earlier.evidence.iter().all(|kind| later.evidence.contains(kind));
    // Whatever the earlier rule says of measured files, it admits less for it.
    let measured = earlier.ima.is_none();
    ownership && classes && evidence && measured
}

/// One way to satisfy a rule.
pub(super) struct Way<'r> {
    require: &'r [Condition],
    sites: &'r [Site],
    alternative: Option<&'r Alternative>,
}

pub(super) fn ways(rule: &Rule) -> Vec<Way<'_>> {
    if rule.alternatives.is_empty() {
        return vec![Way { require: &rule.require, sites: &rule.sites, alternative: None }];
    }
    rule.alternatives
        .iter()
        .map(|alternative| Way { require: &rule.require, sites: &rule.sites, alternative: Some(alternative) })
        .collect()
}

impl<'r> Way<'r> {
    /// What an alternative adds to its rule.
    pub(super) const fn of_alternative(alternative: &'r Alternative) -> Self {
        Self { require: &[], sites: &[], alternative: Some(alternative) }
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.require.iter().chain(self.alternative.into_iter().flat_map(|alternative| &alternative.require))
    }

    pub(super) fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().chain(self.alternative.into_iter().flat_map(|alternative| &alternative.sites))
    }

    /// Whether it holds wherever and whenever `other` does.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let from = self.alternative.and_then(|a| a.valid_from);
        let until = self.alternative.and_then(|a| a.valid_until);
        let other_from = other.alternative.and_then(|a| a.valid_from);
        let other_until = other.alternative.and_then(|a| a.valid_until);
        let begins = from.is_none_or(|from| other_from.is_some_and(|other| from <= other));
        let ends = until.is_none_or(|until| other_until.is_some_and(|other| until >= other));
        // A way that gives a PCR's bare value admits where one that does not give it refuses.
        let explains =
            other.conditions().filter(|c| matches!(c.fact, FactId::Pcr(_)) && c.test.gives_the_value()).all(|given| {
                self.conditions().any(|condition| condition.fact == given.fact && condition.test.gives_the_value())
            });
        begins
            && ends
            && explains
            // What a site condition asks nobody but its own words can say.
            && self.sites().all(|site| other.sites().any(|same| same.source == site.source))
            && self.conditions().all(|weak| other.conditions().any(|strong| implies(strong, weak)))
    }
}

/// Whether no machine can satisfy both. Errs on the side of "no".
pub(super) fn contradict(a: &Condition, b: &Condition) -> bool {
    a.fact == b.fact && (excludes(&a.test, &b.test) || excludes(&b.test, &a.test))
}

/// Whether each of the values that `given` leaves fails `other`.
fn excludes(given: &Test, other: &Test) -> bool {
    match (given, other) {
        (Test::Equals(value), _) if is_of_one_value(other) => !value_passes(&value.value, other),
        (Test::OneOf(values), _) if is_of_one_value(other) => {
            !values.values().iter().any(|noted| value_passes(&noted.value, other))
        }
        (Test::AtLeast(least), Test::AtMost(most)) => least > most,
        (Test::Exactly(values), Test::Sequence(wanted)) => {
            Set::new(wanted.clone()).is_some_and(|wanted| &wanted != values)
        }
        (Test::Exactly(values), other) if is_of_sets(other) => !set_passes(values, other),
        (Test::Sequence(values), Test::Sequence(wanted)) => values != wanted,
        (Test::Sequence(values), other) if is_of_sets(other) => {
            Set::new(values.clone()).is_some_and(|set| !set_passes(&set, other))
        }
        (Test::SupersetOf(least), Test::SubsetOf(allowed)) => !least.is_subset_of(allowed),
        (Test::SupersetOf(least), Test::NoneOf(denied)) => !disjoint(least, denied),
        (Test::SubsetOf(allowed), Test::AnyOf(wanted)) => disjoint(allowed, wanted),
        _ => false,
    }
}

const fn is_of_one_value(test: &Test) -> bool {
    matches!(
        test,
        Test::Equals(_)
            | Test::OneOf(_)
            | Test::NoneOf(_)
            | Test::AtLeast(_)
            | Test::AtMost(_)
            | Test::EachAtLeast(_)
            | Test::AllBits(_)
    )
}

/// Tests that what a log holds as a digest alone passes as its text does.
const fn is_of_sets(test: &Test) -> bool {
    matches!(test, Test::Exactly(_) | Test::SubsetOf(_) | Test::SupersetOf(_) | Test::AnyOf(_) | Test::NoneOf(_))
}

/// Whether the first of two conditions holds only where the second does.
pub(super) fn implies(strong: &Condition, weak: &Condition) -> bool {
    strong.fact == weak.fact && test_implies(&strong.test, &weak.test)
}

fn test_implies(strong: &Test, weak: &Test) -> bool {
    if strong == weak {
        return true;
    }
    match (strong, weak) {
        (Test::Equals(value), weak) => value_passes(&value.value, weak),
        (Test::OneOf(values), weak) => values.values().iter().all(|noted| value_passes(&noted.value, weak)),
        (Test::AtLeast(value), Test::AtLeast(least)) => value >= least,
        (Test::AtMost(value), Test::AtMost(most)) => value <= most,
        (Test::EachAtLeast(version), Test::EachAtLeast(least)) => version.each_at_least(least),
        (Test::AllBits(bits), Test::AllBits(needed)) => bits & needed == *needed,
        (Test::SubsetOf(values), Test::SubsetOf(allowed)) => values.is_subset_of(allowed),
        (Test::SubsetOf(values), Test::NoneOf(denied)) => disjoint(values, denied),
        (Test::SupersetOf(values), Test::SupersetOf(least)) => least.is_subset_of(values),
        (Test::SupersetOf(values), Test::AnyOf(wanted)) => !disjoint(values, wanted),
        (Test::AnyOf(values), Test::AnyOf(wanted)) => values.is_subset_of(wanted),
        (Test::NoneOf(values), Test::NoneOf(denied)) => denied.is_subset_of(values),
        (Test::SubsetOf(values), Test::Matches(_) | Test::NoneMatches(_)) => set_passes(values, weak),
        (Test::Exactly(values), weak) => set_passes(values, weak),
        (Test::Sequence(values), weak) => Set::new(values.clone()).is_some_and(|set| set_passes(&set, weak)),
        _ => false,
    }
}

fn value_passes(value: &Value, test: &Test) -> bool {
    match test {
        Test::Equals(wanted) => wanted.value == *value,
        Test::OneOf(values) => values.contains(value),
        Test::NoneOf(values) => !values.contains(value),
        Test::AtLeast(least) => value >= least,
        Test::AtMost(most) => value <= most,
        Test::EachAtLeast(least) => matches!(value, Value::Version(version) if version.each_at_least(least)),
        Test::AllBits(needed) => matches!(value, Value::Bits(bits) if bits & needed == *needed),
        Test::Matches(pattern) => pattern.is_whole(value) == Some(true),
        Test::NoneMatches(pattern) => pattern.is_whole(value) == Some(false),
        Test::SubsetOf(_) | Test::SupersetOf(_) | Test::Exactly(_) | Test::Sequence(_) | Test::AnyOf(_) => false,
    }
}

fn set_passes(values: &Set, test: &Test) -> bool {
    match test {
        Test::Exactly(wanted) => values == wanted,
        Test::SubsetOf(allowed) => values.is_subset_of(allowed),
        Test::SupersetOf(least) => least.is_subset_of(values),
        Test::AnyOf(wanted) => !disjoint(values, wanted),
        Test::NoneOf(denied) => disjoint(values, denied),
        // A text that the evidence shows as a digest alone would match nothing.
        Test::Matches(pattern) => {
            values.values().iter().all(|noted| noted.digest.is_none() && pattern.is_whole(&noted.value) == Some(true))
        }
        Test::NoneMatches(pattern) => {
            values.values().iter().all(|noted| noted.digest.is_none() && pattern.is_whole(&noted.value) == Some(false))
        }
        Test::Equals(_)
        | Test::OneOf(_)
        | Test::AtLeast(_)
        | Test::AtMost(_)
        | Test::EachAtLeast(_)
        | Test::AllBits(_)
        | Test::Sequence(_) => false,
    }
}

fn disjoint(a: &Set, b: &Set) -> bool {
    a.values().iter().all(|noted| !b.contains(&noted.value))
}
