//! `audit prove` and `audit usage`: a decision with everything that it was reached by, in one file; and how much of that is
//! kept.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect, refused};
use super::{Context, Outcome};
use crate::admin_clients::proofs_client::ProofsClient;

/// Flags of `audit prove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast-server audit prove 01a22427cace5e36b712b41571c07c83 --out attempt.proof
  holdfast-policy proof verify attempt.proof --vkey record.vkey

Exit codes: 0 written, 1 refused (no such attempt, or what it was judged by is gone), 2 usage or I/O.")]
pub(super) struct Prove {
    /// The attempt's name, as `attempt list` prints it
    #[arg(value_name = "ATTEMPT")]
    attempt: String,
    /// Where to write the proof; standard output if absent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes the proof of one decision. That it was read stands in the record.
pub(super) async fn prove(prove: Prove, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = ProofsClient::new(connect(context).await?);
    let mut stream = answered!(client.prove(admin::ProveRequest { attempt: prove.attempt }));
    let mut proof = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(part)) => proof.extend_from_slice(&part.content),
            Ok(None) => break,
            Err(status) => return refused(&status),
        }
    }
    let Some(path) = &prove.out else {
        std::io::stdout().lock().write_all(&proof)?;
        return Ok(Outcome::Yes);
    };
    // Evidence is nobody's who has no business with it.
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let cannot = || format!("cannot write {}", path.display());
    file.with_context(cannot)?.write_all(&proof).with_context(cannot)?;
    context.format.print(&Written { file: path.display().to_string(), bytes: proof.len() }, |written| {
        format!("{}: {} bytes; check it with `holdfast-policy proof verify`", written.file, written.bytes)
    })?;
    Ok(Outcome::Yes)
}

#[derive(Serialize)]
struct Written {
    file: String,
    bytes: usize,
}

#[derive(Serialize)]
struct Usage {
    kinds: Vec<Kind>,
    stored: u64,
    attempts_a_day: u64,
    nodes_a_day: u64,
    /// Bytes that a node that attested within the last day added to what is kept, on average.
    stored_per_node_and_day: u64,
}

#[derive(Serialize)]
struct Kind {
    kind: String,
    bodies: u64,
    size: u64,
    stored: u64,
    stored_lately: u64,
}

/// Prints how much is kept, by kind.
pub(super) async fn usage(context: &Context) -> anyhow::Result<Outcome> {
    let mut client = ProofsClient::new(connect(context).await?);
    let answer = answered!(client.usage(admin::UsageRequest {}));
    let kinds: Vec<Kind> = answer
        .kinds
        .into_iter()
        .map(|kind| Kind {
            kind: kind.kind,
            bodies: kind.bodies,
            size: kind.size,
            stored: kind.stored,
            stored_lately: kind.stored_lately,
        })
        .collect();
    let lately: u64 = kinds.iter().map(|kind| kind.stored_lately).sum();
    let usage = Usage {
        stored: kinds.iter().map(|kind| kind.stored).sum(),
        attempts_a_day: answer.attempts_a_day,
        nodes_a_day: answer.nodes_a_day,
        stored_per_node_and_day: lately.checked_div(answer.nodes_a_day).unwrap_or(0),
        kinds,
    };
    context.format.print(&usage, text)?;
    Ok(Outcome::Yes)
}

fn text(usage: &Usage) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["KIND", "BODIES", "BYTES", "STORED", "STORED SINCE YESTERDAY"]);
    for kind in &usage.kinds {
        let numbers = [kind.bodies, kind.size, kind.stored, kind.stored_lately].map(|number| number.to_string());
        table.add_row([[kind.kind.clone()].as_slice(), &numbers].concat());
    }
    format!(
        "{table}\n\n{} bytes in all; {} attempts of {} nodes in the last 24 hours, {} bytes a node and day",
        usage.stored, usage.attempts_a_day, usage.nodes_a_day, usage.stored_per_node_and_day
    )
}
