//! `audit`: is the record whole? Over the admin socket, from a database, or from published tiles.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::client::{connect, in_its_words};
use super::{Context, Outcome, show};
use crate::admin_clients::record_client::RecordClient;
use crate::record::{AuditReport, Held, SignedCheckpoint, Source, VerifierKey, verify};
use crate::store::sqlite::SqliteStore;

/// How often a person is told how far it has come.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Bytes of a checkpoint's file.
const CHECKPOINT_BYTES_MAX: u64 = holdfast_record::note::NOTE_BYTES_MAX as u64;

const EXAMPLES: &str = "\
Examples:
  holdfast-server audit verify
      The record of the running server, as it keeps it.
  holdfast-server audit verify --checkpoint 2026-05-01.checkpoint --vkey \"$(cat log.vkey)\"
      The same, by a key and a checkpoint that the auditor kept himself.
  holdfast-server audit verify --data-dir /mnt/backup/holdfast
      The database of a server that is down.
  holdfast-server audit verify --url https://log.example.org --vkey \"$(cat log.vkey)\"
      What a server or a mirror publishes.

Exit codes: 0 whole, 1 findings, 2 usage or I/O.";

/// Audit the record
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Recompute the record's tree from the first entry and compare it with every hash, tile and checkpoint; look for
    /// issuances without an entry
    #[command(after_help = EXAMPLES)]
    Verify(Verify),
    /// Write one file that proves an attempt's decision: the entry, what it was judged by, and the policy; reading it is
    /// recorded
    Prove(super::proofs::Prove),
}

/// What to audit, and by what
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Read the database below this data directory, in place of asking a server
    #[arg(long, value_name = "DIR", conflicts_with_all = ["tiles", "url"])]
    data_dir: Option<PathBuf>,
    /// Read a directory of tiles
    #[arg(long, value_name = "DIR", conflicts_with = "url", requires = "vkey")]
    tiles: Option<PathBuf>,
    /// Read tiles below this URL
    #[arg(long, requires = "vkey")]
    url: Option<String>,
    /// Certificates that speak for https hosts
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca_file: PathBuf,
    /// A checkpoint of an earlier day, which the record must begin with; may be given several times
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The log's key, from a place of your own; else the log is only known to agree with itself
    #[arg(long)]
    vkey: Option<VerifierKey>,
}

/// Runs `audit`.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let asked = match command {
        Command::Verify(asked) => asked,
        Command::Prove(prove) => return super::proofs::prove(prove, context).await,
    };
    let mut held = Held { log: asked.vkey, earlier: Vec::new() };
    for file in asked.checkpoint {
        let name = file.display().to_string();
        let length = std::fs::metadata(&file).with_context(|| name.clone())?.len();
        anyhow::ensure!(length <= CHECKPOINT_BYTES_MAX, "{name}: {length} bytes, limit {CHECKPOINT_BYTES_MAX}");
        let checkpoint: SignedCheckpoint =
            std::fs::read_to_string(&file).with_context(|| name.clone())?.parse().with_context(|| name.clone())?;
        held.earlier.push((name, checkpoint));
    }
    let mut source = match (asked.data_dir, asked.tiles, asked.url) {
        (Some(directory), ..) => {
            let database = directory.join("holdfast.sqlite");
            Source::Archive(SqliteStore::open_for_audit(&database).await?)
        }
        (None, Some(directory), _) => Source::Directory(directory),
        (None, None, Some(url)) => Source::url(&url, &asked.ca_file),
        (None, None, None) => Source::Server(RecordClient::new(connect(context).await?)),
    };
    let own_key = held.log.is_some();
    let watched = std::io::stderr().is_terminal();
    let mut said = Instant::now();
    let report = verify(&mut source, &held, |done, all| {
        if watched && (said.elapsed() >= PROGRESS_EVERY || done == all) {
            said = Instant::now();
            let end = if done == all { "\n" } else { "" };
            eprint!("\r{done} of {all} entries{end}");
            let _ = std::io::stderr().flush();
        }
    });
    // Not its exit code: 1 says that the record has findings.
    let report = report.await.map_err(in_its_words)?;
    let outcome = if report.findings.is_empty() { Outcome::Yes } else { Outcome::Refused };
    context.format.print(&report, |report| text(report, own_key))?;
    Ok(outcome)
}

fn text(report: &AuditReport, own_key: bool) -> String {
    let mut text = format!(
        "{} entries: {} attempts, {} issuances, {} JWT-SVIDs, {} acts of operators\nroot {}\n{} checkpoints compared{}\n",
        report.entries,
        report.attempts,
        report.issuances,
        report.tokens,
        report.acts,
        report.root.to_base64(),
        report.checkpoints,
        if own_key { "" } else { ", by the key that the record itself names" },
    );
    for finding in &report.findings {
        let place = finding.index.map(|index| format!(" at entry {index}")).unwrap_or_default();
        text.push_str(&format!("BREACH {}{place}: {}\n", finding.code, show::text(&finding.detail)));
    }
    if report.findings.is_empty() {
        text.push_str("the record is whole");
    }
    text
}
