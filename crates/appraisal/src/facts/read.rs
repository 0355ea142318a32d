//! Facts and values as documents write them: nested or quoted names, literals, literals with a note.

use std::ops::Range;

use holdfast_evidence::crypto::Digest;
use toml::de::{DeTable, DeValue};

use super::{FactId, all_names};
use crate::document::{Key, Node, Reader};
use crate::finding::{Kind, nearest};
use crate::value::{TEXT_BYTES_MAX, Value, ValueType};

/// A value with the document's own remark about it, such as the file that a digest was taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The value.
    pub value: Value,
    /// The remark.
    pub note: Option<Box<str>>,
    /// The digest under which some firmware measures the value, where the log then holds the digest alone.
    pub(crate) digest: Option<Digest>,
}

impl Noted {
    /// A value without a remark.
    pub(crate) const fn bare(value: Value) -> Self {
        Self { value, note: None, digest: None }
    }

    /// Whether `found` is this value, or the digest of it.
    pub(crate) fn is(&self, found: &Value) -> bool {
        self.value == *found
            || self.digest.is_some_and(|digest| matches!(found, Value::Digest(found) if *found == digest))
    }
}

/// One entry of a table of facts.
pub(crate) struct Entry<'t, 'i> {
    pub(crate) id: FactId,
    pub(crate) key: Range<usize>,
    pub(crate) node: &'t Node<'i>,
}

/// The facts that `table` names, nested (`tpm.secure_boot.enabled = …`) or quoted; unknown ones are findings.
pub(crate) fn entries<'t, 'i>(reader: &mut Reader<'_>, table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut found = Vec::new();
    walk(reader, table, "", &mut found);
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|entry: &Entry<'_, '_>| {
        let first = seen.insert(entry.id);
        if !first {
            let message = format!("fact \"{}\" stands here twice", entry.id);
            reader.add(entry.key.clone(), Kind::DuplicateName, message, None);
        }
        first
    });
    found
}

fn walk<'t, 'i>(reader: &mut Reader<'_>, table: &'t DeTable<'i>, prefix: &str, found: &mut Vec<Entry<'t, 'i>>) {
    for (key, node) in table {
        let name = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        if let Some(id) = FactId::parse(&name) {
            found.push(Entry { id, key: key.span(), node });
        } else if let Some(inner) = node.get_ref().as_table().filter(|_| begins_a_fact(&name)) {
            walk(reader, inner, &name, found);
        } else {
            unknown(reader, key, node, &name);
        }
    }
}

fn begins_a_fact(name: &str) -> bool {
    all_names().any(|fact| fact.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

fn unknown(reader: &mut Reader<'_>, key: &Key<'_>, node: &Node<'_>, name: &str) {
    let name = &full_name(node, name);
    reader.add(key.span(), Kind::UnknownFact, format!("unknown fact \"{name}\""), Some(suggestion(name)));
}

/// `name` with the keys nested below it, so that the message says what was written and not only its first part.
fn full_name(node: &Node<'_>, name: &str) -> String {
    let mut full = name.to_owned();
    let mut node = node;
    while let Some((key, inner)) =
        node.get_ref().as_table().filter(|table| table.len() == 1).and_then(|t| t.iter().next())
    {
        full.push('.');
        full.push_str(key.get_ref());
        node = inner;
    }
    full
}

/// What to write instead of the unknown fact `name`.
pub(crate) fn suggestion(name: &str) -> String {
    let names: Vec<String> = all_names().collect();
    let inside = format!("{name}.");
    let below: Vec<&str> = names.iter().filter(|fact| fact.starts_with(&inside)).map(String::as_str).take(6).collect();
    if !below.is_empty() {
        return format!("a fact's full name is needed, such as {}", below.join(", "));
    }
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "holdfast-policy schema, or docs/reference/policy.md, lists every fact".to_owned(),
    }
}

/// The value that `node` spells, bare or as `{ value = …, note = "…" }`.
pub(crate) fn noted(reader: &mut Reader<'_>, node: &Node<'_>, value_type: ValueType) -> Option<Noted> {
    let Some(table) = node.get_ref().as_table() else {
        return literal(reader, node, value_type).map(Noted::bare);
    };
    reader.only_keys(table, "a value with a note", &["value", "note"]);
    let value = reader.required(table, "value", node.span(), "write: { value = \"…\", note = \"…\" }")?;
    let value = literal(reader, value, value_type)?;
    let note = match table.get("note") {
        Some(note) => Some(reader.string(note, "note")?.into()),
        None => None,
    };
    Some(Noted { note, ..Noted::bare(value) })
}

/// How a value of this type is written.
fn example(value_type: ValueType, node: &Node<'_>) -> &'static str {
    match value_type {
        ValueType::Bool | ValueType::Integer | ValueType::Bits if node.get_ref().is_str() => {
            "without quotes: true, 3, 0x3f"
        }
        ValueType::Bool => "write: true, or false",
        ValueType::Integer | ValueType::Bits => "write a whole number from 0 on, such as 3 or 0x3f",
        ValueType::Version => "write up to four numbers with dots in quotes: \"7.85.4555.0\"",
        ValueType::Text => "write a text in quotes",
        ValueType::Digest => "write 64, 96 or 128 hexadecimal digits in quotes, or the name of a set: \"@name\"",
        ValueType::Labelled => {
            "write a label and a digest in quotes, such as \"x509:…\", or the name of a set: \"@name\""
        }
    }
}

/// The value that `node` spells; anything of another type is a finding.
pub(crate) fn literal(reader: &mut Reader<'_>, node: &Node<'_>, value_type: ValueType) -> Option<Value> {
    let value = match (node.get_ref(), value_type) {
        (DeValue::Boolean(value), ValueType::Bool) => Some(Value::Bool(*value)),
        (DeValue::Integer(number), ValueType::Integer | ValueType::Bits) => {
            let make = if value_type == ValueType::Bits { Value::Bits } else { Value::Integer };
            u64::from_str_radix(number.as_str(), number.radix()).ok().map(make)
        }
        (DeValue::String(_), ValueType::Bool | ValueType::Integer | ValueType::Bits) => None,
        (DeValue::String(text), _) => Value::parse(value_type, text),
        _ => None,
    };
    if value.is_none() {
        let found = node.get_ref().as_str().map_or_else(|| node.get_ref().type_str().to_owned(), shortened);
        let message = format!("expected {}, found {found}", value_type.expected());
        let too_long = node.get_ref().as_str().is_some_and(|text| text.len() > TEXT_BYTES_MAX);
        let suggestion = match too_long {
            true => format!("a text has at most {TEXT_BYTES_MAX} bytes"),
            false => example(value_type, node).to_owned(),
        };
        reader.add(node.span(), Kind::BadValue, message, Some(suggestion));
    }
    value
}

fn shortened(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    if start.len() < text.len() { format!("{start:?}…") } else { format!("{text:?}") }
}

/// One value or an array of values of `id`; empty arrays are findings.
pub(crate) fn values(reader: &mut Reader<'_>, id: FactId, node: &Node<'_>) -> Vec<Noted> {
    let value_type = id.definition().value_type;
    let elements = match node.get_ref() {
        DeValue::Array(_) => reader.array(node, &format!("\"{id}\"")).unwrap_or_default(),
        _ => std::slice::from_ref(node),
    };
    elements.iter().filter_map(|element| noted(reader, element, value_type)).collect()
}
