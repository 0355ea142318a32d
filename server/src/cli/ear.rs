//! `ear`: decisions as signed attestation results, for relying parties that know nothing of this server.

use std::io::Write as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Subcommand, ValueEnum};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::nodes::read_target;
use super::{Context, Outcome, show};
use crate::admin_clients::results_client::ResultsClient;

const EXAMPLES: &str = "\
Examples:
  holdfast-server ear key > ear.pem
  holdfast-server ear issue --attempt 0193f0c2… --out result.cwt
  holdfast-server ear issue --node spiffe://example.org/holdfast/node/tpm/9f86d0… --format jwt --nonce 00112233aabbccdd
  holdfast-policy ear show result.cwt --key ear.pem      to verify it, anywhere";

/// Attestation results (EAR): decisions, signed for relying parties
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Sign what a decision says of a machine; the record says so first
    Issue {
        /// Of this attempt: its ID, or the first digits of it
        #[arg(long, value_name = "ATTEMPT", required_unless_present = "node", conflicts_with = "node")]
        attempt: Option<String>,
        /// Of this node's last attempt: SPIFFE ID, number, or digest of an endorsement key
        #[arg(long, value_name = "NODE", value_parser = read_target)]
        node: Option<admin::node_target::Target>,
        /// How it is written
        #[arg(long, value_enum, default_value_t)]
        format: Form,
        /// The relying party's nonce, 8 to 64 bytes in hexadecimal
        #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
        nonce: String,
        /// Also of evidence that has ended, for archives: the token ends with it
        #[arg(long)]
        ended: bool,
        /// Where to write it; standard output if absent
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the public key that verifies them, in PEM
    Key,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// CBOR in COSE_Sign1
    #[default]
    Cwt,
    /// JSON in a JWS
    Jwt,
}

#[derive(Serialize)]
struct Issued {
    attempt: String,
    status: String,
    expires: i64,
    record_index: u64,
    /// Base64, of a JWT its own text.
    token: String,
}

#[derive(Serialize)]
struct Key {
    kid: String,
    pem: String,
}

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    use admin::issue_result_request::Of;
    let mut client = ResultsClient::new(connect(context).await?);
    let Command::Issue { attempt, node, format, nonce, ended, out } = command else {
        let key = answered!(client.key(admin::ResultKeyRequest {}));
        let key = Key { kid: hex::encode(key.kid), pem: pem(&key.spki) };
        context.format.print(&key, |key| key.pem.clone())?;
        return Ok(Outcome::Yes);
    };
    let nonce = hex::decode(nonce).map_err(|_| anyhow::anyhow!("--nonce: expected hexadecimal digits"))?;
    let of = match (attempt, node) {
        (Some(attempt), _) => Of::Attempt(attempt),
        (None, node) => Of::Node(admin::NodeTarget { target: node }),
    };
    let wire = match format {
        Form::Cwt => admin::ResultFormat::Cwt,
        Form::Jwt => admin::ResultFormat::Jwt,
    };
    let request = admin::IssueResultRequest { of: Some(of), format: wire.into(), nonce, ended };
    let issued = answered!(client.issue(request));
    let written = out.is_some();
    if let Some(path) = out {
        std::fs::write(&path, &issued.token).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    } else if context.format == super::Format::Text {
        std::io::stdout().lock().write_all(&issued.token)?;
        if format == Form::Jwt {
            println!();
        }
        return Ok(Outcome::Yes);
    }
    let token = match format {
        Form::Cwt => STANDARD.encode(&issued.token),
        Form::Jwt => String::from_utf8(issued.token)?,
    };
    let (attempt, status) = (issued.attempt, issued.status);
    let issued = Issued { attempt, status, expires: issued.expires, record_index: issued.index, token };
    context.format.print(&issued, |issued| {
        show::fields(&[
            ("Attempt", issued.attempt.clone()),
            ("Status", issued.status.clone()),
            ("Ends", show::moment(issued.expires)),
            ("Record entry", issued.record_index.to_string()),
            ("Token", if written { String::new() } else { issued.token.clone() }),
        ])
    })?;
    Ok(Outcome::Yes)
}

fn pem(spki: &[u8]) -> String {
    let text = STANDARD.encode(spki);
    let mut lines = vec!["-----BEGIN PUBLIC KEY-----".to_owned()];
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        lines.push(line.to_owned());
        rest = after;
    }
    lines.push("-----END PUBLIC KEY-----\n".to_owned());
    lines.join("\n")
}
