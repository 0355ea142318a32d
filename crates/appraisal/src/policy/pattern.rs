//! Regular expressions over texts that evidence proves. A pattern speaks of the whole text, from its first character to
//! its last, and takes time linear in the text, whatever both are. Reads patterns; decides nothing.

use regex::{Regex, RegexBuilder};

use crate::document::{Node, Reader};
use crate::finding::Kind;
use crate::value::Value;

/// Longest pattern in bytes: whoever needs more lists the texts.
pub(crate) const PATTERN_BYTES_MAX: usize = 512;
/// Largest compiled pattern, and largest cache of a search, in bytes: a counted repetition multiplies what it counts.
const COMPILED_BYTES_MAX: usize = 1 << 18;
/// Deepest nesting of groups.
const NESTING_MAX: u32 = 32;
/// Texts that no useful pattern matches all of.
const PROBES: [&str; 4] = ["q", "0", "Zx 9~/-", "\u{e9}\u{4e16}"];

/// A pattern that a whole text matches, or does not.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    source: Box<str>,
    whole: Regex,
}

/// How wide a pattern may be before it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// Neither the empty text nor everything: what is wanted.
    Narrow,
    /// The empty text, but not everything: what is not wanted.
    MayBeEmpty,
}

impl Pattern {
    /// Reads a pattern; one that is too large, wrong, or matches everything is a finding.
    pub(crate) fn read(reader: &mut Reader<'_>, node: &Node<'_>, what: &str, width: Width) -> Option<Self> {
        let source = reader.string(node, what)?;
        let pattern = match Self::compile(source) {
            Ok(pattern) => pattern,
            Err(problem) => {
                let message = format!("{what} is no usable pattern: {problem}");
                let suggestion = "a pattern is of Rust's regex crate: no look-around, no back-references; \
                                  in TOML write it in single quotes: 'quiet( ro)?'";
                reader.add(node.span(), Kind::BadPattern, message, Some(suggestion.to_owned()));
                return None;
            }
        };
        let everything = PROBES.iter().all(|probe| pattern.whole.is_match(probe));
        let empty = width == Width::Narrow && pattern.whole.is_match("");
        if everything || empty {
            let found = if everything { "everything" } else { "the empty text" };
            let message = format!("{what} matches {found}: {source:?}");
            let suggestion = "say what the text must contain: the pattern speaks of the whole text".to_owned();
            reader.add(node.span(), Kind::PatternTooWide, message, Some(suggestion));
            return None;
        }
        Some(pattern)
    }

    fn compile(source: &str) -> Result<Self, String> {
        if source.is_empty() || source.len() > PATTERN_BYTES_MAX {
            return Err(format!("{} bytes, expected 1 to {PATTERN_BYTES_MAX}", source.len()));
        }
        // Alone first: `a)|(b` would otherwise close the group that holds it at both ends.
        built(source)?;
        let whole = built(&format!(r"\A(?:{source})\z"))?;
        Ok(Self { source: source.into(), whole })
    }

    /// As the policy writes it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole text matches; `None` of a value that is no text.
    pub(crate) fn is_whole(&self, value: &Value) -> Option<bool> {
        match value {
            Value::Text(text) => Some(self.whole.is_match(text)),
            Value::Bool(_)
            | Value::Integer(_)
            | Value::Bits(_)
            | Value::Version(_)
            | Value::Digest(_)
            | Value::Labelled(_) => None,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

fn built(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::compile(pattern).unwrap().is_whole(&Value::text(text)) == Some(true)
    }

    #[test]
    fn a_pattern_speaks_of_the_whole_text() {
        assert!(matches("quiet( ro)?", "quiet ro") && matches("a|ab", "ab"));
        for text in ["quiet ro init=/bin/sh", "init=/bin/sh quiet", "quiet\n", "\nquiet", "quiet\nro"] {
            assert!(!matches("quiet( ro)?", text), "{text:?}");
            assert!(!matches("(?m)^quiet$", text), "{text:?}");
        }
        assert!(!matches(".*quiet.*", "init=/bin/sh\nquiet"), "a dot is no line feed");
        assert_eq!(Pattern::compile("a").unwrap().is_whole(&Value::Bool(true)), None);
    }

    #[test]
    fn a_pattern_that_would_leave_its_group_is_none() {
        for pattern in ["a)|(b", "a)|(?:b", "(?x)a # ", "(", "a\\", "", "(?=a)", "(a)\\1"] {
            assert!(Pattern::compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_bounded_in_source_nesting_and_compiled_size() {
        let deep = format!("{}a{}", "(".repeat(40), ")".repeat(40));
        for pattern in ["a".repeat(513), "((a{100}){100}){100}".to_owned(), r"\w{900}".to_owned(), deep] {
            assert!(Pattern::compile(&pattern).is_err(), "{pattern}");
        }
    }
}
