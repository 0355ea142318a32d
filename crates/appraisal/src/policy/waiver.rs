//! Waivers and change windows: facts that may differ on named machines for a time, and nothing else. Reads them;
//! `decision` applies them, after every rule was asked without.

use std::collections::BTreeSet;

use holdfast_identity::UnixTime;
use toml::de::DeTable;

use super::condition::{Condition, conditions};
use super::issue::NODE_PATH;
use super::loosened::Loosened;
use super::moment;
use super::rule::RuleReader;
use crate::document::{Node, Reader};
use crate::facts::FactId;
use crate::finding::Kind;

pub(crate) const WAIVER_KEYS: &[&str] =
    &["name", "reason", "owner", "valid_from", "valid_until", "node", "when", "rule", "facts", "instead"];
pub(crate) const WINDOW_KEYS: &[&str] =
    &["name", "reason", "owner", "valid_from", "valid_until", "nodes", "when", "rules", "facts", "instead"];
/// Longest text of a reason, an owner or a node's name, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaiverKind {
    /// An exception that somebody answers for.
    Waiver,
    /// An announced change, during which facts may differ.
    ChangeWindow,
}

/// Facts that may differ for a time.
#[derive(Clone, Debug)]
pub(crate) struct Waiver {
    pub(crate) kind: WaiverKind,
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) reason: String,
    pub(crate) owner: String,
    /// First second at which it counts.
    pub(crate) valid_from: Option<UnixTime>,
    /// First second at which it does not count any more.
    pub(crate) valid_until: UnixTime,
    /// The machines, by their node's path or the value that names them; or `when`.
    pub(crate) nodes: Vec<String>,
    /// The conditions by which machines are chosen; never empty where `nodes` is.
    pub(crate) when: Vec<Condition>,
    /// The rules whose conditions it waives; all of them if empty, which only a change window may be.
    pub(crate) rules: Vec<String>,
    /// What may differ; never empty.
    pub(crate) facts: Vec<Loosened>,
    /// What must hold in their place.
    pub(crate) instead: Vec<Condition>,
}

impl WaiverKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiver => "waiver",
            Self::ChangeWindow => "change-window",
        }
    }
}

impl Waiver {
    /// Whether its dates include `now`.
    pub(crate) fn counts(&self, now: UnixTime) -> bool {
        self.valid_from.is_none_or(|from| from <= now) && now < self.valid_until
    }

    /// Whether it speaks of conditions of that rule.
    pub(crate) fn is_about(&self, rule: &str) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|name| name == rule)
    }

    /// What of it names the condition, if anything does.
    pub(crate) fn loosens(&self, condition: &Condition) -> Option<Loosened> {
        self.facts.iter().copied().find(|loosened| loosened.covers(condition))
    }

    /// Whether it says which value the fact must have in place of the rule's.
    pub(crate) fn gives_the_value_of(&self, fact: FactId) -> bool {
        self.instead.iter().any(|instead| instead.fact == fact && instead.test.gives_the_value())
    }

    /// Whether it wants nothing in place of what it waives: that something is denied says of no machine what it is.
    pub(super) fn wants_nothing_instead(&self) -> bool {
        self.instead.iter().all(|instead| instead.test.denies())
    }

    /// Whether some machine could have both at one time. Errs on the side of "yes" where machines are chosen by
    /// conditions.
    pub(super) fn may_meet(&self, other: &Self) -> bool {
        let begins = |a: &Self, b: &Self| a.valid_from.is_none_or(|from| from < b.valid_until);
        // A node's path ends with the value that may stand for it.
        let tail = |node: &str| node.rsplit('/').next().unwrap_or_default().to_owned();
        let named: BTreeSet<String> = self.nodes.iter().map(|node| tail(node)).collect();
        let one_machine = self.nodes.is_empty()
            || other.nodes.is_empty()
            || other.nodes.iter().any(|node| named.contains(&tail(node)));
        one_machine && begins(self, other) && begins(other, self)
    }
}

impl RuleReader<'_, '_, '_> {
    pub(crate) fn waiver(&mut self, reader: &mut Reader<'_>, node: &Node<'_>, kind: WaiverKind) -> Option<Waiver> {
        let (what, known, nodes_key, rules_key) = match kind {
            WaiverKind::Waiver => ("a waiver", WAIVER_KEYS, "node", "rule"),
            WaiverKind::ChangeWindow => ("a change window", WINDOW_KEYS, "nodes", "rules"),
        };
        let table = reader.subtable(node, what)?;
        reader.only_keys(table, what, known);
        let name = reader.required(table, "name", node.span(), "every decision names it: name = \"rack-7-bios\"");
        let name = name.and_then(|node| reader.name(node, "name"));
        let reason = text(reader, table, node, "reason", "say why, for whoever reads the decision in a year");
        let owner = text(reader, table, node, "owner", "say who answers for it: owner = \"jane@example.org\"");
        let (valid_from, valid_until) = dates(reader, table, node, kind);
        let nodes = match (table.get(nodes_key), table.get("when")) {
            (Some(named), None) => names_of_nodes(reader, named, kind),
            (None, Some(_)) => Vec::new(),
            _ => {
                let message = format!("{what} is for machines that either \"{nodes_key}\" or \"when\" names");
                let suggestion =
                    format!("write: {nodes_key} = \"{NODE_PATH}tpm/…\" (the node's path, or {{tpm.machine}})");
                reader.add(node.span(), Kind::MissingKey, message, Some(suggestion));
                return None;
            }
        };
        let when = table.get("when").map(|node| conditions(reader, self.names, self.bank, node, "when"));
        let rules = rules(reader, table, node, rules_key, kind);
        let facts = table.get("facts").map(|node| facts(reader, node));
        if facts.is_none() {
            let suggestion = "name what may differ: facts = [\"tpm.boot.loaded_files\"]".to_owned();
            reader.add(node.span(), Kind::MissingKey, "key \"facts\" is missing".to_owned(), Some(suggestion));
        }
        let facts = facts.unwrap_or_default();
        let instead = table.get("instead").map(|node| conditions(reader, self.names, self.bank, node, "instead"));
        let instead = instead.unwrap_or_default();
        if let Some(other) = instead.iter().find(|condition| !facts.iter().any(|one| one.fact == condition.fact)) {
            let at = table.get("instead").map_or(node.span(), |node| node.span());
            let message = format!("\"{}\" under instead is not among the facts that are waived", other.fact);
            reader.add(at, Kind::WaiverUseless, message, Some("name it under facts, or in the rule".to_owned()));
        }
        let (line, column) = reader.position(table.get("name").map_or(node.span().start, |name| name.span().start));
        Some(Waiver {
            kind,
            name: name?,
            line,
            column,
            reason: reason?,
            owner: owner?,
            valid_from,
            valid_until: valid_until?,
            nodes,
            when: when.unwrap_or_default(),
            rules: rules?,
            facts,
            instead,
        })
    }
}

fn text(reader: &mut Reader<'_>, table: &DeTable<'_>, at: &Node<'_>, key: &str, suggestion: &str) -> Option<String> {
    let node = reader.required(table, key, at.span(), suggestion)?;
    let text = reader.string(node, key)?.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        let message = format!("{key} has {} bytes, expected 1 to {TEXT_BYTES_MAX}", text.len());
        reader.add(node.span(), Kind::BadValue, message, Some(suggestion.to_owned()));
        return None;
    }
    Some(text.to_owned())
}

fn dates(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    node: &Node<'_>,
    kind: WaiverKind,
) -> (Option<UnixTime>, Option<UnixTime>) {
    let until = reader.required(table, "valid_until", node.span(), "nothing is waived for ever: valid_until = …");
    let until = until.and_then(|node| moment::date(reader, node, "valid_until"));
    if kind == WaiverKind::ChangeWindow {
        reader.required(table, "valid_from", node.span(), "a change is announced: valid_from = …");
    }
    let from = table.get("valid_from").and_then(|node| moment::date(reader, node, "valid_from"));
    if let (Some(from), Some(until)) = (from, until)
        && from >= until
    {
        let message = "valid_until is not after valid_from: it never counts".to_owned();
        reader.add(table.get("valid_until").map_or(node.span(), |n| n.span()), Kind::EmptyRange, message, None);
    }
    (from, until)
}

fn names_of_nodes(reader: &mut Reader<'_>, node: &Node<'_>, kind: WaiverKind) -> Vec<String> {
    let named = match kind {
        WaiverKind::Waiver => reader.string(node, "node").map(|text| (text, node.span())).into_iter().collect(),
        WaiverKind::ChangeWindow => reader.strings(node, "nodes"),
    };
    let mut found = Vec::new();
    for (name, span) in named {
        let is_path = name.strip_prefix(NODE_PATH).is_some_and(|rest| !rest.is_empty());
        let is_value = !name.is_empty() && !name.contains(['/', ':', ' ']) && name.len() <= TEXT_BYTES_MAX;
        if is_path || is_value {
            found.push(name.to_owned());
        } else {
            let message = format!("{name:?} names no node");
            let suggestion = format!("write its path, {NODE_PATH}…, or the value of the fact that names the machine");
            reader.add(span, Kind::BadValue, message, Some(suggestion));
        }
    }
    found
}

/// The rules that are named; a change window may leave them out. Whether there are such rules shows later.
fn rules(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    node: &Node<'_>,
    key: &str,
    kind: WaiverKind,
) -> Option<Vec<String>> {
    let listed = match kind {
        WaiverKind::Waiver => reader.required(table, key, node.span(), "name the rule whose conditions it waives")?,
        WaiverKind::ChangeWindow => match table.get(key) {
            Some(listed) => listed,
            None => return Some(Vec::new()),
        },
    };
    let named = match kind {
        WaiverKind::Waiver => vec![reader.string(listed, key)?],
        WaiverKind::ChangeWindow => reader.strings(listed, key).into_iter().map(|(name, _)| name).collect(),
    };
    (!named.is_empty()).then(|| named.into_iter().map(str::to_owned).collect())
}

fn facts(reader: &mut Reader<'_>, node: &Node<'_>) -> Vec<Loosened> {
    let mut found: Vec<Loosened> = Vec::new();
    for (name, span) in reader.strings(node, "facts") {
        match Loosened::read(reader, name, span.clone()) {
            None => {}
            Some(Loosened { fact, .. }) if fact.definition().is_fixed() => {
                let message =
                    format!("\"{name}\" says whose machine it is, or whose word is believed: it cannot be waived");
                let suggestion = Some("write a rule of its own for such machines".to_owned());
                reader.add(span, Kind::WaiverForbidden, message, suggestion);
            }
            Some(loosened) if found.contains(&loosened) => {
                reader.add(span, Kind::DuplicateValue, format!("facts name \"{name}\" twice"), None);
            }
            Some(loosened) => found.push(loosened),
        }
    }
    found
}
