//! The file of reference values that `--write` makes of what was computed; read back before it is written, so that no
//! policy meets one that does not parse.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use holdfast_appraisal::Document;
use holdfast_appraisal::reference::ReferenceValues;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::report::{Expected, Report, Value};
use crate::moment;

/// Where reference values go.
#[derive(Debug, Args)]
pub(super) struct Written {
    /// Write what was computed as a file of reference values; it must not exist.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The name by which policies refer to the file; its own without ending, if not given.
    #[arg(long, value_name = "NAME", requires = "write")]
    name: Option<String>,
    /// What the values are of.
    #[arg(long, value_name = "TEXT", requires = "write", default_value = "", hide_default_value = true)]
    description: String,
}

impl Written {
    /// Writes the file, if one was asked for.
    ///
    /// # Errors
    /// It exists, cannot be written, or has a name that policies cannot say.
    pub(super) fn write(&self, report: &mut Report) -> anyhow::Result<()> {
        let Some(path) = &self.write else { return Ok(()) };
        let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = self.name.clone().unwrap_or_else(stem);
        let text = document(&name, &self.description, report);
        let shown = path.display().to_string();
        if let Err(findings) = ReferenceValues::parse(Document { name: &shown, text: &text }) {
            let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
            bail!("what was computed makes no file of reference values\n{}", findings.join("\n"));
        }
        create(path, &text).with_context(|| format!("cannot write {shown}"))?;
        report.written = Some(shown);
        Ok(())
    }
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    std::fs::File::create_new(path)?.write_all(text.as_bytes())
}

fn document(name: &str, description: &str, report: &Report) -> String {
    let created = OffsetDateTime::from_unix_timestamp(moment::now().0.0).ok();
    let created = created.and_then(|created| created.format(&Rfc3339).ok()).unwrap_or_default();
    let mut text = String::new();
    let _ = writeln!(text, "api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = {}", quoted(name));
    if !description.is_empty() {
        let _ = writeln!(text, "description = {}", quoted(description));
    }
    let source = format!("holdfast-policy measure {}", report.kind);
    let _ = writeln!(text, "source = {}\ncreated = {created}\n\n[values]", quoted(&source));
    for Value { fact, value } in &report.values {
        match value {
            Expected::One(one) => {
                let _ = writeln!(text, "{fact} = {}", quoted(one));
            }
            Expected::List(list) => {
                let _ = writeln!(text, "{fact} = [");
                for item in list {
                    let _ = writeln!(text, "  {{ value = {}, note = {} }},", quoted(&item.value), quoted(&item.note));
                }
                text.push_str("]\n");
            }
        }
    }
    text
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(crate::output::printable(text)).to_string()
}
