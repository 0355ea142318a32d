//! `lint`: what is wrong with policies and reference-value files, and where.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use holdfast_appraisal::{Document, Finding, ReferenceValues, Severity};

use crate::exit::Exit;
use crate::output::{Format, json};

/// Flags of `lint`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast-policy lint policies/*.toml\n  holdfast-policy lint --output json rack.toml"
)]
pub struct Lint {
    /// Policies and reference-value files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit with 1 for warnings too.
    #[arg(long)]
    deny_warnings: bool,
}

impl Lint {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let mut findings = Vec::new();
        for file in &self.files {
            findings.extend(lint(file)?);
        }
        match format {
            Format::Json => json(out, &findings)?,
            Format::Text => {
                for finding in &findings {
                    writeln!(out, "{finding}")?;
                }
            }
        }
        let counts = |finding: &Finding| self.deny_warnings || finding.severity == Severity::Error;
        Ok(if findings.iter().any(counts) { Exit::Refused } else { Exit::Yes })
    }
}

fn lint(file: &Path) -> anyhow::Result<Vec<Finding>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.display().to_string();
    Ok(ReferenceValues::parse(Document { name: &name, text: &text }).err().unwrap_or_default())
}
