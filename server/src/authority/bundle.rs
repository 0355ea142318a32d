//! The trust bundle: the roots of one trust domain and a sequence that rises with every change of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_identity::TrustDomain;
use holdfast_svid::bundle::Bundle as Document;
use holdfast_svid::jwk::Jwk;
use holdfast_svid::jwt::USAGE;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

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
    /// Intermediates and roots that count no more.
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

    /// With authorities below which everything is to be replaced, and those that count no more. Neither is part of
    /// the bundle's document: they are for our agents and our own listener.
    #[must_use]
    pub fn with_marks(self, tainted: Vec<KeyId>, revoked: Vec<KeyId>) -> Self {
        Self { tainted, revoked, ..self }
    }

    /// Intermediates and roots that count no more.
    #[must_use]
    pub fn revoked(&self) -> &[KeyId] {
        &self.revoked
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
            revoked_key_ids: self.revoked.iter().map(|key_id| key_id.as_bytes().to_vec()).collect(),
        }
    }

    /// The roots as PEM, one after another.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.authorities.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// The document of the SPIFFE Trust Domain and Bundle standard.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.document(None)
    }

    /// The same with another refresh hint, in seconds.
    #[must_use]
    pub fn document(&self, refresh_hint: Option<u64>) -> String {
        let document = Document {
            x509_authorities: self.authorities.clone(),
            jwt_authorities: self.jwt_authorities.iter().map(jwt_jwk).collect(),
            sequence: Some(self.sequence),
            refresh_hint: refresh_hint.or(u64::try_from(REFRESH_HINT_SECONDS).ok()),
        };
        document.to_json()
    }

    /// Reads such a document as the bundle of `trust_domain`, our own: with at least one root, each of which names it, or
    /// nobody.
    ///
    /// # Errors
    /// [`InvalidBundle`] where it is no bundle, a certificate names another than exactly `spiffe://trust_domain`, there is
    /// none at all, or there are more than 16.
    pub fn from_json(trust_domain: TrustDomain, text: &str) -> Result<Self, InvalidBundle> {
        let document = Document::read(&trust_domain, text.as_bytes()).map_err(|bad| InvalidBundle(bad.to_string()))?;
        let authorities = document.x509_authorities;
        for der in &authorities {
            if let Some(found) = root_trust_domain(der)?
                && found != trust_domain
            {
                return Err(InvalidBundle(format!("root belongs to {found}, expected {trust_domain}")));
            }
        }
        if authorities.is_empty() || authorities.len() > AUTHORITIES_MAX {
            return Err(InvalidBundle(format!(
                "bundle has {} roots, expected 1 to {AUTHORITIES_MAX}",
                authorities.len()
            )));
        }
        Ok(Self::new(trust_domain, authorities, document.sequence.unwrap_or(0)))
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
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
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
fn jwt_jwk(authority: &JwtAuthority) -> Jwk {
    Jwk {
        key: authority.key.clone(),
        key_id: Some(authority.authority_id.clone()),
        usage: Some(USAGE.to_owned()),
        algorithm: None,
    }
}
