//! Whom a client certificate names: the leaf rules of the X.509-SVID document, beyond path validation.

use holdfast_identity::{SpiffeId, TrustDomain};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a verified client certificate says. Its key is the peer's: the handshake was signed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSvid {
    /// The one URI SAN.
    pub spiffe_id: SpiffeId,
    /// DER `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
}

/// Why a certificate is no X.509-SVID of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSvid {
    /// It does not parse, or bytes follow it.
    #[error("certificate does not parse")]
    Malformed,
    /// There is not exactly one URI SAN, or it is no SPIFFE ID.
    #[error("certificate does not carry exactly one SPIFFE ID")]
    Names,
    /// The ID has no path: it names a trust domain.
    #[error("certificate names a trust domain, expected a member of one")]
    NoPath,
    /// Somebody's of our trust domain who is no node.
    #[error("certificate is not a node's")]
    NotANode,
    /// The ID belongs to another trust domain.
    #[error("certificate names a member of another trust domain")]
    OtherTrustDomain,
    /// It is a signing certificate, or may sign others.
    #[error("certificate is a signer's, expected a leaf")]
    Signer,
    /// Key usage is missing, not critical, or lacks digitalSignature.
    #[error("certificate lacks the critical key usage digitalSignature")]
    KeyUsage,
}

impl InvalidSvid {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "svid.malformed",
            Self::Names => "svid.names",
            Self::NoPath => "svid.no_path",
            Self::NotANode => "svid.not_a_node",
            Self::OtherTrustDomain => "svid.other_trust_domain",
            Self::Signer => "svid.signer",
            Self::KeyUsage => "svid.key_usage",
        }
    }
}

impl PeerSvid {
    /// Whether it names a node: workloads have no business on the agent port.
    #[must_use]
    pub fn is_node(&self) -> bool {
        self.spiffe_id.path().starts_with("/holdfast/node/")
    }

    /// Reads a leaf by the rules of the X.509-SVID document. Says nothing about who signed it.
    ///
    /// # Errors
    /// [`InvalidSvid`].
    pub fn from_leaf(der: &[u8], trust_domain: &TrustDomain) -> Result<Self, InvalidSvid> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidSvid::Malformed)?;
        if !rest.is_empty() {
            return Err(InvalidSvid::Malformed);
        }
        if certificate.basic_constraints().map_err(|_| InvalidSvid::Malformed)?.is_some_and(|found| found.value.ca) {
            return Err(InvalidSvid::Signer);
        }
        let usage = certificate.key_usage().map_err(|_| InvalidSvid::Malformed)?.ok_or(InvalidSvid::KeyUsage)?;
        if usage.value.key_cert_sign() || usage.value.crl_sign() {
            return Err(InvalidSvid::Signer);
        }
        if !usage.critical || !usage.value.digital_signature() {
            return Err(InvalidSvid::KeyUsage);
        }
        let spiffe_id = uri_san(&certificate).ok_or(InvalidSvid::Names)?;
        if spiffe_id.path().is_empty() {
            return Err(InvalidSvid::NoPath);
        }
        if !spiffe_id.is_member_of(trust_domain) {
            return Err(InvalidSvid::OtherTrustDomain);
        }
        Ok(Self { spiffe_id, spki: certificate.public_key().raw.to_vec() })
    }
}

/// The SPIFFE ID of a certificate with exactly one URI SAN; `None` for none, for several, and for any other URI.
#[must_use]
pub fn uri_san(certificate: &X509Certificate<'_>) -> Option<SpiffeId> {
    let names = certificate.subject_alternative_name().ok().flatten()?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let first = uris.next()?;
    if uris.next().is_some() {
        return None;
    }
    first.parse().ok()
}
