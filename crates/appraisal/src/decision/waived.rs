//! Applies waivers and change windows: which count for this machine and rule now, and which ways to be admitted there are
//! with them. Loosens nothing that they do not name: not ownership, classes, deny lists, evidence, other facts, or what
//! a rule denies of the same fact.

use std::collections::BTreeMap;

use holdfast_identity::UnixTime;
use serde::Serialize;

use super::engine::{self, Holds};
use super::question::{Question, Reply};
use crate::facts::{FactId, Facts, Shape, Subject};
use crate::policy::{Alternative, Condition, Loosened, Policy, Rule, Segment, Waiver};

/// A waiver or change window without which the machine would not have been admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaiverUsed {
    /// `waiver` or `change-window`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Why it is there.
    pub reason: String,
    /// The facts that differ, and may; with the operator where the waiver names one.
    pub facts: Vec<String>,
    /// When it ends, seconds since the epoch; the evidence counts no longer.
    pub valid_until: i64,
}

/// A way to be admitted, and the waivers that it takes.
#[derive(Clone)]
pub(super) struct WaivedWay<'p> {
    pub(super) alternative: Option<&'p Alternative>,
    used: BTreeMap<&'p str, (&'p Waiver, Vec<Loosened>)>,
}

impl<'p> WaivedWay<'p> {
    pub(super) const fn new(alternative: Option<&'p Alternative>) -> Self {
        Self { alternative, used: BTreeMap::new() }
    }

    /// It, by this alternative.
    pub(super) fn by(self, alternative: Option<&'p Alternative>) -> Self {
        Self { alternative, ..self }
    }

    /// Goes on with a good answer; `None` with any other.
    pub(super) fn take(&mut self, question: Question<'p>, reply: Reply<'p>) -> Option<()> {
        let waiver = match reply {
            Reply::Yes => return Some(()),
            Reply::Waived(waiver) => waiver,
            Reply::Awaited | Reply::No | Reply::NotProven => return None,
        };
        let Question::Condition(condition) = question else { return None };
        let loosened = waiver.loosens(condition)?;
        let (_, waived) = self.used.entry(waiver.name.as_str()).or_insert_with(|| (waiver, Vec::new()));
        if !waived.contains(&loosened) {
            waived.push(loosened);
        }
        Some(())
    }

    /// The waivers, and what each of them waived.
    pub(super) fn used(&self) -> Vec<WaiverUsed> {
        let used = self.used.values().map(|(waiver, facts)| WaiverUsed {
            kind: waiver.kind.as_str(),
            name: waiver.name.clone(),
            owner: waiver.owner.clone(),
            reason: waiver.reason.clone(),
            facts: facts.iter().map(Loosened::to_string).collect(),
            valid_until: waiver.valid_until.seconds(),
        });
        used.collect()
    }

    /// When the first of them ends.
    pub(super) fn ends(&self) -> Option<UnixTime> {
        self.used.values().map(|(waiver, _)| waiver.valid_until).min()
    }
}

/// The waivers that count now for this machine and this rule.
pub(super) fn in_force<'p>(policy: &'p Policy, rule: &Rule, facts: &Facts, now: UnixTime) -> Vec<&'p Waiver> {
    let about = |waiver: &&Waiver| waiver.counts(now) && waiver.is_about(&rule.name) && is_for(waiver, rule, facts);
    policy.waivers.iter().filter(about).collect()
}

/// Whether it is for this machine: by name, or by every condition of `when`.
fn is_for(waiver: &Waiver, rule: &Rule, facts: &Facts) -> bool {
    if waiver.nodes.is_empty() {
        return !waiver.when.is_empty() && all(&waiver.when, facts);
    }
    let path = node_path(&rule.issue.node_id, facts).ok();
    waiver.nodes.iter().any(|node| path.as_deref() == Some(node.as_str()) || is_named(node, &rule.issue.node_id, facts))
}

/// Whether a fact that names the machine, and that the node's ID is made of, has this value.
fn is_named(node: &str, template: &[Segment], facts: &Facts) -> bool {
    let named = |segment: &Segment| match segment {
        Segment::Fact(id) => {
            let definition = id.definition();
            let names_one = definition.subject == Subject::Machine && definition.shape == Shape::One;
            let value = facts.get(*id).map(|fact| fact.values.as_slice());
            names_one && matches!(value, Some([value]) if value.to_string() == node)
        }
        Segment::Literal(_) => false,
    };
    template.iter().any(named)
}

fn all(conditions: &[Condition], facts: &Facts) -> bool {
    conditions.iter().all(|condition| engine::holds(condition, facts) == Holds::Yes)
}

/// The waiver by which a condition that differs may. A fact that is not proven is waived by nothing. Of several, one that
/// gives a register's new value goes first: the register is then explained by the waiver that is named, and for as long
/// as that one counts.
pub(super) fn waiver_of<'p>(condition: &Condition, facts: &Facts, waivers: &[&'p Waiver]) -> Option<&'p Waiver> {
    if engine::holds(condition, facts) != Holds::No {
        return None;
    }
    let fits = |waiver: &&'p Waiver| waiver.loosens(condition).is_some() && all(&waiver.instead, facts);
    let mut fitting = waivers.iter().copied().filter(fits);
    if !matches!(condition.fact, FactId::Pcr(_)) {
        return fitting.next();
    }
    let first = fitting.clone().next();
    fitting.find(|waiver| waiver.gives_the_value_of(condition.fact)).or(first)
}

/// The path of the node's ID, from `/holdfast/node` on. What cannot stand in it is refused, never rewritten.
pub(super) fn node_path(template: &[Segment], facts: &Facts) -> Result<String, String> {
    let mut path = String::from("/holdfast/node");
    for segment in template {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::Fact(id) => match facts.get(*id).map(|fact| fact.values.as_slice()) {
                Some([value]) => {
                    let text = value.to_string();
                    if text.contains('/') {
                        return Err(format!("{id} is {text:?}, which is not one segment"));
                    }
                    path.push_str(&text);
                }
                Some(_) => return Err(format!("{id} does not have one value")),
                None => return Err(format!("{id} is not proven")),
            },
        }
    }
    Ok(path)
}
