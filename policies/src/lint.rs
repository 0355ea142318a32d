//! `lint`: what is wrong with policies, reference-value files and cases, and where.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use holdfast_appraisal::case::{self, Case};
use holdfast_appraisal::{Document, Finding, ReferenceValues, Severity, policy, reference};
use holdfast_evidence::tpm::Bank;
use serde::Serialize;

use crate::exit::Exit;
use crate::files;
use crate::learn::{self, EVIDENCE_KIND, Sample};
use crate::moment;
use crate::output::{Format, json};

/// Flags of `lint`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast-policy lint policies/*.toml\n  \
                        holdfast-policy lint --deny-warnings --output json rack.toml")]
pub struct Lint {
    /// Policies, reference-value files and cases.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit with 1 for warnings too.
    #[arg(long)]
    deny_warnings: bool,
    /// The moment at which alternatives must count; now, if not given.
    #[arg(long, value_name = "RFC3339", value_parser = moment::parse)]
    at: Option<moment::Moment>,
}

#[derive(Serialize)]
struct Report<'f> {
    files: usize,
    errors: usize,
    warnings: usize,
    findings: &'f [Finding],
}

impl Lint {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let at = self.at.unwrap_or_else(moment::now);
        let mut findings = Vec::new();
        for file in &self.files {
            findings.extend(lint(file, at)?);
        }
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let warnings = findings.len() - errors;
        match format {
            Format::Json => json(out, &Report { files: self.files.len(), errors, warnings, findings: &findings })?,
            Format::Text => {
                for finding in &findings {
                    writeln!(out, "{finding}")?;
                }
                writeln!(out, "{} files, {errors} errors, {warnings} warnings", self.files.len())?;
            }
        }
        let counted = errors + if self.deny_warnings { warnings } else { 0 };
        Ok(if counted > 0 { Exit::Refused } else { Exit::Yes })
    }
}

/// The findings of one file, by what it says it is; a file that says nothing is read as a policy.
fn lint(path: &Path, at: moment::Moment) -> anyhow::Result<Vec<Finding>> {
    let text = files::text(path)?;
    let name = files::file_name(path);
    let document = Document { name: &name, text: &text };
    let findings = match files::kind(&text).as_deref() {
        Some(reference::KIND) => ReferenceValues::parse(document).err().unwrap_or_default(),
        Some(case::KIND) => files::case(path, document)?.err().unwrap_or_default(),
        Some(case::FACTS_KIND) => Case::parse_facts(document).err().unwrap_or_default(),
        // evidence has no findings: it verifies, or the reason is the error
        Some(EVIDENCE_KIND) => Sample::read(path, Bank::Sha256, &learn::created(Some(at))?).map(|_| Vec::new())?,
        Some(policy::KIND) | Some(_) | None => match files::bundle(path)?.parse() {
            Ok(policy) => [policy.warnings().to_vec(), policy.findings_at(at.0)].concat(),
            Err(findings) => findings,
        },
    };
    Ok(files::with_paths(findings, path))
}
