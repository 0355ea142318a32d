//! `proof verify`: the whole check of one file, and its report.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use holdfast_appraisal::finding::escaped;
use holdfast_proof::{Conclusion, ProofBundle, Reader, Report, RootGround, State, check};
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
  holdfast-policy proof verify attempt.proof --vkey record.vkey --trusted-root infineon-root.pem

Exit codes: 0 everything holds, 1 something does not (what comes after it is not to be read as verified), 2 usage or I/O, 3 evidence is gone by retention, the rest holds.")]
pub struct Verify {
    /// The proof, as `holdfast-server audit prove` writes it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The log's public key, or a file with it: get it from somebody else than whoever gave you the proof.
    #[arg(long, value_name = "KEY")]
    vkey: String,
    /// Folder with the vendors' roots that you trust, PEM or DER; without any the server's are named.
    #[arg(long, value_name = "DIR")]
    roots: Option<PathBuf>,
    /// A root that you trust: a file, PEM or DER, or the SHA-256 of its DER; may be given several times.
    #[arg(long, value_name = "FILE|SHA256")]
    trusted_root: Vec<String>,
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
        let roots = keys::trusted(self.roots.as_deref(), &self.trusted_root)?;
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
    if report.attempt.is_empty() {
        // Not even the entry is the log's: what the file says is anybody's word.
        writeln!(out, "log {}, as the file says\n", escaped(&report.log))?;
    } else {
        entry(report, out)?;
    }
    steps(report, out)?;
    let mut vouched = report.steps.iter().filter(|step| step.state == State::Vouched).peekable();
    if vouched.peek().is_some() {
        writeln!(out, "\nvouched for by the server's signature alone:")?;
        for step in vouched {
            writeln!(out, "  {}", escaped(&step.detail))?;
        }
    }
    if !report.explanation.is_empty() {
        writeln!(out)?;
        if report.conclusion == Conclusion::Refuted {
            writeln!(out, "what evidence and policy give, unverified:")?;
        }
        report.explanation.lines().try_for_each(|line| writeln!(out, "{}", escaped(line)))?;
    }
    let sum = match report.conclusion {
        Conclusion::Proven => "PROVEN: the decision follows from what was recorded",
        Conclusion::Refuted => "NOT PROVEN: something does not hold",
        Conclusion::Incomplete => "INCOMPLETE: what is left holds, and some of it is gone by retention",
    };
    writeln!(out, "\n{sum}")
}

/// What the entry says, which is in the log.
fn entry(report: &Report, out: &mut dyn Write) -> io::Result<()> {
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
    writeln!(out, "log {}\n", escaped(&report.log))
}

fn steps(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for step in report.steps.iter().filter(|step| step.state != State::Vouched) {
        let word = match step.state {
            State::Holds => "holds",
            State::Fails => "FAILS",
            State::Gone => "gone",
            State::Unverified => "-",
            State::Vouched => continue,
        };
        let code = step.code.map(|code| format!(" [{code}]")).unwrap_or_default();
        let doubt = if step.state == State::Unverified { "unverified: " } else { "" };
        writeln!(out, "  {word:6} {:17} {doubt}{}{code}", step.what, escaped(&step.detail))?;
    }
    for seen in &report.roots {
        let known = match seen.trusted_by_reader {
            Some(true) => "yours",
            Some(false) => "NOT YOURS",
            None => "not compared",
        };
        let ground = match seen.ground {
            RootGround::Certificates => "",
            RootGround::Server => ", by the server's word",
        };
        let (name, class) = (escaped(&seen.root.name), escaped(&seen.root.class));
        writeln!(out, "  root   {name} ({class}, {known}{ground})\n         {}", seen.root.sha256)?;
    }
    Ok(())
}
