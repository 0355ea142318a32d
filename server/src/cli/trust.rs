//! `bundle`: what agents trust of us, and what is trusted of foreign trust domains.

use anyhow::Context as _;
use clap::Subcommand;
use holdfast_evidence::crypto::PublicKey;
use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, foreign};
use crate::admin_clients::bundles_client::BundlesClient;
use crate::authority::Bundle;
use crate::authority::life::{Life, Stage};
use crate::store::JwtAuthority;

const SHOW_EXAMPLES: &str = "\
Examples:
  holdfast-server bundle show > bundle.pem                      the agent's trust_bundle
  holdfast-server bundle show --format spiffe > bundle.json     what a partner begins to federate with";

const EXAMPLES: &str = "\
Examples:
  holdfast-server bundle set --id partner.example --path partner.json
  holdfast-server bundle list --format spiffe
  holdfast-server bundle delete --id partner.example --mode dissociate";

/// The trust bundle of this trust domain, and those of foreign ones
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum BundleCommand {
    /// Print the authorities of this trust domain: PEM, SPIFFE's document, or both with --output json
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// How they are printed
        #[arg(long, value_enum, default_value = "pem")]
        format: foreign::BundleFormat,
    },
    /// Put the bundle of a foreign trust domain in place, whatever was there
    Set(foreign::Set),
    /// Print the bundles of foreign trust domains; exit code 1 where there is none
    List(foreign::List),
    /// Forget a foreign trust domain whose bundle was brought by hand
    Delete(foreign::Delete),
}

#[derive(Serialize)]
struct Authorities {
    trust_domain: String,
    sequence: u64,
    x509_authorities: Vec<String>,
    /// The IDs of the keys for JWT-SVIDs.
    jwt_authorities: Vec<String>,
}

/// Runs `bundle`.
pub(super) async fn bundle(command: BundleCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        BundleCommand::Show { format } => show(format, context).await,
        BundleCommand::Set(set) => foreign::set(set, context).await,
        BundleCommand::List(list) => foreign::list(list, context).await,
        BundleCommand::Delete(delete) => foreign::delete(delete, context).await,
    }
}

async fn show(format: foreign::BundleFormat, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = BundlesClient::new(connect(context).await?);
    let answer = answered!(client.show(admin::ShowBundleRequest {}));
    let jwt_authorities: Vec<JwtAuthority> =
        answer.jwt_authorities.iter().map(jwt_authority).collect::<anyhow::Result<_>>()?;
    let ids = jwt_authorities.iter().map(|authority| authority.authority_id.clone()).collect();
    let bundle = Bundle::new(answer.trust_domain.parse()?, answer.x509_authorities, answer.sequence)
        .with_jwt_authorities(jwt_authorities);
    let pem = bundle.to_pem();
    let shown = Authorities {
        trust_domain: answer.trust_domain,
        sequence: answer.sequence,
        jwt_authorities: ids,
        x509_authorities: pem.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect(),
    };
    context.format.print(&shown, |_| match format {
        foreign::BundleFormat::Pem => pem.clone(),
        foreign::BundleFormat::Spiffe => bundle.to_json(),
    })?;
    Ok(Outcome::Yes)
}

/// A key as the bundle has it.
fn jwt_authority(message: &admin::JwtAuthority) -> anyhow::Result<JwtAuthority> {
    Ok(JwtAuthority {
        authority_id: message.authority_id.clone(),
        key: PublicKey::from_spki(&message.spki)?,
        life: Life {
            stage: Stage::parse(&message.stage).context("the server names a stage that is not known here")?,
            prepared_at: UnixTime(message.prepared_at),
            activated_at: (message.activated_at != 0).then_some(UnixTime(message.activated_at)),
            ends: UnixTime(message.expires_at),
            used_until: UnixTime(message.used_until),
        },
    })
}
