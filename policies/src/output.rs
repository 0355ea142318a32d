//! Text for people or JSON for programs, to a writer that tests can read. Knows no command.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// What `--output` chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document on standard output.
    Json,
}

/// Writes `value` as one indented JSON document in ASCII: texts in it are a stranger's.
///
/// # Errors
/// The writer's own.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    writeln!(out, "{}", ascii(&serde_json::to_string_pretty(value)?))
}

/// JSON with everything beyond printable ASCII as `\u` escapes; the same document.
#[must_use]
pub fn ascii(json: &str) -> String {
    use std::fmt::Write as _;
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || (' '..='~').contains(&c) {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// Text of a stranger for a terminal, a comment or a report: one line of printable ASCII, all else as escapes.
#[must_use]
pub fn printable(text: &str) -> String {
    let printed = |c: char| if (' '..='~').contains(&c) { c.to_string() } else { c.escape_default().to_string() };
    text.chars().map(printed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_ascii_is_the_same_document() {
        let text = "a\u{9b}\u{202e}\u{1f600}\u{7f}\n\"\\";
        let json = ascii(&serde_json::to_string(text).unwrap());
        assert!(json.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
