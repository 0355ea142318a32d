//! Cases: a machine's facts, the operator's records, a moment, and the decision that is expected of them. How a policy
//! is tested. Reads text; opens no files.

mod evidence;
mod log;

use std::collections::BTreeSet;

use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::{Bank, PcrSelection};
use holdfast_identity::{TrustDomain, UnixTime};
use toml::de::DeTable;

pub use evidence::Evidence;
use log::Refused;

use crate::Policy;
use crate::decision::{
    Appraiser, Approval, Explanation, InventoryAnswer, Listing, MachineRecord, Ownership, Rejection, Verdict,
};
use crate::document::{Document, Node, Reader};
use crate::facts::{Explained, Fact, FactId, Facts, Ownable, OwnerMark, PCR_COUNT, Shape, owner_marks, read};
use crate::finding::{Finding, Kind, nearest};
use crate::policy::moment;

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
const LOG_KEYS: &[&str] = &["event_log", "pcr_bank"];
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
        match policy {
            Some(policy) if !reader.has_errors() => Ok(CaseFiles { policy, base, event_log, evidence }),
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
        let parsed = reader.table().and_then(|table| read(&mut reader, table.get_ref(), facts, evidence));
        match parsed {
            Some(case) if !reader.has_errors() => Ok(case),
            _ => Err(reader.findings),
        }
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
            add_facts(&mut reader, table.get_ref(), &mut facts);
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
        match &self.quoted {
            Some(quoted) => appraiser.judge_quote(policy, &self.facts, quoted, &self.ownership, self.at),
            None => appraiser.judge(policy, &self.facts, &self.ownership, self.at),
        }
    }

    /// Why the policy decides as [`Case::judge`] says it does.
    #[must_use]
    pub fn explain(&self, policy: &Policy, verdict: &Verdict) -> Explanation {
        match (&self.refused, verdict) {
            (Some(_), Verdict::Refuse(rejection)) => Explanation::of_evidence(policy, rejection, self.at),
            _ => Appraiser::explain(policy, &self.facts, &self.ownership, self.at, verdict),
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

fn read(reader: &mut Reader<'_>, table: &DeTable<'_>, mut facts: Facts, evidence: Evidence<'_>) -> Option<Case> {
    reader.header(table, KIND);
    reader.only_keys(table, "a case", KEYS);
    let description = table.get("description").and_then(|node| reader.string(node, "description")).unwrap_or_default();
    let at = reader.required(table, "at", 0..0, "a case has its own clock: at = 2026-01-31T12:00:00Z");
    let at = at.and_then(|node| moment::date(reader, node, "at"));
    let trust_domain = trust_domain(reader, table);
    let bank = bank(reader, table);
    let (mut refused, mut quoted) = (None, None);
    match evidence {
        Evidence::None => {}
        Evidence::Log(bytes) => match log::facts(bytes, bank) {
            Ok(found) => facts.join(found),
            Err(problem) => refused = Some(problem),
        },
        Evidence::Verified { facts: found, quoted: by } => {
            facts.join(found);
            quoted = by;
        }
        Evidence::Refused { code, detail } => refused = Some(Refused { code, detail }),
    }
    add_facts(reader, table, &mut facts);
    for (name, span) in table.get("without").map(|node| reader.strings(node, "without")).unwrap_or_default() {
        match FactId::parse(name) {
            Some(id) if facts.remove(id).is_some() => {}
            Some(_) => {
                let message = format!("fact \"{name}\" is not there to be taken away");
                reader.add(span, Kind::BadValue, message, None);
            }
            None => {
                let suggestion = Some(read::suggestion(name));
                reader.add(span, Kind::UnknownFact, format!("unknown fact \"{name}\""), suggestion);
            }
        }
    }
    let ownership = ownership(reader, table, &facts);
    let expect = reader.required(table, "expect", 0..0, "write: [expect] and decision = \"admitted\"")?;
    let expect = expectation(reader, expect);
    Some(Case {
        description: description.to_owned(),
        facts,
        refused,
        quoted,
        ownership,
        at: at?,
        trust_domain: trust_domain?,
        expect: expect?,
    })
}

fn trust_domain(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<TrustDomain> {
    let Some(node) = table.get("trust_domain") else { return "example.org".parse().ok() };
    let parsed = reader.string(node, "trust_domain")?.parse();
    parsed.map_err(|error| reader.add(node.span(), Kind::BadValue, format!("trust_domain: {error}"), None)).ok()
}

/// The bank under `[evidence]`; SHA-256 where it is silent.
fn bank(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Bank {
    let Some(evidence) = table.get("evidence").and_then(|node| reader.subtable(node, "evidence")) else {
        return Bank::Sha256;
    };
    if evidence.contains_key("kind") {
        // the keys are those of whoever verifies the evidence, who refuses what he does not know
        return Bank::Sha256;
    }
    reader.only_keys(evidence, "evidence", LOG_KEYS);
    let known = Bank::ALL.map(Bank::as_str);
    word(reader, evidence, "pcr_bank", &known).and_then(|word| word.parse().ok()).unwrap_or(Bank::Sha256)
}

/// Adds `[facts]` and `unexplained_pcrs` of a case or of a file of facts.
fn add_facts(reader: &mut Reader<'_>, table: &DeTable<'_>, facts: &mut Facts) {
    if let Some(listed) = table.get("facts").and_then(|node| reader.subtable(node, "facts")) {
        for entry in read::entries(reader, listed) {
            // Only here may an array be empty: it is known that there is no such value.
            let known_empty = entry.node.get_ref().as_array().is_some_and(|array| array.is_empty());
            let noted = if known_empty { Vec::new() } else { read::values(reader, entry.id, entry.node) };
            if entry.id.definition().shape == Shape::One && noted.len() != 1 {
                let message = format!("fact \"{}\" has one value, found {}", entry.id, noted.len());
                reader.add(entry.node.span(), Kind::BadValue, message, None);
            }
            let values = noted.into_iter().map(|noted| noted.value).collect();
            // Nobody signed a case.
            facts.insert(entry.id, Fact::of(Provenance::Unauthenticated, values));
        }
    }
    if let Some(node) = table.get("unexplained_pcrs") {
        for element in reader.array(node, "unexplained_pcrs").unwrap_or_default() {
            match pcr(element) {
                Some(pcr) => facts.quoted_pcr(pcr, Explained::Not),
                None => {
                    let message = "expected a PCR from 0 to 23".to_owned();
                    reader.add(element.span(), Kind::BadValue, message, None);
                }
            }
        }
    }
}

fn pcr(node: &Node<'_>) -> Option<u8> {
    let number = node.get_ref().as_integer()?;
    u8::from_str_radix(number.as_str(), number.radix()).ok().filter(|pcr| *pcr < PCR_COUNT)
}

fn ownership(reader: &mut Reader<'_>, table: &DeTable<'_>, facts: &Facts) -> Ownership {
    let mut ownership = Ownership::unknown();
    let Some(records) = table.get("ownership").and_then(|node| reader.subtable(node, "ownership")) else {
        return ownership;
    };
    reader.only_keys(records, "ownership", OWNERSHIP_KEYS);
    let listing = word(reader, records, "inventory", &["not-listed", "listed"]);
    let launch = word(reader, records, "launch", &["not-registered", "registered"]);
    let listed = |mark: &OwnerMark| match mark.ownable {
        Ownable::No => false,
        Ownable::Inventory => listing == Some("listed"),
        Ownable::Launch => launch == Some("registered"),
    };
    ownership.inventory = owner_marks(facts)
        .filter(listed)
        .map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed })
        .collect();
    ownership.approval = match word(reader, records, "approval", &["not-given", "given", "denied"]) {
        Some("given") => Approval::Given,
        Some("denied") => Approval::Denied,
        _ => Approval::NotGiven,
    };
    ownership.machine = MachineRecord::New;
    ownership
}

fn word<'t>(reader: &mut Reader<'_>, table: &'t DeTable<'_>, key: &str, known: &[&str]) -> Option<&'t str> {
    let node = table.get(key)?;
    let found = reader.string(node, key)?;
    if !known.contains(&found) {
        let suggestion = match nearest(found, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known: {}", known.join(", ")),
        };
        reader.add(node.span(), Kind::BadValue, format!("unknown {key} {found:?}"), Some(suggestion));
    }
    Some(found)
}

fn expectation(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Expectation> {
    let table = reader.subtable(node, "expect")?;
    reader.only_keys(table, "expect", EXPECT_KEYS);
    reader.required(table, "decision", node.span(), "write: decision = \"admitted\"")?;
    let decision = word(reader, table, "decision", DECISIONS)?.to_owned();
    let mut text = |key: &str| table.get(key).and_then(|node| reader.string(node, key)).map(str::to_owned);
    let (code, rule, alternative, node_id) = (text("code"), text("rule"), text("alternative"), text("node_id"));
    let mut texts = |key: &str| {
        let listed = table.get(key).map(|node| reader.strings(node, key));
        listed.map(|listed| listed.into_iter().map(|(text, _)| text.to_owned()).collect())
    };
    let (because, selectors) = (texts("because"), texts("selectors"));
    let waivers = table.get("waivers").map(|node| {
        // None at all may be what is expected.
        let none = node.get_ref().as_array().is_some_and(|array| array.is_empty());
        let listed = if none { Vec::new() } else { reader.strings(node, "waivers") };
        listed.into_iter().map(|(text, _)| text.to_owned()).collect()
    });
    if decision == "refused" && code.is_none() {
        let message = "a refusal is expected for a reason".to_owned();
        reader.add(node.span(), Kind::MissingKey, message, Some("write: code = \"policy.no_rule_matched\"".to_owned()));
    }
    Some(Expectation { decision, code, because, rule, alternative, node_id, selectors, waivers })
}
