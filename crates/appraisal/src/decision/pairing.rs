//! Pairs the values that a condition expects with those that were found, so that a person sees which event changed.

use super::rejection::{EventFound, ValueDifference};
use crate::facts::read::Noted;
use crate::facts::{Fact, Facts};
use crate::policy::Test;
use crate::value::Value;

/// Most differing values listed for one condition.
const LISTED_MAX: usize = 32;

/// The values of `fact` that keep `test` from holding, each beside the value that was expected in its place.
pub(super) fn differing(test: &Test, fact: &Fact, facts: &Facts) -> Vec<ValueDifference> {
    let at = |position: usize| event(fact, facts, position);
    let stranger = |(position, value): (usize, &Value)| pair(None, Some(value), at(position));
    let found = || fact.values.iter().enumerate();
    let listed: Vec<ValueDifference> = match test {
        Test::Sequence(wanted) => sequence(wanted, fact, facts),
        Test::Exactly(wanted) => {
            let missing: Vec<&Noted> =
                wanted.values().iter().filter(|noted| !fact.values.iter().any(|v| noted.is(v))).collect();
            let strange: Vec<usize> =
                found().filter(|(_, v)| !wanted.contains(v)).map(|(position, _)| position).collect();
            zipped(&missing, &strange, fact, facts)
        }
        Test::SubsetOf(allowed) => {
            found().filter(|(_, v)| !allowed.contains(v)).map(stranger).take(LISTED_MAX).collect()
        }
        Test::NoneOf(denied) => found().filter(|(_, v)| denied.contains(v)).map(stranger).take(LISTED_MAX).collect(),
        Test::SupersetOf(least) => {
            let missing = least.values().iter().filter(|noted| !fact.values.iter().any(|v| noted.is(v)));
            missing.map(|noted| pair(Some(noted), None, None)).take(LISTED_MAX).collect()
        }
        Test::Equals(wanted) => found().map(|(position, v)| pair(Some(wanted), Some(v), at(position))).collect(),
        Test::Matches(pattern) => {
            found().filter(|(_, v)| pattern.is_whole(v) != Some(true)).map(stranger).take(LISTED_MAX).collect()
        }
        Test::NoneMatches(pattern) => {
            found().filter(|(_, v)| pattern.is_whole(v) != Some(false)).map(stranger).take(LISTED_MAX).collect()
        }
        Test::OneOf(_)
        | Test::AnyOf(_)
        | Test::AtLeast(_)
        | Test::AtMost(_)
        | Test::EachAtLeast(_)
        | Test::AllBits(_) => found().map(stranger).take(LISTED_MAX).collect(),
    };
    listed
}

/// What a condition expects of a fact that is not proven at all.
pub(super) fn all_missing(test: &Test) -> Vec<ValueDifference> {
    match test {
        Test::Sequence(wanted) => wanted.iter().take(LISTED_MAX).map(|noted| pair(Some(noted), None, None)).collect(),
        Test::Exactly(set) | Test::SupersetOf(set) => {
            set.values().iter().take(LISTED_MAX).map(|noted| pair(Some(noted), None, None)).collect()
        }
        Test::Equals(_)
        | Test::OneOf(_)
        | Test::NoneOf(_)
        | Test::AtLeast(_)
        | Test::AtMost(_)
        | Test::EachAtLeast(_)
        | Test::AllBits(_)
        | Test::SubsetOf(_)
        | Test::Matches(_)
        | Test::NoneMatches(_)
        | Test::AnyOf(_) => Vec::new(),
    }
}

/// Leaves out what both begin and end with, and pairs the rest in order: a changed kernel is one pair, an event that
/// was slipped in is one without an expected value.
fn sequence(wanted: &[Noted], fact: &Fact, facts: &Facts) -> Vec<ValueDifference> {
    let same = |(noted, value): &(&Noted, &Value)| noted.is(value);
    let head = wanted.iter().zip(&fact.values).take_while(same).count();
    let room = wanted.len().min(fact.values.len()) - head;
    let tail = wanted.iter().rev().zip(fact.values.iter().rev()).take(room).take_while(same).count();
    let missing: Vec<&Noted> = wanted.iter().take(wanted.len() - tail).skip(head).collect();
    let strange: Vec<usize> = (head..fact.values.len() - tail).collect();
    zipped(&missing, &strange, fact, facts)
}

fn zipped(missing: &[&Noted], strange: &[usize], fact: &Fact, facts: &Facts) -> Vec<ValueDifference> {
    let pairs = (0..missing.len().max(strange.len())).take(LISTED_MAX);
    let found = |at: usize| strange.get(at).copied();
    pairs
        .map(|at| {
            let value = found(at).and_then(|position| fact.values.get(position));
            let event = found(at).and_then(|position| event(fact, facts, position));
            pair(missing.get(at).copied(), value, event)
        })
        .collect()
}

fn pair(expected: Option<&Noted>, found: Option<&Value>, event: Option<EventFound>) -> ValueDifference {
    ValueDifference {
        expected: expected.map(|noted| noted.value.to_string()),
        expected_note: expected.and_then(|noted| noted.note.as_deref()).map(str::to_owned),
        found: found.map(ToString::to_string),
        event,
    }
}

fn event(fact: &Fact, facts: &Facts, position: usize) -> Option<EventFound> {
    let event = facts.event(fact.event_of(position)?)?;
    Some(EventFound {
        index: event.index,
        pcr: event.pcr,
        kind: event.kind.to_string(),
        digest: event.digest.to_string(),
        hint: event.hint.as_deref().map(str::to_owned),
    })
}
