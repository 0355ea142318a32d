//! Reference values: files that say which values of facts are good, apart from the policies that use them.
//! Reads text; decides nothing.

use std::collections::BTreeMap;

use toml::de::DeTable;

use crate::document::{Document, Reader};
use crate::facts::{FactId, read};
use crate::finding::{Finding, Kind};

pub use crate::facts::read::Noted;

/// The word under `kind` in such a file.
pub const KIND: &str = "reference-values";

pub(crate) const KEYS: &[&str] = &["api_version", "kind", "name", "description", "source", "created", "values"];

/// A set of good values per fact, under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceValues {
    /// The name by which policies refer to it: `@name`.
    pub name: String,
    /// Where the values come from, in the words of whoever made the file; empty if it does not say.
    pub source: String,
    /// When it was made, as it says itself; empty if it does not.
    pub created: String,
    /// What it says of itself; empty if nothing.
    pub description: String,
    values: BTreeMap<FactId, Vec<Noted>>,
}

impl ReferenceValues {
    /// Reads a reference-value file.
    ///
    /// # Errors
    /// Every finding, with line and column, if at least one is an error.
    pub fn parse(document: Document<'_>) -> Result<Self, Vec<Finding>> {
        let mut reader = Reader::new(document);
        let parsed = reader.table().and_then(|table| Self::read(&mut reader, table.get_ref()));
        match parsed {
            Some(values) if !reader.has_errors() => Ok(values),
            _ => Err(reader.findings),
        }
    }

    fn read(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<Self> {
        reader.header(table, KIND);
        reader.only_keys(table, "a reference-value file", KEYS);
        let name = reader.required(table, "name", 0..0, "policies refer to the file by it: name = \"kernel-6.1\"");
        let name = name.and_then(|node| reader.name(node, "name"));
        for key in ["description", "source"] {
            table.get(key).and_then(|node| reader.string(node, key));
        }
        if let Some(node) = table.get("created")
            && node.get_ref().as_datetime().is_none()
        {
            let message = "created is not a date".to_owned();
            reader.add(node.span(), Kind::BadValue, message, Some("write: created = 2026-01-31T12:00:00Z".to_owned()));
        }
        let text = |key: &str| table.get(key).and_then(|node| node.get_ref().as_str()).unwrap_or_default().to_owned();
        let (source, description) = (text("source"), text("description"));
        let created = table.get("created").and_then(|node| node.get_ref().as_datetime()).map(ToString::to_string);
        let node = reader.required(table, "values", 0..0, "write: [values]")?;
        let listed = reader.subtable(node, "values")?;
        if listed.is_empty() {
            let suggestion = "name a fact and its good values: [values] tpm.boot.applications = [\"…\"]".to_owned();
            reader.add(node.span(), Kind::EmptySet, "values is empty".to_owned(), Some(suggestion));
        }
        let mut values = BTreeMap::new();
        for entry in read::entries(reader, listed) {
            let noted = read::values(reader, entry.id, entry.node);
            // Several values of a fact that has one are alternatives: for one_of and for deny lists.
            values.insert(entry.id, noted);
        }
        Some(Self { name: name?, source, created: created.unwrap_or_default(), description, values })
    }

    /// The good values of a fact, in the order of the file.
    #[must_use]
    pub fn get(&self, id: FactId) -> Option<&[Noted]> {
        self.values.get(&id).map(Vec::as_slice)
    }

    /// The facts that the file speaks of.
    pub fn facts(&self) -> impl Iterator<Item = FactId> {
        self.values.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
api_version = "holdfast/1"
kind = "reference-values"
name = "debian-12"
source = "holdfast-tpm-sim, profile debian-12"
created = 2026-01-31T12:00:00Z

[values]
tpm.secure_boot.enabled = true
"tpm.secure_boot.db" = ["x509:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
tpm.boot.applications = [
  { value = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", note = "shimx64.efi" },
  "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
]
tpm.boot.command_lines = ["root=/dev/sda1 ro"]
tpm.pcr.14 = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
"#;

    fn codes(text: &str) -> Vec<(&'static str, usize)> {
        ReferenceValues::parse(Document { name: "r.toml", text })
            .unwrap_err()
            .iter()
            .map(|f| (f.code, f.line))
            .collect()
    }

    #[test]
    fn nested_and_quoted_names_are_the_same_facts() {
        let values = ReferenceValues::parse(Document { name: "r.toml", text: GOOD }).unwrap();
        assert_eq!(values.name, "debian-12");
        let applications = values.get(FactId::BootApplications).unwrap();
        assert_eq!((applications.len(), applications[0].note.as_deref()), (2, Some("shimx64.efi")));
        assert_eq!(values.get(FactId::SecureBootDb).unwrap()[0].value.to_string(), format!("x509:{}", "aa".repeat(32)));
        assert!(values.get(FactId::Pcr(14)).is_some());
        assert_eq!(values.facts().count(), 5);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert_eq!(
            codes(&GOOD.replace("secure_boot.enabled", "secure_boot.enable")),
            [("policy.lint.unknown_fact", 9)]
        );
        assert_eq!(codes(&GOOD.replace("enabled = true", "enabled = 1")), [("policy.lint.bad_value", 9)]);
        assert_eq!(codes(&GOOD.replace("dddd", "dd")), [("policy.lint.bad_value", 16)]);
        assert_eq!(codes(&GOOD.replace("holdfast/1", "holdfast/2")), [("policy.lint.api_version", 2)]);
        assert_eq!(codes(&GOOD.replace("source =", "sorce =")), [("policy.lint.unknown_key", 5)]);
        assert_eq!(codes(&GOOD.replace("[\"root=/dev/sda1 ro\"]", "[]")), [("policy.lint.empty_set", 15)]);
        assert_eq!(codes(&GOOD.replace("name = \"debian-12\"", "")), [("policy.lint.missing_key", 1)]);
    }

    #[test]
    fn an_unknown_fact_gets_the_nearest_name() {
        let text = GOOD.replace("secure_boot.enabled", "secureboot.enabled");
        let findings = ReferenceValues::parse(Document { name: "r.toml", text: &text }).unwrap_err();
        assert_eq!((findings[0].line, findings[0].column), (9, 5));
        let suggestion = findings[0].suggestion.as_deref().unwrap();
        assert!(suggestion.contains("secure_boot"), "{suggestion}");
    }
}
