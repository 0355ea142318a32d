//! A virtual TPM's part of an item, as the collectors of `azure` and `gcp` put it into theirs.

use holdfast_evidence::tpm::{PcrIndex, Signed as SignedWire};

use crate::tpm::Signed;

/// A virtual TPM's part of an item.
pub(super) struct Quote<'a> {
    /// Leaf first.
    pub(super) ak_certificates: &'a [Vec<u8>],
    /// TPMT_PUBLIC.
    pub(super) ak_public: &'a [u8],
    pub(super) quote: &'a Signed,
    pub(super) firmware_log: Option<&'a [u8]>,
    pub(super) pcr_claims: &'a [(PcrIndex, Vec<u8>)],
}

impl<'a> Quote<'a> {
    pub(super) fn certificates(&self) -> Vec<&'a [u8]> {
        self.ak_certificates.iter().map(Vec::as_slice).collect()
    }

    pub(super) fn signed(&self) -> SignedWire<'a> {
        SignedWire { attest: &self.quote.attest, signature: &self.quote.signature }
    }

    pub(super) fn claims(&self) -> Vec<(PcrIndex, &'a [u8])> {
        self.pcr_claims.iter().map(|(pcr, value)| (*pcr, value.as_slice())).collect()
    }
}
