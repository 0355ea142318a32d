//! `proof verify`: the whole check of one file, and its report.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use holdfast_appraisal::finding::escaped;
use holdfast_proof::{Conclusion, ProofBundle, Reader, Report, State, check};
use serde::Serialize;

use super::keys;
use crate::exit::Exit;
use crate::output::{Format, json};

/// Flags of `proof verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast-policy proof verify attempt.proof --vkey record.vkey
  holdfast-policy proof verify attempt.proof --vkey record.vkey --roots vendors/ --output json

Exit codes: 0 everything holds, 1 something does not, 2 usage or I/O, 3 evidence is gone by retention, the rest holds.")]
pub struct Verify {
    /// The proof, as `holdfast-server audit prove` writes it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The log's public key, or a file with it: get it from somebody else than whoever gave you the proof.
    #[arg(long, value_name = "KEY")]
    vkey: String,
    /// Folder with the vendors' roots that you trust, PEM or DER; without it the server's are named.
    #[arg(long, value_name = "DIR")]
    roots: Option<PathBuf>,
}

/// A file that is no proof at all.
#[derive(Serialize)]
struct Unreadable {
    conclusion: Conclusion,
    code: &'static str,
    detail: String,
}

impl Verify {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let key = keys::log_key(&self.vkey)?;
        let roots = self.roots.as_deref().map(keys::roots).transpose()?;
        let bundle = match ProofBundle::parse(&super::proof(&self.file)?) {
            Ok(bundle) => bundle,
            Err(malformed) => {
                let (code, detail) = (malformed.code(), malformed.to_string());
                match format {
                    Format::Json => json(out, &Unreadable { conclusion: Conclusion::Refuted, code, detail })?,
                    Format::Text => writeln!(out, "NOT PROVEN  {code}: {}", escaped(&detail))?,
                }
                return Ok(Exit::Refused);
            }
        };
        let report = check(&bundle, &Reader { log: &key, roots: roots.as_ref() });
        match format {
            Format::Json => json(out, &report)?,
            Format::Text => print(&report, out)?,
        }
        Ok(match report.conclusion {
            Conclusion::Proven => Exit::Yes,
            Conclusion::Refuted => Exit::Refused,
            Conclusion::Incomplete => Exit::Incomplete,
        })
    }
}

fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let who = report.spiffe_id.as_deref().unwrap_or("a machine without a name");
    let code = if report.code.is_empty() { String::new() } else { format!(" ({})", report.code) };
    writeln!(out, "attempt {} of {}", escaped(&report.attempt), super::moment(report.at))?;
    writeln!(
        out,
        "{} was {}{} on its way to {}",
        escaped(who),
        escaped(&report.verdict),
        escaped(&code),
        escaped(&report.way)
    )?;
    writeln!(out, "by policy {}", escaped(report.policy.as_deref().unwrap_or("none")))?;
    writeln!(out, "log {}\n", escaped(&report.log))?;
    for step in report.steps.iter().filter(|step| step.state != State::Vouched) {
        let word = match step.state {
            State::Holds => "holds",
            State::Fails => "FAILS",
            State::Gone => "gone",
            State::Vouched => continue,
        };
        let code = step.code.map(|code| format!(" [{code}]")).unwrap_or_default();
        writeln!(out, "  {word:6} {:17} {}{code}", step.what, escaped(&step.detail))?;
    }
    for seen in &report.roots {
        let known = match seen.trusted_by_reader {
            Some(true) => "yours",
            Some(false) => "NOT YOURS",
            None => "not compared",
        };
        writeln!(
            out,
            "  root   {} ({}, {known})\n         {}",
            escaped(&seen.root.name),
            escaped(&seen.root.class),
            seen.root.sha256
        )?;
    }
    let mut vouched = report.steps.iter().filter(|step| step.state == State::Vouched).peekable();
    if vouched.peek().is_some() {
        writeln!(out, "\nvouched for by the server's signature alone:")?;
        for step in vouched {
            writeln!(out, "  {}", escaped(&step.detail))?;
        }
    }
    if !report.explanation.is_empty() {
        writeln!(out)?;
        report.explanation.lines().try_for_each(|line| writeln!(out, "{}", escaped(line)))?;
    }
    let sum = match report.conclusion {
        Conclusion::Proven => "PROVEN: the decision follows from what was recorded",
        Conclusion::Refuted => "NOT PROVEN: something does not hold",
        Conclusion::Incomplete => "INCOMPLETE: what is left holds, and some of it is gone by retention",
    };
    writeln!(out, "\n{sum}")
}
