//! A TOML document while it is being read: where each value stands, and what is wrong so far. Opens no files.

use std::cell::OnceCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::finding::{Finding, Kind, Severity, nearest};

/// Largest policy or reference-value file in bytes; a dbx of 1,000 digests takes 80 kB.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// Most findings kept of one document; whoever has more reads the first ones first.
pub(crate) const FINDINGS_MAX: usize = 200;

/// The text of a policy, reference-value file or case, and the name it goes by.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// Name for messages, and by which policies name reference-value files; a path relative to the policy.
    pub name: &'a str,
    /// The TOML text.
    pub text: &'a str,
}

/// A key as it stands in the document.
pub(crate) type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;
/// A value as it stands in the document.
pub(crate) type Node<'i> = Spanned<DeValue<'i>>;

/// A document being read. Collects findings instead of stopping at the first.
pub(crate) struct Reader<'a> {
    document: Document<'a>,
    places: OnceCell<Places>,
    pub(crate) findings: Vec<Finding>,
}

/// Where lines begin, and how many characters stand before each block: a place is found without reading the text again,
/// for a large document asks for a hundred thousand of them.
#[derive(Debug)]
struct Places {
    lines: Vec<usize>,
    characters: Vec<usize>,
}

/// Bytes of a block of [`Places`].
const BLOCK_BYTES: usize = 1_024;

impl Places {
    fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let newlines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let mut characters = vec![0];
        let mut before = 0;
        for block in bytes.chunks(BLOCK_BYTES) {
            before += begun(block);
            characters.push(before);
        }
        Self { lines: std::iter::once(0).chain(newlines).collect(), characters }
    }

    /// How many characters begin before this byte.
    fn characters_before(&self, text: &str, at: usize) -> usize {
        let block = at / BLOCK_BYTES;
        let rest = text.as_bytes().get(block * BLOCK_BYTES..at).unwrap_or_default();
        self.characters.get(block).copied().unwrap_or_default() + begun(rest)
    }
}

/// Whether it reads as a text whose quotes were forgotten.
fn is_bare_word(value: &str) -> bool {
    value.starts_with(|c: char| c.is_alphabetic() || matches!(c, '/' | '@'))
        && !["true", "false", "inf", "nan"].contains(&value)
}

/// How many characters begin in these bytes of UTF-8.
fn begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

impl<'a> Reader<'a> {
    pub(crate) fn new(document: Document<'a>) -> Self {
        Self { document, places: OnceCell::new(), findings: Vec::new() }
    }

    /// The document's name.
    pub(crate) const fn file(&self) -> &'a str {
        self.document.name
    }

    /// The document's table; a syntax error is a finding.
    pub(crate) fn table(&mut self) -> Option<Spanned<DeTable<'a>>> {
        if self.document.text.len() > DOCUMENT_BYTES_MAX {
            let found = self.document.text.len();
            self.add(0..0, Kind::TooLarge, format!("document is {found} bytes, limit {DOCUMENT_BYTES_MAX}"), None);
            return None;
        }
        match DeTable::parse(self.document.text) {
            Ok(table) => Some(table),
            Err(error) => {
                let message = error.message().trim_end().replace('\n', "; ");
                let at = error.span().unwrap_or(0..0);
                let suggestion = Some(self.syntax_help(at.start));
                self.add(at, Kind::Syntax, message, suggestion);
                None
            }
        }
    }

    /// What the line that does not read may lack.
    fn syntax_help(&self, at: usize) -> String {
        let text = self.document.text;
        let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let line = line.split('#').next().unwrap_or_default().trim();
        let count = |sign: char| line.matches(sign).count();
        let help = if line.is_empty() {
            "a value, array or table that began above does not end"
        } else if count('"') % 2 == 1 {
            "a text begins and ends with \" in one line; inside it write \\\", or use '…'"
        } else if !line.starts_with('[') && !line.contains('=') {
            "a line is: key = value, or the name of a table in brackets: [rule.require]"
        } else if count('[') > count(']') || count('{') > count('}') {
            "a bracket is not closed; an inline table { … } stands in one line"
        } else if count(']') > count('[') || count('}') > count('{') {
            "a bracket is closed that was not opened"
        } else if line.contains("==") {
            "one = gives a value; comparisons are operators: { equals = … }"
        } else if line.split_once('=').is_some_and(|(_, value)| is_bare_word(value.trim())) {
            "texts stand in quotes: key = \"value\""
        } else {
            "see the examples of docs/reference/policy.md; the file is TOML 1.0 (https://toml.io)"
        };
        help.to_owned()
    }

    /// Line and column, both from 1, of a byte offset.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let text = self.document.text;
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let places = self.places.get_or_init(|| Places::of(text));
        let line = places.lines.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|before| places.lines.get(before)).copied().unwrap_or_default();
        let column = places.characters_before(text, at) - places.characters_before(text, start) + 1;
        (line, column)
    }

    pub(crate) fn add(&mut self, span: Range<usize>, kind: Kind, message: String, suggestion: Option<String>) {
        if self.findings.len() >= FINDINGS_MAX {
            return;
        }
        let (line, column) = self.position(span.start);
        let file = self.document.name.to_owned();
        let (severity, code) = (kind.severity(), kind.code());
        self.findings.push(Finding { file, line, column, severity, code, message, suggestion });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Reports every key of `table` that is not `known`, with the nearest known one.
    pub(crate) fn only_keys(&mut self, table: &DeTable<'_>, place: &str, known: &[&str]) {
        for key in table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let suggestion = nearest(key.get_ref(), known.iter().copied())
                    .map(|near| format!("did you mean \"{near}\"?"))
                    .or_else(|| Some(format!("known keys here: {}", known.join(", "))));
                self.add(
                    key.span(),
                    Kind::UnknownKey,
                    format!("unknown key \"{}\" in {place}", key.get_ref()),
                    suggestion,
                );
            }
        }
    }

    /// The value under `key`; its absence is a finding at `at`.
    pub(crate) fn required<'t, 'i>(
        &mut self,
        table: &'t DeTable<'i>,
        key: &str,
        at: Range<usize>,
        suggestion: &str,
    ) -> Option<&'t Node<'i>> {
        let value = table.get(key);
        if value.is_none() {
            self.add(at, Kind::MissingKey, format!("key \"{key}\" is missing"), Some(suggestion.to_owned()));
        }
        value
    }

    fn wrong_type(&mut self, node: &Node<'_>, what: &str, expected: &str) {
        let found = node.get_ref().type_str();
        self.add(node.span(), Kind::WrongType, format!("{what} is a TOML {found}, expected {expected}"), None);
    }

    pub(crate) fn string<'t>(&mut self, node: &'t Node<'_>, what: &str) -> Option<&'t str> {
        let text = node.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(node, what, "a string");
        }
        text
    }

    pub(crate) fn subtable<'t, 'i>(&mut self, node: &'t Node<'i>, what: &str) -> Option<&'t DeTable<'i>> {
        let table = node.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(node, what, "a table");
        }
        table
    }

    /// The elements of an array; an empty one is a finding.
    pub(crate) fn array<'t, 'i>(&mut self, node: &'t Node<'i>, what: &str) -> Option<&'t [Node<'i>]> {
        let Some(array) = node.get_ref().as_array() else {
            self.wrong_type(node, what, "an array");
            return None;
        };
        if array.is_empty() {
            self.add(
                node.span(),
                Kind::EmptySet,
                format!("{what} is empty: nothing could satisfy it, or everything would"),
                Some(
                    "list at least one value, name a set (\"@name\"), or leave the key out where it is optional"
                        .to_owned(),
                ),
            );
            return None;
        }
        Some(array)
    }

    /// An array of strings, or one string alone.
    pub(crate) fn strings<'t>(&mut self, node: &'t Node<'_>, what: &str) -> Vec<(&'t str, Range<usize>)> {
        if let Some(text) = node.get_ref().as_str() {
            return vec![(text, node.span())];
        }
        let elements = self.array(node, what).unwrap_or_default();
        elements.iter().filter_map(|e| self.string(e, what).map(|text| (text, e.span()))).collect()
    }

    /// A name: lower-case letters, digits, `-`, `_` and `.`, 1 to 64 of them.
    pub(crate) fn name(&mut self, node: &Node<'_>, what: &str) -> Option<String> {
        let text = self.string(node, what)?;
        if is_name(text) {
            return Some(text.to_owned());
        }
        let message = format!("{what} {text:?} is not a name");
        self.add(
            node.span(),
            Kind::BadName,
            message,
            Some("use 1 to 64 of a-z, 0-9, '-', '_', '.', a letter or digit first".to_owned()),
        );
        None
    }

    /// Checks `api_version` and `kind`; findings where they differ.
    pub(crate) fn header(&mut self, table: &DeTable<'_>, kind: &str) {
        let suggestion = format!("write: api_version = {:?}", crate::API_VERSION);
        if let Some(node) = self.required(table, "api_version", 0..0, &suggestion)
            && let Some(found) = self.string(node, "api_version")
            && found != crate::API_VERSION
        {
            let message =
                format!("api_version {found:?} is not one this program reads, expected {:?}", crate::API_VERSION);
            self.add(node.span(), Kind::ApiVersion, message, Some(suggestion));
        }
        let suggestion = format!("write: kind = {kind:?}");
        if let Some(node) = self.required(table, "kind", 0..0, &suggestion)
            && let Some(found) = self.string(node, "kind")
            && found != kind
        {
            let message = format!("kind is {found:?}, expected {kind:?}");
            self.add(node.span(), Kind::DocumentKind, message, Some(suggestion));
        }
    }
}

/// Whether `text` may name a policy, rule, alternative, set or reference-value file.
pub(crate) fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    first && rest && text.len() <= 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let reader = Reader::new(Document { name: "x", text: "a = 1\né = 2\n" });
        assert_eq!(reader.position(0), (1, 1));
        assert_eq!(reader.position(6), (2, 1));
        assert_eq!(reader.position(8), (2, 2));
        assert_eq!(reader.position(7), (2, 1), "inside a character");
        assert_eq!(reader.position(999), (3, 1));
    }

    #[test]
    fn places_in_long_lines_are_those_of_a_plain_count() {
        let text = "aé\u{1f600}".repeat(700) + "\n" + &"é\n".repeat(600);
        let reader = Reader::new(Document { name: "x", text: &text });
        for (at, _) in text.char_indices() {
            let before = &text[..at];
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            assert_eq!(reader.position(at), (line, column));
        }
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let mut reader = Reader::new(Document { name: "x.toml", text: "a = 1\nb = = 2\n" });
        assert!(reader.table().is_none());
        let finding = reader.findings.first().unwrap();
        assert_eq!((finding.line, finding.code), (2, "policy.lint.syntax"));
    }
}
