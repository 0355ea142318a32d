//! What a satisfied rule issues: the node ID's template, selectors, life times.

use toml::de::DeTable;

use super::moment;
use crate::document::{Node, Reader};
use crate::facts::read::suggestion;
use crate::facts::{FactId, Shape, Subject};
use crate::finding::Kind;

/// Where every node ID begins.
pub(crate) const NODE_PATH: &str = "/holdfast/node/";
/// Life of a node's SVID, and freshness of its evidence, where the policy does not say: two hours.
pub(crate) const TTL_DEFAULT: u32 = 7_200;
/// Shortest life, in seconds: below it an agent does nothing but renew.
pub(crate) const TTL_MIN: u32 = 60;
/// Longest life of a node's SVID in seconds: a day.
pub(crate) const TTL_MAX: u32 = 86_400;
/// Longest time that evidence may count, in seconds: a week.
pub(crate) const EVIDENCE_AGE_MAX: u32 = 7 * 86_400;
/// Most segments of a template.
const SEGMENTS_MAX: usize = 16;

pub(crate) const KEYS: &[&str] = &["node_id", "selectors", "svid_ttl", "max_evidence_age"];

/// What a rule issues.
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    /// Segments below [`NODE_PATH`].
    pub(crate) node_id: Vec<Segment>,
    pub(crate) selectors: Vec<FactId>,
    /// Seconds.
    pub(crate) svid_ttl: u32,
    /// Seconds.
    pub(crate) max_evidence_age: u32,
}

/// One path segment of a node ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// As written.
    Literal(Box<str>),
    /// The value of a fact that names the machine.
    Fact(FactId),
}

/// `[issue]` as far as one table says it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partial {
    node_id: Option<Vec<Segment>>,
    selectors: Option<Vec<FactId>>,
    svid_ttl: Option<u32>,
    max_evidence_age: Option<u32>,
}

impl Partial {
    pub(crate) fn read(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Self {
        reader.only_keys(table, "issue", KEYS);
        Self {
            node_id: table.get("node_id").and_then(|node| template(reader, node)),
            selectors: table.get("selectors").map(|node| selectors(reader, node)),
            svid_ttl: table
                .get("svid_ttl")
                .and_then(|node| moment::duration(reader, node, "svid_ttl", TTL_MIN, TTL_MAX)),
            max_evidence_age: table
                .get("max_evidence_age")
                .and_then(|node| moment::duration(reader, node, "max_evidence_age", TTL_MIN, EVIDENCE_AGE_MAX)),
        }
    }

    /// This table's values, and `base`'s where it is silent. Problems are findings at `at`.
    pub(crate) fn over(&self, reader: &mut Reader<'_>, base: &Self, at: std::ops::Range<usize>) -> Option<Issue> {
        let max_evidence_age = self.max_evidence_age.or(base.max_evidence_age).unwrap_or(TTL_DEFAULT);
        let chosen = self.svid_ttl.or(base.svid_ttl);
        // Where nobody chose, the SVID simply ends with the evidence.
        let svid_ttl = chosen.unwrap_or(TTL_DEFAULT.min(max_evidence_age));
        if svid_ttl > max_evidence_age {
            let message =
                format!("svid_ttl of {svid_ttl} s outlives the evidence, which counts for {max_evidence_age} s");
            let suggestion = "shorten svid_ttl, or lengthen max_evidence_age".to_owned();
            reader.add(at.clone(), Kind::TtlOutlivesEvidence, message, Some(suggestion));
        }
        let Some(node_id) = self.node_id.as_ref().or(base.node_id.as_ref()) else {
            if !reader.has_errors() {
                let message = "key \"node_id\" is missing".to_owned();
                let suggestion = format!("write under [issue]: node_id = \"{NODE_PATH}tpm/{{tpm.machine}}\"");
                reader.add(at, Kind::MissingKey, message, Some(suggestion));
            }
            return None;
        };
        let selectors = self.selectors.as_ref().or(base.selectors.as_ref()).cloned().unwrap_or_default();
        Some(Issue { node_id: node_id.clone(), selectors, svid_ttl, max_evidence_age })
    }
}

fn template(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Vec<Segment>> {
    let text = reader.string(node, "node_id")?;
    let example = || Some(format!("write: node_id = \"{NODE_PATH}tpm/{{tpm.machine}}\""));
    let Some(path) = text.strip_prefix(NODE_PATH) else {
        let message = format!("node ID template {text:?} does not begin with {NODE_PATH:?}");
        reader.add(node.span(), Kind::TemplateSegment, message, example());
        return None;
    };
    let mut segments = Vec::new();
    for part in path.split('/') {
        segments.push(segment(reader, node, part)?);
    }
    if segments.len() > SEGMENTS_MAX {
        let message = format!("node ID template has {} segments, limit {SEGMENTS_MAX}", segments.len());
        reader.add(node.span(), Kind::TemplateSegment, message, None);
        return None;
    }
    if !segments.iter().any(|segment| matches!(segment, Segment::Fact(_))) {
        let message =
            format!("two machines can satisfy the node ID template {text:?}: nothing in it names the machine");
        reader.add(node.span(), Kind::TemplateAmbiguous, message, example());
        return None;
    }
    Some(segments)
}

fn segment(reader: &mut Reader<'_>, node: &Node<'_>, part: &str) -> Option<Segment> {
    let inner = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if let Some(name) = inner {
        let Some(fact) = FactId::parse(name) else {
            let message = format!("unknown fact \"{name}\" in the node ID template");
            reader.add(node.span(), Kind::UnknownFact, message, Some(suggestion(name)));
            return None;
        };
        let definition = fact.definition();
        if definition.subject != Subject::Machine || definition.shape != Shape::One {
            let message = format!("fact \"{name}\" does not name one machine for ever: it cannot stand in a node ID");
            reader.add(node.span(), Kind::TemplateFact, message, Some("use {tpm.machine}".to_owned()));
            return None;
        }
        return Some(Segment::Fact(fact));
    }
    let spelt = part.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_'));
    if part.is_empty() || part == "." || part == ".." || !spelt {
        let message = format!("node ID template has the segment {part:?}, which no SPIFFE ID may have");
        let suggestion = "a segment is letters, digits, '.', '-', '_', or one whole {fact}".to_owned();
        reader.add(node.span(), Kind::TemplateSegment, message, Some(suggestion));
        return None;
    }
    Some(Segment::Literal(part.into()))
}

fn selectors(reader: &mut Reader<'_>, node: &Node<'_>) -> Vec<FactId> {
    let mut found: Vec<FactId> = Vec::new();
    for (name, span) in reader.strings(node, "selectors") {
        let Some(fact) = FactId::parse(name) else {
            let message = format!("unknown fact \"{name}\" under selectors");
            reader.add(span, Kind::UnknownFact, message, Some(suggestion(name)));
            continue;
        };
        if fact.selector().is_none() {
            let message = format!("fact \"{name}\" does not become a selector");
            let known = crate::facts::registry().filter(|d| d.selector.is_some()).map(|d| d.name);
            let suggestion = format!("facts that do: {}", known.collect::<Vec<_>>().join(", "));
            reader.add(span, Kind::SelectorFact, message, Some(suggestion));
        } else if found.contains(&fact) {
            reader.add(span, Kind::DuplicateValue, format!("selectors name \"{name}\" twice"), None);
        } else {
            found.push(fact);
        }
    }
    found
}
