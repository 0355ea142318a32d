//! How near a workload is to a registration entry: which of the entry's selectors it lacks, and what it has in their
//! place. For explanations alone; whether an entry is for a workload is a subset, and nothing nearer than that.

use std::collections::BTreeSet;

use crate::Selector;

/// Selectors shown in place of one that is lacking.
const INSTEAD_MAX: usize = 3;

/// Selectors whose value begins with a key of the operator's choice, by the name before it.
const KEYED: &[&str] = &["label", "pod-label", "pod-owner", "pod-owner-uid"];

/// How near a workload is to an entry. The nearer, the less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearness {
    /// The entry's selectors that the workload lacks; none for an entry that is for it.
    pub lacking: Vec<Lacking>,
    /// How many of the entry's selectors it has.
    pub met: usize,
}

/// A selector that a workload lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The entry's.
    pub selector: Selector,
    /// What the workload has of the same name: another user, another digest. At most three.
    pub instead: Vec<Selector>,
}

impl Nearness {
    /// How near a workload with the selectors `seen` is to an entry that wants all of `wanted`.
    pub fn of<'a>(wanted: impl IntoIterator<Item = &'a Selector>, seen: &BTreeSet<Selector>) -> Self {
        let (mut lacking, mut met) = (Vec::new(), 0);
        for selector in wanted {
            if seen.contains(selector) {
                met += 1;
            } else {
                let same = seen.iter().filter(|other| name(other) == name(selector));
                let instead = same.take(INSTEAD_MAX).cloned().collect();
                lacking.push(Lacking { selector: selector.clone(), instead });
            }
        }
        Self { lacking, met }
    }

    /// Whether nothing is lacking, of an entry that wants something.
    #[must_use]
    pub fn is_match(&self) -> bool {
        self.lacking.is_empty() && self.met > 0
    }

    /// Sorts the nearest first: those that lack least, among them those that have most.
    #[must_use]
    pub fn order(&self) -> (usize, std::cmp::Reverse<usize>) {
        (self.lacking.len(), std::cmp::Reverse(self.met))
    }
}

/// What a selector speaks of: `unix` and `uid`, `k8s` and `pod-label:app`, `docker` and `env:MODE`.
fn name(selector: &Selector) -> (&str, &str) {
    let value = selector.value();
    let end = match value.split_once(':') {
        Some((first, rest)) if KEYED.contains(&first) => first.len() + 1 + rest.find(':').unwrap_or(rest.len()),
        Some(("env", rest)) => "env:".len() + rest.find('=').unwrap_or(rest.len()),
        Some((first, _)) => first.len(),
        None => value.len(),
    };
    (selector.kind(), value.get(..end).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(selectors: &[&str]) -> BTreeSet<Selector> {
        selectors.iter().map(|selector| selector.parse().unwrap()).collect()
    }

    fn lacking(wanted: &[&str], seen: &[&str]) -> Vec<(String, Vec<String>)> {
        let text = |selectors: &[Selector]| selectors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let nearness = Nearness::of(&set(wanted), &set(seen));
        nearness.lacking.iter().map(|lacking| (lacking.selector.to_string(), text(&lacking.instead))).collect()
    }

    #[test]
    fn an_entry_matches_whoever_has_all_it_wants() {
        let seen = set(&["unix:uid:1", "unix:gid:1"]);
        assert!(Nearness::of(&set(&["unix:uid:1"]), &seen).is_match());
        assert!(!Nearness::of(&set(&["unix:uid:1", "unix:uid:2"]), &seen).is_match());
        assert!(!Nearness::of(&[], &seen).is_match(), "nothing wanted is nobody's");
    }

    #[test]
    fn what_is_lacking_is_shown_beside_what_is_there_in_its_place() {
        let seen = ["unix:uid:2", "unix:path:/b", "k8s:pod-label:app:api", "k8s:pod-label:tier:x", "docker:env:A=2"];
        let expect = |wanted: &str, instead: &[&str]| {
            let instead = instead.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(lacking(&[wanted], &seen), [(wanted.to_owned(), instead)]);
        };
        expect("unix:uid:1", &["unix:uid:2"]);
        expect("unix:gid:1", &[]);
        expect("k8s:pod-label:app:web", &["k8s:pod-label:app:api"]);
        expect("docker:env:A=1", &["docker:env:A=2"]);
        expect("docker:uid:1", &[]);
    }

    #[test]
    fn the_nearest_lacks_least_and_has_most() {
        let seen = set(&["a:1", "a:2", "a:3"]);
        let order = |wanted: &[&str]| Nearness::of(&set(wanted), &seen).order();
        assert!(order(&["a:1"]) < order(&["a:1", "b:1"]));
        assert!(order(&["a:1", "a:2", "b:1"]) < order(&["a:1", "b:1"]));
        assert!(order(&["a:1", "b:1"]) < order(&["b:1", "b:2"]));
    }

    #[test]
    fn at_most_three_are_shown() {
        let seen: Vec<_> = (0..9).map(|n| format!("unix:supplementary_gid:{n}")).collect();
        let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
        assert_eq!(lacking(&["unix:supplementary_gid:99"], &seen)[0].1.len(), INSTEAD_MAX);
    }
}
