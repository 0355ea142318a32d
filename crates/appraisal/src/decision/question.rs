//! Everything that a rule asks of a machine, question by question, and the answers. The one list of checks: the decision is
//! whether every answer is good, and what differs, or is explained, are the same answers in words. Whoever adds a check adds
//! a question, and the compiler names the places that must find words for it.

use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;

use super::engine::{self, Holds, Ours};
use super::ownership::Ownership;
use super::waived;
use crate::facts::{FactId, Facts, maker_classes};
use crate::ima;
use crate::policy::site::{Site, SiteProblem};
use crate::policy::{Alternative, Condition, Factor, Rule, Waiver};

/// One question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question<'p> {
    /// By which factor the machine would be ours, of a rule that names none.
    NoFactor,
    /// Whether it is ours by this factor.
    Factor(Factor),
    /// Whether evidence of this kind came.
    Evidence(EvidenceKind),
    /// Whether the roots of the evidence of this kind, which came, are of a class that the rule admits.
    Class(EvidenceKind),
    /// Whether the root of a maker who vouches for the machine is of a class as good as the rule admits.
    Maker(FactId),
    /// Whether the alternative counts now.
    Dates(&'p Alternative),
    /// Whether a fact is as it should be.
    Condition(&'p Condition),
    /// Whether the files that the kernel measured are allowed.
    MeasuredFiles,
    /// Whether a condition of the site holds.
    Site(&'p Site),
    /// Whether a register that was extended is explained by events, or its value is given.
    Register(u8),
}

/// The answer to one question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply<'p> {
    Yes,
    /// It is not so, and may be otherwise.
    Waived(&'p Waiver),
    /// An operator has not answered yet.
    Awaited,
    No,
    /// Nothing proves it.
    NotProven,
}

/// A rule that is being asked about one machine, with the waivers that count.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a, 'p> {
    pub(super) rule: &'p Rule,
    pub(super) facts: &'a Facts,
    pub(super) ownership: &'a Ownership,
    pub(super) now: UnixTime,
    pub(super) waivers: &'a [&'p Waiver],
}

impl Question<'_> {
    /// Its place among what differs; the first three are about who the machine is.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::NoFactor | Self::Factor(_) => 0,
            Self::Evidence(_) => 1,
            Self::Class(_) | Self::Maker(_) => 2,
            Self::Dates(_) => 3,
            Self::Condition(_) => 4,
            Self::MeasuredFiles => 5,
            Self::Site(_) => 6,
            Self::Register(_) => 7,
        }
    }

    /// Whether it is about who the machine is, not about its state.
    pub(super) const fn is_of_identity(&self) -> bool {
        matches!(self, Self::NoFactor | Self::Factor(_) | Self::Evidence(_) | Self::Class(_) | Self::Maker(_))
    }
}

impl Reply<'_> {
    /// Whether the machine may be admitted with it.
    pub(super) const fn is_good(&self) -> bool {
        match self {
            Self::Yes | Self::Waived(_) => true,
            Self::Awaited | Self::No | Self::NotProven => false,
        }
    }
}

impl<'a, 'p> Asking<'a, 'p> {
    /// What every way to satisfy the rule asks.
    pub(super) fn of_rule(&self) -> impl Iterator<Item = Question<'p>> + use<'a, 'p> {
        let rule = self.rule;
        let no_factor = rule.ownership.is_empty().then_some(Question::NoFactor);
        let factors = rule.ownership.iter().map(|factor| Question::Factor(*factor));
        let evidence = rule.evidence.iter().map(|kind| Question::Evidence(*kind));
        let classes = self.facts.kinds().map(Question::Class);
        let makers = maker_classes(self.facts).map(|(fact, _)| Question::Maker(fact));
        let measured = rule.ima.is_some().then_some(Question::MeasuredFiles);
        no_factor
            .into_iter()
            .chain(factors)
            .chain(evidence)
            .chain(classes)
            .chain(makers)
            .chain(rule.require.iter().map(Question::Condition))
            .chain(measured)
            .chain(rule.sites.iter().map(Question::Site))
    }

    /// What one way asks beside: an alternative, or the rule itself where it has none.
    pub(super) fn of_way(
        &self,
        alternative: Option<&'p Alternative>,
    ) -> impl Iterator<Item = Question<'p>> + use<'a, 'p> {
        let own = alternative.into_iter();
        own.clone()
            .map(Question::Dates)
            .chain(own.clone().flat_map(|one| &one.require).map(Question::Condition))
            .chain(own.flat_map(|one| &one.sites).map(Question::Site))
            .chain(self.facts.unexplained_pcrs().iter().copied().map(Question::Register))
    }

    /// The answer to a question of the rule, or of this way to satisfy it.
    pub(super) fn reply(&self, question: Question<'p>, alternative: Option<&'p Alternative>) -> Reply<'p> {
        let Self { rule, facts, ownership, now, waivers } = *self;
        let yes_or = |good: bool, otherwise: Reply<'p>| if good { Reply::Yes } else { otherwise };
        match question {
            // No empty set is satisfied.
            Question::NoFactor => Reply::No,
            Question::Factor(factor) => match engine::factor_holds(rule, factor, facts, ownership) {
                Ours::Yes => Reply::Yes,
                Ours::Awaited => Reply::Awaited,
                Ours::No => Reply::No,
            },
            Question::Evidence(kind) => yes_or(engine::came(kind, facts), Reply::NotProven),
            Question::Class(kind) => yes_or(engine::is_of_admitted_class(rule, kind, facts), Reply::No),
            Question::Maker(id) => yes_or(engine::is_maker_admitted(rule, facts.get(id)), Reply::No),
            Question::Dates(alternative) => yes_or(engine::counts(alternative, now), Reply::No),
            Question::Condition(condition) => match engine::holds(condition, facts) {
                Holds::Yes => Reply::Yes,
                Holds::No => waived::waiver_of(condition, facts, waivers).map_or(Reply::No, Reply::Waived),
                Holds::Unknown => Reply::NotProven,
            },
            Question::MeasuredFiles => yes_or(ima::admits(rule, facts), Reply::No),
            Question::Site(site) => match site.holds(facts) {
                Ok(()) => Reply::Yes,
                Err(SiteProblem::NotProven(_)) => Reply::NotProven,
                Err(SiteProblem::False | SiteProblem::Failed(_)) => Reply::No,
            },
            Question::Register(pcr) => {
                yes_or(engine::is_given(pcr, rule, alternative, facts, waivers), Reply::NotProven)
            }
        }
    }
}
