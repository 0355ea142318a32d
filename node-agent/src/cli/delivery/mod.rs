//! `holdfast-agent helper`: SVIDs as files, for programs that know no SPIFFE, replaced together before they end.
//!
//! Asks the running agent as any workload does, and so gets its own identities alone. Starts no program: it tells one
//! that its files are new.

mod contents;
mod folder;
mod notice;
mod settings;
mod source;

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Outcome;
use contents::Contents;
use folder::Folder;
use notice::Owed;
use settings::Settings;
use source::News;

const EXAMPLES: &str = "\
Examples:
  holdfast-agent helper --config /etc/holdfast/helper.toml
  holdfast-agent helper --config helper.toml --once      # writes the files and ends
  holdfast-agent helper --config helper.toml --check     # says whether the configuration is right

A configuration:
  cert_dir = \"/etc/nginx/spiffe\"
  renew_command = [\"/usr/sbin/nginx\", \"-s\", \"reload\"]

Exit code: 0 the files are written (or SIGTERM came), 1 this process has no identity, 2 the configuration is wrong, no agent
answers (with --once), or a file cannot be written, 3 the certificates are written and a token or a bundle of keys is not.";

/// What to keep up to date.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The configuration, TOML
    #[arg(long, env = "HOLDFAST_HELPER_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Write the files once and end, without telling anyone
    #[arg(long)]
    once: bool,
    /// Check the configuration and end
    #[arg(long, conflicts_with = "once")]
    check: bool,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let settings = Settings::load(&arguments.config)?;
    if arguments.check {
        println!("{} is a configuration of the helper", arguments.config.display());
        return Ok(Outcome::Yes);
    }
    let once = arguments.once || !settings.daemon_mode;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = Folder::open(&settings)?;
        if once { write_once(&settings, &folder).await } else { keep(&settings, &folder).await }
    })
}

async fn write_once(settings: &Settings, folder: &Folder) -> anyhow::Result<Outcome> {
    let mut contents = Contents::default();
    let outcome = source::once(settings, &mut contents).await?;
    if outcome == Outcome::Refused {
        return Ok(outcome);
    }
    folder.write(&contents.files(settings)?)?;
    Ok(outcome)
}

/// Writes every change until a signal ends it.
async fn keep(settings: &Settings, folder: &Folder) -> anyhow::Result<Outcome> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (tell, mut news) = mpsc::channel::<News>(16);
    let mut contents = Contents::default();
    let mut written = Vec::new();
    let sources = source::follow(settings, tell);
    tokio::pin!(sources);
    let mut owed = Owed::nothing();
    loop {
        let item = tokio::select! {
            _ = terminate.recv() => return Ok(Outcome::Yes),
            _ = interrupt.recv() => return Ok(Outcome::Yes),
            never = &mut sources => match never {},
            item = news.recv() => item,
            () = owed.due() => {
                tokio::select! {
                    _ = terminate.recv() => return Ok(Outcome::Yes),
                    _ = interrupt.recv() => return Ok(Outcome::Yes),
                    () = owed.give(settings) => continue,
                }
            }
        };
        let Some(item) = item else { continue };
        contents.learn(item);
        // What came at the same moment is one rotation.
        while let Ok(item) = news.try_recv() {
            contents.learn(item);
        }
        let files = match contents.files(settings) {
            Ok(files) => files,
            // Such as a hint that nobody has by now: what is there stays, until there is something else.
            Err(error) => {
                eprintln!("holdfast-agent: {error:#}");
                continue;
            }
        };
        if files.is_empty() || files == written {
            continue;
        }
        folder.write(&files)?;
        written = files;
        eprintln!("holdfast-agent: {} files written in {}", written.len(), settings.cert_dir.display());
        owed.all(settings);
    }
}
