//! EK certificates: is this TPM one that a trusted manufacturer made, and which?
//!
//! Own path builder, because neither webpki nor strict DER readers take what TPM vendors put into NV memory: padding,
//! TCG 1.2 headers, critical certificate policies, unsorted names, several issuers of one name. It answers for
//! signature, names, dates, CA rights, path length and revocation of every certificate from the EK's to an [`Anchor`].
//! It does not ask whether the machine *holds* the EK: that is credential activation.

mod envelope;
mod error;
mod identity;
mod roca;

pub use error::UnverifiedEk;
use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::class::TrustClass;
use crate::crypto::{PublicKey, sha256};
use crate::x509::{self, issuer};
pub use crate::x509::{Anchor, BadEndorsement, Crl, ExpiredIssuers, RootIdentity, Roots, Sha1Signatures, SoftwareTpms};

/// Bytes of one certificate as read from NV, padding included. The largest NV index seen has 2048.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;
/// Chain certificates that come with one EK certificate.
pub const CHAIN_CERTIFICATES_MAX: usize = 16;
/// The manufacturer that libtpms writes: a software TPM ("IBM").
const SOFTWARE_MANUFACTURER: &str = "id:00001014";
const EK_KEY_PURPOSE: &str = "2.23.133.8.1";
const RSAES_OAEP: &str = "1.2.840.113549.1.1.7";

/// An EK certificate whose path holds and whose key is the EK that was offered. Only [`verify_ek_certificate`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EkCertificate {
    /// The DER certificate, without header and padding.
    pub der: Vec<u8>,
    /// SHA-256 of [`EkCertificate::der`].
    pub sha256: [u8; 32],
    /// SHA-256 of the certificate's `SubjectPublicKeyInfo`, as it stands there.
    pub spki_sha256: [u8; 32],
    /// The endorsement key.
    pub public_key: PublicKey,
    /// TPM manufacturer as the vendor writes it: `id:49465800`.
    pub manufacturer: Option<String>,
    /// TPM model.
    pub model: Option<String>,
    /// TPM version: `id:00070055`.
    pub version: Option<String>,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// The root.
    pub root: RootIdentity,
    /// SHA-256 of the intermediates between, from the EK certificate upwards.
    pub intermediates: Vec<[u8; 32]>,
}

/// An EK certificate whose path holds; whose key it certifies has not been compared with anything yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainedEk(EkCertificate);

/// Checks an EK certificate completely: [`verify_chain`], then [`ChainedEk::certifies`].
///
/// # Errors
/// [`UnverifiedEk`].
pub fn verify_ek_certificate(
    certificate: &[u8],
    chain: &[&[u8]],
    ek: &PublicKey,
    roots: &Roots,
    expired: ExpiredIssuers,
    now: UnixTime,
) -> Result<EkCertificate, UnverifiedEk> {
    verify_chain(certificate, chain, roots, expired, now)?.certifies(ek)
}

/// Checks an EK certificate as read from NV, with whatever chain certificates the machine brought along (each entry one
/// or several DER certificates in a row).
///
/// # Errors
/// [`UnverifiedEk`]: of several paths that fail, the failure of the one that got furthest.
pub fn verify_chain(
    certificate: &[u8],
    chain: &[&[u8]],
    roots: &Roots,
    expired: ExpiredIssuers,
    now: UnixTime,
) -> Result<ChainedEk, UnverifiedEk> {
    let der = envelope::certificate(certificate)?;
    let leaf = issuer::parse(der).ok_or(UnverifiedEk::Malformed { what: "no X.509 certificate" })?;
    if !issuer::is_canonical(der, &leaf) {
        return Err(UnverifiedEk::Malformed { what: "not in its one DER encoding" });
    }
    let public_key = check_leaf(&leaf, now)?;
    let mut offered = Vec::new();
    for blob in chain {
        offered.extend(envelope::certificates(blob)?);
        if offered.len() > CHAIN_CERTIFICATES_MAX {
            return Err(UnverifiedEk::TooManyCertificates { found: offered.len(), limit: CHAIN_CERTIFICATES_MAX });
        }
    }
    let path = x509::find_path(&leaf, &offered, roots, expired, now)?;
    let attributes = identity::TpmAttributes::of(&leaf);
    let is_software = attributes.manufacturer.as_deref() == Some(SOFTWARE_MANUFACTURER);
    let takes_software =
        path.anchor.class() == TrustClass::Simulated || path.anchor.software_tpms == SoftwareTpms::Accepted;
    if is_software && !takes_software {
        return Err(UnverifiedEk::SoftwareTpm { root: path.anchor.name().to_owned() });
    }
    let (not_before, not_after) = issuer::validity(&leaf);
    Ok(ChainedEk(EkCertificate {
        der: der.to_vec(),
        sha256: sha256(&[der]),
        spki_sha256: sha256(&[leaf.public_key().raw]),
        public_key,
        manufacturer: attributes.manufacturer,
        model: attributes.model,
        version: attributes.version,
        not_before,
        not_after,
        root: path.anchor.identity(),
        intermediates: path.intermediates,
    }))
}

impl ChainedEk {
    /// The certificate, if it is for exactly this key.
    ///
    /// # Errors
    /// [`UnverifiedEk::PublicKeyMismatch`].
    pub fn certifies(self, ek: &PublicKey) -> Result<EkCertificate, UnverifiedEk> {
        if self.0.public_key == *ek { Ok(self.0) } else { Err(UnverifiedEk::PublicKeyMismatch) }
    }

    /// What the certificate says, for a report: nobody has shown yet which key is behind it.
    #[must_use]
    pub const fn unmatched(&self) -> &EkCertificate {
        &self.0
    }
}

/// The DER certificate in what an NV index holds, without header and padding.
pub(super) fn certificate_in(blob: &[u8]) -> Result<&[u8], UnverifiedEk> {
    envelope::certificate(blob)
}

/// All DER certificates that stand one after the other in what an NV index holds.
pub(super) fn certificates_in(blob: &[u8]) -> Result<Vec<&[u8]>, UnverifiedEk> {
    envelope::certificates(blob)
}

/// The rules for the EK certificate itself; returns its key.
fn check_leaf(leaf: &X509Certificate<'_>, now: UnixTime) -> Result<PublicKey, UnverifiedEk> {
    if !issuer::understands_extensions(leaf) {
        return Err(UnverifiedEk::CriticalExtension { depth: 0 });
    }
    if issuer::CaRights::of(leaf).is_ca == Some(true) {
        return Err(UnverifiedEk::IsCa);
    }
    for extension in leaf.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage)
                if !(usage.key_encipherment() || usage.key_agreement() || usage.data_encipherment()) =>
            {
                return Err(UnverifiedEk::KeyUsage);
            }
            ParsedExtension::ExtendedKeyUsage(usage)
                if !usage.other.iter().any(|oid| oid.to_id_string() == EK_KEY_PURPOSE) =>
            {
                return Err(UnverifiedEk::ExtendedKeyUsage);
            }
            _ => {}
        }
    }
    let (not_before, not_after) = issuer::validity(leaf);
    let now = now.seconds();
    if !(not_before..=not_after).contains(&now) {
        return Err(UnverifiedEk::Expired { not_before, not_after, now });
    }
    let key = public_key(leaf.public_key()).ok_or(UnverifiedEk::UnsupportedKey)?;
    match &key {
        PublicKey::Rsa { modulus } if roca::is_weak(modulus) => Err(UnverifiedEk::Roca),
        _ => Ok(key),
    }
}

/// The key in a `SubjectPublicKeyInfo`; id-RSAES-OAEP (TPM 1.2 era) is read as RSA.
fn public_key(spki: &SubjectPublicKeyInfo<'_>) -> Option<PublicKey> {
    if spki.algorithm.algorithm.to_id_string() != RSAES_OAEP {
        return PublicKey::from_parsed(spki);
    }
    let (rest, key) = RSAPublicKey::from_der(&spki.subject_public_key.data).ok()?;
    (rest.is_empty() && key.try_exponent().ok() == Some(65_537)).then(|| PublicKey::rsa(key.modulus))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rsa_key_under_the_oaep_identifier_is_read_as_rsa() {
        let modulus = [0xc5; 256];
        let expected = PublicKey::rsa(&modulus).unwrap();
        for (last, parsed) in [(1, true), (7, true), (10, false)] {
            let mut der = expected.spki();
            let at = der.windows(9).position(|oid| oid == [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]).unwrap();
            der[at + 8] = last;
            let (_, spki) = SubjectPublicKeyInfo::from_der(&der).unwrap();
            assert_eq!(public_key(&spki), parsed.then(|| expected.clone()), "1.2.840.113549.1.1.{last}");
        }
    }
}
