//! The checks on a document, one function each, in the order in which they are made: first everything that says whose
//! document it is and for whom, so that a refusal after that is one of genuine evidence. `verify` composes them for the
//! service, `holdfast-policy inspect` calls them one by one.
//!
//! | # | check | here | kinds |
//! | --- | --- | --- | --- |
//! | 1 | envelope and payload parse exactly | [`Document::parse`] | both |
//! | 2 | the kind is the one asked | [`kind`] | both |
//! | 3 | algorithm is ES384 by number | [`algorithm`] | both |
//! | 4 | digest is SHA384, and every PCR one | [`digest`] | both |
//! | 5 | module's name | [`module_id`] | both |
//! | 6 | chain to a trusted root | [`verify_chain`](super::verify_chain) | both |
//! | 7 | signature over the raw bytes | [`signature`] | both |
//! | 8 | nonce | [`nonce`] | both |
//! | 9 | user data is the binding | [`user_data`] | both |
//! | 10 | the certificate is this module's | [`certificate_name`] | both |
//! | 11 | made just now | [`timestamp`] | both |
//! | 12 | not in debug mode | [`debug`] | nitro |
//! | 13 | PCR 4 is of the instance that the name says | [`instance`] | nitro |

use holdfast_identity::UnixTime;

use super::chain::VerifiedChain;
use super::cose::{Algorithm, SIGNATURE_BYTES};
use super::document::{Document, Pcrs};
use super::error::Unverified;
use super::kind::DocumentKind;
use super::module::ModuleId;
use super::refusal::{ChainRefused, DocumentRefused};
use crate::crypto::{self, Digest, HashAlg};

/// Seconds that a document may be older than our clock, or ahead of it. Ten minutes is the longest life of a challenge,
/// and hypervisors keep time to well below a second: whoever is further off made the document for somebody else's
/// question, or has a clock that nothing can be judged by.
pub const DOCUMENT_AGE_MAX: i64 = 600;
/// The PCRs that hold an enclave's image; all zero in debug mode, where the parent instance reads its memory.
pub const IMAGE_PCRS: [u8; 3] = [0, 1, 2];
/// The PCR that holds the parent instance's id.
pub const INSTANCE_PCR: u8 = 4;

/// The PCRs stand under the key of this kind.
///
/// # Errors
/// [`DocumentRefused::Kind`].
pub fn kind(document: &Document<'_>, expected: DocumentKind) -> Result<(), DocumentRefused> {
    let found = document.pcrs.kind;
    if found == expected {
        return Ok(());
    }
    Err(DocumentRefused::Kind { expected: expected.pcrs_key(), found: found.pcrs_key() })
}

/// The protected header says ES384, by its number, and nothing else.
///
/// # Errors
/// [`DocumentRefused::Algorithm`], [`DocumentRefused::Malformed`].
pub fn algorithm(document: &Document<'_>, kind: DocumentKind) -> Result<(), DocumentRefused> {
    match document.envelope.algorithm(kind)? {
        Algorithm::Es384 => Ok(()),
        Algorithm::Other => Err(DocumentRefused::Algorithm),
    }
}

/// The digest function is SHA-384, and every PCR has its size.
///
/// # Errors
/// [`DocumentRefused::Digest`].
pub fn digest(document: &Document<'_>) -> Result<(), DocumentRefused> {
    let fits = |(_, value): (u8, &[u8])| value.len() == HashAlg::Sha384.size();
    if document.digest == "SHA384" && document.pcrs.iter().all(fits) { Ok(()) } else { Err(DocumentRefused::Digest) }
}

/// The module's name, which is one of this kind.
///
/// # Errors
/// [`DocumentRefused::ModuleId`].
pub fn module_id(document: &Document<'_>, kind: DocumentKind) -> Result<ModuleId, DocumentRefused> {
    ModuleId::parse(kind, document.module_id).ok_or(DocumentRefused::ModuleId)
}

/// The chain's key signed the document, over its original bytes.
///
/// # Errors
/// [`DocumentRefused::SignatureForm`], [`DocumentRefused::Signature`].
pub fn signature(document: &Document<'_>, chain: &VerifiedChain) -> Result<(), DocumentRefused> {
    let found = document.envelope.signature.len();
    if found != SIGNATURE_BYTES {
        return Err(DocumentRefused::SignatureForm { found });
    }
    if document.envelope.is_signed_by(chain.key()) { Ok(()) } else { Err(DocumentRefused::Signature) }
}

/// `nonce` is `expected`, compared in constant time; an empty one never is.
///
/// # Errors
/// [`DocumentRefused::Nonce`].
pub fn nonce(document: &Document<'_>, expected: &[u8]) -> Result<(), DocumentRefused> {
    if document.nonce.is_some_and(|nonce| crypto::equal(expected, nonce)) {
        return Ok(());
    }
    Err(DocumentRefused::Nonce { found: document.nonce.map(<[u8]>::len) })
}

/// `user_data` is `expected`, compared in constant time; an empty one never is.
///
/// # Errors
/// [`DocumentRefused::Binding`].
pub fn user_data(document: &Document<'_>, expected: &[u8]) -> Result<(), DocumentRefused> {
    if document.user_data.is_some_and(|data| crypto::equal(expected, data)) {
        return Ok(());
    }
    Err(DocumentRefused::Binding { found: document.user_data.map(<[u8]>::len) })
}

/// The certificate is this module's, where its name says whose it is: `MODULE.REGION.aws`. Returns the region.
///
/// # Errors
/// [`ChainRefused::Module`] if it names another module of this kind.
pub fn certificate_name(
    kind: DocumentKind,
    module: &ModuleId,
    chain: &VerifiedChain,
) -> Result<Option<String>, DocumentRefused> {
    let Some((named, place)) = chain.common_name().and_then(|name| name.split_once('.')) else { return Ok(None) };
    match ModuleId::parse(kind, named) {
        Some(named) if named == *module => {
            Ok(place.strip_suffix(".aws").filter(|place| is_region(place)).map(str::to_owned))
        }
        Some(_) => Err(ChainRefused::Module.into()),
        None => Ok(None),
    }
}

/// One label of lower-case letters, digits and hyphens.
fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The document was made at most [`DOCUMENT_AGE_MAX`] seconds from `now`, in either direction. Its certificate's dates
/// say nothing of that: one certificate signs documents for three hours.
///
/// # Errors
/// [`DocumentRefused::Timestamp`].
pub fn timestamp(document: &Document<'_>, now: UnixTime) -> Result<(), DocumentRefused> {
    let made = UnixTime(i64::try_from(document.timestamp / 1000).unwrap_or(i64::MAX));
    let seconds = now.since(made);
    if (-DOCUMENT_AGE_MAX..=DOCUMENT_AGE_MAX).contains(&seconds) {
        return Ok(());
    }
    Err(DocumentRefused::Timestamp { seconds, limit: DOCUMENT_AGE_MAX })
}

/// The enclave's image is measured: an enclave in debug mode has a document that is genuine in everything but this.
///
/// # Errors
/// [`Unverified::Debug`], [`Unverified::MissingPcr`].
pub fn debug(pcrs: &Pcrs<'_>) -> Result<(), Unverified> {
    for pcr in IMAGE_PCRS {
        let value = pcrs.get(pcr).ok_or(Unverified::MissingPcr { pcr })?;
        if value.iter().all(|byte| *byte == 0) {
            return Err(Unverified::Debug { pcr });
        }
    }
    Ok(())
}

/// PCR 4 is what the hypervisor measures of the instance in the module's name. Every enclave has one.
///
/// # Errors
/// [`Unverified::Instance`], [`Unverified::MissingPcr`].
pub fn instance(pcrs: &Pcrs<'_>, module: &ModuleId) -> Result<(), Unverified> {
    let found = pcrs.get(INSTANCE_PCR).ok_or(Unverified::MissingPcr { pcr: INSTANCE_PCR })?;
    if crypto::equal(measured_text(module.instance_id()).as_bytes(), found) {
        Ok(())
    } else {
        Err(Unverified::Instance)
    }
}

/// A PCR into which the hypervisor measured this text once, without hashing it first: SHA-384 over 48 zero bytes and the
/// text. So PCR 4 follows from the parent's instance id, and PCR 3 from the ARN of its role.
#[must_use]
pub fn measured_text(text: &str) -> Digest {
    Digest::zero(HashAlg::Sha384).extended(HashAlg::Sha384, text.as_bytes())
}
