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

/// Writes `value` as one indented JSON document.
///
/// # Errors
/// The writer's own.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
