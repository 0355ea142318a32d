//! `bundle`: what agents trust of us.

use clap::Subcommand;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome};
use crate::admin_clients::bundles_client::BundlesClient;
use crate::authority::Bundle;

/// The trust bundle of this trust domain
#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Print the authorities: PEM, or JSON with --output json
    #[command(after_help = "Example:\n  holdfast-server bundle show > bundle.pem      the agent's trust_bundle")]
    Show,
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
