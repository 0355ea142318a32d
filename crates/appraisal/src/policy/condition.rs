//! A condition: what one fact must be. Reads conditions; `decision` evaluates them.

use std::ops::Range;
use std::sync::Arc;

use holdfast_evidence::tpm::Bank;
use toml::de::DeTable;

use super::Set;
use super::names::Names;
use super::pattern::{Pattern, Width};
use crate::decision::Origin;
use crate::document::{Node, Reader};
use crate::facts::read::{self, Noted};
use crate::facts::{FactId, NitroFact, Shape};
use crate::finding::{Kind, nearest};
use crate::value::{Value, ValueType, Version};

/// One test of one fact.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) fact: FactId,
    pub(crate) test: Test,
    /// Line in the policy, from 1.
    pub(crate) line: usize,
    /// The sets and files that its values come from.
    pub(crate) origins: Vec<Arc<Origin>>,
}

/// What a fact's values must be. A fact that is not proven passes none of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    /// The value is this one.
    Equals(Noted),
    /// The value is one of these.
    OneOf(Set),
    /// None of the values is one of these.
    NoneOf(Set),
    /// The value is this or more.
    AtLeast(Value),
    /// The value is this or less.
    AtMost(Value),
    /// Each component is this or more.
    EachAtLeast(Version),
    /// All of these bits are set; never zero.
    AllBits(u64),
    /// There is at least one value, and each is one of these.
    SubsetOf(Set),
    /// All of these are among the values.
    SupersetOf(Set),
    /// The values are these, in any order.
    Exactly(Set),
    /// The values are these, in this order.
    Sequence(Vec<Noted>),
    /// At least one of the values is one of these.
    AnyOf(Set),
    /// There is at least one value, and each matches.
    Matches(Pattern),
    /// Each value is a text, and none matches.
    NoneMatches(Pattern),
}

const SCALAR: &[&str] = &["equals", "one_of", "none_of"];
const ORDERED: &[&str] = &["equals", "one_of", "none_of", "at_least", "at_most"];
const VERSION: &[&str] = &["equals", "one_of", "none_of", "at_least", "at_most", "each_at_least"];
const BITS: &[&str] = &["equals", "one_of", "none_of", "all_bits"];
const SET: &[&str] = &["exactly", "subset_of", "superset_of", "any_of", "none_of"];
const LIST: &[&str] = &["sequence", "exactly", "subset_of", "superset_of", "any_of", "none_of"];
const TEXT: &[&str] = &["equals", "one_of", "none_of", "matches", "none_matches"];
const TEXT_SET: &[&str] = &["exactly", "subset_of", "superset_of", "any_of", "none_of", "matches", "none_matches"];
const TEXT_LIST: &[&str] =
    &["sequence", "exactly", "subset_of", "superset_of", "any_of", "none_of", "matches", "none_matches"];
pub(super) const ALL: &[&str] = &[
    "equals",
    "one_of",
    "none_of",
    "at_least",
    "at_most",
    "each_at_least",
    "all_bits",
    "sequence",
    "exactly",
    "subset_of",
    "superset_of",
    "any_of",
    "matches",
    "none_matches",
];

/// The operators that fit a fact, as policies write them.
pub(crate) fn operators(fact: FactId) -> &'static [&'static str] {
    let definition = fact.definition();
    match (definition.shape, definition.value_type) {
        (Shape::One, ValueType::Integer) => ORDERED,
        (Shape::One, ValueType::Version) => VERSION,
        (Shape::One, ValueType::Bits) => BITS,
        // Nitro measures the digest of a role's ARN alone: no text that could match.
        (Shape::One, ValueType::Text) if fact != FactId::Nitro(NitroFact::RoleArn) => TEXT,
        (Shape::One, ValueType::Bool | ValueType::Text | ValueType::Digest | ValueType::Labelled) => SCALAR,
        (Shape::Set, ValueType::Text) => TEXT_SET,
        (Shape::List, ValueType::Text) => TEXT_LIST,
        (Shape::Set, _) => SET,
        (Shape::List, _) => LIST,
    }
}

/// Reads a table of conditions; an empty one is a finding.
pub(crate) fn conditions(
    reader: &mut Reader<'_>,
    names: &mut Names<'_, '_>,
    bank: Bank,
    node: &Node<'_>,
    what: &str,
) -> Vec<Condition> {
    let Some(table) = reader.subtable(node, what) else { return Vec::new() };
    if table.is_empty() {
        let message = format!("{what} is empty: everything would satisfy it");
        let suggestion = "name the facts that it needs, or leave the key out where it is optional".to_owned();
        reader.add(node.span(), Kind::EmptyRequirement, message, Some(suggestion));
    }
    let mut found = Vec::new();
    for entry in read::entries(reader, table) {
        let (line, _) = reader.position(entry.key.start);
        for (test, origins) in tests(reader, names, entry.id, entry.node) {
            check_digest_sizes(reader, bank, entry.id, &test, entry.node.span());
            found.push(Condition { fact: entry.id, test, line, origins });
        }
        bare_pcr(reader, entry.id, entry.key);
    }
    found
}

type Tests = Vec<(Test, Vec<Arc<Origin>>)>;

fn tests(reader: &mut Reader<'_>, names: &mut Names<'_, '_>, id: FactId, node: &Node<'_>) -> Tests {
    let fitting = operators(id);
    names.lately();
    let Some(table) = node.get_ref().as_table().filter(|table| !table.contains_key("value")) else {
        return bare(reader, names, id, node).map(|test| (test, names.lately())).into_iter().collect();
    };
    if table.is_empty() {
        let suggestion = Some(format!("operators that fit: {}", fitting.join(", ")));
        reader.add(node.span(), Kind::EmptyRequirement, format!("\"{id}\" has no operator"), suggestion);
    }
    let mut found = Vec::new();
    for (key, operand) in table {
        let operator: &str = key.get_ref();
        if !fitting.contains(&operator) {
            misfit(reader, id, operator, key.span());
        } else if let Some(test) = test(reader, names, id, operator, operand) {
            found.push((test, names.lately()));
        }
    }
    check_range(reader, table, &found);
    found
}

/// `fact = value`, for facts that have one value.
fn bare(reader: &mut Reader<'_>, names: &mut Names<'_, '_>, id: FactId, node: &Node<'_>) -> Option<Test> {
    let shape = id.definition().shape;
    if shape != Shape::One {
        let message = format!("\"{id}\" has any number of values: say how they must relate to yours");
        let suggestion = format!(
            "write: {id} = {{ {} = … }}; operators that fit: {}",
            operators(id).first().copied().unwrap_or_default(),
            operators(id).join(", ")
        );
        reader.add(node.span(), Kind::OperatorDoesNotFit, message, Some(suggestion));
        return None;
    }
    if node.get_ref().is_array() {
        let message = format!("\"{id}\" has one value, found an array");
        reader.add(node.span(), Kind::OperatorDoesNotFit, message, Some(format!("write: {id} = {{ one_of = […] }}")));
        return None;
    }
    names.value(reader, id, node).map(Test::Equals)
}

fn misfit(reader: &mut Reader<'_>, id: FactId, operator: &str, span: Range<usize>) {
    let fitting = operators(id);
    if ALL.contains(&operator) {
        let message = format!("operator \"{operator}\" does not fit \"{id}\"");
        reader.add(
            span,
            Kind::OperatorDoesNotFit,
            message,
            Some(format!("operators that fit: {}", fitting.join(", "))),
        );
        return;
    }
    let inner = format!("{id}.{operator}");
    let suggestion = match nearest(operator, fitting.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("\"{inner}\" is no fact; operators that fit: {}", fitting.join(", ")),
    };
    reader.add(span, Kind::UnknownOperator, format!("unknown operator \"{operator}\""), Some(suggestion));
}

fn test(
    reader: &mut Reader<'_>,
    names: &mut Names<'_, '_>,
    id: FactId,
    operator: &str,
    node: &Node<'_>,
) -> Option<Test> {
    let what = format!("{operator} of \"{id}\"");
    let mut set = |make: fn(Set) -> Test| Set::new(names.values(reader, id, node, &what)).map(make);
    match operator {
        "one_of" => set(Test::OneOf),
        "none_of" => set(Test::NoneOf),
        "subset_of" => set(Test::SubsetOf),
        "superset_of" => set(Test::SupersetOf),
        "exactly" => set(Test::Exactly),
        "any_of" => set(Test::AnyOf),
        "sequence" => {
            let values = names.values(reader, id, node, &what);
            (!values.is_empty()).then_some(Test::Sequence(values))
        }
        "matches" => Pattern::read(reader, node, &what, Width::Narrow).map(Test::Matches),
        "none_matches" => Pattern::read(reader, node, &what, Width::MayBeEmpty).map(Test::NoneMatches),
        "equals" => names.value(reader, id, node).map(Test::Equals),
        "at_least" => names.value(reader, id, node).map(|noted| Test::AtLeast(noted.value)),
        "at_most" => names.value(reader, id, node).map(|noted| Test::AtMost(noted.value)),
        "each_at_least" => match names.value(reader, id, node)?.value {
            Value::Version(version) => Some(Test::EachAtLeast(version)),
            _ => None,
        },
        "all_bits" => match names.value(reader, id, node)?.value {
            Value::Bits(0) => {
                let message = format!("{what} names no bit: everything would satisfy it");
                reader.add(node.span(), Kind::EmptyRequirement, message, None);
                None
            }
            Value::Bits(bits) => Some(Test::AllBits(bits)),
            _ => None,
        },
        _ => None,
    }
}

fn check_range(reader: &mut Reader<'_>, table: &DeTable<'_>, tests: &Tests) {
    let least = tests.iter().find_map(|(test, _)| if let Test::AtLeast(value) = test { Some(value) } else { None });
    let most = tests.iter().find_map(|(test, _)| if let Test::AtMost(value) = test { Some(value) } else { None });
    if let (Some(least), Some(most), Some(node)) = (least, most, table.get("at_most"))
        && least > most
    {
        let message = format!("at_least {least} is above at_most {most}: nothing is in this range");
        reader.add(node.span(), Kind::EmptyRange, message, None);
    }
}

/// Digests of PCRs and events have the size of the policy's bank; one of another size could never be met.
fn check_digest_sizes(reader: &mut Reader<'_>, bank: Bank, id: FactId, test: &Test, span: Range<usize>) {
    if !matches!(id, FactId::Pcr(_) | FactId::Events(_) | FactId::BootApplications) {
        return;
    }
    let wrong = test.values().find_map(|value| match value {
        Value::Digest(digest) if digest.as_bytes().len() != bank.size() => Some(digest.as_bytes().len()),
        _ => None,
    });
    if let Some(found) = wrong {
        let message = format!("\"{id}\" expects a digest of {found} bytes, bank {bank} has {}", bank.size());
        reader.add(span, Kind::BadValue, message, Some("set pcr_bank to the bank of these values".to_owned()));
    }
}

fn bare_pcr(reader: &mut Reader<'_>, id: FactId, key: Range<usize>) {
    let better = match id {
        FactId::Pcr(4) => "tpm.boot.applications says the same, and which application differs",
        FactId::Pcr(7) => "tpm.secure_boot.* says the same, and survives an update of dbx",
        _ => return,
    };
    let message = format!("bare value of \"{id}\": a refusal cannot say what changed");
    reader.add(key, Kind::BarePcr, message, Some(better.to_owned()));
}

impl Condition {
    /// What it takes to compare it with another of the same fact: one, and one for each value, or for each 16 bytes of a
    /// text.
    pub(super) fn weight(&self) -> usize {
        let weight = |value: &Value| match value {
            Value::Text(text) => 1 + text.len() / 16,
            _ => 1,
        };
        self.test.values().map(weight).fold(1, usize::saturating_add)
    }
}

impl Test {
    /// Every value that the policy wrote.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        let (noted, single) = match self {
            Self::Equals(noted) => (std::slice::from_ref(noted), None),
            Self::AtLeast(value) | Self::AtMost(value) => (&[][..], Some(value)),
            Self::EachAtLeast(_) | Self::AllBits(_) | Self::Matches(_) | Self::NoneMatches(_) => (&[][..], None),
            Self::Sequence(values) => (values.as_slice(), None),
            Self::OneOf(set)
            | Self::NoneOf(set)
            | Self::SubsetOf(set)
            | Self::SupersetOf(set)
            | Self::Exactly(set)
            | Self::AnyOf(set) => (set.values(), None),
        };
        noted.iter().map(|noted| &noted.value).chain(single)
    }

    /// Whether the test says which values there may be, and leaves no other.
    pub(crate) const fn gives_the_value(&self) -> bool {
        matches!(self, Self::Equals(_) | Self::OneOf(_))
    }
}
