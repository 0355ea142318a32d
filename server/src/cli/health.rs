//! `healthcheck`: does the server answer?

use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, show};
use crate::admin_clients::server_client::ServerClient;

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
