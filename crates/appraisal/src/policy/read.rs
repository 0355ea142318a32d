//! Reads a whole policy: its keys in order, then what only shows when everything is read.

use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSet};
use toml::de::DeTable;

use super::issue::Partial;
use super::names::Names;
use super::reach::{self, Budget};
use super::rule::{Rule, RuleReader, tables, unique};
use super::waiver::{Waiver, WaiverKind};
use super::{Deny, Policy, bundle, exceptions, promises, survey};
use crate::decision::PolicyVersion;
use crate::document::{Document, Reader};
use crate::facts::FactId;
use crate::finding::{Finding, Kind, Severity};
use crate::ima::{self, ImaFiles};

/// The bank where the policy names none.
const DEFAULT_BANK: Bank = Bank::Sha256;

pub(crate) const KEYS: &[&str] = &[
    "api_version",
    "kind",
    "name",
    "description",
    "pcr_bank",
    "reference_values",
    "reference_keys",
    "sets",
    "deny",
    "rule",
    "waiver",
    "change_window",
    "issue",
];

pub(super) fn policy(document: Document<'_>, references: &[Document<'_>]) -> Result<Policy, Vec<Finding>> {
    let mut reader = Reader::new(document);
    let mut foreign = Vec::new();
    let parsed = reader.table().and_then(|table| read(&mut reader, table.get_ref(), references, &mut foreign));
    if let Some(policy) = &parsed
        && !reader.has_errors()
    {
        let found = reach::unreachable(document.name, &policy.rules, &mut Budget::new(reach::BUDGET));
        reader.findings.extend(found);
        reader.findings.extend(survey::evidence(document.name, &policy.rules));
        reader.findings.extend(survey::id_keys(document.name, &policy.rules));
        reader.findings.extend(survey::paravisors(document.name, &policy.rules));
        reader.findings.extend(survey::composites(document.name, &policy.rules));
        reader.findings.extend(survey::azure_launches(document.name, &policy.rules));
        reader.findings.extend(promises::never_holding(document.name, policy, &mut Budget::new(reach::BUDGET)));
        reader.findings.extend(promises::names(document.name, &policy.rules));
        reader.findings.extend(promises::templates(document.name, &policy.rules));
        reader.findings.extend(exceptions::useless(document.name, policy));
        reader.findings.extend(survey::measured_files(document.name, &policy.rules));
    }
    let mut findings = reader.findings;
    findings.extend(foreign);
    findings.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
    findings.dedup();
    let errors = findings.iter().any(|finding| finding.severity == Severity::Error);
    match parsed {
        Some(mut policy) if !errors => {
            let needed = policy.facts().into_iter().flat_map(FactId::pcrs);
            let needed = needed.filter_map(|pcr| PcrIndex::new(u32::from(pcr)));
            policy.required = needed.fold(PcrSet::FIRMWARE, PcrSet::with);
            if policy.needs_ima() {
                policy.required = policy.required.union(ima::pcrs());
            }
            policy.file = document.name.to_owned();
            policy.version.digest = bundle::digest(&policy.version.name, document, references);
            policy.warnings = findings;
            Ok(policy)
        }
        _ => Err(findings),
    }
}

fn read(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    references: &[Document<'_>],
    foreign: &mut Vec<Finding>,
) -> Option<Policy> {
    reader.header(table, super::KIND);
    reader.only_keys(table, "a policy", KEYS);
    let name = reader.required(table, "name", 0..0, "every decision names its policy: name = \"rack\"");
    let name = name.and_then(|node| reader.name(node, "name"));
    let description = table.get("description").and_then(|node| reader.string(node, "description")).unwrap_or_default();
    let bank = bank(reader, table);
    let mut names = Names::read(reader, table, references, foreign, bank);
    let issue = table.get("issue").and_then(|node| reader.subtable(node, "issue"));
    let issue = issue.map(|table| Partial::read(reader, table)).unwrap_or_default();
    let ima_files = ImaFiles::default();
    let mut rule_reader =
        RuleReader { names: &mut names, bank, issue: &issue, documents: references, ima_files, foreign: &mut *foreign };

    let mut denies: Vec<Deny> = Vec::new();
    for node in tables(reader, table.get_key_value("deny")) {
        if let Some(deny) = rule_reader.deny(reader, node) {
            unique(reader, node, &deny.name, denies.iter().map(|other| other.name.as_str()), "deny lists");
            denies.push(deny);
        }
    }
    let mut rules: Vec<Rule> = Vec::new();
    if !table.contains_key("rule") {
        let message = "policy without a rule: it admits nothing".to_owned();
        reader.add(0..0, Kind::NoRules, message, Some("write: [[rule]]".to_owned()));
    }
    for node in tables(reader, table.get_key_value("rule")) {
        if let Some(rule) = rule_reader.rule(reader, node) {
            unique(reader, node, &rule.name, rules.iter().map(|other| other.name.as_str()), "rules");
            rules.push(rule);
        }
    }
    let mut waivers: Vec<Waiver> = Vec::new();
    for (key, kind) in [("waiver", WaiverKind::Waiver), ("change_window", WaiverKind::ChangeWindow)] {
        for node in tables(reader, table.get_key_value(key)) {
            if let Some(waiver) = rule_reader.waiver(reader, node, kind) {
                let others = waivers.iter().map(|other| other.name.as_str());
                unique(reader, node, &waiver.name, others, "waivers or change windows");
                waivers.push(waiver);
            }
        }
    }
    if !reader.has_errors() && foreign.is_empty() {
        names.unused(reader);
    }
    Some(Policy {
        version: PolicyVersion { name: name?, digest: String::new() },
        description: description.to_owned(),
        bank,
        denies,
        rules,
        waivers,
        required: PcrSet::FIRMWARE,
        file: String::new(),
        warnings: Vec::new(),
    })
}

fn bank(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Bank {
    let Some(node) = table.get("pcr_bank") else { return DEFAULT_BANK };
    let word = reader.string(node, "pcr_bank");
    word.and_then(|word| {
        let bank = word.parse::<Bank>().ok();
        if bank.is_none() {
            let message = format!("pcr_bank {word:?} is none that a policy may choose");
            reader.add(node.span(), Kind::BadValue, message, Some("sha256, sha384 or sha512".to_owned()));
        }
        bank
    })
    .unwrap_or(DEFAULT_BANK)
}
