//! `bundle` and `endorsements`: what agents trust of us, and what we trust of hardware vendors.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, show};
use crate::admin_clients::bundles_client::BundlesClient;
use crate::admin_clients::endorsements_client::EndorsementsClient;
use crate::authority::Bundle;

/// The trust bundle of this trust domain
#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Print the authorities: PEM, or JSON with --output json
    #[command(after_help = "Example:\n  holdfast-server bundle show > bundle.pem      the agent's trust_bundle")]
    Show,
}

const EXAMPLES: &str = "\
Examples:
  holdfast-server endorsements import --class discrete infineon/
  holdfast-server endorsements import --class firmware intel-root.pem intel.crl
  holdfast-server endorsements import --class simulated simulator-root.pem      needs allow_simulated = true
  holdfast-server endorsements list

Self-signed certificates become roots, others help to build chains (--pin makes roots of them too). The class says how
far a TPM below that root can be copied: discrete, firmware, vtpm, cloud or simulated.";

/// Roots, intermediates and CRLs of hardware vendors
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum EndorsementsCommand {
    /// Import certificates and CRLs, PEM or DER: all of them or none
    Import {
        /// discrete, firmware, vtpm, cloud or simulated
        #[arg(long, value_parser = ["discrete", "firmware", "vtpm", "cloud", "simulated"])]
        class: String,
        /// Make anchors of intermediates too
        #[arg(long)]
        pin: bool,
        /// Files, or directories of .pem, .crt, .cer, .der and .crl files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// List what was imported
    List,
    /// Stop trusting one; machines below it must attest anew
    Withdraw {
        /// SHA-256 of its DER
        #[arg(value_name = "SHA256")]
        sha256: String,
    },
}

#[derive(Serialize)]
struct Authorities {
    trust_domain: String,
    sequence: u64,
    x509_authorities: Vec<String>,
}

/// Runs `bundle`.
pub(super) async fn bundle(command: BundleCommand, context: &Context) -> anyhow::Result<Outcome> {
    let BundleCommand::Show = command;
    let mut client = BundlesClient::new(connect(context).await?);
    let answer = answered!(client.show(admin::ShowBundleRequest {}));
    let bundle = Bundle::new(answer.trust_domain.parse()?, answer.x509_authorities, answer.sequence);
    let pem = bundle.to_pem();
    let shown = Authorities {
        trust_domain: answer.trust_domain,
        sequence: answer.sequence,
        x509_authorities: pem.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect(),
    };
    context.format.print(&shown, |_| pem.clone())?;
    Ok(Outcome::Yes)
}

#[derive(Serialize)]
struct Endorsement {
    sha256: String,
    role: String,
    class: String,
    name: String,
    subject: String,
    not_after: i64,
    imported_at: i64,
    imported_by: String,
}

impl From<admin::Endorsement> for Endorsement {
    fn from(held: admin::Endorsement) -> Self {
        Self {
            sha256: hex::encode(held.sha256),
            role: held.role,
            class: held.class,
            name: held.name,
            subject: held.subject,
            not_after: held.not_after,
            imported_at: held.imported_at,
            imported_by: held.imported_by,
        }
    }
}

#[derive(Serialize)]
struct Listed {
    endorsements: Vec<Endorsement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<u64>,
}

/// Runs `endorsements`.
pub(super) async fn endorsements(command: EndorsementsCommand, context: &Context) -> anyhow::Result<Outcome> {
    let (held, new) = match command {
        EndorsementsCommand::Import { class, pin, paths } => {
            let mut files = Vec::new();
            for path in &paths {
                read(path, &mut files)?;
            }
            let mut client = EndorsementsClient::new(connect(context).await?);
            let answer = answered!(client.import(admin::ImportEndorsementsRequest { files, class, pin }));
            (answer.endorsements, Some(answer.new))
        }
        EndorsementsCommand::List => {
            let mut client = EndorsementsClient::new(connect(context).await?);
            (answered!(client.list(admin::ListEndorsementsRequest {})).endorsements, None)
        }
        EndorsementsCommand::Withdraw { sha256 } => {
            let digest = show::digest(&sha256).map_err(anyhow::Error::msg)?;
            let mut client = EndorsementsClient::new(connect(context).await?);
            answered!(client.withdraw(admin::WithdrawEndorsementRequest { sha256: digest }));
            context.format.print(&serde_json::json!({ "withdrawn": sha256 }), |_| format!("withdrawn {sha256}"))?;
            return Ok(Outcome::Yes);
        }
    };
    let listed = Listed { endorsements: held.into_iter().map(Endorsement::from).collect(), new };
    context.format.print(&listed, |listed| {
        let mut table = show::table(&["role", "class", "subject", "until", "sha256"]);
        for held in &listed.endorsements {
            let (subject, until) = (show::text(&held.subject), show::moment(held.not_after));
            table.add_row([&held.role, &held.class, &subject, &until, &held.sha256]);
        }
        show::rows(&table, "nothing was imported: no TPM can be believed")
    })?;
    Ok(Outcome::Yes)
}

/// Names by which certificates and CRLs go in a directory.
const SUFFIXES: &[&str] = &["pem", "crt", "cer", "der", "crl"];
/// Bytes of the largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

fn read(path: &Path, files: &mut Vec<admin::EndorsementFile>) -> anyhow::Result<()> {
    if path.is_dir() {
        let mut inside: Vec<PathBuf> = std::fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
        inside.sort();
        for path in inside {
            let suffix = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if path.is_dir() || SUFFIXES.contains(&suffix.as_str()) {
                read(&path, files)?;
            }
        }
        return Ok(());
    }
    let name = path.display().to_string();
    let length = std::fs::metadata(path).with_context(|| name.clone())?.len();
    if length > FILE_BYTES_MAX {
        bail!("{name}: {length} bytes, limit {FILE_BYTES_MAX}");
    }
    let bytes = std::fs::read(path).with_context(|| name.clone())?;
    if !bytes.starts_with(b"\x30") {
        let before = files.len();
        for pem in x509_parser::pem::Pem::iter_from_buffer(&bytes) {
            files.push(admin::EndorsementFile { name: name.clone(), der: pem.with_context(|| name.clone())?.contents });
        }
        if files.len() == before {
            bail!("{name}: neither DER nor PEM");
        }
        return Ok(());
    }
    files.push(admin::EndorsementFile { name, der: bytes });
    Ok(())
}
