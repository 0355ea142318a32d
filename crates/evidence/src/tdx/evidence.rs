//! A TDX item as evidence: what it wants fetched, and its verification against a binding.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::boot::TdBoot;
use super::checks;
use super::claims::TdxClaims;
use super::error::Unverified;
use super::item::TdxItem;
use super::pck::{PlatformKind, claimed_kind};
use super::quote::Quote;
use super::verify::{TdxEndorsements, verify_quote};
use crate::EvidenceKind;
use crate::binding::Binding;
use crate::challenge::Commitment;
use crate::crypto;
use crate::error::Malformed;
use crate::evidence::{Evidence, Verified};

/// An evidence item of kind `tdx`, its quote, and the digest of its log.
#[derive(Clone, Debug)]
pub struct TdxEvidence<'a> {
    bytes: &'a [u8],
    item: TdxItem<'a>,
    quote: Quote<'a>,
    log_digest: Option<[u8; 32]>,
}

/// What must be at hand before a TD's evidence can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdxWants {
    /// Collateral for this kind of platform, as the certificate in the quote claims; `None` if it cannot be read, so
    /// that none would help. Ask [`pck_chain`](super::pck_chain) before fetching for a stranger.
    pub collateral: Option<PlatformKind>,
}

impl TdxWants {
    pub(crate) fn of(quote: &Quote<'_>) -> Self {
        Self { collateral: claimed_kind(quote) }
    }
}

impl<'a> TdxEvidence<'a> {
    /// The quote as claimed.
    #[must_use]
    pub const fn quote(&self) -> &Quote<'a> {
        &self.quote
    }
}

impl crate::evidence::sealed::Sealed for TdxEvidence<'_> {}

impl<'a> Evidence<'a> for TdxEvidence<'a> {
    const KIND: EvidenceKind = EvidenceKind::Tdx;
    type Wants = TdxWants;
    type Endorsements = TdxEndorsements;
    type Claims = TdxClaims;
    type Unverified = Unverified;

    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let item = TdxItem::parse(bytes)?;
        let quote = Quote::parse(item.quote)?;
        let log_digest = item.ccel.map(|log| crypto::sha256(&[log]));
        Ok(Self { bytes, item, quote, log_digest })
    }

    fn commitment(&self) -> Commitment<'a> {
        Commitment { kind: Self::KIND, item: self.bytes, firmware_log: self.log_digest, ak_spki_sha256: None }
    }

    fn wants(&self) -> TdxWants {
        TdxWants::of(&self.quote)
    }

    fn verify(
        &self,
        endorsements: &TdxEndorsements,
        binding: &Binding,
        now: UnixTime,
    ) -> Result<Verified<TdxClaims>, Unverified> {
        if now >= binding.expires_at() {
            return Err(Unverified::Expired { seconds: now.since(binding.expires_at()) });
        }
        let digest = binding.digest_of(Self::KIND).ok_or(Unverified::OtherBinding)?;
        if binding.firmware_log_of(Self::KIND) != Some(self.log_digest) {
            return Err(Unverified::OtherBinding);
        }
        let node_key = binding.proven_key().ok_or(Unverified::NodeKeyUnproven)?;
        checks::report_data(&self.quote, digest)?;
        let quote = verify_quote(self.item.quote, endorsements, now)?;
        let boot = self.item.ccel.map(|log| TdBoot::derive(log, &quote.report().rt_mr)).transpose()?;
        let (root, not_after) = (quote.root().clone(), quote.not_after());
        Ok(Verified::new(binding, TdxClaims { quote, boot: boot.map(Arc::new), root, node_key, not_after }))
    }
}
