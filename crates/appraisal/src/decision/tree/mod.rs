//! Makes the explanation of a decision: of an admission the way that was satisfied, of a refusal everything that was
//! asked. Bounded, whatever the policy and the machine say; decides nothing.

mod checks;
mod entries;

use std::sync::Arc;

use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;

use self::entries::{all, changed, cleared, problem, short, value_entry, waiver_entry};
use crate::decision::Verdict;
use crate::decision::code::Reason;
use crate::decision::engine::{self, Holds};
use crate::decision::explain;
use crate::decision::explanation::{
    AlternativeEntry, Answer, Check, ConditionEntry, Explanation, Nearest, Origin, RuleEntry, ValueEntry,
};
use crate::decision::ownership::Ownership;
use crate::decision::pairing;
use crate::decision::question::{Asking, Question, Reply};
use crate::decision::rejection::{Rejection, ValueDifference};
use crate::decision::remedy;
use crate::decision::waived;
use crate::facts::Facts;
use crate::policy::{Alternative, Condition, Policy, Rule, Waiver};
use crate::value::Value;

/// Most conditions, checks and values of one explanation; those of the nearest way go first.
const ENTRIES_MAX: usize = 300;
/// Most events named for a condition that holds.
const EVENTS_MAX: usize = 8;
/// Most waivers told.
const WAIVERS_MAX: usize = 32;

/// Everything that an explanation is made of.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) policy: &'a Policy,
    pub(super) facts: &'a Facts,
    pub(super) ownership: &'a Ownership,
    pub(super) now: UnixTime,
}

/// Explains what `verdict` says of the facts.
pub(super) fn explanation(asked: Asked<'_>, verdict: &Verdict) -> Explanation {
    let mut tree =
        Tree { asked, room: ENTRIES_MAX, left_out: 0, origins: Vec::new(), in_force: Vec::new(), changes: None };
    let mut made = empty(asked.policy, asked.now);
    match verdict {
        Verdict::Admit(grant) => {
            made.decision = "admitted".into();
            made.denies = asked.policy.denies.iter().map(cleared).collect();
            let rule = asked.policy.rules.iter().find(|rule| rule.name == grant.rule);
            made.rules = rule.map(|rule| tree.admitting(rule, grant.alternative.as_deref())).into_iter().collect();
        }
        Verdict::AwaitsApproval(rejection) => {
            made.decision = "awaits-approval".into();
            made.code = Some(rejection.code.into());
            tree.refusing(&mut made, rejection);
        }
        Verdict::Refuse(rejection) => {
            made.decision = "refused".into();
            made.code = Some(rejection.code.into());
            tree.refusing(&mut made, rejection);
        }
    }
    made.origins = tree.origins.iter().map(|origin| Origin::clone(origin)).collect();
    made.waivers = tree.in_force.iter().map(|waiver| waiver_entry(waiver)).collect();
    made.left_out = tree.left_out;
    made
}

impl Explanation {
    /// Of a refusal of the evidence as a whole, before there were any facts.
    pub(crate) fn of_evidence(policy: &Policy, rejection: &Rejection, now: UnixTime) -> Self {
        let mut made = empty(policy, now);
        made.decision = "refused".into();
        made.code = Some(rejection.code.into());
        made.problems = rejection.differences.iter().map(problem).collect();
        made
    }
}

impl Explanation {
    /// Of evidence that did not verify, by the check that refused it and its words, the outermost first: no policy was
    /// asked.
    #[must_use]
    pub fn of_unverified(kinds: &[EvidenceKind], code: &str, errors: &[String], at: UnixTime) -> Self {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let check = Check {
            subject: "evidence".into(),
            answer: Answer::Differs,
            code: Some(code.to_owned().into()),
            expected: format!("evidence of kind {} that verifies", kinds.join(", ")),
            found: short(errors.join(": ")),
        };
        let change =
            format!("the machine brings evidence that passes the check {code}: see docs/reference/error-codes.md");
        Self {
            decision: "refused".into(),
            code: check.code.clone(),
            at: at.seconds(),
            problems: vec![check],
            changes: vec![change],
            ..Self::default()
        }
    }
}

fn empty(policy: &Policy, now: UnixTime) -> Explanation {
    Explanation {
        policy: policy.version.name.clone(),
        policy_digest: policy.version.digest.clone(),
        at: now.seconds(),
        ..Explanation::default()
    }
}

struct Tree<'a> {
    asked: Asked<'a>,
    room: usize,
    left_out: usize,
    origins: Vec<&'a Arc<Origin>>,
    /// Every waiver that counted for any of the rules.
    in_force: Vec<&'a Waiver>,
    /// Sentences about the nearest way, while it is being built.
    changes: Option<Vec<String>>,
}

impl<'a> Tree<'a> {
    /// The way that was satisfied, and what it rested on.
    fn admitting(&mut self, rule: &'a Rule, alternative: Option<&str>) -> RuleEntry {
        let waivers = self.waivers(rule);
        let mut entry = self.rule(rule, &waivers);
        let chosen = rule.alternatives.iter().find(|one| Some(one.name.as_str()) == alternative);
        entry.alternatives = chosen.map(|chosen| self.alternative(rule, chosen, &waivers)).into_iter().collect();
        entry
    }

    fn refusing(&mut self, made: &mut Explanation, rejection: &Rejection) {
        let Asked { policy, facts, .. } = self.asked;
        for deny in &policy.denies {
            let reply = |holds| match holds {
                Holds::No => Reply::No,
                Holds::Yes => Reply::Yes,
                Holds::Unknown => Reply::NotProven,
            };
            let answer = reply(engine::denied(deny, facts)).answer();
            let mut entry = cleared(deny);
            if answer != Answer::Differs {
                let condition = |one: &'a Condition| self.condition(one, reply(engine::holds(one, facts)));
                entry.conditions = deny.when.iter().filter_map(condition).collect();
                let how = if answer == Answer::Holds { "is met" } else { "cannot be ruled out" };
                made.changes.push(format!(
                    "deny list {} {how}: no rule is asked as long as it is ({})",
                    deny.name, deny.reason
                ));
            }
            entry.answer = answer;
            made.denies.push(entry);
        }
        let asked_rules = [Reason::NoRuleMatched, Reason::ApprovalAwaited, Reason::NodeId];
        if !asked_rules.iter().any(|reason| reason.code() == rejection.code) {
            if made.changes.is_empty() {
                made.problems = rejection.differences.iter().map(problem).collect();
                made.changes = made.problems.iter().map(changed).collect();
            }
            return;
        }
        let nearest = policy.rules.iter().position(|rule| Some(&rule.name) == rejection.rule.as_ref());
        if rejection.code == Reason::NodeId.code() {
            made.problems = rejection.differences.iter().map(problem).collect();
            made.changes = made.problems.iter().map(changed).collect();
        }
        let mut first = nearest.and_then(|at| policy.rules.get(at)).map(|rule| {
            self.changes = Some(Vec::new());
            let entry = self.whole(rule, rejection.alternative.as_deref());
            made.changes.extend(self.changes.take().unwrap_or_default());
            entry
        });
        made.nearest = rejection.rule.clone().map(|rule| Nearest { rule, alternative: rejection.alternative.clone() });
        for (at, rule) in policy.rules.iter().enumerate() {
            let entry =
                if Some(at) == nearest { first.take() } else { self.has_room().then(|| self.whole(rule, None)) };
            made.rules.extend(entry);
        }
    }

    /// A rule with all of its alternatives; the nearest one is looked at first, so that it finds room.
    fn whole(&mut self, rule: &'a Rule, nearest: Option<&str>) -> RuleEntry {
        let waivers = self.waivers(rule);
        let mut entry = self.rule(rule, &waivers);
        let position = rule.alternatives.iter().position(|one| Some(one.name.as_str()) == nearest);
        let mut first =
            position.and_then(|at| rule.alternatives.get(at)).map(|one| self.alternative(rule, one, &waivers));
        let changes = self.changes.take();
        for (at, one) in rule.alternatives.iter().enumerate() {
            let made = if Some(at) == position {
                first.take()
            } else {
                self.has_room().then(|| self.alternative(rule, one, &waivers))
            };
            entry.alternatives.extend(made);
        }
        self.changes = changes;
        if !rule.alternatives.is_empty() {
            let one_holds = entry.alternatives.iter().any(|one| one.answer.is_good());
            entry.answer = entry.answer.and(if one_holds { Answer::Holds } else { Answer::Differs });
        }
        entry
    }

    /// A rule without its alternatives.
    fn rule(&mut self, rule: &'a Rule, waivers: &[&'a Waiver]) -> RuleEntry {
        let asking = self.asking(rule, waivers);
        let (mut checks, mut conditions) = self.answers(asking.of_rule(), None, &asking);
        if rule.alternatives.is_empty() {
            let (more, others) = self.answers(asking.of_way(None), None, &asking);
            checks.extend(more);
            conditions.extend(others);
        }
        let answer = all(&checks, &conditions);
        RuleEntry { name: rule.name.clone(), line: rule.line, answer, checks, conditions, alternatives: Vec::new() }
    }

    fn alternative(
        &mut self,
        rule: &'a Rule,
        alternative: &'a Alternative,
        waivers: &[&'a Waiver],
    ) -> AlternativeEntry {
        let asking = self.asking(rule, waivers);
        let (checks, conditions) = self.answers(asking.of_way(Some(alternative)), Some(alternative), &asking);
        AlternativeEntry {
            name: alternative.name.clone(),
            line: alternative.line,
            answer: all(&checks, &conditions),
            valid_from: alternative.valid_from.map(UnixTime::seconds),
            valid_until: alternative.valid_until.map(UnixTime::seconds),
            checks,
            conditions,
        }
    }

    /// The decision's own answers, as entries.
    fn answers(
        &mut self,
        questions: impl Iterator<Item = Question<'a>>,
        alternative: Option<&'a Alternative>,
        asking: &Asking<'_, 'a>,
    ) -> (Vec<Check>, Vec<ConditionEntry>) {
        let (mut checks, mut conditions) = (Vec::new(), Vec::new());
        for question in questions {
            let reply = asking.reply(question, alternative);
            match question {
                Question::Condition(condition) => conditions.extend(self.condition(condition, reply)),
                _ => checks.extend(self.checks(question, reply, asking)),
            }
        }
        (checks, conditions)
    }

    fn asking<'w>(&self, rule: &'a Rule, waivers: &'w [&'a Waiver]) -> Asking<'w, 'a>
    where
        'a: 'w,
    {
        let Asked { facts, ownership, now, .. } = self.asked;
        Asking { rule, facts, ownership, now, waivers }
    }

    /// The waivers that count for the machine under the rule.
    fn waivers(&mut self, rule: &'a Rule) -> Vec<&'a Waiver> {
        let Asked { policy, facts, now, .. } = self.asked;
        let waivers = waived::in_force(policy, rule, facts, now);
        for waiver in &waivers {
            if self.in_force.len() < WAIVERS_MAX && !self.in_force.iter().any(|other| other.name == waiver.name) {
                self.in_force.push(waiver);
            }
        }
        waivers
    }

    /// The check, with its sentence where the nearest way is being built.
    fn noted(&mut self, check: Check) -> Check {
        self.room = self.room.saturating_sub(1);
        if let Some(changes) = self.changes.as_mut().filter(|_| !check.answer.is_good()) {
            changes.push(changed(&check));
        }
        check
    }

    fn condition(&mut self, condition: &'a Condition, reply: Reply<'_>) -> Option<ConditionEntry> {
        if !self.has_room() {
            return None;
        }
        self.room -= 1;
        let facts = self.asked.facts;
        let fact = facts.get(condition.fact);
        let answer = reply.answer();
        let waived_by = match reply {
            Reply::Waived(waiver) => Some(waiver.name.clone()),
            Reply::Yes | Reply::Awaited | Reply::No | Reply::NotProven => None,
        };
        let mut entry = ConditionEntry {
            fact: condition.fact.to_string(),
            line: condition.line,
            answer,
            code: None,
            expected: short(explain::wanted(&condition.test)),
            found: fact.map_or_else(|| "not proven".to_owned(), |fact| short(explain::shown(fact.values.iter()))),
            provenance: fact.map(|fact| fact.provenance.as_str().into()),
            waived_by,
            origins: condition.origins.iter().map(|origin| origin.name.clone()).collect(),
            events: Vec::new(),
            values: Vec::new(),
        };
        match (answer, fact) {
            (Answer::Holds, Some(fact)) => entry.events = fact.events.iter().take(EVENTS_MAX).copied().collect(),
            (_, Some(fact)) => {
                entry.code = Some(explain::reason(&condition.test, &fact.values).code().into());
                let values = pairing::differing(&condition.test, fact, facts);
                entry.values = self.values(values, &fact.values);
            }
            (_, None) => {
                entry.code = Some(Reason::FactNotProven.code().into());
                entry.values = self.values(pairing::all_missing(&condition.test), &[]);
            }
        }
        for origin in &condition.origins {
            if !self.origins.iter().any(|other| other.name == origin.name) {
                self.origins.push(origin);
            }
        }
        if let Some(changes) = self.changes.as_mut().filter(|_| !answer.is_good()) {
            changes.push(short(remedy::condition(condition, &entry)));
        }
        Some(entry)
    }

    fn values(&mut self, values: Vec<ValueDifference>, found: &[Value]) -> Vec<ValueEntry> {
        let taken = values.len().min(self.room);
        self.left_out += values.len() - taken;
        self.room -= taken;
        values.into_iter().take(taken).map(|value| value_entry(value, found)).collect()
    }

    fn has_room(&mut self) -> bool {
        let room = self.room > 0;
        self.left_out += usize::from(!room);
        room
    }
}
