//! Cases: a machine's facts, the operator's records, a moment, and the decision that is expected of them. How a policy
//! is tested. Reads text; opens no files.

mod evidence;
mod log;
mod measured;
mod reading;

use std::collections::BTreeSet;

use holdfast_evidence::tpm::{Bank, PcrSelection};
use holdfast_identity::{TrustDomain, UnixTime};

pub use evidence::Evidence;
use log::Refused;

use crate::Policy;
use crate::decision::{Appraiser, Explanation, Ownership, Rejection, Verdict};
use crate::document::{Document, Reader};
use crate::facts::Facts;
use crate::finding::Finding;

/// The word under `kind` in a case.
pub const KIND: &str = "case";
/// The word under `kind` in a file of facts that several cases share.
pub const FACTS_KIND: &str = "facts";

pub(crate) const KEYS: &[&str] = &[
    "api_version",
    "kind",
    "description",
    "policy",
    "at",
    "trust_domain",
    "base",
    "evidence",
    "facts",
    "without",
    "unexplained_pcrs",
    "ownership",
    "expect",
];
pub(crate) const FACTS_KEYS: &[&str] = &["api_version", "kind", "description", "facts", "unexplained_pcrs"];
const LOG_KEYS: &[&str] = &["event_log", "ima_log", "pcr_bank"];
const OWNERSHIP_KEYS: &[&str] = &["inventory", "launch", "approval"];
const EXPECT_KEYS: &[&str] = &["decision", "code", "because", "rule", "alternative", "node_id", "selectors", "waivers"];
const DECISIONS: &[&str] = &["admitted", "awaits-approval", "refused"];

/// The files that a case names, as it spells them: relative to the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFiles {
    /// The policy that it tests.
    pub policy: String,
    /// The file of facts that it starts from.
    pub base: Option<String>,
    /// The firmware log (`binary_bios_measurements`) whose facts are added.
    pub event_log: Option<String>,
    /// The kernel's list of measured files (`binary_runtime_measurements`): for [`Case::with_measured_files`].
    pub ima_log: Option<String>,
    /// The kind of evidence under `[evidence]`, if the case names evidence as a whole: whoever reads the files verifies
    /// it, and hands on [`Evidence::Verified`] or [`Evidence::Refused`].
    pub evidence: Option<String>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    description: String,
    facts: Facts,
    refused: Option<Refused>,
    quoted: Option<PcrSelection>,
    measured: Option<measured::List>,
    ownership: Ownership,
    at: UnixTime,
    trust_domain: TrustDomain,
    expect: Expectation,
}

#[derive(Clone, Debug, Default)]
struct Expectation {
    decision: String,
    code: Option<String>,
    because: Option<BTreeSet<String>>,
    rule: Option<String>,
    alternative: Option<String>,
    node_id: Option<String>,
    selectors: Option<BTreeSet<String>>,
    waivers: Option<BTreeSet<String>>,
}

impl Case {
    /// The files that the case names.
    ///
    /// # Errors
    /// The findings that keep them from being read.
    pub fn files(document: Document<'_>) -> Result<CaseFiles, Vec<Finding>> {
        let mut reader = Reader::new(document);
        let Some(table) = reader.table() else { return Err(reader.findings) };
        let table = table.get_ref();
        let policy = reader.required(table, "policy", 0..0, "write: policy = \"../rack.toml\"");
        let policy = policy.and_then(|node| reader.string(node, "policy")).map(str::to_owned);
        let base = table.get("base").and_then(|node| reader.string(node, "base")).map(str::to_owned);
        let evidence = table.get("evidence").and_then(|node| reader.subtable(node, "evidence"));
        let mut word = |key: &str| {
            let node = evidence.and_then(|table| table.get(key));
            node.and_then(|node| reader.string(node, key)).map(str::to_owned)
        };
        let (evidence, event_log) = match word("kind") {
            Some(kind) => (Some(kind), None),
            None => (None, word("event_log")),
        };
        let ima_log = word("ima_log");
        match policy {
            Some(policy) if !reader.has_errors() => Ok(CaseFiles { policy, base, event_log, ima_log, evidence }),
            _ => Err(reader.findings),
        }
    }

    /// Reads a case, with the file of facts that it starts from and what came of the evidence that it names.
    ///
    /// The case's own facts go before those of the evidence, and these before the file's. Evidence that is refused is no
    /// finding: the decision is then that refusal.
    ///
    /// # Errors
    /// Every finding, with line and column.
    pub fn parse(
        document: Document<'_>,
        base: Option<Document<'_>>,
        evidence: Evidence<'_>,
    ) -> Result<Self, Vec<Finding>> {
        let facts = base.map(Self::parse_facts).transpose()?.unwrap_or_default();
        let mut reader = Reader::new(document);
        let parsed = reader.table().and_then(|table| reading::read(&mut reader, table.get_ref(), facts, evidence));
        match parsed {
            Some(case) if !reader.has_errors() => Ok(case),
            _ => Err(reader.findings),
        }
    }

    /// The same with the list of measured files that it names. Where no quote among its evidence vouches for PCR 10, the
    /// list is taken as proven, to its last entry.
    #[must_use]
    pub fn with_measured_files(self, bytes: Vec<u8>) -> Self {
        let is_quoted = self.quoted.is_some();
        Self { measured: Some(measured::List { bytes, is_quoted }), ..self }
    }

    /// Reads a file of facts (`kind = "facts"`). They are claims, not evidence.
    ///
    /// # Errors
    /// Every finding, with line and column.
    pub fn parse_facts(document: Document<'_>) -> Result<Facts, Vec<Finding>> {
        let mut facts = Facts::new();
        let mut reader = Reader::new(document);
        if let Some(table) = reader.table() {
            reader.header(table.get_ref(), FACTS_KIND);
            reader.only_keys(table.get_ref(), "a file of facts", FACTS_KEYS);
            reading::add_facts(&mut reader, table.get_ref(), &mut facts);
        }
        if reader.has_errors() { Err(reader.findings) } else { Ok(facts) }
    }

    /// The facts of a firmware log that no quote vouches for, every register taken as quoted: what a case with
    /// `event_log` starts from.
    ///
    /// # Errors
    /// Code and words of the verifier that would have refused it.
    pub fn facts_of_log(log: &[u8], bank: Bank) -> Result<Facts, (&'static str, String)> {
        log::facts(log, bank).map_err(|Refused { code, detail }| (code, detail))
    }

    /// What the case says of itself; empty if nothing.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What the policy decides.
    #[must_use]
    pub fn judge(&self, policy: &Policy) -> Verdict {
        if let Some(refused) = &self.refused {
            return Verdict::Refuse(refused.rejection(policy));
        }
        let appraiser = Appraiser::new(self.trust_domain.clone());
        let facts = measured::facts(self.measured.as_ref(), &self.facts, policy);
        match &self.quoted {
            Some(quoted) => appraiser.judge_quote(policy, &facts, quoted, &self.ownership, self.at),
            None => appraiser.judge(policy, &facts, &self.ownership, self.at),
        }
    }

    /// Why the policy decides as [`Case::judge`] says it does.
    #[must_use]
    pub fn explain(&self, policy: &Policy, verdict: &Verdict) -> Explanation {
        match (&self.refused, verdict) {
            (Some(_), Verdict::Refuse(rejection)) => Explanation::of_evidence(policy, rejection, self.at),
            // What the policy does not ask for was not judged, and is not told.
            _ => {
                let facts = measured::facts(self.measured.as_ref(), &self.facts, policy);
                let asked = self.quoted.as_ref().map(|_| facts.asked(policy.required_pcrs()));
                let facts = asked.as_ref().unwrap_or(&facts);
                Appraiser::explain(policy, facts, &self.ownership, self.at, verdict)
            }
        }
    }

    /// What is not as expected, in words; empty if the case holds.
    #[must_use]
    pub fn differences(&self, verdict: &Verdict) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |what: &str, expected: Option<&str>, is: Option<&str>| {
            if let Some(expected) = expected
                && is != Some(expected)
            {
                found.push(format!("{what}: expected {expected}, found {}", is.unwrap_or("none")));
            }
        };
        let expect = &self.expect;
        let (decision, grant, rejection) = match verdict {
            Verdict::Admit(grant) => ("admitted", Some(grant), None),
            Verdict::AwaitsApproval(rejection) => ("awaits-approval", None, Some(rejection)),
            Verdict::Refuse(rejection) => ("refused", None, Some(rejection)),
        };
        let rule = grant.map(|g| g.rule.as_str()).or_else(|| rejection.and_then(|r| r.rule.as_deref()));
        let alternative =
            grant.and_then(|g| g.alternative.as_deref()).or_else(|| rejection.and_then(|r| r.alternative.as_deref()));
        check("decision", Some(&expect.decision), Some(decision));
        check("code", expect.code.as_deref(), rejection.map(|r| r.code));
        check("rule", expect.rule.as_deref(), rule);
        check("alternative", expect.alternative.as_deref(), alternative);
        check("node_id", expect.node_id.as_deref(), grant.map(|g| g.spiffe_id.as_str()));
        if let Some(expected) = &expect.because {
            let is: BTreeSet<String> = rejection.into_iter().flat_map(Rejection::because).map(str::to_owned).collect();
            same("because", expected, &is, &mut found);
        }
        if let Some(expected) = &expect.selectors {
            let is = grant.into_iter().flat_map(|g| &g.selectors).map(ToString::to_string).collect();
            same("selectors", expected, &is, &mut found);
        }
        if let Some(expected) = &expect.waivers {
            let is = grant.into_iter().flat_map(|g| &g.waivers).map(|waiver| waiver.name.clone()).collect();
            same("waivers", expected, &is, &mut found);
        }
        found
    }
}

fn same(what: &str, expected: &BTreeSet<String>, is: &BTreeSet<String>, found: &mut Vec<String>) {
    found.extend(expected.difference(is).map(|missing| format!("{what}: expected {missing}, which is not there")));
    found.extend(is.difference(expected).map(|strange| format!("{what}: found {strange}, which is not expected")));
}
