//! Events that must, or must not, be in a log: `required_events` and `forbidden_events`. Each is named by what a digest
//! proves: the digest, or contents that hash to it. Becomes conditions on `tpm.events.N`; evaluates nothing.

use holdfast_evidence::tpm::Bank;
use toml::de::DeTable;

use super::condition::{Condition, Test};
use super::names::Names;
use super::set::Set;
use crate::document::{Node, Reader};
use crate::facts::read::Noted;
use crate::facts::{FactId, PCR_COUNT};
use crate::finding::Kind;
use crate::value::Value;

pub(crate) const KEYS: &[&str] = &["pcr", "digest", "action", "separator", "note"];
const EXAMPLE: &str = "write: { pcr = 5, action = \"Exit Boot Services Invocation\" }";
/// Longest text of an action in bytes; the longest of the specifications has fewer than 64.
const ACTION_BYTES_MAX: usize = 1_024;

/// Reads both keys of a rule or an alternative.
pub(crate) fn events(
    reader: &mut Reader<'_>,
    names: &mut Names<'_, '_>,
    bank: Bank,
    table: &DeTable<'_>,
) -> Vec<Condition> {
    let mut found = Vec::new();
    for (key, make) in [("required_events", Test::SupersetOf as fn(Set) -> Test), ("forbidden_events", Test::NoneOf)] {
        let Some(listed) = table.get(key).and_then(|node| reader.array(node, key)) else { continue };
        for node in listed {
            names.lately();
            if let Some((pcr, values)) = event(reader, names, bank, node, key)
                && let Some(set) = Set::new(values)
            {
                let (line, _) = reader.position(node.span().start);
                found.push(Condition { fact: FactId::Events(pcr), test: make(set), line, origins: names.lately() });
            }
        }
    }
    found
}

/// The register, and the digests that name the event in it.
fn event(
    reader: &mut Reader<'_>,
    names: &mut Names<'_, '_>,
    bank: Bank,
    node: &Node<'_>,
    key: &str,
) -> Option<(u8, Vec<Noted>)> {
    let table = reader.subtable(node, key)?;
    if table.contains_key("type") {
        let message = "an event's type is the log's word: no digest proves it".to_owned();
        let suggestion =
            "name what is proven: digest = \"…\", action = \"…\" (its text) or separator = true".to_owned();
        reader.add(node.span(), Kind::EventUnproven, message, Some(suggestion));
        return None;
    }
    reader.only_keys(table, "an event", KEYS);
    let pcr_node = reader.required(table, "pcr", node.span(), EXAMPLE)?;
    let pcr = pcr_node.get_ref().as_integer().and_then(|n| u8::from_str_radix(n.as_str(), n.radix()).ok());
    let Some(pcr) = pcr.filter(|pcr| *pcr < PCR_COUNT) else {
        reader.add(pcr_node.span(), Kind::BadValue, "expected a PCR from 0 to 23".to_owned(), Some(EXAMPLE.to_owned()));
        return None;
    };
    let note = table.get("note").and_then(|note| reader.string(note, "note")).map(Box::from);
    let measured = |bytes: &[u8], what: String| Noted {
        note: Some(note.clone().unwrap_or_else(|| what.into())),
        ..Noted::bare(Value::Digest(bank.digest(&[bytes])))
    };
    let named: Vec<&str> =
        ["digest", "action", "separator"].into_iter().filter(|key| table.contains_key(*key)).collect();
    match named.as_slice() {
        ["digest"] => {
            let node = table.get("digest")?;
            let mut values = names.digests(reader, FactId::Events(pcr), node, "digest");
            let wrong = values.iter().find_map(|noted| match &noted.value {
                Value::Digest(digest) => Some(digest.as_bytes().len()).filter(|size| *size != bank.size()),
                _ => None,
            });
            if let Some(found) = wrong {
                let message = format!("expected a digest of bank {bank}, found one of {found} bytes");
                let suggestion = "set pcr_bank to the bank of these values".to_owned();
                reader.add(node.span(), Kind::BadValue, message, Some(suggestion));
            }
            for noted in values.iter_mut().filter(|noted| noted.note.is_none()) {
                noted.note.clone_from(&note);
            }
            Some((pcr, values))
        }
        ["action"] => {
            let node = table.get("action")?;
            let text = reader.string(node, "action")?;
            if text.is_empty() || text.len() > ACTION_BYTES_MAX {
                let message = format!("action has {} bytes, expected 1 to {ACTION_BYTES_MAX}", text.len());
                reader.add(node.span(), Kind::BadValue, message, Some(EXAMPLE.to_owned()));
                return None;
            }
            Some((pcr, vec![measured(text.as_bytes(), format!("action {text:?}"))]))
        }
        ["separator"] => {
            let node = table.get("separator")?;
            if node.get_ref().as_bool() != Some(true) {
                let message = "separator is a fact, not a choice".to_owned();
                reader.add(node.span(), Kind::BadValue, message, Some("write: separator = true".to_owned()));
                return None;
            }
            Some((pcr, vec![measured(&[0; 4], "separator".to_owned())]))
        }
        _ => {
            let message = "an event is named by one of digest, action or separator".to_owned();
            reader.add(node.span(), Kind::MissingKey, message, Some(EXAMPLE.to_owned()));
            None
        }
    }
}
