//! `bundle`: what agents trust of us.

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use holdfast_evidence::crypto::PublicKey;
use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome};
use crate::admin_clients::bundles_client::BundlesClient;
use crate::authority::Bundle;
use crate::authority::life::{Life, Stage};
use crate::store::JwtAuthority;

/// The trust bundle of this trust domain
#[derive(Debug, Subcommand)]
pub(super) enum BundleCommand {
    /// Print the authorities: PEM, or JSON with --output json
    #[command(after_help = "Examples:\n  holdfast-server bundle show > bundle.pem      the agent's trust_bundle\n  \
        holdfast-server bundle show --format spiffe   the document that other trust domains read")]
    Show {
        /// PEM of the X.509 authorities, or the SPIFFE bundle with the keys for JWT-SVIDs
        #[arg(long, value_enum, default_value_t)]
        format: BundleFormat,
    },
}

/// How a bundle is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum BundleFormat {
    /// Certificates alone.
    #[default]
    Pem,
    /// The JSON document of the SPIFFE Trust Domain and Bundle standard.
    Spiffe,
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
    let BundleCommand::Show { format } = command;
    let mut client = BundlesClient::new(connect(context).await?);
    let answer = answered!(client.show(admin::ShowBundleRequest {}));
    let jwt_authorities: Vec<JwtAuthority> =
        answer.jwt_authorities.iter().map(jwt_authority).collect::<anyhow::Result<_>>()?;
    let ids = jwt_authorities.iter().map(|authority| authority.authority_id.clone()).collect();
    let bundle = Bundle::new(answer.trust_domain.parse()?, answer.x509_authorities, answer.sequence)
        .with_jwt_authorities(jwt_authorities);
    if format == BundleFormat::Spiffe {
        println!("{}", bundle.to_json());
        return Ok(Outcome::Yes);
    }
    let pem = bundle.to_pem();
    let shown = Authorities {
        trust_domain: answer.trust_domain,
        sequence: answer.sequence,
        jwt_authorities: ids,
        x509_authorities: pem.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect(),
    };
    context.format.print(&shown, |_| pem.clone())?;
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
