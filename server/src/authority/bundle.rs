//! The trust bundle: the roots of one trust domain and a sequence that rises with every change of them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use holdfast_identity::TrustDomain;
use holdfast_svid::jwk::Jwk;
use holdfast_svid::jwt::USAGE;
use serde_json::{Value, json};
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::KeyId;
use super::life::Stage;
use crate::store::JwtAuthority;

/// Seconds between two looks of a reader at a bundle; SPIRE's servers say the same.
const REFRESH_HINT_SECONDS: i64 = 300;
/// Roots in one bundle: old, current and next, with room for accidents.
const AUTHORITIES_MAX: usize = 16;

/// The signing roots of one trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    authorities: Vec<Vec<u8>>,
    jwt_authorities: Vec<JwtAuthority>,
    sequence: u64,
    /// Authorities below which everything is to be replaced.
    tainted: Vec<KeyId>,
    /// Intermediates that count no more.
    revoked: Vec<KeyId>,
}

/// Why a text is no bundle of ours. The words are for the operator.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidBundle(String);

impl Bundle {
    /// The roots as they are, DER, and their sequence.
    #[must_use]
    pub const fn new(trust_domain: TrustDomain, authorities: Vec<Vec<u8>>, sequence: u64) -> Self {
        Self {
            trust_domain,
            authorities,
            jwt_authorities: Vec::new(),
            sequence,
            tainted: Vec::new(),
            revoked: Vec::new(),
        }
    }

    /// With these keys for JWT-SVIDs.
    #[must_use]
    pub fn with_jwt_authorities(self, jwt_authorities: Vec<JwtAuthority>) -> Self {
        Self { jwt_authorities, ..self }
    }

    /// The keys that verify JWT-SVIDs.
    #[must_use]
    pub fn jwt_authorities(&self) -> &[JwtAuthority] {
        &self.jwt_authorities
    }

    /// With authorities below which everything is to be replaced, and intermediates that count no more. Neither is part of
    /// the bundle's document: the first is for our agents, the second for our own listener.
    #[must_use]
    pub fn with_marks(self, tainted: Vec<KeyId>, revoked: Vec<KeyId>) -> Self {
        Self { tainted, revoked, ..self }
    }

    /// Intermediates that count no more.
    #[must_use]
    pub fn revoked(&self) -> &[KeyId] {
        &self.revoked
    }

    /// The trust domain whose roots these are.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots, DER, one certificate each.
    #[must_use]
    pub fn authorities(&self) -> &[Vec<u8>] {
        &self.authorities
    }

    /// Rises with every change of content.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Seconds after which a reader should look again.
    #[must_use]
    pub const fn refresh_hint(&self) -> i64 {
        REFRESH_HINT_SECONDS
    }

    /// As the agent protocol carries it.
    #[must_use]
    pub fn to_message(&self) -> holdfast_protocol::agent::Bundle {
        holdfast_protocol::agent::Bundle {
            trust_domain: self.trust_domain.to_string(),
            x509_authorities: self.authorities.clone(),
            sequence: self.sequence,
            refresh_hint: REFRESH_HINT_SECONDS,
            jwt_authorities: self.jwt_authorities.iter().map(jwt_message).collect(),
            tainted_key_ids: self.tainted.iter().map(|key_id| key_id.as_bytes().to_vec()).collect(),
        }
    }

    /// The roots as PEM, one after another.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.authorities.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// The document of the SPIFFE Trust Domain and Bundle standard: a JWK set whose keys have `use`, no `kid`, and
    /// `x5c` with exactly one certificate, or are for JWT-SVIDs and have a `kid`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut keys: Vec<Value> = self.authorities.iter().filter_map(|der| jwk(der)).collect();
        keys.extend(self.jwt_authorities.iter().map(jwt_jwk));
        let document =
            json!({ "keys": keys, "spiffe_sequence": self.sequence, "spiffe_refresh_hint": REFRESH_HINT_SECONDS });
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }

    /// Reads such a document as the bundle of `trust_domain`. Unknown members, keys without `x5c` or of another use,
    /// and all but the first certificate of an `x5c` are passed over, as the standard demands.
    ///
    /// # Errors
    /// [`InvalidBundle`] where it is no JSON object with `keys`, a certificate does not parse or names
    /// another than exactly `spiffe://trust_domain`, there is none at all, or there are more than 16.
    pub fn from_json(trust_domain: TrustDomain, text: &str) -> Result<Self, InvalidBundle> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| InvalidBundle(format!("bundle is not JSON: {error}")))?;
        let keys = document.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| InvalidBundle("bundle has no list \"keys\"".to_owned()))?;
        let mut authorities = Vec::new();
        for key in keys.iter().filter(|key| key.get("use").and_then(Value::as_str) == Some("x509-svid")) {
            let Some(first) = key.pointer("/x5c/0").and_then(Value::as_str) else { continue };
            let der = STANDARD.decode(first).map_err(|_| InvalidBundle("x5c is not base64".to_owned()))?;
            if let Some(found) = root_trust_domain(&der)?
                && found != trust_domain
            {
                return Err(InvalidBundle(format!("root belongs to {found}, expected {trust_domain}")));
            }
            authorities.push(der);
        }
        if authorities.is_empty() || authorities.len() > AUTHORITIES_MAX {
            return Err(InvalidBundle(format!(
                "bundle has {} roots, expected 1 to {AUTHORITIES_MAX}",
                authorities.len()
            )));
        }
        let sequence = document.get("spiffe_sequence").and_then(Value::as_u64).unwrap_or(0);
        Ok(Self::new(trust_domain, authorities, sequence))
    }
}

/// The trust domain of a signing certificate: exactly one URI SAN, `spiffe://td` without a path, and `cA`.
pub(super) fn signer_trust_domain(der: &[u8]) -> Result<TrustDomain, InvalidBundle> {
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| InvalidBundle(format!("certificate does not parse: {error}")))?;
    if !rest.is_empty() || !certificate.is_ca() {
        return Err(InvalidBundle("certificate is not one signing certificate".to_owned()));
    }
    let id = crate::listen::uri_san(&certificate)
        .ok_or_else(|| InvalidBundle("certificate has not exactly one SPIFFE ID".to_owned()))?;
    if id.path().is_empty() {
        Ok(id.trust_domain())
    } else {
        Err(InvalidBundle(format!("signing certificate names {id}, expected an ID without a path")))
    }
}

/// The trust domain of a root: as of a signer, but a root that an organisation shares may name nobody.
fn root_trust_domain(der: &[u8]) -> Result<Option<TrustDomain>, InvalidBundle> {
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| InvalidBundle(format!("certificate does not parse: {error}")))?;
    let is_uri = |name: &GeneralName<'_>| matches!(name, GeneralName::URI(_));
    let names = certificate.subject_alternative_name();
    let names = names.map_err(|_| InvalidBundle("certificate's alternative names do not parse".to_owned()))?;
    let named = names.is_some_and(|names| names.value.general_names.iter().any(is_uri));
    if !named && rest.is_empty() && certificate.is_ca() {
        return Ok(None);
    }
    signer_trust_domain(der).map(Some)
}

/// Whether a certificate is its own issuer, and has signed itself.
pub(super) fn is_self_signed(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, own)| {
        own.subject().as_raw() == own.issuer().as_raw() && own.verify_signature(Some(own.public_key())).is_ok()
    })
}

/// PEM text of one object.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn jwt_message(authority: &JwtAuthority) -> holdfast_protocol::agent::JwtAuthority {
    holdfast_protocol::agent::JwtAuthority {
        authority_id: authority.authority_id.clone(),
        spki: authority.key.spki(),
        tainted: authority.life.stage == Stage::Tainted,
    }
}

/// A key for JWT-SVIDs as JWK.
fn jwt_jwk(authority: &JwtAuthority) -> Value {
    let jwk = Jwk {
        key: authority.key.clone(),
        key_id: Some(authority.authority_id.clone()),
        usage: Some(USAGE.to_owned()),
        algorithm: None,
    };
    Value::Object(jwk.to_members())
}

/// A root as JWK. `None` for a key of a kind that no consumer verifies with.
fn jwk(der: &[u8]) -> Option<Value> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let key = certificate.public_key();
    let mut jwk = match key.parsed().ok()? {
        PublicKey::EC(point) => {
            let (curve, size) = match point.data().len() {
                65 => ("P-256", 32),
                97 => ("P-384", 48),
                _ => return None,
            };
            let (x, y) = point.data().strip_prefix(&[4])?.split_at_checked(size)?;
            json!({ "kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
        }
        PublicKey::RSA(rsa) => {
            let digits = |number: &[u8]| {
                let from = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
                URL_SAFE_NO_PAD.encode(number.get(from..).unwrap_or_default())
            };
            json!({ "kty": "RSA", "n": digits(rsa.modulus), "e": digits(rsa.exponent) })
        }
        _ if key.algorithm.algorithm == OID_SIG_ED25519 => {
            json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&key.subject_public_key.data) })
        }
        _ => return None,
    };
    let members = jwk.as_object_mut()?;
    members.insert("use".to_owned(), json!("x509-svid"));
    members.insert("x5c".to_owned(), json!([STANDARD.encode(der)]));
    Some(jwk)
}
