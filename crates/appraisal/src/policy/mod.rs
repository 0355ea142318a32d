//! Policies: text that is reviewed in git, compiled once into what the engine evaluates in a microsecond.
//! Decides nothing: that is `decision`.

mod bundle;
mod condition;
mod events;
mod exceptions;
mod exemption;
mod implication;
mod issue;
mod loosened;
pub(crate) mod moment;
mod names;
mod pattern;
mod promises;
mod reach;
mod read;
mod rule;

pub mod schema;
mod set;
mod signed;
pub(crate) mod site;
mod survey;
mod waiver;

pub use bundle::{Bundle, BundleFile, at_most, referenced_files};
pub(crate) use condition::{Condition, Test};
pub use exemption::Exemption;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tpm::{Bank, PcrSet};
use holdfast_identity::UnixTime;
pub(crate) use issue::Segment;
pub(crate) use loosened::Loosened;
pub(crate) use rule::{Alternative, Deny, Factor, Rule};
pub(crate) use set::Set;
pub use signed::{SIGNATURE_SUFFIX, signed_policy_version, signed_reference_values};
use std::collections::BTreeSet;
pub(crate) use waiver::Waiver;

use crate::decision::PolicyVersion;
use crate::document::Document;
use crate::facts::FactId;
use crate::finding::Finding;
use crate::ima::ImaRule;

/// The word under `kind` in a policy.
pub const KIND: &str = "policy";

/// A policy, read, checked and compiled.
#[derive(Debug)]
pub struct Policy {
    pub(crate) version: PolicyVersion,
    pub(crate) description: String,
    pub(crate) bank: Bank,
    pub(crate) denies: Vec<Deny>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) waivers: Vec<Waiver>,
    required: PcrSet,
    file: String,
    warnings: Vec<Finding>,
}

impl Policy {
    /// Reads a policy together with the reference-value files that it names (see [`referenced_files`]).
    ///
    /// # Errors
    /// Every finding with its place, warnings included, if at least one is an error.
    pub fn parse(document: Document<'_>, references: &[Document<'_>]) -> Result<Self, Vec<Finding>> {
        read::policy(document, references)
    }

    /// Name and digest.
    #[must_use]
    pub const fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// What the policy says of itself; empty if nothing.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The bank whose PCRs are quoted.
    #[must_use]
    pub const fn pcr_bank(&self) -> Bank {
        self.bank
    }

    /// The PCRs that must be quoted: 0 to 7 and those that the rules, deny lists and selectors rest on.
    #[must_use]
    pub const fn required_pcrs(&self) -> PcrSet {
        self.required
    }

    /// The facts that rules, deny lists and selectors name.
    #[must_use]
    pub fn facts(&self) -> BTreeSet<FactId> {
        let denied = self.denies.iter().flat_map(|deny| &deny.when);
        let required = self.rules.iter().flat_map(Rule::conditions);
        let waived = self.waivers.iter().flat_map(|waiver| waiver.when.iter().chain(&waiver.instead));
        let mut facts: BTreeSet<FactId> =
            denied.chain(required).chain(waived).map(|condition| condition.fact).collect();
        facts.extend(self.rules.iter().flat_map(Rule::sites).flat_map(|site| &site.facts));
        facts.extend(self.rules.iter().flat_map(|rule| rule.issue.selectors.iter().copied()));
        facts
    }

    /// The kinds of evidence that any rule needs: what is worth asking a machine for.
    #[must_use]
    pub fn evidence_kinds(&self) -> BTreeSet<EvidenceKind> {
        self.rules.iter().flat_map(|rule| rule.evidence.iter().copied()).collect()
    }

    /// What each rule that speaks of measured files says of them, by its name.
    pub(crate) fn ima_rules(&self) -> impl Iterator<Item = (&str, &ImaRule)> {
        self.rules.iter().filter_map(|rule| Some((rule.name.as_str(), rule.ima.as_ref()?)))
    }

    /// Whether any rule, deny list or selector rests on the kernel's list of measured files.
    #[must_use]
    pub fn needs_ima(&self) -> bool {
        let is_ima = |fact: &FactId| {
            matches!(
                fact,
                FactId::ImaEntries | FactId::ImaViolations | FactId::ImaBootAggregates | FactId::ImaTemplateHash
            )
        };
        self.ima_rules().next().is_some() || self.facts().iter().any(is_ima)
    }

    /// Whether any rule has keys for measured files: then a list costs more than its hashes.
    #[must_use]
    pub fn verifies_signed_files(&self) -> bool {
        self.ima_rules().any(|(_, ima)| ima.has_keys())
    }

    /// Names of the rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// What the reader warned of.
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// What is wrong with the policy at `now`: alternatives, waivers and windows past their date, rules of which no
    /// alternative is left.
    #[must_use]
    pub fn findings_at(&self, now: UnixTime) -> Vec<Finding> {
        let mut findings = survey::dates(&self.file, &self.rules, now);
        findings.extend(exceptions::dates(&self.file, &self.waivers, now));
        findings
    }
}
