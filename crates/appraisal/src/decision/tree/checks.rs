//! What a rule asks beside its conditions on facts, as entries: the answers are the decision's own.

use super::Tree;
use super::entries::{problem, short};
use crate::decision::engine;
use crate::decision::explain;
use crate::decision::explanation::{Answer, Check, Word};
use crate::decision::question::{Asking, Question, Reply};
use crate::facts::{FactId, Ownable};
use crate::policy::Factor;

impl Reply<'_> {
    /// As explanations say it.
    pub(super) const fn answer(&self) -> Answer {
        match self {
            Self::Yes => Answer::Holds,
            Self::Waived(_) => Answer::Waived,
            Self::Awaited | Self::No => Answer::Differs,
            Self::NotProven => Answer::NotProven,
        }
    }
}

impl Tree<'_> {
    /// The entries of one answer. That a date or a register is as it should be goes without saying.
    pub(super) fn checks(&mut self, question: Question<'_>, reply: Reply<'_>, asking: &Asking<'_, '_>) -> Vec<Check> {
        let differences = explain::told(question, reply, asking);
        let made: Vec<Check> = if differences.is_empty() {
            let good = |(subject, expected, found)| Check {
                subject,
                answer: Answer::Holds,
                code: None,
                expected,
                found: short(found),
            };
            holding(question, asking).map(good).into_iter().collect()
        } else {
            let check = |difference| {
                let check = problem(difference);
                let subject = subject(question).unwrap_or_else(|| check.subject.clone());
                Check { subject, answer: reply.answer(), ..check }
            };
            differences.iter().map(check).collect()
        };
        made.into_iter().map(|check| self.noted(check)).collect()
    }
}

/// What is asked about; `None` where the difference says it.
fn subject(question: Question<'_>) -> Option<Word> {
    Some(match question {
        Question::NoFactor => "ownership".into(),
        Question::Factor(factor) => format!("ownership {}", factor.as_str()).into(),
        Question::Evidence(_) => "evidence".into(),
        Question::Dates(_) => "dates".into(),
        Question::MeasuredFiles => "measured files".into(),
        Question::Site(_) => "cel".into(),
        Question::Class(_) | Question::Maker(_) | Question::Register(_) | Question::Condition(_) => return None,
    })
}

/// What holds, in words: what is asked about, what the policy wants, what was found.
fn holding(question: Question<'_>, asking: &Asking<'_, '_>) -> Option<(Word, String, String)> {
    let Asking { rule, facts, .. } = *asking;
    let subject = subject(question).unwrap_or_default();
    Some(match question {
        Question::Factor(factor) => {
            let found = match factor {
                Factor::Inventory => explain::listable(facts, Ownable::Inventory),
                Factor::Launch => explain::listable(facts, Ownable::Launch),
                Factor::Approval => "given".to_owned(),
                Factor::AnyGenuineDevice => {
                    let reason = rule.ownership_reason.as_deref().unwrap_or_default();
                    format!("any genuine device is admitted, ours or not: {reason}")
                }
            };
            (subject, explain::owned(factor).to_owned(), found)
        }
        Question::Evidence(kind) => (subject, format!("evidence of kind {kind}"), explain::kinds_that_came(facts)),
        Question::Class(kind) => {
            let id = FactId::class_of(kind);
            let found = facts.get(id).map_or_else(|| "none".to_owned(), |fact| explain::shown(fact.values.iter()));
            (id.to_string().into(), explain::admitted(rule), found)
        }
        Question::Maker(id) => {
            let found = facts.get(id).map_or_else(|| "none".to_owned(), |fact| explain::shown(fact.values.iter()));
            (id.to_string().into(), engine::makers_admitted(rule), found)
        }
        Question::MeasuredFiles => {
            (subject, String::new(), "every file that the kernel measured is allowed".to_owned())
        }
        Question::Site(site) => (subject, "true".to_owned(), format!("{} is true", site.source)),
        Question::NoFactor | Question::Dates(_) | Question::Register(_) | Question::Condition(_) => return None,
    })
}
