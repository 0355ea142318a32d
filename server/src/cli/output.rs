//! How commands print and end.

use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// Markdown: of reports alone.
    Md,
    /// Comma-separated values: of reports and what-if alone.
    Csv,
    /// One HTML page: of reports alone.
    Html,
}

impl Format {
    /// Prints `document` as JSON, or the text that `text` makes of it.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn print<T: Serialize>(self, document: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        match self {
            Self::Text | Self::Md | Self::Csv | Self::Html => println!("{}", text(document).trim_end()),
            Self::Json => println!("{}", ascii(&serde_json::to_string_pretty(document)?)),
        }
        Ok(())
    }
}

/// JSON with everything but printable ASCII as `\u` escapes: what machines wrote is harmless at a terminal, and the same
/// to whoever parses it. Outside of strings JSON has nothing that this touches.
fn ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, '\n' | ' '..='~') {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            ascii.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    ascii
}

/// How a command ended, as every program of the house says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Yes: 0.
    Yes,
    /// Refused, or findings: 1.
    Refused,
    /// Usage or I/O: 2.
    Failed,
    /// Incomplete: 3.
    Incomplete,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Yes => 0,
            Outcome::Refused => 1,
            Outcome::Failed => 2,
            Outcome::Incomplete => 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn json_is_ascii_and_parses_to_the_same() {
        let text = "a\"\\ \u{1b}[31m \u{7f} \u{9b}2J \u{202e} é \u{1f600}\r\n";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let escaped = ascii(&json);
        assert!(escaped.chars().all(|c| matches!(c, '\n' | ' '..='~')), "{escaped}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
    }
}
