//! `record`: the log's key, its checkpoints, and its tiles as files.

use std::path::PathBuf;

use clap::Subcommand;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect, in_its_words};
use super::{Context, Outcome};
use crate::admin_clients::record_client::RecordClient;
use crate::record::{Source, publish};

/// The record's signed checkpoints, and what is published of it
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sign a checkpoint of the record as it is now, and print it
    #[command(after_help = "Example:\n  holdfast-server record checkpoint > 2026-05-01.checkpoint")]
    Checkpoint {
        /// The last one that was signed, and no new one
        #[arg(long)]
        last: bool,
    },
    /// Print the key that checkpoints verify with, for witnesses, monitors and auditors
    #[command(after_help = "Example:\n  holdfast-server record vkey")]
    Vkey,
    /// Write the record into a directory of tiles (C2SP tlog-tiles), or bring one up to date
    #[command(after_help = "Example:\n  holdfast-server record publish /srv/www/log")]
    Publish {
        /// The directory
        directory: PathBuf,
    },
    /// How much is kept beside the entries, by kind, and what a node adds in a day
    #[command(after_help = "Example:\n  holdfast-server record usage")]
    Usage,
}

#[derive(Serialize)]
struct Signed {
    checkpoint: String,
    vkey: String,
}

/// Runs `record`.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = RecordClient::new(connect(context).await?);
    let (sign, print): (bool, fn(&Signed) -> String) = match command {
        Command::Checkpoint { last } => (!last, |signed| signed.checkpoint.clone()),
        Command::Usage => return super::proofs::usage(context).await,
        Command::Vkey => (false, |signed| signed.vkey.clone()),
        Command::Publish { directory } => {
            let published = publish(&mut Source::Server(client), &directory).await.map_err(in_its_words)?;
            context.format.print(&published, |done| {
                format!(
                    "{}: {} entries, {} of them new, {} files",
                    done.origin,
                    done.size,
                    done.size - done.before,
                    done.files
                )
            })?;
            return Ok(Outcome::Yes);
        }
    };
    let signed = answered!(client.checkpoint(admin::RecordCheckpointRequest { sign }));
    context.format.print(&Signed { checkpoint: signed.checkpoint, vkey: signed.vkey }, print)?;
    Ok(Outcome::Yes)
}
