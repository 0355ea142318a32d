//! `proof`: checks files that prove a decision, offline, and says in words what is in them.

mod keys;
mod show;
mod verify;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Subcommand;
use holdfast_proof::PROOF_BYTES_MAX;

use crate::exit::Exit;
use crate::output::Format;

/// The commands of `proof`.
#[derive(Debug, Subcommand)]
pub enum Proof {
    /// Check a proof from the log's signature to the decision: everything is computed again.
    Verify(verify::Verify),
    /// Say what is in a proof. Checks nothing.
    Show(show::Show),
}

impl Proof {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        match self {
            Self::Verify(verify) => verify.run(format, out),
            Self::Show(show) => show.run(format, out),
        }
    }
}

/// Reads a file of bounded size.
fn read(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() > limit {
        bail!("{} is larger than {limit} bytes", path.display());
    }
    Ok(bytes)
}

/// The proof's bytes.
fn proof(path: &Path) -> anyhow::Result<Vec<u8>> {
    read(path, PROOF_BYTES_MAX)
}

/// A moment as people read it.
fn moment(seconds: i64) -> String {
    use time::format_description::well_known::Rfc3339;
    let date = time::OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|date| date.format(&Rfc3339).ok());
    date.unwrap_or_else(|| format!("{seconds} seconds since 1970"))
}
