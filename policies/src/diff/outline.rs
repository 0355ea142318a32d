//! A policy as its reader sees it: rules, conditions with the values behind every name, what is issued. Taken from the text,
//! after the policy was read by the very code that a server uses, so that a key that came with a newer language is still
//! compared, if only as text. Compares nothing.

use std::collections::BTreeMap;

use holdfast_appraisal::policy::Bundle;
use holdfast_appraisal::reference::ReferenceValues;
use holdfast_appraisal::{Document, FactId};
use toml::{Table, Value};

/// A value and its note.
pub(super) type Noted = (String, Option<String>);
/// Values by fact (or whatever the key is) and operator.
pub(super) type Conditions = BTreeMap<(String, String), Vec<Noted>>;

/// A whole policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    pub(super) denies: Vec<Entry>,
    /// Everything else, key by key, as text: bank, and what newer languages add.
    pub(super) others: BTreeMap<String, String>,
    /// Further lists of named tables, such as waivers: list and name.
    pub(super) named: BTreeMap<(String, String), String>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) evidence: Vec<String>,
    pub(super) ownership: Vec<String>,
    pub(super) trust_classes: Vec<String>,
    pub(super) require: Conditions,
    pub(super) alternatives: Vec<Entry>,
    /// What is issued, the policy's own settings where the rule is silent.
    pub(super) issue: BTreeMap<String, Vec<String>>,
    /// Everything else.
    pub(super) others: BTreeMap<String, String>,
}

/// An alternative, or an entry of a deny list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) conditions: Conditions,
    pub(super) others: BTreeMap<String, String>,
}

/// What `@name` stands for.
struct Names {
    sets: Table,
    references: Vec<ReferenceValues>,
}

/// The outline of a bundle that parses.
pub(super) fn outline(bundle: &Bundle) -> anyhow::Result<Outline> {
    let table: Table = bundle.policy.text.parse()?;
    let references = bundle
        .references
        .iter()
        .filter_map(|file| ReferenceValues::parse(Document { name: &file.name, text: &file.text }).ok());
    let sets = table.get("sets").and_then(Value::as_table).cloned().unwrap_or_default();
    let names = Names { sets, references: references.collect() };
    let issue = table.get("issue").and_then(Value::as_table).cloned().unwrap_or_default();
    let mut outline = Outline { name: text_of(&table, "name"), ..Outline::default() };
    for (key, value) in &table {
        match (key.as_str(), value) {
            ("rule", _) => outline.rules = tables(value).map(|rule| names.rule(rule, &issue)).collect(),
            ("deny", _) => outline.denies = tables(value).map(|deny| names.entry(deny, "when")).collect(),
            ("name" | "sets" | "reference_values" | "issue" | "api_version" | "kind" | "description", _) => {}
            (_, Value::Array(list)) if list.iter().all(Value::is_table) => {
                for (at, entry) in tables(value).enumerate() {
                    let name = entry.get("name").and_then(Value::as_str).map_or_else(|| at.to_string(), str::to_owned);
                    outline.named.insert((key.clone(), name), Value::Table(entry.clone()).to_string());
                }
            }
            (_, other) => {
                outline.others.insert(key.clone(), other.to_string());
            }
        }
    }
    Ok(outline)
}

impl Names {
    fn rule(&self, table: &Table, policy: &Table) -> Rule {
        let mut rule = Rule { name: text_of(table, "name"), ..Rule::default() };
        let mut issue = policy.clone();
        issue.extend(table.get("issue").and_then(Value::as_table).cloned().unwrap_or_default());
        issue.entry("max_evidence_age").or_insert_with(|| "2h".into());
        rule.issue = issue.iter().map(|(key, value)| (key.clone(), words(value))).collect();
        rule.evidence = vec!["tpm".to_owned()];
        for (key, value) in table {
            match key.as_str() {
                "name" | "issue" | "description" => {}
                "evidence" => rule.evidence = words(value),
                "ownership" => rule.ownership = words(value),
                "trust_classes" => rule.trust_classes = words(value),
                "require" => rule.require = self.conditions(value),
                "alternative" => {
                    rule.alternatives = tables(value).map(|alternative| self.entry(alternative, "require")).collect();
                }
                _ => {
                    rule.others.insert(key.clone(), value.to_string());
                }
            }
        }
        rule
    }

    fn entry(&self, table: &Table, conditions: &str) -> Entry {
        let mut entry = Entry { name: text_of(table, "name"), ..Entry::default() };
        for (key, value) in table {
            match key.as_str() {
                "name" | "description" => {}
                key if key == conditions => entry.conditions = self.conditions(value),
                _ => {
                    entry.others.insert(key.clone(), value.to_string());
                }
            }
        }
        entry
    }

    fn conditions(&self, value: &Value) -> Conditions {
        let mut found = Conditions::new();
        // the text is one that parses: its nesting is bounded by the parser
        let mut open: Vec<(String, &Value)> = vec![(String::new(), value)];
        while let Some((name, value)) = open.pop() {
            let fact = FactId::parse(&name);
            match value {
                Value::Table(table) if fact.is_none() => {
                    for (key, inner) in table {
                        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                        open.push((name, inner));
                    }
                }
                Value::Table(table) if !table.contains_key("value") => {
                    for (operator, operand) in table {
                        found.insert((name.clone(), operator.clone()), self.values(fact, operand));
                    }
                }
                bare => {
                    found.insert((name, "equals".to_owned()), self.values(fact, bare));
                }
            }
        }
        found
    }

    /// The values of an operand, names resolved.
    fn values(&self, fact: Option<FactId>, operand: &Value) -> Vec<Noted> {
        match operand {
            Value::Array(values) => values.iter().flat_map(|value| self.one(fact, value)).collect(),
            single => self.one(fact, single),
        }
    }

    fn one(&self, fact: Option<FactId>, value: &Value) -> Vec<Noted> {
        let name = value.as_str().and_then(|text| text.strip_prefix('@')).filter(|name| !name.starts_with('@'));
        if let Some(name) = name {
            if let Some(set) = self.sets.get(name).and_then(Value::as_array) {
                return set.iter().map(literal).collect();
            }
            let listed = self.references.iter().find(|reference| reference.name == name);
            let listed = listed.zip(fact).and_then(|(reference, fact)| reference.get(fact));
            if let Some(values) = listed {
                return values
                    .iter()
                    .map(|one| (one.value.to_string(), one.note.as_deref().map(str::to_owned)))
                    .collect();
            }
        }
        vec![literal(value)]
    }
}

/// One literal, bare or with its note.
fn literal(value: &Value) -> Noted {
    let bare = |value: &Value| match value {
        Value::String(text) => text.strip_prefix("@@").map_or_else(|| text.clone(), |rest| format!("@{rest}")),
        other => other.to_string(),
    };
    match value.as_table().and_then(|table| Some((table.get("value")?, table.get("note")))) {
        Some((value, note)) => (bare(value), note.and_then(Value::as_str).map(str::to_owned)),
        None => (bare(value), None),
    }
}

fn tables(value: &Value) -> impl Iterator<Item = &Table> {
    value.as_array().into_iter().flatten().filter_map(Value::as_table)
}

fn text_of(table: &Table, key: &str) -> String {
    table.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(|value| literal(value).0).collect(),
        single => vec![literal(single).0],
    }
}
