//! SPIFFE bundles as documents: what the SPIFFE Trust Domain and Bundle standard makes of a trust domain's keys, read and
//! written; and maps of several. Says nothing of where a document came from: whoever fetched it knows whose it is.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use holdfast_identity::TrustDomain;
use serde_json::{Map, Value, json};
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::jwk::Jwk;
use holdfast_evidence::json::{self, BadJson};

/// Bytes of one document, or of one map: some hundred certificates of RSA keys.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Keys of each use in one bundle: a domain in the middle of a rotation has two or three, one of many servers with roots
/// of their own some dozens.
pub const AUTHORITIES_MAX: usize = 64;
/// Bytes of a bundle's certificates together: as many as there may be, each of an RSA key of 4096 bits. All of a workload's
/// foreign bundles must fit into the 4 MiB that a gRPC client reads.
pub const AUTHORITIES_BYTES_MAX: usize = 128 << 10;
/// Bits of an authority's RSA key: no less is believed, and no more is verified by those who read bundles.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Elements of `keys` that are looked at, those that are passed over among them.
const KEYS_MAX: usize = 1024;
/// Trust domains in one map.
pub const MAP_DOMAINS_MAX: usize = 256;

/// One trust domain's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Certificates of signing authorities, DER, one each.
    pub x509_authorities: Vec<Vec<u8>>,
    /// Keys that verify JWT-SVIDs, each with a `kid` of its own.
    pub jwt_authorities: Vec<Jwk>,
    /// Rises with every change of content, where its publisher says.
    pub sequence: Option<u64>,
    /// Seconds after which its publisher would have readers look again.
    pub refresh_hint: Option<u64>,
}

/// Why bytes are no bundle. Nothing of them is used then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBundle {
    /// More bytes than any bundle has.
    #[error("bundle has {found} bytes, limit {DOCUMENT_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// No JSON object, or one with a name twice.
    #[error("bundle: {0}")]
    Json(#[from] BadJson),
    /// No list `keys`.
    #[error("bundle has no list \"keys\"")]
    NoKeys,
    /// More keys than any trust domain has.
    #[error("bundle has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A number that is none.
    #[error("bundle: expected {member} to be a whole number from 0 on")]
    Number {
        /// Of which member.
        member: &'static str,
    },
    /// More bytes of certificates than the keys of a trust domain take.
    #[error("bundle has {found} bytes of certificates, limit {AUTHORITIES_BYTES_MAX}")]
    Certificates {
        /// Bytes found.
        found: usize,
    },
    /// A certificate that is none of a signing authority.
    #[error("bundle: certificate {number} {problem}")]
    Certificate {
        /// Its place among the keys, from 1.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A `kid` that two keys share: nobody could tell which of them a token means.
    #[error("bundle: two keys have the name {0:?}")]
    KeyIdTwice(String),
    /// No object `trust_domains`, or a name in it that is none of a trust domain.
    #[error("map of bundles: {0}")]
    Domains(String),
}

impl BadBundle {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "bundle.too_long",
            Self::Json(BadJson::Twice) => "bundle.name_twice",
            Self::Json(_) => "bundle.json",
            Self::NoKeys => "bundle.no_keys",
            Self::TooMany { .. } => "bundle.too_many",
            Self::Certificates { .. } => "bundle.certificates_too_long",
            Self::Number { .. } => "bundle.number",
            Self::Certificate { .. } => "bundle.certificate",
            Self::KeyIdTwice(_) => "bundle.key_id_twice",
            Self::Domains(_) => "bundle.domains",
        }
    }
}

impl Bundle {
    /// Reads a document as the bundle of `trust_domain`. Parameters, types of keys and uses that the standard does not
    /// define are passed over, X.509 keys without a certificate too, and all but the first certificate of a key. A bundle
    /// without keys is one: its trust domain trusts nobody any more.
    ///
    /// # Errors
    /// [`BadBundle`]; also for a certificate that names another trust domain.
    pub fn read(trust_domain: &TrustDomain, document: &[u8]) -> Result<Self, BadBundle> {
        Self::of_members(trust_domain, &object(document)?)
    }

    /// Whether nobody is trusted by it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.x509_authorities.is_empty() && self.jwt_authorities.is_empty()
    }

    /// The document: X.509 keys with `use` and exactly one certificate, and no `kid`; then those of JWT-SVIDs. An authority
    /// whose kind of key has no name in the standard is left out: who must not lose one reads the document again.
    #[must_use]
    pub fn to_json(&self) -> String {
        let x509 = self.x509_authorities.iter().filter_map(|der| x509_jwk(der));
        let jwt = self.jwt_authorities.iter().map(|key| {
            let key = Jwk { usage: Some("jwt-svid".to_owned()), ..key.clone() };
            Value::Object(key.to_members())
        });
        let keys: Vec<Value> = x509.chain(jwt).collect();
        let mut document = json!({ "keys": keys });
        for (member, number) in [("spiffe_sequence", self.sequence), ("spiffe_refresh_hint", self.refresh_hint)] {
            if let (Value::Object(members), Some(number)) = (&mut document, number) {
                members.insert(member.to_owned(), number.into());
            }
        }
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }

    fn of_members(trust_domain: &TrustDomain, members: &Map<String, Value>) -> Result<Self, BadBundle> {
        let keys = members.get("keys").and_then(Value::as_array).ok_or(BadBundle::NoKeys)?;
        if keys.len() > KEYS_MAX {
            return Err(BadBundle::TooMany { what: "keys", limit: KEYS_MAX });
        }
        let mut bundle = Self {
            sequence: number(members, "spiffe_sequence")?,
            refresh_hint: number(members, "spiffe_refresh_hint")?,
            ..Self::default()
        };
        for (place, key) in keys.iter().enumerate() {
            let Some(key) = key.as_object() else { continue };
            let text = |member: &str| key.get(member).and_then(Value::as_str);
            match (text("use"), text("kty")) {
                (Some("x509-svid"), Some("EC" | "RSA" | "OKP")) => {
                    let Some(first) = key.get("x5c").and_then(Value::as_array).and_then(|chain| chain.first()) else {
                        continue;
                    };
                    let bad = |problem: String| BadBundle::Certificate { number: place + 1, problem };
                    let der = certificate(first).map_err(|problem| bad(problem.to_owned()))?;
                    check_authority(&der, trust_domain).map_err(bad)?;
                    if !bundle.x509_authorities.contains(&der) {
                        bundle.x509_authorities.push(der);
                    }
                }
                (Some("jwt-svid"), Some(_)) => {
                    // A key that is broken, or has no name for tokens to call it by, verifies nothing.
                    let Ok(authority @ Jwk { key_id: Some(_), .. }) = Jwk::read(key) else { continue };
                    if bundle.jwt_authorities.iter().any(|known| known.key_id == authority.key_id) {
                        return Err(BadBundle::KeyIdTwice(authority.key_id.unwrap_or_default()));
                    }
                    bundle.jwt_authorities.push(authority);
                }
                _ => {}
            }
        }
        for (what, count) in
            [("X.509 authorities", bundle.x509_authorities.len()), ("JWT authorities", bundle.jwt_authorities.len())]
        {
            if count > AUTHORITIES_MAX {
                return Err(BadBundle::TooMany { what, limit: AUTHORITIES_MAX });
            }
        }
        let found = bundle.x509_authorities.iter().map(Vec::len).sum();
        if found > AUTHORITIES_BYTES_MAX {
            return Err(BadBundle::Certificates { found });
        }
        Ok(bundle)
    }
}

/// Reads a map of bundles: several trust domains, each named once. Refresh hints of single bundles count for nothing in it.
///
/// # Errors
/// [`BadBundle`]: one bad bundle is a bad map.
pub fn read_map(document: &[u8]) -> Result<BTreeMap<TrustDomain, Bundle>, BadBundle> {
    let members = object(document)?;
    let domains = members.get("trust_domains").and_then(Value::as_object);
    let domains = domains.ok_or_else(|| BadBundle::Domains("has no object \"trust_domains\"".to_owned()))?;
    if domains.len() > MAP_DOMAINS_MAX {
        return Err(BadBundle::TooMany { what: "trust domains", limit: MAP_DOMAINS_MAX });
    }
    let mut map = BTreeMap::new();
    for (name, bundle) in domains {
        let name: TrustDomain = name.parse().map_err(|problem| BadBundle::Domains(format!("{problem}")))?;
        let bundle = Bundle::of_members(&name, bundle.as_object().ok_or(BadBundle::Json(BadJson::Object))?)?;
        map.insert(name, Bundle { refresh_hint: None, ..bundle });
    }
    Ok(map)
}

/// Checks that a certificate (DER) is a signing authority, and names no trust domain but this one.
///
/// # Errors
/// What is wrong with it.
pub fn check_authority(der: &[u8], trust_domain: &TrustDomain) -> Result<(), String> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| "is no X.509 certificate".to_owned())?;
    if !rest.is_empty() {
        return Err("has bytes behind it".to_owned());
    }
    if !certificate.is_ca() {
        return Err("is no signing certificate".to_owned());
    }
    if let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed() {
        let (found, least, most) = (8 * bare(key.modulus).len(), RSA_BITS.start(), RSA_BITS.end());
        if !RSA_BITS.contains(&found) {
            return Err(format!("has an RSA key of {found} bits, expected {least} to {most}"));
        }
    }
    let names = certificate.subject_alternative_name().map_err(|_| "has unreadable alternative names".to_owned())?;
    let own = trust_domain.id();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::URI(uri) if is_spiffe(uri) && *uri != own.as_str() => {
                let found: String = uri.chars().flat_map(char::escape_default).take(300).collect();
                return Err(format!("names {found}, expected {own}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Schemes have no case.
fn is_spiffe(uri: &str) -> bool {
    uri.get(..9).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe://"))
}

fn object(document: &[u8]) -> Result<Map<String, Value>, BadBundle> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(BadBundle::TooLong { found: document.len() });
    }
    Ok(json::object(document)?)
}

fn number(members: &Map<String, Value>, member: &'static str) -> Result<Option<u64>, BadBundle> {
    match members.get(member) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(BadBundle::Number { member }),
    }
}

fn certificate(element: &Value) -> Result<Vec<u8>, &'static str> {
    let text = element.as_str().ok_or("is no text")?;
    STANDARD.decode(text).map_err(|_| "is not base64")
}

/// A number without the zeros before it.
fn bare(number: &[u8]) -> &[u8] {
    let from = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number.get(from..).unwrap_or_default()
}

/// A certificate as JWK; `None` for a key of a type that the standard does not know.
fn x509_jwk(der: &[u8]) -> Option<Value> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let x5c = [STANDARD.encode(der)];
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let info = certificate.public_key();
    if info.algorithm.algorithm == OID_SIG_ED25519 {
        let x = text(info.subject_public_key.as_ref());
        return Some(json!({ "use": "x509-svid", "kty": "OKP", "crv": "Ed25519", "x": x, "x5c": x5c }));
    }
    match info.parsed().ok()? {
        PublicKey::EC(point) => {
            let named = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
            let (curve, size) = match named {
                oid if oid == OID_EC_P256 => ("P-256", 32),
                oid if oid == OID_NIST_EC_P384 => ("P-384", 48),
                oid if oid == OID_NIST_EC_P521 => ("P-521", 66),
                _ => return None,
            };
            let (x, y) = point.data().strip_prefix(&[4])?.split_at_checked(size)?;
            Some(json!({ "use": "x509-svid", "kty": "EC", "crv": curve, "x": text(x), "y": text(y), "x5c": x5c }))
        }
        PublicKey::RSA(key) => {
            let (n, e) = (text(bare(key.modulus)), text(bare(key.exponent)));
            Some(json!({ "use": "x509-svid", "kty": "RSA", "n": n, "e": e, "x5c": x5c }))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
