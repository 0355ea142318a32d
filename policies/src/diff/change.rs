//! What differs between two outlines, in words: what a change lets in, what it shuts out, and which changes deserve a
//! second pair of eyes. Knows what operators mean; decides nothing about machines.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_appraisal::Value;
use serde::Serialize;

use super::outline::{Conditions, Entry, Noted, Outline, Rule};
use super::spelt::{bare, noted, number, seconds, spelt, values};

/// Which way a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Direction {
    /// More may be admitted.
    Loosened,
    /// Less may be admitted.
    Tightened,
    /// Something else is admitted, or another thing issued.
    Changed,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// Rule, alternative, fact.
    pub(super) place: String,
    pub(super) direction: Direction,
    /// Whether it loosens what keeps strangers out: look twice.
    pub(super) dangerous: bool,
    pub(super) what: String,
    /// Members that came and went, with their notes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) removed: Vec<String>,
}

/// Collects changes.
#[derive(Default)]
struct Changes(Vec<Change>);

/// Everything that differs, in the order of the new policy.
pub(super) fn changes(old: &Outline, new: &Outline) -> Vec<Change> {
    let mut found = Changes::default();
    if old.name != new.name {
        found.note("policy", Direction::Changed, false, format!("named {:?} instead of {:?}", new.name, old.name));
    }
    found.texts("policy", &old.others, &new.others);
    found.named(&old.named, &new.named);
    found.denies(&old.denies, &new.denies);
    found.rules(&old.rules, &new.rules);
    found.0
}

impl Changes {
    fn note(&mut self, place: &str, direction: Direction, dangerous: bool, what: impl Into<String>) {
        let (place, what) = (place.to_owned(), what.into());
        self.0.push(Change { place, direction, dangerous, what, added: Vec::new(), removed: Vec::new() });
    }

    /// Keys whose meaning is not known here are compared as text.
    fn texts(&mut self, place: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) {
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (old.get(key), new.get(key));
            if was == is {
                continue;
            }
            let (was, is) = (was.map_or("nothing", String::as_str), is.map_or("nothing", String::as_str));
            let direction = match key.as_str() {
                "valid_until" => later(was, is),
                "valid_from" => later(is, was),
                _ => Direction::Changed,
            };
            let dangerous = key == "ownership_reason";
            self.note(place, direction, dangerous, format!("{key}: {is} instead of {was}"));
        }
    }

    fn named(&mut self, old: &BTreeMap<(String, String), String>, new: &BTreeMap<(String, String), String>) {
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let place = format!("{} {}", key.0, key.1);
            // a waiver lets in what the rules would not
            let (more, less) = (Direction::Loosened, Direction::Tightened);
            match (old.get(key), new.get(key)) {
                (None, Some(is)) => self.note(&place, more, true, format!("added: {is}")),
                (Some(was), None) => self.note(&place, less, false, format!("removed: {was}")),
                (Some(was), Some(is)) if was != is => {
                    self.note(&place, Direction::Changed, true, format!("{is} instead of {was}"));
                }
                _ => {}
            }
        }
    }

    fn denies(&mut self, old: &[Entry], new: &[Entry]) {
        for was in old.iter().filter(|was| new.iter().all(|is| is.name != was.name)) {
            let what = "removed: what it refused is judged by the rules alone";
            self.note(&format!("deny {}", was.name), Direction::Loosened, true, what);
        }
        for is in new {
            let place = format!("deny {}", is.name);
            match old.iter().find(|was| was.name == is.name) {
                None => self.note(&place, Direction::Tightened, false, format!("added: {}", spelt(&is.conditions))),
                Some(was) => {
                    self.texts(&place, &was.others, &is.others);
                    // what narrows a refusal lets more in
                    let at = self.0.len();
                    self.conditions(&place, &was.conditions, &is.conditions);
                    for change in self.0.iter_mut().skip(at) {
                        change.direction = change.direction.opposite();
                        change.dangerous = change.direction == Direction::Loosened;
                    }
                }
            }
        }
    }

    fn rules(&mut self, old: &[Rule], new: &[Rule]) {
        let is_same = |was: &Rule, is: &Rule| Rule { name: is.name.clone(), ..was.clone() } == *is;
        let gone: Vec<&Rule> = old.iter().filter(|was| new.iter().all(|is| is.name != was.name)).collect();
        let came: Vec<&Rule> = new.iter().filter(|is| old.iter().all(|was| was.name != is.name)).collect();
        let mut renamed = BTreeSet::new();
        for was in gone {
            match came.iter().find(|is| is_same(was, is)) {
                Some(is) => {
                    renamed.insert(is.name.as_str());
                    let what = format!("renamed from {}, otherwise the same", was.name);
                    self.note(&format!("rule {}", is.name), Direction::Changed, false, what);
                }
                None => self.note(&format!("rule {}", was.name), Direction::Tightened, false, "removed"),
            }
        }
        for is in new.iter().filter(|is| !renamed.contains(is.name.as_str())) {
            let place = format!("rule {}", is.name);
            match old.iter().find(|was| was.name == is.name) {
                Some(was) => self.rule(&place, was, is),
                None => {
                    let dangerous = is.ownership.iter().any(|factor| factor == "any-genuine-device");
                    let alternatives: Vec<&str> = is.alternatives.iter().map(|one| one.name.as_str()).collect();
                    let what = format!(
                        "added: ownership {}, trust classes {}, {} conditions, alternatives: {}",
                        is.ownership.join(" and "),
                        is.trust_classes.join(", "),
                        is.require.len(),
                        if alternatives.is_empty() { "none".to_owned() } else { alternatives.join(", ") }
                    );
                    self.note(&place, Direction::Loosened, dangerous, what);
                }
            }
        }
        let order = |rules: &[Rule], others: &[Rule]| -> Vec<String> {
            rules
                .iter()
                .filter(|rule| others.iter().any(|other| other.name == rule.name))
                .map(|r| r.name.clone())
                .collect()
        };
        let (was, is) = (order(old, new), order(new, old));
        if was != is {
            let what = format!("the rules stand in another order: {} instead of {}", is.join(", "), was.join(", "));
            self.note("policy", Direction::Changed, false, what);
        }
    }

    fn rule(&mut self, place: &str, old: &Rule, new: &Rule) {
        let any = |factors: &[String]| factors.iter().any(|factor| factor == "any-genuine-device");
        if any(&new.ownership) && !any(&old.ownership) {
            let what =
                format!("ownership any-genuine-device instead of {}: anybody's machine", old.ownership.join(" and "));
            self.note(place, Direction::Loosened, true, what);
        } else {
            // all factors must hold: fewer are looser
            self.set(place, "ownership", &bare(&old.ownership), &bare(&new.ownership), Direction::Tightened, true);
        }
        self.set(
            place,
            "trust classes",
            &bare(&old.trust_classes),
            &bare(&new.trust_classes),
            Direction::Loosened,
            true,
        );
        self.set(place, "evidence", &bare(&old.evidence), &bare(&new.evidence), Direction::Tightened, true);
        self.conditions(place, &old.require, &new.require);
        self.alternatives(place, &old.alternatives, &new.alternatives);
        self.issue(place, &old.issue, &new.issue);
        self.texts(place, &old.others, &new.others);
    }

    fn alternatives(&mut self, place: &str, old: &[Entry], new: &[Entry]) {
        match (old, new) {
            ([], [_, ..]) => self.note(place, Direction::Tightened, false, "now demands one of its alternatives"),
            ([_, ..], []) => {
                return self.note(
                    place,
                    Direction::Loosened,
                    true,
                    "demands no alternative any more: any of them, and none",
                );
            }
            _ => {}
        }
        for was in old.iter().filter(|was| new.iter().all(|is| is.name != was.name)) {
            let renamed = new.iter().find(|is| is.conditions == was.conditions && is.others == was.others);
            let (direction, what) = match renamed {
                Some(is) => (Direction::Changed, format!("renamed to {}", is.name)),
                None => (Direction::Tightened, "removed".to_owned()),
            };
            self.note(&format!("{place}, alternative {}", was.name), direction, false, what);
        }
        for is in new {
            let place = format!("{place}, alternative {}", is.name);
            match old.iter().find(|was| was.name == is.name) {
                Some(was) => {
                    self.texts(&place, &was.others, &is.others);
                    self.conditions(&place, &was.conditions, &is.conditions);
                }
                None if old.iter().any(|was| was.conditions == is.conditions && was.others == is.others) => {}
                None if old.is_empty() => {}
                None => self.note(&place, Direction::Loosened, false, format!("added: {}", spelt(&is.conditions))),
            }
        }
    }

    fn issue(&mut self, place: &str, old: &BTreeMap<String, Vec<String>>, new: &BTreeMap<String, Vec<String>>) {
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let none = Vec::new();
            let (was, is) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
            if was == is {
                continue;
            }
            let shown = |values: &Vec<String>| if values.is_empty() { "nothing".to_owned() } else { values.join(", ") };
            let what = format!("{key}: {} instead of {}", shown(is), shown(was));
            match key.as_str() {
                "svid_ttl" | "max_evidence_age" => {
                    let direction = match (seconds(was), seconds(is)) {
                        (Some(was), Some(is)) if is < was => Direction::Tightened,
                        (Some(_), Some(_)) => Direction::Loosened,
                        _ => Direction::Changed,
                    };
                    self.note(place, direction, false, what);
                }
                "node_id" => {
                    self.note(place, Direction::Changed, true, format!("{what}: every node gets another identity"));
                }
                "selectors" => self.set(place, key, &bare(was), &bare(is), Direction::Changed, false),
                _ => self.note(place, Direction::Changed, false, what),
            }
        }
    }

    fn conditions(&mut self, place: &str, old: &Conditions, new: &Conditions) {
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (fact, operator) = key;
            let place = format!("{place}, {fact}");
            match (old.get(key), new.get(key)) {
                (Some(was), None) => {
                    let stays = new.keys().any(|(other, _)| other == fact);
                    let what = format!("no longer demanded: {operator} {}", values(was));
                    self.note(&place, Direction::Loosened, !stays, what);
                }
                (None, Some(is)) => {
                    self.note(&place, Direction::Tightened, false, format!("demanded: {operator} {}", values(is)));
                }
                (Some(was), Some(is)) => self.condition(&place, fact, operator, was, is),
                (None, None) => {}
            }
        }
    }

    fn condition(&mut self, place: &str, fact: &str, operator: &str, was: &[Noted], is: &[Noted]) {
        let bare = |values: &[Noted]| -> Vec<String> { values.iter().map(|(value, _)| value.clone()).collect() };
        if bare(was) == bare(is) {
            return;
        }
        match operator {
            "one_of" | "subset_of" | "any_of" => self.set(place, operator, was, is, Direction::Loosened, false),
            "superset_of" | "none_of" => self.set(place, operator, was, is, Direction::Tightened, false),
            "exactly" | "sequence" => {
                self.set(place, operator, was, is, Direction::Changed, false);
            }
            "at_least" | "each_at_least" | "at_most" | "all_bits" => {
                let higher = match (number(fact, was), number(fact, is)) {
                    (Some(Value::Bits(was)), Some(Value::Bits(is))) if is & was == was => Direction::Tightened,
                    (Some(Value::Bits(was)), Some(Value::Bits(is))) if is & was == is => Direction::Loosened,
                    (Some(Value::Bits(_)), _) | (_, None) | (None, _) => Direction::Changed,
                    (Some(was), Some(is)) if is > was => Direction::Tightened,
                    _ => Direction::Loosened,
                };
                let direction = if operator == "at_most" { higher.opposite() } else { higher };
                let what = format!("{operator} {} instead of {}", values(is), values(was));
                self.note(place, direction, false, what);
            }
            _ => {
                let off = fact.ends_with("secure_boot.enabled") && was.iter().any(|(value, _)| value == "true");
                let what = format!("{operator} {} instead of {}", values(is), values(was));
                self.note(place, Direction::Changed, off, what);
            }
        }
    }

    /// Members that came and went; `by_adding` is what more members mean.
    fn set(&mut self, place: &str, what: &str, was: &[Noted], is: &[Noted], by_adding: Direction, guards: bool) {
        let missing = |from: &[Noted], of: &[Noted]| -> Vec<String> {
            let gone = of.iter().filter(|(value, _)| from.iter().all(|(other, _)| other != value));
            gone.map(noted).collect()
        };
        let (added, removed) = (missing(was, is), missing(is, was));
        let direction = match (added.is_empty(), removed.is_empty(), by_adding) {
            (true, true, _) if was.len() == is.len() && by_adding != Direction::Changed => return,
            (_, _, Direction::Changed) | (true, true, _) | (false, false, _) => Direction::Changed,
            (false, true, by_adding) => by_adding,
            (true, false, by_adding) => by_adding.opposite(),
        };
        let looser = match by_adding {
            Direction::Loosened => !added.is_empty(),
            Direction::Tightened => !removed.is_empty(),
            Direction::Changed => false,
        };
        let what = match (added.len(), removed.len()) {
            (0, 0) => format!("{what}: the same values in another order or number"),
            (added, removed) => format!("{what}: {added} added, {removed} removed"),
        };
        let change = Change { place: place.to_owned(), direction, dangerous: guards && looser, what, added, removed };
        self.0.push(change);
    }
}

impl Direction {
    const fn opposite(self) -> Self {
        match self {
            Self::Loosened => Self::Tightened,
            Self::Tightened => Self::Loosened,
            Self::Changed => Self::Changed,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Loosened => "loosened",
            Self::Tightened => "tightened",
            Self::Changed => "changed",
        }
    }
}

/// A later end, or none, lets in more.
fn later(was: &str, is: &str) -> Direction {
    match (was, is) {
        ("nothing", _) => Direction::Tightened,
        (_, "nothing") => Direction::Loosened,
        (was, is) if was.ends_with('Z') && is.ends_with('Z') && was.len() == is.len() => {
            if is > was {
                Direction::Loosened
            } else {
                Direction::Tightened
            }
        }
        _ => Direction::Changed,
    }
}
