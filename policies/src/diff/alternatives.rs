//! What a rule demands, with its alternatives: which ways to be admitted came, went, or changed. A rule's own conditions
//! that become those of one alternative beside others are not loosened: each way still demands them.

use super::change::{Changes, Direction};
use super::outline::{Conditions, Entry, Rule};
use super::spelt::spelt;

impl Changes {
    /// The conditions of a rule and of its alternatives.
    pub(super) fn ways(&mut self, place: &str, old: &Rule, new: &Rule) {
        match (old.alternatives.as_slice(), new.alternatives.as_slice()) {
            ([], [_, ..]) => {
                let (rest, moved) = divided(&old.require, &new.alternatives);
                self.conditions(place, &rest, &new.require);
                self.branched(place, &moved, &new.alternatives, Direction::Loosened);
            }
            ([_, ..], []) => {
                let (rest, moved) = divided(&new.require, &old.alternatives);
                self.conditions(place, &old.require, &rest);
                self.branched(place, &moved, &old.alternatives, Direction::Tightened);
            }
            (was, is) => {
                self.conditions(place, &old.require, &new.require);
                self.alternatives(place, was, is);
            }
        }
    }

    /// One side has `moved` as conditions of the rule, the other `alternatives`; `by_adding` is what a further alternative
    /// is on the way from old to new.
    fn branched(&mut self, place: &str, moved: &Conditions, alternatives: &[Entry], by_adding: Direction) {
        let branches = by_adding == Direction::Loosened;
        if moved.is_empty() {
            return if branches {
                self.note(place, Direction::Tightened, false, "now demands one of its alternatives");
            } else {
                self.note(place, Direction::Loosened, true, "demands no alternative any more: any of them, and none");
            };
        }
        let is_moved = |entry: &&Entry| entry.conditions == *moved && entry.others.is_empty();
        if !alternatives.iter().any(|entry| is_moved(&entry)) {
            let what = "its own conditions, which no alternative has: ";
            self.note(place, by_adding.opposite(), false, format!("{what}{}", spelt(moved)));
        }
        for entry in alternatives {
            let place = format!("{place}, alternative {}", entry.name);
            match (is_moved(&entry), branches) {
                (true, true) => self.note(&place, Direction::Changed, false, "demands what the rule itself demanded"),
                (true, false) => {
                    self.note(&place, Direction::Changed, false, "the rule itself demands what it demanded")
                }
                (false, _) => {
                    let word = if branches { "added" } else { "removed" };
                    self.note(&place, by_adding, false, format!("{word}: {}", spelt(&entry.conditions)));
                }
            }
        }
    }

    fn alternatives(&mut self, place: &str, old: &[Entry], new: &[Entry]) {
        let same = |was: &Entry, is: &Entry| was.conditions == is.conditions && was.others == is.others;
        for was in old.iter().filter(|was| new.iter().all(|is| is.name != was.name)) {
            let (direction, what) = match new.iter().find(|is| same(was, is)) {
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
                None if old.iter().any(|was| same(was, is)) => {}
                None => self.note(&place, Direction::Loosened, false, format!("added: {}", spelt(&is.conditions))),
            }
        }
    }
}

/// The conditions that not every alternative of the other side speaks of, and those that each does.
fn divided(require: &Conditions, alternatives: &[Entry]) -> (Conditions, Conditions) {
    let in_each = |key: &(String, String)| alternatives.iter().all(|entry| entry.conditions.contains_key(key));
    let (moved, rest) =
        require.iter().map(|(key, values)| (key.clone(), values.clone())).partition(|(key, _)| in_each(key));
    (rest, moved)
}
