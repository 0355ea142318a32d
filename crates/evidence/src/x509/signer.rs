//! Who signed something that is no public-key certificate but names its signer: an attribute certificate. Looks for the
//! signer among anchors and imported certificates, and from there for a path to an anchor.

use holdfast_identity::UnixTime;
use x509_parser::asn1_rs::BitString;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::ParsedExtension;
use x509_parser::verify::verify_signature;
use x509_parser::x509::AlgorithmIdentifier;

use super::crl::Verdict;
use super::path::names_sha1;
use super::{ExpiredIssuers, Path, PathRefused, Roots, find_path, issuer};

/// Signers of one name that are tried.
const SIGNERS_MAX: usize = 8;

/// What was signed, by whom, and how.
pub(crate) struct SignedByName<'a> {
    /// The signer's distinguished name, as written.
    pub(crate) signer: &'a [u8],
    /// The serial number under which the signer revokes it, as written.
    pub(crate) serial: &'a [u8],
    /// The bytes that are signed.
    pub(crate) signed: &'a [u8],
    pub(crate) algorithm: &'a AlgorithmIdentifier<'a>,
    pub(crate) signature: &'a BitString<'a>,
}

/// Looks for the signer and its path to an anchor. SHA-1 is never accepted here.
///
/// # Errors
/// [`PathRefused`], where 0 is what was signed and 1 its signer.
pub(crate) fn find_signer<'r>(
    signed: &SignedByName<'_>,
    roots: &'r Roots,
    expired: ExpiredIssuers,
    now: UnixTime,
) -> Result<Path<'r>, PathRefused> {
    if names_sha1(signed.algorithm) {
        return Err(PathRefused::Sha1 { depth: 0 });
    }
    let mut refused = PathRefused::NoPath { depth: 1 };
    for anchor in roots.anchors.iter().filter(|anchor| anchor.subject == signed.signer).take(SIGNERS_MAX) {
        match issuer::parse(&anchor.der).map(|signer| check_signer(signed, &signer, roots, expired, now)) {
            Some(Ok(())) => {
                let (not_before, not_after) = (anchor.not_before, anchor.not_after);
                return Ok(Path { anchor, intermediates: Vec::new(), not_before, not_after });
            }
            Some(Err(reason)) => refused = nearer(refused, reason),
            None => {}
        }
    }
    for known in roots.intermediates.iter().filter(|known| known.subject == signed.signer).take(SIGNERS_MAX) {
        let Some(signer) = issuer::parse(&known.der) else { continue };
        let path = check_signer(signed, &signer, roots, expired, now)
            .and_then(|()| find_path(&signer, &[], roots, expired, now).map_err(one_up));
        match path {
            Ok(mut path) => {
                path.intermediates.insert(0, crate::crypto::sha256(&[&known.der]));
                return Ok(path);
            }
            Err(reason) => refused = nearer(refused, reason),
        }
    }
    Err(refused)
}

fn check_signer(
    signed: &SignedByName<'_>,
    signer: &X509Certificate<'_>,
    roots: &Roots,
    expired: ExpiredIssuers,
    now: UnixTime,
) -> Result<(), PathRefused> {
    verify_signature(signer.public_key(), signed.algorithm, signed.signature, signed.signed).map_err(|error| {
        match error {
            X509Error::SignatureUnsupportedAlgorithm => PathRefused::SignatureAlgorithm { depth: 0 },
            _ => PathRefused::Signature { depth: 0 },
        }
    })?;
    if !issuer::understands_extensions(signer) {
        return Err(PathRefused::CriticalExtension { depth: 1 });
    }
    // A CA may certify a platform itself, or have a key without CA rights do so.
    let may_sign = signer.extensions().iter().all(|extension| match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => usage.digital_signature() || usage.key_cert_sign(),
        _ => true,
    });
    if !may_sign {
        return Err(PathRefused::NotCa { depth: 1 });
    }
    let (not_before, not_after) = issuer::validity(signer);
    let now = now.seconds();
    if now < not_before || (now > not_after && expired == ExpiredIssuers::Refused) {
        return Err(PathRefused::IssuerExpired { depth: 1, not_before, not_after, now });
    }
    for crl in roots.crls() {
        match crl.judge(signer, signed.serial) {
            Verdict::NotConcerned | Verdict::Clear => {}
            Verdict::BadSignature => return Err(PathRefused::CrlSignature { depth: 1 }),
            Verdict::Revoked => return Err(PathRefused::Revoked { depth: 0 }),
        }
    }
    Ok(())
}

/// The refusal that says more: one that is not merely about another key of the same name.
const fn nearer(held: PathRefused, other: PathRefused) -> PathRefused {
    match held {
        PathRefused::NoPath { .. } | PathRefused::Signature { .. } => other,
        _ => held,
    }
}

/// A refusal of the signer's own path, counted from what it signed.
const fn one_up(refused: PathRefused) -> PathRefused {
    match refused {
        PathRefused::CriticalExtension { depth } => PathRefused::CriticalExtension { depth: depth + 1 },
        PathRefused::IssuerExpired { depth, not_before, not_after, now } => {
            PathRefused::IssuerExpired { depth: depth + 1, not_before, not_after, now }
        }
        PathRefused::NoPath { depth } => PathRefused::NoPath { depth: depth + 1 },
        PathRefused::Signature { depth } => PathRefused::Signature { depth: depth + 1 },
        PathRefused::SignatureAlgorithm { depth } => PathRefused::SignatureAlgorithm { depth: depth + 1 },
        PathRefused::Sha1 { depth } => PathRefused::Sha1 { depth: depth + 1 },
        PathRefused::NotCa { depth } => PathRefused::NotCa { depth: depth + 1 },
        PathRefused::PathLength { depth, allowed } => PathRefused::PathLength { depth: depth + 1, allowed },
        PathRefused::TooDeep => PathRefused::TooDeep,
        PathRefused::Revoked { depth } => PathRefused::Revoked { depth: depth + 1 },
        PathRefused::CrlSignature { depth } => PathRefused::CrlSignature { depth: depth + 1 },
    }
}
