//! Reads a case from its text: facts, the operator's records and what is expected. Judges nothing.

use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::Bank;
use holdfast_identity::TrustDomain;
use toml::de::DeTable;

use super::log::{self, Refused};
use super::{Case, DECISIONS, EXPECT_KEYS, Evidence, Expectation, KEYS, KIND, LOG_KEYS, OWNERSHIP_KEYS};
use crate::decision::{Approval, InventoryAnswer, Listing, MachineRecord, Ownership};
use crate::document::{Node, Reader};
use crate::facts::{Explained, Fact, FactId, Facts, Ownable, OwnerMark, PCR_COUNT, Shape, owner_marks, read as values};
use crate::finding::{Kind, nearest};
use crate::policy::moment;

pub(super) fn read(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    mut facts: Facts,
    evidence: Evidence<'_>,
) -> Option<Case> {
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
                let suggestion = "leave it out, or name a fact of the base or of the evidence".to_owned();
                reader.add(span, Kind::BadValue, message, Some(suggestion));
            }
            None => {
                let suggestion = Some(values::suggestion(name));
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
        measured: None,
        ownership,
        at: at?,
        trust_domain: trust_domain?,
        expect: expect?,
    })
}

fn trust_domain(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<TrustDomain> {
    let Some(node) = table.get("trust_domain") else { return "example.org".parse().ok() };
    let parsed = reader.string(node, "trust_domain")?.parse();
    let suggestion = || Some("write: trust_domain = \"example.org\"".to_owned());
    parsed.map_err(|error| reader.add(node.span(), Kind::BadValue, format!("trust_domain: {error}"), suggestion())).ok()
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
pub(super) fn add_facts(reader: &mut Reader<'_>, table: &DeTable<'_>, facts: &mut Facts) {
    if let Some(listed) = table.get("facts").and_then(|node| reader.subtable(node, "facts")) {
        for entry in values::entries(reader, listed) {
            // Only here may an array be empty: it is known that there is no such value.
            let known_empty = entry.node.get_ref().as_array().is_some_and(|array| array.is_empty());
            let noted = if known_empty { Vec::new() } else { values::values(reader, entry.id, entry.node) };
            if entry.id.definition().shape == Shape::One && noted.len() != 1 {
                let message = format!("fact \"{}\" has one value, found {}", entry.id, noted.len());
                let suggestion = format!("write: {} = …, or list it under without", entry.id);
                reader.add(entry.node.span(), Kind::BadValue, message, Some(suggestion));
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
                    let suggestion = "write: unexplained_pcrs = [9]".to_owned();
                    reader.add(element.span(), Kind::BadValue, message, Some(suggestion));
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
