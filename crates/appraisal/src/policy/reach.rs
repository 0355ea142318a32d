//! Rules and alternatives that nothing reaches, because an earlier one holds wherever they do. Each is compared with
//! those before it, which is the square of their number: the search has a budget, and says so where it ends.

use super::implication::Way;
use super::rule::Rule;
use super::survey::finding;
use super::{Condition, implication};
use crate::finding::{Finding, Kind};

/// Most that is spent on the search through one policy. A unit is a pair of conditions, or a value that stands in one of
/// them; 500 alternatives of ten conditions that have nothing in common stay below it, and all of it takes a second or
/// so of a processor.
pub(super) const BUDGET: u64 = 20_000_000;

/// What is left to spend.
pub(super) struct Budget {
    left: u64,
    limit: u64,
}

impl Budget {
    pub(super) const fn new(limit: u64) -> Self {
        Self { left: limit, limit }
    }

    /// Takes `units`; `false` once there is nothing left, and from then on.
    fn take(&mut self, units: u64) -> bool {
        match self.left.checked_sub(units) {
            Some(left) => self.left = left,
            None => self.left = 0,
        }
        self.left > 0
    }

    pub(super) const fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Pays for the comparison of each of these conditions with each of those.
    pub(super) fn pays(&mut self, these: &[&Condition], those: &[&Condition]) -> bool {
        let units = these.iter().flat_map(|one| those.iter().map(|other| pair(one, other)));
        self.take(u64::try_from(units.fold(1, usize::saturating_add)).unwrap_or(u64::MAX))
    }

    /// What is said where it ends.
    pub(super) fn finding(&self, file: &str, (line, column): (usize, usize), what: &str) -> Finding {
        let message = format!("what {what} was searched for no further than here: after {} comparisons", self.limit);
        let suggestion = "make fewer alternatives: let one list several values, by one_of or subset_of".to_owned();
        finding(file, line, column, Kind::ShadowingNotSearched, message, Some(suggestion))
    }
}

/// Rules and alternatives that an earlier one always takes the machine from, as far as the budget goes.
pub(super) fn unreachable(file: &str, rules: &[Rule], budget: &mut Budget) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, later) in rules.iter().enumerate() {
        if let Some(earlier) = rules.iter().take(at).find(|earlier| shadows(earlier, later, budget)) {
            let message = format!(
                "rule {:?} is never reached: rule {:?} admits everything that it admits",
                later.name, earlier.name
            );
            let suggestion = format!("put it before {:?}, or take it out", earlier.name);
            findings.push(finding(file, later.line, later.column, Kind::UnreachableRule, message, Some(suggestion)));
        }
        for (at, late) in later.alternatives.iter().enumerate() {
            if budget.is_spent() {
                break;
            }
            let before = later.alternatives.iter().take(at);
            let way = Way::of_alternative(late);
            let early = before.into_iter().find(|early| covers(&Way::of_alternative(early), &way, budget));
            if let Some(early) = early {
                let message =
                    format!("alternative {:?} is never reached: {:?} holds wherever it does", late.name, early.name);
                let suggestion = Some("take it out, or narrow the earlier one".to_owned());
                findings.push(finding(file, late.line, late.column, Kind::ShadowedAlternative, message, suggestion));
            }
        }
        if budget.is_spent() {
            findings.push(budget.finding(file, (later.line, later.column), "is never reached"));
            break;
        }
    }
    findings
}

/// Whether everything that `later` admits is admitted by `earlier` first.
fn shadows(earlier: &Rule, later: &Rule, budget: &mut Budget) -> bool {
    if budget.is_spent() || !implication::may_shadow(earlier, later) {
        return false;
    }
    let wide = implication::ways(earlier);
    implication::ways(later).iter().all(|way| wide.iter().any(|wide| covers(wide, way, budget)))
}

/// Whether `wide` holds wherever `way` does; "no" where that is not to be paid any more.
fn covers(wide: &Way<'_>, way: &Way<'_>, budget: &mut Budget) -> bool {
    budget.take(price(wide, way)) && wide.covers(way)
}

/// What a comparison costs at most: each condition with each, and for two of one fact the values of both.
fn price(a: &Way<'_>, b: &Way<'_>) -> u64 {
    let mut units = 1 + a.sites().count() * b.sites().count();
    for one in a.conditions() {
        for other in b.conditions() {
            units = units.saturating_add(pair(one, other));
        }
    }
    u64::try_from(units).unwrap_or(u64::MAX)
}

fn pair(one: &Condition, other: &Condition) -> usize {
    if one.fact == other.fact { one.weight().saturating_add(other.weight()) } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::policy::Policy;

    /// A policy of rules with alternatives that have nothing in common but for the last two of each.
    fn policy(rules: usize, alternatives: usize) -> Policy {
        use std::fmt::Write as _;
        let mut text = "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"large\"\n\
            [issue]\nnode_id = \"/holdfast/node/tpm/{tpm.machine}\"\n"
            .to_owned();
        for rule in 0..rules {
            let _ = write!(
                text,
                "[[rule]]\nname = \"r{rule}\"\nownership = \"inventory\"\ntrust_classes = [\"discrete\"]\n\
                 [rule.require]\ntpm.manufacturer = {{ any_of = [\"{rule}\"] }}\n"
            );
            for one in 0..alternatives {
                let _ = write!(
                    text,
                    "[[rule.alternative]]\nname = \"a{one}\"\n[rule.alternative.require]\n\
                     tpm.boot.applications = {{ sequence = [\"{one:064x}\"] }}\n"
                );
            }
        }
        Policy::parse(Document { name: "p.toml", text: &text }, &[]).unwrap()
    }

    fn spent(policy: &Policy) -> u64 {
        let mut budget = Budget::new(u64::MAX);
        assert_eq!(unreachable("p.toml", &policy.rules, &mut budget), []);
        u64::MAX - budget.left
    }

    #[test]
    fn twice_the_alternatives_cost_four_times_as_much_and_the_budget_ends_that() {
        let (small, large) = (spent(&policy(1, 20)), spent(&policy(1, 40)));
        assert!((3..=5).contains(&(large / small)), "{small} {large}");
        assert!(BUDGET > 100 * large);
        let large = policy(1, 40);
        let mut budget = Budget::new(small);
        let findings = unreachable("p.toml", &large.rules, &mut budget);
        let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
        assert_eq!((finding.code, finding.line), ("policy.lint.shadowing_not_searched", 7));
        assert_eq!(budget.left, 0);
    }

    #[test]
    fn between_rules_the_budget_ends_the_search_too() {
        let policy = policy(4, 10);
        let all = spent(&policy);
        for limit in [1, all / 4, all / 2, all - 1] {
            let findings = unreachable("p.toml", &policy.rules, &mut Budget::new(limit));
            assert_eq!(
                findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
                ["policy.lint.shadowing_not_searched"]
            );
        }
        assert_eq!(unreachable("p.toml", &policy.rules, &mut Budget::new(all + 1)), []);
    }

    #[test]
    fn a_policy_of_ten_thousand_alternatives_is_read_and_says_what_was_not_searched() {
        let policy = policy(10, 1_000);
        let codes: Vec<&str> = policy.warnings().iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["policy.lint.shadowing_not_searched"]);
    }
}
