//! Foreign bundles at the command line: `bundle set`, `list`, `show --id`, `delete`.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use holdfast_protocol::admin;
use holdfast_svid::bundle::DOCUMENT_BYTES_MAX;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome};
use crate::admin_clients::federations_client::FederationsClient;
use crate::authority::pem;

/// How a bundle is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BundleFormat {
    /// Certificates of X.509 authorities
    Pem,
    /// The document of the SPIFFE standard
    Spiffe,
}

/// A bundle to put in place.
#[derive(Debug, Args)]
pub(super) struct Set {
    /// The foreign trust domain, by name or ID; a map names its trust domains itself
    #[arg(long, value_name = "TRUST-DOMAIN", required_unless_present = "map", conflicts_with = "map")]
    id: Option<String>,
    /// A file with the bundle; standard input if absent
    #[arg(long, value_name = "FILE")]
    path: Option<std::path::PathBuf>,
    /// What it is
    #[arg(long, value_enum, default_value = "spiffe")]
    format: BundleFormat,
    /// It is a SPIFFE map of bundles, of several trust domains
    #[arg(long)]
    map: bool,
}

/// Which foreign bundles.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Of this trust domain alone
    #[arg(long, value_name = "TRUST-DOMAIN")]
    id: Option<String>,
    /// How they are printed
    #[arg(long, value_enum, default_value = "pem")]
    format: BundleFormat,
}

/// A bundle to forget.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The foreign trust domain, by name or ID
    #[arg(long, value_name = "TRUST-DOMAIN")]
    id: String,
    /// What becomes of entries that name the trust domain: they keep it from going, or name it no longer
    #[arg(long, default_value = "restrict", value_parser = ["restrict", "dissociate"])]
    mode: String,
}

#[derive(Serialize)]
struct Shown {
    trust_domain: String,
    sequence: Option<u64>,
    x509_authorities: Vec<String>,
    jwt_key_ids: Vec<String>,
}

#[derive(Serialize)]
struct Listed {
    bundles: Vec<Shown>,
}

impl From<&admin::Federation> for Shown {
    fn from(found: &admin::Federation) -> Self {
        let bundle = found.bundle.clone().unwrap_or_default();
        Self {
            trust_domain: found.trust_domain.clone(),
            sequence: bundle.sequence,
            x509_authorities: bundle.x509_authorities.iter().map(|der| pem("CERTIFICATE", der)).collect(),
            jwt_key_ids: bundle.jwt_key_ids,
        }
    }
}

/// A bundle's file, or standard input, of bounded length.
pub(super) fn read(path: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let name = path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let mut bytes = Vec::new();
    let limit = DOCUMENT_BYTES_MAX as u64 + 1;
    match path {
        Some(path) => std::fs::File::open(path).with_context(|| name.clone())?.take(limit).read_to_end(&mut bytes),
        None => std::io::stdin().take(limit).read_to_end(&mut bytes),
    }
    .with_context(|| name.clone())?;
    match bytes.len() {
        0 => bail!("{name} is empty, expected a bundle"),
        length if length > DOCUMENT_BYTES_MAX => bail!("{name} has more than {DOCUMENT_BYTES_MAX} bytes, the limit"),
        _ => Ok(bytes),
    }
}

/// `bundle set`.
pub(super) async fn set(set: Set, context: &Context) -> anyhow::Result<Outcome> {
    let bundle = read(set.path.as_deref())?;
    let format = match (set.map, set.format) {
        (true, _) => "map",
        (false, BundleFormat::Spiffe) => "spiffe",
        (false, BundleFormat::Pem) => "pem",
    };
    let request =
        admin::SetBundleRequest { trust_domain: set.id.unwrap_or_default(), bundle, format: format.to_owned() };
    let mut client = FederationsClient::new(connect(context).await?).max_decoding_message_size(usize::MAX);
    let answer = answered!(client.set_bundle(request));
    let listed = Listed { bundles: answer.federations.iter().map(Shown::from).collect() };
    context.format.print(&listed, |listed| {
        let line = |bundle: &Shown| format!("bundle of {} is set\n", bundle.trust_domain);
        listed.bundles.iter().map(line).collect()
    })?;
    Ok(Outcome::Yes)
}

/// `bundle list`, and `bundle show --id`.
pub(super) async fn list(list: List, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = FederationsClient::new(connect(context).await?).max_decoding_message_size(usize::MAX);
    let found = match list.id {
        Some(trust_domain) => vec![answered!(client.get(admin::FederationTarget { trust_domain }))],
        None => answered!(client.list(admin::ListFederationsRequest {})).federations,
    };
    let alone = found.len() == 1;
    let listed = Listed { bundles: found.iter().filter(|of| of.bundle.is_some()).map(Shown::from).collect() };
    let outcome = if listed.bundles.is_empty() { Outcome::Refused } else { Outcome::Yes };
    context.format.print(&listed, |listed| match list.format {
        BundleFormat::Pem => {
            let heading = |name: &str| if alone { String::new() } else { format!("# spiffe://{name}\n") };
            let one = |one: &Shown| format!("{}{}", heading(&one.trust_domain), one.x509_authorities.concat());
            listed.bundles.iter().map(one).collect()
        }
        BundleFormat::Spiffe => {
            let text = |of: &admin::Federation| {
                let document = &of.bundle.as_ref()?.document;
                Some((of.trust_domain.clone(), String::from_utf8_lossy(document).into_owned()))
            };
            let texts: Vec<(String, String)> = found.iter().filter_map(text).collect();
            match texts.as_slice() {
                [(_, only)] if alone => only.clone(),
                // What several are, the standard calls a map.
                all => {
                    let of = |text: &str| serde_json::from_str(text).unwrap_or(serde_json::Value::Null);
                    let map: serde_json::Map<_, _> = all.iter().map(|(name, text)| (name.clone(), of(text))).collect();
                    serde_json::to_string_pretty(&serde_json::json!({ "trust_domains": map })).unwrap_or_default()
                }
            }
        }
    })?;
    Ok(outcome)
}

/// `bundle delete`.
pub(super) async fn delete(delete: Delete, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = FederationsClient::new(connect(context).await?).max_decoding_message_size(usize::MAX);
    let request = admin::DeleteFederationRequest { trust_domain: delete.id, mode: delete.mode };
    let gone = answered!(client.delete_bundle(request));
    context.format.print(&Shown::from(&gone), |gone| format!("bundle of {} is deleted", gone.trust_domain))?;
    Ok(Outcome::Yes)
}
