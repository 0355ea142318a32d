//! `audit` and `healthcheck`: is the record whole, and does the server answer?

use clap::Subcommand;
use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, show};
use crate::admin_clients::record_client::RecordClient;
use crate::admin_clients::server_client::ServerClient;
use crate::record::{Audit, AuditReport, FoundCertificate};
use crate::store::{LedgerEntry, LedgerHead};

/// Audit the record
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Recompute the chain from the first entry, and look for issuances without an entry; exit code 1 on a finding
    #[command(after_help = "Example:\n  holdfast-server audit verify --output json")]
    Verify,
}

/// Runs `audit`.
pub(super) async fn audit(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let Command::Verify = command;
    let mut client = RecordClient::new(connect(context).await?);
    // The claims come first: what is recorded while we read is read too, and the head must lie on the way.
    let claims = answered!(client.claims(admin::RecordClaimsRequest {}));
    let mut stream = answered!(client.entries(admin::RecordEntriesRequest { from: 0 }));
    let mut audit = Audit::default();
    let mut read = 0;
    while read < claims.size {
        let batch = match stream.message().await {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(status) => return super::client::refused(&status),
        };
        for entry in batch.entries {
            if read < claims.size {
                audit.entry(&ledger_entry(entry)?);
                read += 1;
            }
        }
    }
    let held: Vec<FoundCertificate> = claims
        .node_serials
        .iter()
        .filter_map(|serial| serial.as_slice().try_into().ok())
        .map(|serial| FoundCertificate { whence: "node on record".to_owned(), serial, content: None })
        .collect();
    let head = LedgerHead { size: claims.size, hash: fixed(&claims.hash)? };
    let report = audit.finish(head, &held);
    let outcome = if report.findings.is_empty() { Outcome::Yes } else { Outcome::Refused };
    context.format.print(&report, text)?;
    Ok(outcome)
}

fn ledger_entry(entry: admin::RecordEntry) -> anyhow::Result<LedgerEntry> {
    Ok(LedgerEntry { index: entry.index, hash: fixed(&entry.hash)?, leaf: entry.leaf })
}

fn fixed(bytes: &[u8]) -> anyhow::Result<[u8; 32]> {
    Ok(bytes.try_into()?)
}

fn text(report: &AuditReport) -> String {
    let mut text = format!(
        "{} entries: {} attempts, {} issuances, {} acts of operators\nhead {}\n",
        report.entries, report.attempts, report.issuances, report.acts, report.head
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

#[derive(Serialize)]
struct Health {
    trust_domain: String,
    version: String,
    server_time: i64,
    policy: Option<String>,
    entries: u64,
    endorsements: u64,
    record_size: u64,
    nodes: std::collections::BTreeMap<String, u64>,
}

/// Runs `healthcheck`: exit code 0 if the server and its store answer.
pub(super) async fn healthcheck(context: &Context) -> anyhow::Result<Outcome> {
    let mut client = ServerClient::new(connect(context).await?);
    let status = answered!(client.status(admin::StatusRequest {}));
    let health = Health {
        trust_domain: status.trust_domain,
        version: status.version,
        server_time: status.server_time,
        policy: status.policy.map(|policy| policy.name),
        entries: status.entries,
        endorsements: status.endorsements,
        record_size: status.record_size,
        nodes: status.nodes.into_iter().collect(),
    };
    context.format.print(&health, |health| {
        let nodes: Vec<String> = health.nodes.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let clock = UnixTime(health.server_time);
        show::fields(&[
            ("Trust domain", health.trust_domain.clone()),
            ("Version", health.version.clone()),
            ("Clock", show::moment(clock.seconds())),
            ("Policy", health.policy.clone().unwrap_or_else(|| "none: nobody is admitted".to_owned())),
            ("Nodes", nodes.join(", ")),
            ("Entries", health.entries.to_string()),
            ("Endorsements", health.endorsements.to_string()),
            ("Record", format!("{} entries", health.record_size)),
        ])
    })?;
    Ok(Outcome::Yes)
}
