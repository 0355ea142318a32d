//! Intel's public-key infrastructure for quotes: P-256 throughout, one root, one CA at most below it. Checks one
//! certificate under another; revocation is the collateral's part.

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::AlgorithmIdentifier;

use super::signatures;
use crate::crypto::{Curve, PublicKey, SignatureValue};
use crate::key::ecdsa_value;
use crate::x509::issuer::{self, CaRights};
use crate::x509::{Anchor, Date, RootIdentity, Roots};

/// ecdsa-with-SHA256
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
/// Certificates of one PEM chain that are looked at: leaf, CA, root, and one to spare.
pub(super) const CHAIN_MAX: usize = 4;

/// Why a certificate does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// No certificate of ours: no X.509, another algorithm than ECDSA on P-256 with SHA-256, a critical extension that
    /// is not understood.
    #[error("no X.509 certificate with ECDSA on P-256")]
    Malformed,
    /// No certificate is there.
    #[error("no certificate is there")]
    Missing,
    /// Not valid yet, or no more. Seconds since 1970.
    #[error("certificate {depth} is valid from {} to {}, now is {}", Date(*not_before), Date(*not_after), Date(*now))]
    Expired {
        /// 0 is the leaf.
        depth: usize,
        /// Start.
        not_before: i64,
        /// End.
        not_after: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// No trusted root is its issuer.
    #[error("no trusted root leads to it")]
    Untrusted,
    /// Its signature does not verify under its issuer's key.
    #[error("signature does not verify")]
    Signature,
    /// An issuer may not issue, or the leaf may.
    #[error("certificate {depth} has other rights than its place demands")]
    Rights {
        /// 0 is the leaf.
        depth: usize,
    },
}

/// A certificate of the right kind, nothing verified yet.
#[derive(Clone, Debug)]
pub(super) struct Certificate<'a> {
    pub(super) der: &'a [u8],
    pub(super) parsed: X509Certificate<'a>,
    pub(super) key: PublicKey,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, BadCertificate> {
        let parsed = issuer::parse(der).ok_or(BadCertificate::Malformed)?;
        let key = PublicKey::from_parsed(parsed.public_key()).ok_or(BadCertificate::Malformed)?;
        let is_p256 = matches!(key, PublicKey::Ec { curve: Curve::P256, .. });
        if !is_p256 || !issuer::understands_extensions(&parsed) {
            return Err(BadCertificate::Malformed);
        }
        Ok(Self { der, parsed, key })
    }

    /// The common name of its issuer.
    pub(super) fn issuer_name(&self) -> &str {
        self.parsed.issuer().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default()
    }

    /// notBefore and notAfter, seconds since 1970.
    pub(super) fn validity(&self) -> (i64, i64) {
        issuer::validity(&self.parsed)
    }

    fn is_valid_at(&self, now: UnixTime, depth: usize) -> Result<(), BadCertificate> {
        let (not_before, not_after) = self.validity();
        let now = now.seconds();
        if (not_before..=not_after).contains(&now) {
            Ok(())
        } else {
            Err(BadCertificate::Expired { depth, not_before, not_after, now })
        }
    }

    /// Whether the bearer of `issuer` issued it: name, algorithm, signature over the original bytes.
    pub(super) fn is_issued_by(&self, issuer: &Self) -> Result<(), BadCertificate> {
        if self.parsed.issuer().as_raw() != issuer.parsed.subject().as_raw() {
            return Err(BadCertificate::Untrusted);
        }
        if !is_ours(&self.parsed.signature_algorithm, &self.parsed.tbs_certificate.signature) {
            return Err(BadCertificate::Malformed);
        }
        verify_der(&issuer.key, self.parsed.tbs_certificate.as_ref(), &self.parsed.signature_value.data)
    }

    /// Whether it may issue certificates and lists with `below` CAs between it and the leaf.
    fn may_issue(&self, below: u32, depth: usize) -> Result<(), BadCertificate> {
        let CaRights { is_ca, path_length, may_sign, may_sign_crls } = CaRights::of(&self.parsed);
        let may = is_ca == Some(true) && may_sign && may_sign_crls && path_length.is_none_or(|most| most >= below);
        if may { Ok(()) } else { Err(BadCertificate::Rights { depth }) }
    }

    /// Whether it is no CA's, and for signing.
    fn may_sign(&self) -> Result<(), BadCertificate> {
        let signs = self.parsed.key_usage().is_ok_and(|usage| {
            usage.is_some_and(|usage| usage.value.digital_signature() && !usage.value.key_cert_sign())
        });
        let is_ca = CaRights::of(&self.parsed).is_ca == Some(true);
        if signs && !is_ca { Ok(()) } else { Err(BadCertificate::Rights { depth: 0 }) }
    }
}

/// A path from a leaf to a root that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) root: RootIdentity,
    /// DER of the root.
    pub(super) root_der: Vec<u8>,
    /// Latest begin and earliest end of its certificates.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// Checks that `leaf`, a signer and no CA, leads to one of `roots`, through `ca` if there is one. Every anchor of the
/// issuer's name is tried.
pub(super) fn path(
    leaf: &Certificate<'_>,
    ca: Option<&Certificate<'_>>,
    roots: &Roots,
    now: UnixTime,
) -> Result<Path, BadCertificate> {
    leaf.may_sign()?;
    leaf.is_valid_at(now, 0)?;
    let mut top = leaf;
    if let Some(ca) = ca {
        leaf.is_issued_by(ca)?;
        ca.may_issue(0, 1)?;
        ca.is_valid_at(now, 1)?;
        top = ca;
    }
    let depth = 1 + usize::from(ca.is_some());
    let mut refused = BadCertificate::Untrusted;
    for anchor in roots.anchors() {
        let Ok(root) = Certificate::parse(anchor.der()) else { continue };
        let checked = top
            .is_issued_by(&root)
            .and_then(|()| root.may_issue(u32::from(ca.is_some()), depth))
            .and_then(|()| root.is_valid_at(now, depth));
        match checked {
            Ok(()) => return Ok(Path::new(anchor, [Some(leaf), ca, Some(&root)].into_iter().flatten())),
            Err(BadCertificate::Untrusted) => {}
            Err(problem) => refused = problem,
        }
    }
    Err(refused)
}

/// Checks that a CA leads to one of `roots` by itself; gives the root.
pub(super) fn ca_path(ca: &Certificate<'_>, roots: &Roots, now: UnixTime) -> Result<RootIdentity, BadCertificate> {
    ca.may_issue(0, 0)?;
    ca.is_valid_at(now, 0)?;
    let mut refused = BadCertificate::Untrusted;
    for anchor in roots.anchors() {
        let Ok(root) = Certificate::parse(anchor.der()) else { continue };
        let checked =
            ca.is_issued_by(&root).and_then(|()| root.may_issue(1, 1)).and_then(|()| root.is_valid_at(now, 1));
        match checked {
            Ok(()) => return Ok(anchor.identity()),
            Err(BadCertificate::Untrusted) => {}
            Err(problem) => refused = problem,
        }
    }
    Err(refused)
}

impl Path {
    fn new<'c>(anchor: &Anchor, certificates: impl Iterator<Item = &'c Certificate<'c>> + Clone) -> Self {
        let validities = certificates.map(Certificate::validity);
        Self {
            root: anchor.identity(),
            root_der: anchor.der().to_vec(),
            not_before: validities.clone().map(|(begin, _)| begin).max().unwrap_or(i64::MAX),
            not_after: validities.map(|(_, end)| end).min().unwrap_or(i64::MIN),
        }
    }
}

/// Whether the algorithm around a certificate or list is the one inside, ECDSA with SHA-256.
pub(super) fn is_ours(outside: &AlgorithmIdentifier<'_>, inside: &AlgorithmIdentifier<'_>) -> bool {
    outside.algorithm.to_id_string() == ECDSA_SHA256 && outside.parameters.is_none() && outside == inside
}

/// Verifies an ECDSA signature with SHA-256, in DER.
pub(super) fn verify_der(key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), BadCertificate> {
    let Some(SignatureValue::Ecdsa { r, s }) = ecdsa_value(signature) else { return Err(BadCertificate::Signature) };
    signatures::verify(key, message, r, s).map_err(|_| BadCertificate::Signature)
}

/// Verifies an ECDSA signature with SHA-256: r and s, 32 bytes each.
pub(super) fn verify_raw(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> Result<(), BadCertificate> {
    let (r, s) = signature.split_at(32);
    signatures::verify(key, message, r, s).map_err(|_| BadCertificate::Signature)
}

/// The certificates of a PEM text, at most [`CHAIN_MAX`]. What stands between them, a terminating zero say, is nothing.
pub(super) fn pem_chain(pem: &[u8]) -> Vec<Vec<u8>> {
    let blocks = x509_parser::pem::Pem::iter_from_buffer(pem).filter_map(Result::ok);
    blocks.filter(|pem| pem.label == "CERTIFICATE").map(|pem| pem.contents).take(CHAIN_MAX).collect()
}
