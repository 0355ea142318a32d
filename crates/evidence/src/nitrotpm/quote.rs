//! A TPM quote by the key in a document's `public_key`: readable, and worth nothing by itself. The key is whatever the
//! instance passed to the hypervisor, which does not ask where it lives; a key in software signs any quote.
//!
//! So nothing made of a quote here becomes a claim: [`UnauthenticatedQuote`] is shown to people, and its level says so.

use crate::Provenance;
use crate::crypto::{self, Curve, HashAlg, Hasher, PublicKey};
use crate::error::Malformed;
use crate::nitro::Pcrs;
use crate::tpm::{Attest, Bank, Body, ClockInfo, PcrSelection, Public, Signature, Signed, TPM_GENERATED};

/// What a key that nothing vouches for says of a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnauthenticatedQuote {
    /// extraData.
    pub extra_data: Vec<u8>,
    /// Bank and PCRs.
    pub selection: PcrSelection,
    /// Digest over them.
    pub pcr_digest: Vec<u8>,
    hash: HashAlg,
    /// Clock and counters.
    pub clock: ClockInfo,
}

/// Why a quote is not even by the key that the document names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteRefused {
    /// A structure does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The document names no key, or none that quotes are signed with.
    #[error("document has no public_key that a quote could be verified with")]
    Key,
    /// Not a quote.
    #[error("no TPM quote")]
    NotAQuote,
    /// Signed by another key, or by another algorithm.
    #[error("quote is not signed by the key in public_key")]
    Signature,
    /// extraData is not what was expected.
    #[error("quote signs other extraData than expected")]
    ExtraData,
}

impl QuoteRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Key => "nitrotpm.quote.key",
            Self::NotAQuote => "nitrotpm.quote.type",
            Self::Signature => "nitrotpm.quote.signature",
            Self::ExtraData => "nitrotpm.quote.nonce",
        }
    }
}

impl UnauthenticatedQuote {
    /// Always [`Provenance::Unauthenticated`].
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        Provenance::Unauthenticated
    }

    /// Whether its digest is that of the document's own PCRs; those count, whatever this says.
    #[must_use]
    pub fn agrees_with(&self, pcrs: &Pcrs<'_>) -> bool {
        let mut hasher = Hasher::new(self.hash);
        for pcr in self.selection.pcrs.iter() {
            let Some(value) = pcrs.get(pcr.get()) else { return false };
            hasher.update(value);
        }
        self.selection.bank == Bank::Sha384 && crypto::equal(hasher.finish().as_bytes(), &self.pcr_digest)
    }
}

/// Reads a quote that the key in `public_key` signed over `extra_data`. The document itself is not verified here.
///
/// # Errors
/// [`QuoteRefused`].
pub fn read_quote(
    public_key: Option<&[u8]>,
    quote: &Signed<'_>,
    extra_data: &[u8],
) -> Result<UnauthenticatedQuote, QuoteRefused> {
    let key = public_key.and_then(quoting_key).ok_or(QuoteRefused::Key)?;
    let attest = Attest::parse(quote.attest)?;
    let signature = Signature::parse(quote.signature)?;
    let Body::Quote(info) = &attest.body else { return Err(QuoteRefused::NotAQuote) };
    if attest.magic != TPM_GENERATED {
        return Err(QuoteRefused::NotAQuote);
    }
    let hash = HashAlg::from_id(signature.hash_id()).ok_or(QuoteRefused::Signature)?;
    crypto::verify(&key, signature.algorithm(), hash, attest.bytes, signature.value())
        .map_err(|_| QuoteRefused::Signature)?;
    if !crypto::equal(extra_data, attest.extra_data) {
        return Err(QuoteRefused::ExtraData);
    }
    Ok(UnauthenticatedQuote {
        extra_data: attest.extra_data.to_vec(),
        selection: info.selection()?,
        pcr_digest: info.pcr_digest.to_vec(),
        hash,
        clock: attest.clock,
    })
}

/// The key in a document's `public_key`, in the forms that the field's tools write: a point, a `SubjectPublicKeyInfo`, a
/// TPM's public area.
#[must_use]
pub fn quoting_key(bytes: &[u8]) -> Option<PublicKey> {
    if let [0x04, coordinates @ ..] = bytes {
        let curve = [Curve::P256, Curve::P384].into_iter().find(|curve| coordinates.len() == 2 * curve.field_size());
        if let Some((curve, (x, y))) = curve.and_then(|c| Some((c, coordinates.split_at_checked(c.field_size())?))) {
            return PublicKey::ec(curve, x, y);
        }
    }
    let public = || Public::parse_either(bytes).ok().map(|public| public.key().clone());
    PublicKey::from_spki(bytes).ok().or_else(public)
}
