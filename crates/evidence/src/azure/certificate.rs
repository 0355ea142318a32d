//! The certificate that Microsoft gives to the attestation key of a virtual TPM: proof that the TPM is Azure's. On a
//! confidential VM the hardware report vouches for the key already, and the certificate is one more word.

use std::sync::Arc;

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use super::error::Unverified;
use crate::crypto::{PublicKey, sha256};
use crate::x509::{PathRefused, RootIdentity, Roots, VerifiedPath, issuer, verify_path};
use crate::{Provenance, TrustClass};

/// What Microsoft's certificates are for: tcg-kp-AIKCertificate, and the one that older ones have alone.
const AK_KEY_PURPOSES: [&str; 2] = ["2.23.133.8.3", "1.3.6.1.4.1.311.10.3.12"];
/// Characters of a subject that are kept. Those seen have 45.
const SUBJECT_CHARS_MAX: usize = 128;

/// A certificate of an attestation key whose path holds. Made by [`verify_ak_certificate`] and its like alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AkCertificate {
    /// Its common name: `2ede2d532aaf.ConfidentialVM.Azure.windows.net`. Empty if it has none that is plain text.
    pub subject: String,
    /// SHA-256 of its DER.
    pub sha256: [u8; 32],
    /// The root that its path ends at.
    pub root: RootIdentity,
    /// The earliest end of any certificate of the path.
    pub not_after: UnixTime,
    /// The path: keep it for the next quote by this key.
    pub path: Arc<VerifiedPath>,
}

impl AkCertificate {
    /// Who vouches for what it says: the provider, or a simulator.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        match self.root.class {
            TrustClass::Simulated => Provenance::Simulated,
            TrustClass::Discrete | TrustClass::Firmware | TrustClass::Vtpm | TrustClass::Cloud => Provenance::Provider,
        }
    }
}

/// Verifies the certificate of `ak`, the first of `certificates`; the others help to build the path, as do the
/// intermediates that were imported.
///
/// # Errors
/// [`Unverified::CertificateMissing`], [`Unverified::Certificate`], [`Unverified::KeyMismatch`],
/// [`Unverified::CertificateExpired`], [`Unverified::Chain`].
pub fn verify_ak_certificate(
    certificates: &[&[u8]],
    ak: &PublicKey,
    roots: &Roots,
    now: UnixTime,
) -> Result<AkCertificate, Unverified> {
    verify_certificate(certificates, ak, roots, &[], now)
}

/// The same with paths that were verified before.
pub(super) fn verify_certificate(
    certificates: &[&[u8]],
    ak: &PublicKey,
    roots: &Roots,
    verified: &[Arc<VerifiedPath>],
    now: UnixTime,
) -> Result<AkCertificate, Unverified> {
    let der = certificates.first().ok_or(Unverified::CertificateMissing)?;
    let leaf = leaf(der)?;
    if PublicKey::from_parsed(leaf.public_key()).as_ref() != Some(ak) {
        return Err(Unverified::KeyMismatch);
    }
    let (not_before, not_after) = issuer::validity(&leaf);
    let now_seconds = now.seconds();
    if !(not_before..=not_after).contains(&now_seconds) {
        return Err(Unverified::CertificateExpired { not_before, not_after, now: now_seconds });
    }
    let path = verify_path(&leaf, certificates, roots, verified, now)?;
    Ok(AkCertificate {
        subject: subject(&leaf),
        sha256: sha256(&[der]),
        root: path.root().clone(),
        not_after: path.not_after(),
        path,
    })
}

/// The same where the certificate is one more word: `None` if none came along, if nobody that is trusted issued it, or
/// if it has expired. One for another key, or with a signature that is none, is no word but a lie.
///
/// # Errors
/// As [`verify_ak_certificate`].
pub fn verify_ak_certificate_if_any(
    certificates: &[&[u8]],
    ak: &PublicKey,
    roots: &Roots,
    now: UnixTime,
) -> Result<Option<AkCertificate>, Unverified> {
    if_any(verify_ak_certificate(certificates, ak, roots, now))
}

/// What is left of a certificate that is one more word.
///
/// # Errors
/// As [`verify_ak_certificate_if_any`].
pub(super) fn if_any(verified: Result<AkCertificate, Unverified>) -> Result<Option<AkCertificate>, Unverified> {
    match verified {
        Ok(certificate) => Ok(Some(certificate)),
        Err(
            Unverified::CertificateMissing
            | Unverified::CertificateExpired { .. }
            | Unverified::Chain(PathRefused::NoPath { .. } | PathRefused::IssuerExpired { .. }),
        ) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// The certificate, if it is one for an attestation key.
fn leaf(der: &[u8]) -> Result<X509Certificate<'_>, Unverified> {
    let refused = |what| Unverified::Certificate { what };
    let certificate = issuer::parse(der).ok_or(refused("no DER certificate"))?;
    if !issuer::is_canonical(der, &certificate) {
        return Err(refused("not in its one DER encoding"));
    }
    if !issuer::understands_extensions(&certificate) {
        return Err(refused("a critical extension that is not understood"));
    }
    if issuer::CaRights::of(&certificate).is_ca == Some(true) {
        return Err(refused("a CA certificate"));
    }
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) if !usage.digital_signature() => {
                return Err(refused("keyUsage without digitalSignature"));
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let is_ours = usage.other.iter().any(|oid| AK_KEY_PURPOSES.contains(&oid.to_id_string().as_str()));
                if !is_ours {
                    return Err(refused("extendedKeyUsage of another purpose"));
                }
            }
            _ => {}
        }
    }
    Ok(certificate)
}

fn subject(certificate: &X509Certificate<'_>) -> String {
    let name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
    let is_plain = name.len() <= SUBJECT_CHARS_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { name.to_owned() } else { String::new() }
}
