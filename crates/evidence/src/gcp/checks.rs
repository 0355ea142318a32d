//! The checks on an attestation key's certificate, one function each, in the order in which they are made. Those of the
//! quote are `tpm::checks`.
//!
//! | # | check | here |
//! | --- | --- | --- |
//! | 1 | the certificate parses, is no CA's, may sign, has no critical extension that is not understood | [`leaf`] |
//! | 2 | its dates | [`dates`] |
//! | 3 | a path to a trusted root | [`chain`] |
//! | 4 | the instance extension | [`Instance::of`](super::Instance::of) |
//! | 5 | it is for the key of the public area | [`key`] |

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use super::error::Unverified;
use crate::crypto::PublicKey;
use crate::x509::{ExpiredIssuers, Path, Roots, find_path, issuer};

/// The certificate is one for an attestation key; returns it.
///
/// # Errors
/// [`Unverified::Certificate`].
pub fn leaf(der: &[u8]) -> Result<X509Certificate<'_>, Unverified> {
    let refused = |what| Unverified::Certificate { what };
    let certificate = issuer::parse(der).ok_or(refused("no DER certificate"))?;
    // What stands around the signed part is covered by no signature.
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
        if let ParsedExtension::KeyUsage(usage) = extension.parsed_extension()
            && !usage.digital_signature()
        {
            return Err(refused("keyUsage without digitalSignature"));
        }
    }
    Ok(certificate)
}

/// Its own dates include `now`.
///
/// # Errors
/// [`Unverified::Expired`].
pub fn dates(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Unverified> {
    let (not_before, not_after) = issuer::validity(certificate);
    let now = now.seconds();
    if (not_before..=not_after).contains(&now) {
        Ok(())
    } else {
        Err(Unverified::Expired { not_before, not_after, now })
    }
}

/// A path leads to a trusted root. Google has several intermediates of one name: every one is tried.
///
/// # Errors
/// [`Unverified::Chain`].
pub fn chain<'r>(
    certificate: &X509Certificate<'_>,
    offered: &[&'r [u8]],
    roots: &'r Roots,
    now: UnixTime,
) -> Result<Path<'r>, Unverified> {
    Ok(find_path(certificate, offered, roots, ExpiredIssuers::Refused, now)?)
}

/// It is for this key.
///
/// # Errors
/// [`Unverified::KeyMismatch`].
pub fn key(certificate: &X509Certificate<'_>, ak: &PublicKey) -> Result<(), Unverified> {
    if PublicKey::from_parsed(certificate.public_key()).as_ref() == Some(ak) {
        Ok(())
    } else {
        Err(Unverified::KeyMismatch)
    }
}
