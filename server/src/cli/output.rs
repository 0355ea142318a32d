//! How commands print and end.

use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use crate::outbox::json::ascii;

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
