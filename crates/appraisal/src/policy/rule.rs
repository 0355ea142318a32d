//! Rules, their alternatives, and deny lists.

use holdfast_evidence::tpm::Bank;
use holdfast_evidence::{EvidenceKind, TrustClass};
use holdfast_identity::UnixTime;
use toml::de::DeTable;

use super::condition::{Condition, conditions};
use super::events::events;
use super::issue::{Issue, Partial};
use super::moment;
use super::names::Names;
use crate::document::{Document, Key, Node, Reader};
use crate::finding::{Finding, Kind, nearest};
use crate::ima::{ImaFiles, ImaRule};

/// Most rules of a policy, and most alternatives of a rule.
pub(crate) const RULES_MAX: usize = 1_000;

pub(crate) const RULE_KEYS: &[&str] = &[
    "name",
    "description",
    "evidence",
    "ownership",
    "ownership_reason",
    "trust_classes",
    "require",
    "required_events",
    "forbidden_events",
    "ima",
    "alternative",
    "issue",
];
pub(crate) const ALTERNATIVE_KEYS: &[&str] =
    &["name", "description", "valid_from", "valid_until", "require", "required_events", "forbidden_events"];
pub(crate) const DENY_KEYS: &[&str] = &["name", "reason", "when"];

/// Why a machine counts as ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factor {
    Inventory,
    Launch,
    Approval,
    AnyGenuineDevice,
}

/// One admitting rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// The kinds of evidence that must all be there; never empty.
    pub(crate) evidence: Vec<EvidenceKind>,
    /// All must hold; never empty.
    pub(crate) ownership: Vec<Factor>,
    pub(crate) ownership_reason: Option<String>,
    pub(crate) trust_classes: Vec<TrustClass>,
    pub(crate) require: Vec<Condition>,
    /// What is said of measured files; must hold beside `require`.
    pub(crate) ima: Option<ImaRule>,
    /// If there are any, one must hold beside `require`.
    pub(crate) alternatives: Vec<Alternative>,
    pub(crate) issue: Issue,
}

/// One of several states that a rule admits.
#[derive(Clone, Debug)]
pub(crate) struct Alternative {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    /// First second at which it counts.
    pub(crate) valid_from: Option<UnixTime>,
    /// First second at which it does not count any more.
    pub(crate) valid_until: Option<UnixTime>,
    pub(crate) require: Vec<Condition>,
}

/// What is refused whatever the rules say.
#[derive(Clone, Debug)]
pub(crate) struct Deny {
    pub(crate) name: String,
    pub(crate) reason: String,
    pub(crate) when: Vec<Condition>,
}

impl Factor {
    pub(crate) const ALL: [Self; 4] = [Self::Inventory, Self::Launch, Self::Approval, Self::AnyGenuineDevice];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Launch => "launch",
            Self::Approval => "approval",
            Self::AnyGenuineDevice => "any-genuine-device",
        }
    }
}

impl Rule {
    /// Conditions of the rule and of all its alternatives.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.require.iter().chain(self.alternatives.iter().flat_map(|alternative| &alternative.require))
    }
}

pub(crate) struct RuleReader<'n, 't, 'i> {
    pub(crate) names: &'n mut Names<'t, 'i>,
    pub(crate) bank: Bank,
    pub(crate) issue: &'n Partial,
    pub(crate) documents: &'n [Document<'n>],
    pub(crate) ima_files: ImaFiles,
    pub(crate) foreign: &'n mut Vec<Finding>,
}

impl RuleReader<'_, '_, '_> {
    pub(crate) fn rule(&mut self, reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Rule> {
        let table = reader.subtable(node, "rule")?;
        reader.only_keys(table, "a rule", RULE_KEYS);
        let name = reader.required(table, "name", node.span(), "every decision names its rule: name = \"rack-a\"");
        let name = name.and_then(|node| reader.name(node, "name"));
        description(reader, table);
        let evidence = evidence(reader, table);
        let ownership = ownership(reader, table, node);
        let ownership_reason = ownership_reason(reader, table, &ownership);
        let trust_classes = trust_classes(reader, table, node);
        let require = self.required(reader, table);
        let ima = table
            .get("ima")
            .and_then(|node| ImaRule::read(reader, node, self.documents, &mut self.ima_files, self.foreign));
        let alternatives = table.get("alternative").map(|node| self.alternatives(reader, node)).unwrap_or_default();
        let own = table.get("issue").and_then(|node| reader.subtable(node, "issue")).cloned();
        let own = own.map(|table| Partial::read(reader, &table)).unwrap_or_default();
        let issue = own.over(reader, self.issue, table.get("issue").map_or(node.span(), |node| node.span()));
        let (line, column) = place(reader, table, node);
        Some(Rule {
            name: name?,
            line,
            column,
            evidence,
            ownership,
            ownership_reason,
            trust_classes,
            require,
            ima,
            alternatives,
            issue: issue?,
        })
    }

    fn alternatives(&mut self, reader: &mut Reader<'_>, node: &Node<'_>) -> Vec<Alternative> {
        let Some(listed) = reader.array(node, "alternative") else { return Vec::new() };
        let mut found: Vec<Alternative> = Vec::new();
        for node in listed.iter().take(RULES_MAX) {
            if let Some(alternative) = self.alternative(reader, node) {
                unique(reader, node, &alternative.name, found.iter().map(|other| other.name.as_str()), "alternatives");
                found.push(alternative);
            }
        }
        found
    }

    fn alternative(&mut self, reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Alternative> {
        let table = reader.subtable(node, "alternative")?;
        reader.only_keys(table, "an alternative", ALTERNATIVE_KEYS);
        let name = reader.required(table, "name", node.span(), "write: name = \"kernel-6.1\"");
        let name = name.and_then(|node| reader.name(node, "name"));
        description(reader, table);
        let mut date = |key: &str| table.get(key).and_then(|node| moment::date(reader, node, key));
        let (valid_from, valid_until) = (date("valid_from"), date("valid_until"));
        if let (Some(from), Some(until)) = (valid_from, valid_until)
            && from >= until
        {
            let message = "valid_until is not after valid_from: the alternative never counts".to_owned();
            reader.add(table.get("valid_until").map_or(node.span(), |n| n.span()), Kind::EmptyRange, message, None);
        }
        if !table.contains_key("required_events") {
            reader.required(table, "require", node.span(), "an alternative without conditions admits everything")?;
        }
        let require = self.required(reader, table);
        let (line, column) = place(reader, table, node);
        Some(Alternative { name: name?, line, column, valid_from, valid_until, require })
    }

    /// The conditions under `require`, and those that the named events become.
    fn required(&mut self, reader: &mut Reader<'_>, table: &DeTable<'_>) -> Vec<Condition> {
        let mut found = match table.get("require") {
            Some(node) => conditions(reader, self.names, self.bank, node, "require"),
            None => Vec::new(),
        };
        found.extend(events(reader, self.names, self.bank, table));
        found
    }

    pub(crate) fn deny(&mut self, reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Deny> {
        let table = reader.subtable(node, "deny")?;
        reader.only_keys(table, "a deny list's entry", DENY_KEYS);
        let name = reader.required(table, "name", node.span(), "every refusal names its entry: name = \"tpm-fail\"");
        let name = name.and_then(|node| reader.name(node, "name"));
        let reason = reader.required(table, "reason", node.span(), "say why, for whoever is refused");
        let reason = reason.and_then(|node| reader.string(node, "reason"));
        let when = reader.required(table, "when", node.span(), "name the facts that are refused")?;
        let when = conditions(reader, self.names, self.bank, when, "when");
        Some(Deny { name: name?, reason: reason?.to_owned(), when })
    }
}

/// Reports a name that was used before.
pub(crate) fn unique<'n>(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
    name: &str,
    mut others: impl Iterator<Item = &'n str>,
    what: &str,
) {
    if others.any(|other| other == name) {
        let at = node.get_ref().as_table().and_then(|table| table.get("name")).map_or(node.span(), |node| node.span());
        reader.add(at, Kind::DuplicateName, format!("two {what} are named {name:?}"), None);
    }
}

fn place(reader: &Reader<'_>, table: &DeTable<'_>, node: &Node<'_>) -> (usize, usize) {
    reader.position(table.get("name").map_or(node.span().start, |name| name.span().start))
}

fn description(reader: &mut Reader<'_>, table: &DeTable<'_>) {
    if let Some(node) = table.get("description") {
        reader.string(node, "description");
    }
}

/// The kinds under `evidence`; a TPM's where it is silent.
fn evidence(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Vec<EvidenceKind> {
    let Some(node) = table.get("evidence") else { return vec![EvidenceKind::Tpm] };
    let mut kinds: Vec<EvidenceKind> = Vec::new();
    for (word, span) in reader.strings(node, "evidence") {
        match word.parse() {
            Err(_) => unknown_word(reader, word, span, "evidence kind", &EvidenceKind::ALL.map(EvidenceKind::as_str)),
            Ok(kind) if kinds.contains(&kind) => {
                reader.add(span, Kind::DuplicateValue, format!("evidence names {word:?} twice"), None);
            }
            Ok(kind) => kinds.push(kind),
        }
    }
    if kinds.iter().filter(|kind| kind.quotes_pcrs()).count() > 1 {
        let message = "a machine has one TPM: tpm, azure and gcp exclude each other".to_owned();
        reader.add(node.span(), Kind::BadValue, message, Some("write a rule for each".to_owned()));
    }
    kinds
}

fn ownership(reader: &mut Reader<'_>, table: &DeTable<'_>, rule: &Node<'_>) -> Vec<Factor> {
    let Some(node) = table.get("ownership") else {
        let message = "rule without an ownership factor: a genuine device is not our device".to_owned();
        let suggestion = "write: ownership = \"inventory\" (or \"approval\")".to_owned();
        reader.add(rule.span(), Kind::NoOwnership, message, Some(suggestion));
        return Vec::new();
    };
    let mut factors = Vec::new();
    for (word, span) in reader.strings(node, "ownership") {
        match Factor::ALL.into_iter().find(|factor| factor.as_str() == word) {
            Some(factor) if factors.contains(&factor) => {
                reader.add(span, Kind::DuplicateValue, format!("ownership names {word:?} twice"), None);
            }
            Some(factor) => factors.push(factor),
            None => unknown_word(reader, word, span, "ownership factor", &Factor::ALL.map(Factor::as_str)),
        }
    }
    if factors.contains(&Factor::AnyGenuineDevice) && factors.len() > 1 {
        let message = "\"any-genuine-device\" beside another ownership factor says nothing".to_owned();
        reader.add(node.span(), Kind::BadValue, message, Some("leave it out".to_owned()));
    }
    factors
}

fn ownership_reason(reader: &mut Reader<'_>, table: &DeTable<'_>, ownership: &[Factor]) -> Option<String> {
    let any = ownership.contains(&Factor::AnyGenuineDevice);
    let node = table.get("ownership_reason");
    let reason = node.and_then(|node| reader.string(node, "ownership_reason").map(|text| (text, node.span())));
    match (any, reason) {
        (true, Some((reason, _))) if !reason.trim().is_empty() => {
            let at = table.get("ownership").map_or(0..0, |node| node.span());
            let message = format!("rule admits any genuine device, ours or not; its reason: {reason:?}");
            let suggestion = "name an ownership factor as soon as one can be had".to_owned();
            reader.add(at, Kind::AnyGenuineDevice, message, Some(suggestion));
            Some(reason.to_owned())
        }
        (true, _) => {
            let at = table.get("ownership").map_or(0..0, |node| node.span());
            let message = "\"any-genuine-device\" needs a reason".to_owned();
            reader.add(at, Kind::NoOwnership, message, Some("write: ownership_reason = \"…\"".to_owned()));
            None
        }
        (false, Some((_, span))) => {
            let message = "ownership_reason is only for \"any-genuine-device\"".to_owned();
            reader.add(span, Kind::UnknownKey, message, None);
            None
        }
        (false, None) => None,
    }
}

fn trust_classes(reader: &mut Reader<'_>, table: &DeTable<'_>, rule: &Node<'_>) -> Vec<TrustClass> {
    let known = TrustClass::ALL.map(TrustClass::as_str);
    let Some(node) = table.get("trust_classes") else {
        let message = "rule does not say which trust classes it admits".to_owned();
        let suggestion = format!("write: trust_classes = [\"discrete\", \"firmware\"]; known: {}", known.join(", "));
        reader.add(rule.span(), Kind::NoTrustClass, message, Some(suggestion));
        return Vec::new();
    };
    let mut classes: Vec<TrustClass> = Vec::new();
    for (word, span) in reader.strings(node, "trust_classes") {
        match word.parse() {
            Err(_) => unknown_word(reader, word, span, "trust class", &known),
            Ok(class) if classes.contains(&class) => {
                reader.add(span, Kind::DuplicateValue, format!("trust_classes names {word:?} twice"), None);
            }
            Ok(class) => {
                if class == TrustClass::Simulated {
                    let message = "rule admits simulated machines, whose TPM is a program".to_owned();
                    let suggestion = "for tests and demonstrations only".to_owned();
                    reader.add(span, Kind::SimulatedAdmitted, message, Some(suggestion));
                }
                classes.push(class);
            }
        }
    }
    classes
}

fn unknown_word(reader: &mut Reader<'_>, word: &str, span: std::ops::Range<usize>, what: &str, known: &[&str]) {
    let suggestion = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known: {}", known.join(", ")),
    };
    reader.add(span, Kind::BadValue, format!("unknown {what} {word:?}"), Some(suggestion));
}

/// A top-level key that must hold an array of tables.
pub(crate) fn tables<'t, 'i>(reader: &mut Reader<'_>, entry: Option<(&Key<'i>, &'t Node<'i>)>) -> &'t [Node<'i>] {
    let Some((key, node)) = entry else { return &[] };
    let found = reader.array(node, key.get_ref()).unwrap_or_default();
    if found.len() > RULES_MAX {
        let message = format!("{} {}s, limit {RULES_MAX}", found.len(), key.get_ref());
        reader.add(key.span(), Kind::TooLarge, message, None);
    }
    found
}
