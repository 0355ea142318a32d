//! `federation`: foreign trust domains and where their bundles come from, in SPIRE's words.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, foreign, show};
use crate::admin_clients::federations_client::FederationsClient;

const EXAMPLES: &str = "\
Examples:
  By a certificate of public TLS:
    holdfast-server federation create --trust-domain partner.example --bundle-endpoint-profile https_web \\
        --bundle-endpoint-url https://spiffe.partner.example/
  By the endpoint's own SVID; the first bundle comes from the partner by hand:
    holdfast-server federation create --trust-domain partner.example --bundle-endpoint-profile https_spiffe \\
        --bundle-endpoint-url https://192.0.2.7:8443/ --endpoint-spiffe-id spiffe://partner.example/holdfast/server \\
        --trust-domain-bundle-path partner.json
  Let a workload meet those of the partner:
    holdfast-server entry create … --federates-with partner.example";

/// Foreign trust domains: their bundles, and where those come from
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Federate with a trust domain; its bundle is fetched at once
    Create(Draft),
    /// Show one federation
    Show(Target),
    /// List federations; exit code 1 where a bundle is missing or cannot be fetched
    List,
    /// Put another endpoint in place of the one there is
    Update(Draft),
    /// Fetch a bundle now
    Refresh(Target),
    /// End a federation: the bundle goes with it, and its workloads are trusted no more
    Delete {
        #[command(flatten)]
        target: Target,
        /// What becomes of entries that name the trust domain: they keep it from going, or name it no longer
        #[arg(long, default_value = "restrict", value_parser = ["restrict", "dissociate"])]
        mode: String,
    },
}

/// Which trust domain.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The trust domain, by name or ID
    #[arg(long = "trust-domain", visible_alias = "id", alias = "trustDomain", value_name = "TRUST-DOMAIN")]
    trust_domain: String,
}

/// With whom, and how.
#[derive(Debug, Args)]
pub(super) struct Draft {
    #[command(flatten)]
    target: Target,
    /// Where its bundle is fetched: https, without user and password
    #[arg(long, alias = "bundleEndpointURL", value_name = "URL")]
    bundle_endpoint_url: String,
    /// By what the endpoint is known to be the right one
    #[arg(long, alias = "bundleEndpointProfile", value_parser = ["https_web", "https_spiffe"])]
    bundle_endpoint_profile: String,
    /// The ID that the endpoint must show; of the profile https_spiffe alone
    #[arg(long, alias = "endpointSpiffeID", default_value = "", hide_default_value = true, value_name = "SPIFFE-ID")]
    endpoint_spiffe_id: String,
    /// A file with the trust domain's bundle to begin with; needed where the endpoint shows an SVID of that trust domain
    #[arg(long, alias = "trustDomainBundlePath", value_name = "FILE")]
    trust_domain_bundle_path: Option<PathBuf>,
    /// What that file is
    #[arg(long, alias = "trustDomainBundleFormat", default_value = "spiffe", value_parser = ["spiffe", "pem"])]
    trust_domain_bundle_format: String,
}

impl Draft {
    fn message(self) -> anyhow::Result<admin::FederationDraft> {
        Ok(admin::FederationDraft {
            trust_domain: self.target.trust_domain,
            url: self.bundle_endpoint_url,
            profile: self.bundle_endpoint_profile,
            endpoint_spiffe_id: self.endpoint_spiffe_id,
            bundle: self
                .trust_domain_bundle_path
                .map(|path| foreign::read(Some(&path)))
                .transpose()?
                .unwrap_or_default(),
            bundle_format: self.trust_domain_bundle_format,
        })
    }
}

#[derive(Serialize)]
struct Federation {
    trust_domain: String,
    bundle_endpoint_profile: String,
    bundle_endpoint_url: String,
    endpoint_spiffe_id: String,
    bundle: Option<Held>,
    created_at: i64,
    last_success: i64,
    last_failure: i64,
    last_error: String,
    failures: u64,
    next_refresh: i64,
}

#[derive(Serialize)]
struct Held {
    sequence: Option<u64>,
    at: i64,
    x509_authorities: usize,
    jwt_authorities: usize,
    revoked: bool,
}

impl From<admin::Federation> for Federation {
    fn from(found: admin::Federation) -> Self {
        let bundle = found.bundle.map(|bundle| Held {
            sequence: bundle.sequence,
            at: bundle.at,
            revoked: bundle.x509_authorities.is_empty() && bundle.jwt_key_ids.is_empty(),
            x509_authorities: bundle.x509_authorities.len(),
            jwt_authorities: bundle.jwt_key_ids.len(),
        });
        Self {
            trust_domain: found.trust_domain,
            bundle_endpoint_profile: found.profile,
            bundle_endpoint_url: found.url,
            endpoint_spiffe_id: found.endpoint_spiffe_id,
            bundle,
            created_at: found.created_at,
            last_success: found.last_success,
            last_failure: found.last_failure,
            last_error: found.last_error,
            failures: found.failures,
            next_refresh: found.next_refresh,
        }
    }
}

impl Federation {
    fn text(&self) -> String {
        let by_hand = self.bundle_endpoint_profile.is_empty();
        let moment = |seconds: i64| if by_hand { String::new() } else { show::moment(seconds) };
        let bundle = match &self.bundle {
            None => "none yet".to_owned(),
            Some(held) if held.revoked => format!("empty: nobody is trusted; of {}", show::moment(held.at)),
            Some(held) => format!(
                "{} X.509 and {} JWT authorities, sequence {}, of {}",
                held.x509_authorities,
                held.jwt_authorities,
                held.sequence.map_or_else(|| "unknown".to_owned(), |sequence| sequence.to_string()),
                show::moment(held.at)
            ),
        };
        let failures = if self.failures == 0 { String::new() } else { format!("{} in a row", self.failures) };
        let profile = if by_hand { "by hand" } else { &self.bundle_endpoint_profile };
        show::fields(&[
            ("Trust domain", self.trust_domain.clone()),
            ("Bundle endpoint profile", profile.to_owned()),
            ("Bundle endpoint URL", self.bundle_endpoint_url.clone()),
            ("Endpoint SPIFFE ID", self.endpoint_spiffe_id.clone()),
            ("Bundle", bundle),
            ("Last success", moment(self.last_success)),
            ("Last failure", if self.last_failure == 0 { String::new() } else { moment(self.last_failure) }),
            ("Last error", show::text(&self.last_error)),
            ("Failures", failures),
            ("Next refresh", moment(self.next_refresh)),
        ])
    }

    fn is_sound(&self) -> bool {
        self.bundle.is_some() && self.failures == 0
    }
}

#[derive(Serialize)]
struct Listed {
    federations: Vec<Federation>,
}

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = FederationsClient::new(connect(context).await?).max_decoding_message_size(usize::MAX);
    let found = match command {
        Command::Create(draft) => answered!(client.create(draft.message()?)),
        Command::Update(draft) => answered!(client.update(draft.message()?)),
        Command::Show(Target { trust_domain }) => answered!(client.get(admin::FederationTarget { trust_domain })),
        Command::Refresh(Target { trust_domain }) => {
            answered!(client.refresh(admin::FederationTarget { trust_domain }))
        }
        Command::Delete { target: Target { trust_domain }, mode } => {
            answered!(client.delete(admin::DeleteFederationRequest { trust_domain, mode }))
        }
        Command::List => {
            let answer = answered!(client.list(admin::ListFederationsRequest {}));
            let listed = Listed { federations: answer.federations.into_iter().map(Federation::from).collect() };
            context.format.print(&listed, |listed| {
                let blocks: Vec<String> = listed.federations.iter().map(Federation::text).collect();
                format!("{}\n{} federations", blocks.join("\n"), listed.federations.len())
            })?;
            let sound = listed.federations.iter().all(Federation::is_sound);
            return Ok(if sound { Outcome::Yes } else { Outcome::Refused });
        }
    };
    context.format.print(&Federation::from(found), Federation::text)?;
    Ok(Outcome::Yes)
}
