//! The part of a rule that is about no fact of its own: ownership, evidence, trust classes, registers without events.

use super::entries::{problem, short};
use super::{Asked, Tree};
use crate::decision::code::Reason;
use crate::decision::engine::{self, Ours};
use crate::decision::explain;
use crate::decision::explanation::{Answer, Check};
use crate::decision::ownership::Approval;
use crate::facts::{FactId, Ownable, maker_classes};
use crate::ima;
use crate::policy::site::Site;
use crate::policy::{Alternative, Factor, Rule};

impl Tree<'_> {
    pub(super) fn ownership(&mut self, factor: Factor, rule: &Rule) -> Check {
        let Asked { facts, ownership, .. } = self.asked;
        let (subject, reason, expected, found) = match factor {
            Factor::Inventory => {
                let found = explain::listable(facts, Ownable::Inventory);
                (
                    "ownership inventory",
                    Reason::NotInInventory,
                    "a key, chip or instance that the inventory lists",
                    found,
                )
            }
            Factor::Launch => {
                let found = explain::listable(facts, Ownable::Launch);
                ("ownership launch", Reason::NotALaunch, "a launch that was registered beforehand", found)
            }
            Factor::Approval => {
                let (reason, found) = match ownership.approval {
                    Approval::Given => (Reason::ApprovalAwaited, "given"),
                    Approval::NotGiven => (Reason::ApprovalAwaited, "none yet"),
                    Approval::Denied => (Reason::ApprovalDenied, "turned down"),
                };
                ("ownership approval", reason, "an operator's approval of this machine", found.to_owned())
            }
            Factor::AnyGenuineDevice => {
                let reason = rule.ownership_reason.clone().unwrap_or_default();
                let found = format!("any genuine device is admitted, ours or not: {reason}");
                ("ownership any-genuine-device", Reason::NoRuleMatched, "a genuine device", found)
            }
        };
        let holds = engine::factor_holds(rule, factor, facts, ownership) == Ours::Yes;
        let (answer, code) = if holds { (Answer::Holds, None) } else { (Answer::Differs, Some(reason.code().into())) };
        self.noted(Check { subject: subject.into(), answer, code, expected: expected.to_owned(), found: short(found) })
    }

    pub(super) fn evidence(&mut self, rule: &Rule) -> Vec<Check> {
        let facts = self.asked.facts;
        let mut checks = Vec::new();
        let came: Vec<&str> = facts.kinds().map(|kind| kind.as_str()).collect();
        let came = if came.is_empty() { "none".to_owned() } else { came.join(", ") };
        let lacking: Vec<&str> = engine::lacking(rule, facts).map(|kind| kind.as_str()).collect();
        let needed: Vec<&str> = rule.evidence.iter().map(|kind| kind.as_str()).collect();
        let (answer, code) = match lacking.is_empty() {
            true => (Answer::Holds, None),
            false => (Answer::NotProven, Some(Reason::EvidenceMissing.code().into())),
        };
        let expected = format!("evidence of kind {}", needed.join(", "));
        checks.push(self.noted(Check { subject: "evidence".into(), answer, code, expected, found: came }));
        let admitted: Vec<&str> = rule.trust_classes.iter().map(|class| class.as_str()).collect();
        let foreign: Vec<_> = engine::foreign(rule, facts).collect();
        for kind in facts.kinds() {
            let id = FactId::class_of(kind);
            let found = facts.get(id).map_or_else(|| "none".to_owned(), |fact| explain::shown(fact.values.iter()));
            let (answer, code) = match foreign.contains(&kind) {
                false => (Answer::Holds, None),
                true => (Answer::Differs, Some(Reason::TrustClass.code().into())),
            };
            let expected = format!("only {}", admitted.join(", "));
            checks.push(self.noted(Check {
                subject: id.to_string().into(),
                answer,
                code,
                expected,
                found: short(found),
            }));
        }
        let foreign: Vec<FactId> = engine::foreign_makers(rule, facts).collect();
        for (id, class) in maker_classes(facts) {
            let (answer, code) = match foreign.contains(&id) {
                false => (Answer::Holds, None),
                true => (Answer::Differs, Some(Reason::TrustClass.code().into())),
            };
            let found = class.map_or_else(|| "none".to_owned(), |fact| explain::shown(fact.values.iter()));
            let expected = engine::makers_admitted(rule);
            let subject = id.to_string().into();
            checks.push(self.noted(Check { subject, answer, code, expected, found: short(found) }));
        }
        checks
    }

    /// The site conditions, of a rule or of an alternative.
    pub(super) fn sites(&mut self, sites: &[Site]) -> Vec<Check> {
        let facts = self.asked.facts;
        let check = |site: &Site| match explain::site_difference(site, facts) {
            None => Check {
                subject: "cel".into(),
                answer: Answer::Holds,
                code: None,
                expected: "true".to_owned(),
                found: short(format!("{} is true", site.source)),
            },
            Some(difference) => {
                let unproven = difference.code == Reason::SiteNotProven.code();
                let answer = if unproven { Answer::NotProven } else { Answer::Differs };
                Check { subject: "cel".into(), answer, ..problem(&difference) }
            }
        };
        sites.iter().map(check).map(|check| self.noted(check)).collect()
    }

    /// What is said of measured files, where the rule says anything.
    pub(super) fn measured_files(&mut self, rule: &Rule) -> Vec<Check> {
        if rule.ima.is_none() {
            return Vec::new();
        }
        let differences = ima::differences(rule, self.asked.facts);
        if differences.is_empty() {
            let found = "every file that the kernel measured is allowed".to_owned();
            let subject = "measured files".into();
            let check = Check { subject, answer: Answer::Holds, code: None, expected: String::new(), found };
            return vec![self.noted(check)];
        }
        let check = |difference| Check { subject: "measured files".into(), ..problem(difference) };
        differences.iter().map(check).map(|check| self.noted(check)).collect()
    }

    pub(super) fn unexplained(&mut self, rule: &Rule, alternative: Option<&Alternative>) -> Vec<Check> {
        let facts = self.asked.facts;
        let pcrs: Vec<u8> = engine::unexplained(rule, alternative, facts, &self.waivers).collect();
        let checks = pcrs.into_iter().map(|pcr| {
            let difference = explain::unexplained(pcr, facts);
            let subject = difference.fact.clone().unwrap_or_default().into();
            self.noted(Check { subject, answer: Answer::NotProven, ..problem(&difference) })
        });
        checks.collect()
    }
}
