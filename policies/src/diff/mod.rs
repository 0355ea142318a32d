//! `diff`: what two versions of a policy accept differently, in words, and over stored cases and evidence.

mod change;
mod flips;
mod outline;
mod spelt;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use holdfast_appraisal::Policy;
use serde::Serialize;

use crate::exit::Exit;
use crate::files;
use crate::learn;
use crate::moment::{self, Moment};
use crate::output::{Format, json, printable};
use change::{Change, changes};
use flips::{Decided, Flip, Flips};
use outline::{Outline, outline};

const EXAMPLES: &str = "\
Examples:
  holdfast-policy diff rack.toml rack-next.toml
  holdfast-policy diff rack.toml rack-next.toml --cases cases --evidence golden/machine-1
  git show HEAD:rack.toml > /tmp/old.toml; holdfast-policy diff /tmp/old.toml rack.toml --output json

Reference values are read beside each policy. A change is marked ! where it loosens what keeps strangers out: whose machine
it is, which roots count, what is denied, or a condition that goes.

Exit codes: 0 no difference, 1 they differ, 2 usage or I/O.";

/// Flags of `diff`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Diff {
    /// The policy as it was.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy as it shall be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// A folder of cases and files of facts to be judged by both; may be given several times.
    #[arg(long, value_name = "DIR")]
    cases: Vec<PathBuf>,
    /// Evidence to be judged by both, as `learn` takes it, taken as of machines of yours; may be given several times.
    #[arg(long, value_name = "SAMPLE")]
    evidence: Vec<PathBuf>,
    /// The moment at which evidence and facts are judged; now, if not given. Cases have their own.
    #[arg(long, value_name = "RFC3339", value_parser = moment::parse)]
    at: Option<Moment>,
}

#[derive(Serialize)]
struct Report {
    differ: bool,
    old: String,
    new: String,
    changes: Vec<Change>,
    judged: usize,
    flips: Vec<Flip>,
}

impl Diff {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let (old, was) = read(&self.old)?;
        let (new, is) = read(&self.new)?;
        let now = self.at.unwrap_or_else(moment::now).0;
        let at = learn::created(self.at)?;
        let mut judged = Flips::default();
        for folder in &self.cases {
            judged.cases(folder, &old, &new, now)?;
        }
        for sample in &self.evidence {
            judged.evidence(sample, &old, &new, now, &at)?;
        }
        let changes = changes(&was, &is);
        let differ = !changes.is_empty() || !judged.flips.is_empty();
        let report = Report {
            differ,
            old: old.version().to_string(),
            new: new.version().to_string(),
            changes,
            judged: judged.judged,
            flips: judged.flips,
        };
        match format {
            Format::Json => json(out, &report)?,
            Format::Text => report.write_text(out)?,
        }
        Ok(if differ { Exit::Refused } else { Exit::Yes })
    }
}

fn read(path: &Path) -> anyhow::Result<(Policy, Outline)> {
    let bundle = files::bundle(path)?;
    let policy = bundle.parse().map_err(|findings| files::words(&files::with_paths(findings, path)))?;
    Ok((policy, outline(&bundle)?))
}

impl Report {
    fn write_text(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{} -> {}", printable(&self.old), printable(&self.new))?;
        if self.changes.is_empty() {
            writeln!(out, "the two say the same")?;
        }
        for Change { place, direction, dangerous, what, added, removed } in &self.changes {
            let mark = if *dangerous { "!" } else { " " };
            writeln!(out, "{mark} {:9}  {}: {}", direction.as_str(), printable(place), printable(what))?;
            added.iter().try_for_each(|value| writeln!(out, "               + {}", printable(value)))?;
            removed.iter().try_for_each(|value| writeln!(out, "               - {}", printable(value)))?;
        }
        if self.judged > 0 {
            writeln!(out, "\n{} of {} machines are decided otherwise", self.flips.len(), self.judged)?;
        }
        for Flip { of, description, old, new } in &self.flips {
            writeln!(out, "  {}: {} -> {}", printable(of), old.decision, new.decision)?;
            if !description.is_empty() {
                writeln!(out, "    {}", printable(description))?;
            }
            for (when, Decided { by, because, .. }) in [("was", old), ("is", new)] {
                writeln!(out, "    {when:4} {}", printable(by))?;
                because.iter().try_for_each(|reason| writeln!(out, "         {}", printable(reason)))?;
            }
        }
        Ok(())
    }
}
