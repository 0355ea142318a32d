//! Secrets by name, made of a workload's update: its certificates with their keys, and whom it believes.

use std::sync::OnceLock;

use holdfast_identity::TrustDomain as TrustDomainName;
use holdfast_protocol::sds::envoy::config::core::v3::data_source::Specifier;
use holdfast_protocol::sds::envoy::config::core::v3::{DataSource, TypedExtensionConfig};
use holdfast_protocol::sds::envoy::extensions::transport_sockets::tls::v3::spiffe_cert_validator_config::TrustDomain;
use holdfast_protocol::sds::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate, secret,
};
use prost::Message;
use prost_types::Any;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use ring::digest;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use zeroize::Zeroize;

use super::super::refusal::Refusal;
use super::fault::Fault;
use super::names::Names;
use super::node::Validator;
use crate::pem;
use crate::svids::{WorkloadUpdate, X509Svid};

/// Of every resource here.
pub(super) const TYPE_URL: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// Of the SPIFFE validator's configuration.
const VALIDATOR_TYPE_URL: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";
/// Of the validator itself.
const VALIDATOR_NAME: &str = "envoy.tls.cert_validator.spiffe";
/// Bytes of a digest that make a version.
const VERSION_BYTES: usize = 12;

/// The authority of nobody, the same as long as the agent runs.
static NOBODY: OnceLock<Option<Vec<u8>>> = OnceLock::new();

/// One secret.
pub(super) struct Resource {
    pub(super) name: String,
    /// Of its content, whichever agent made it; says nothing of a key.
    pub(super) version: String,
    pub(super) any: Any,
}

/// The names of all that `update` holds, each once: the own trust domain, the others, the identities in their order.
pub(super) fn all(update: &WorkloadUpdate) -> Vec<String> {
    let own = own_domain(update);
    let id = |name: &str| format!("spiffe://{name}");
    let mut names: Vec<String> = own.map(id).into_iter().collect();
    let others = update.bundles.iter().filter(|(name, bundle)| Some(name.as_str()) != own && !bundle.is_empty());
    names.extend(others.map(|(name, _)| id(name)));
    for svid in &update.svids {
        if !names.iter().any(|name| name == svid.spiffe_id.as_str()) {
            names.push(svid.spiffe_id.to_string());
        }
    }
    names
}

/// The secret called `name`; nothing where this workload has none.
///
/// # Errors
/// [`Fault::NeedsValidator`] for all bundles at once in a plain context; `Starting` while the own bundle is not there.
pub(super) fn named(
    name: &str,
    update: &WorkloadUpdate,
    names: &Names,
    validator: Validator,
) -> Result<Option<Resource>, Fault> {
    let own = own_domain(update).ok_or(Refusal::NoIdentity)?;
    if update.bundles.get(own).is_none_or(Vec::is_empty) {
        return Err(Refusal::Starting.into());
    }
    let is = |configured: &str| !configured.is_empty() && configured == name;
    if let Some(svid) = update.svids.iter().find(|svid| svid.spiffe_id.as_str() == name) {
        return Ok(Some(certificate(name, svid)));
    }
    let named = name.strip_prefix("spiffe://").and_then(|domain| update.bundles.get_key_value(domain));
    match named {
        Some((domain, bundle)) if !bundle.is_empty() => return Ok(Some(context(name, &[domain], update, validator))),
        Some(_) => return nobody(name, validator),
        None => {}
    }
    if is(&names.default_bundle_name) {
        return Ok(Some(context(name, &[own], update, validator)));
    }
    if is(&names.default_all_bundles_name) {
        if validator == Validator::Plain {
            return Err(Fault::NeedsValidator(name.to_owned()));
        }
        let domains: Vec<_> =
            update.bundles.iter().filter(|(_, bundle)| !bundle.is_empty()).map(|(name, _)| name.as_str()).collect();
        return Ok(Some(context(name, &domains, update, validator)));
    }
    let default = update.svids.first().filter(|_| is(&names.default_svid_name));
    Ok(default.map(|svid| certificate(name, svid)))
}

/// The secret of a trust domain that is believed no more, or not yet; nothing for a name of another kind. Envoy keeps what it
/// has where there is no answer, and believes everybody where there is an empty one.
///
/// # Errors
/// `Starting` where no key can be made.
pub(super) fn nobody(name: &str, validator: Validator) -> Result<Option<Resource>, Fault> {
    let domain = name.strip_prefix("spiffe://").filter(|domain| domain.parse::<TrustDomainName>().is_ok());
    let Some(domain) = domain else { return Ok(None) };
    let authority = NOBODY.get_or_init(nobodys_authority).clone().ok_or(Refusal::Starting)?;
    let bundles = [(domain.to_owned(), vec![authority])].into();
    let update = WorkloadUpdate { bundles, ..WorkloadUpdate::default() };
    Ok(Some(context(name, &[domain], &update, validator)))
}

/// An authority whose key is gone: it has signed nothing, and will sign nothing.
fn nobodys_authority() -> Option<Vec<u8>> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).ok()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "nobody");
    Some(params.self_signed(&key).ok()?.der().to_vec())
}

fn own_domain(update: &WorkloadUpdate) -> Option<&str> {
    update.svids.first().map(|svid| svid.spiffe_id.trust_domain_name())
}

/// An identity: its chain, and its key.
fn certificate(name: &str, svid: &X509Svid) -> Resource {
    let chain = pem::certificates(&svid.chain);
    // The chain tells keys apart, too: its leaf names the public half.
    let version = version(&[name.as_bytes(), chain.as_bytes()]);
    let mut certificate = TlsCertificate {
        certificate_chain: Some(inline(chain.into_bytes())),
        private_key: Some(inline(pem::private_key(&svid.key_pkcs8).as_bytes().to_vec())),
    };
    let mut secret = Secret { name: name.to_owned(), r#type: None };
    secret.r#type = Some(secret::Type::TlsCertificate(certificate.clone()));
    let any = Any { type_url: TYPE_URL.to_owned(), value: secret.encode_to_vec() };
    if let Some(secret::Type::TlsCertificate(copy)) = &mut secret.r#type {
        wipe(copy);
    }
    wipe(&mut certificate);
    Resource { name: name.to_owned(), version, any }
}

fn wipe(certificate: &mut TlsCertificate) {
    if let Some(DataSource { specifier: Some(Specifier::InlineBytes(key)) }) = &mut certificate.private_key {
        key.zeroize();
    }
}

/// Whom to believe: the authorities of `domains`, each for itself.
fn context(name: &str, domains: &[&str], update: &WorkloadUpdate, validator: Validator) -> Resource {
    let authorities = |domain: &str| update.bundles.get(domain).map(|bundle| pem::certificates(bundle));
    let lists = |domain: &str| complete_lists(domain, update).map(pem::revocation_lists);
    let mut context = CertificateValidationContext::default();
    match validator {
        Validator::Plain => {
            let text = |of: &dyn Fn(&str) -> Option<String>| domains.iter().filter_map(|domain| of(domain)).collect();
            let (trusted, revoked): (String, String) = (text(&authorities), text(&lists));
            context.trusted_ca = Some(inline(trusted.into_bytes()));
            context.crl = Some(revoked).filter(|text| !text.is_empty()).map(|text| inline(text.into_bytes()));
        }
        Validator::Spiffe => {
            let trust_domains = domains.iter().map(|domain| {
                let mut text = authorities(domain).unwrap_or_default();
                text.push_str(&lists(domain).unwrap_or_default());
                TrustDomain { name: (*domain).to_owned(), trust_bundle: Some(inline(text.into_bytes())) }
            });
            let config = SpiffeCertValidatorConfig { trust_domains: trust_domains.collect() };
            let typed_config = Any { type_url: VALIDATOR_TYPE_URL.to_owned(), value: config.encode_to_vec() };
            context.custom_validator_config =
                Some(TypedExtensionConfig { name: VALIDATOR_NAME.to_owned(), typed_config: Some(typed_config) });
        }
    }
    let secret = Secret { name: name.to_owned(), r#type: Some(secret::Type::ValidationContext(context)) };
    let value = secret.encode_to_vec();
    Resource { name: name.to_owned(), version: version(&[&value]), any: Any { type_url: TYPE_URL.to_owned(), value } }
}

/// A domain's revocation lists, if there is one of each of its authorities: Envoy refuses a chain in which an
/// authority has none while another has one, and would refuse everybody.
fn complete_lists<'a>(domain: &str, update: &'a WorkloadUpdate) -> Option<&'a [Vec<u8>]> {
    let lists = update.crls.get(domain).filter(|lists| !lists.is_empty())?;
    let issuers: Vec<_> = lists
        .iter()
        .filter_map(|der| CertificateRevocationList::from_der(der).ok())
        .map(|(_, list)| list.tbs_cert_list.issuer.as_raw().to_vec())
        .collect();
    let every = update.bundles.get(domain)?.iter().all(|der| {
        X509Certificate::from_der(der)
            .is_ok_and(|(_, authority)| issuers.iter().any(|issuer| *issuer == authority.subject().as_raw()))
    });
    if every {
        return Some(lists);
    }
    tracing::warn!(trust_domain = domain, code = "sds.incomplete_crls", "revocation lists held back from Envoy");
    None
}

fn inline(bytes: Vec<u8>) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes)) }
}

/// A version that is the same exactly if all of `parts` are.
pub(super) fn version(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    hex::encode(context.finish().as_ref().get(..VERSION_BYTES).unwrap_or_default())
}

#[cfg(test)]
pub(super) mod tests;
