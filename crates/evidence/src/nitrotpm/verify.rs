//! Verifies the evidence of a NitroTPM against a binding. Every renewal is a new document: nothing here takes a quote.

use holdfast_identity::UnixTime;

use super::NitroTpmEndorsements;
use super::checks;
use super::claims::NitroTpmClaims;
use super::error::Unverified;
use super::item::NitroTpmItem;
use crate::EvidenceKind;
use crate::binding::Binding;
use crate::challenge::Commitment;
use crate::error::Malformed;
use crate::evidence::{Evidence, Verified};
use crate::nitro::{Document, DocumentKind, NitroWants, chain_id, digests, verify_document};

const KIND: DocumentKind = DocumentKind::Tpm;

/// What may be at hand and saves work: the chain, as for an enclave.
pub type NitroTpmWants = NitroWants;

/// An evidence item of kind `nitrotpm` with its document, parsed.
#[derive(Clone, Debug)]
pub struct NitroTpmEvidence<'a> {
    bytes: &'a [u8],
    document: Document<'a>,
}

impl<'a> NitroTpmEvidence<'a> {
    /// The document.
    #[must_use]
    pub const fn document(&self) -> &Document<'a> {
        &self.document
    }
}

impl crate::evidence::sealed::Sealed for NitroTpmEvidence<'_> {}

impl<'a> Evidence<'a> for NitroTpmEvidence<'a> {
    const KIND: EvidenceKind = EvidenceKind::NitroTpm;
    type Wants = NitroTpmWants;
    type Endorsements = NitroTpmEndorsements;
    type Claims = NitroTpmClaims;
    type Unverified = Unverified;

    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let document = Document::parse(KIND, NitroTpmItem::parse(bytes)?.document)?;
        Ok(Self { bytes, document })
    }

    fn commitment(&self) -> Commitment<'a> {
        Commitment { kind: Self::KIND, item: self.bytes, firmware_log: None, ak_spki_sha256: None }
    }

    fn wants(&self) -> NitroTpmWants {
        NitroWants { chain: chain_id(&self.document) }
    }

    fn verify(
        &self,
        endorsements: &NitroTpmEndorsements,
        binding: &Binding,
        now: UnixTime,
    ) -> Result<Verified<NitroTpmClaims>, Unverified> {
        if now >= binding.expires_at() {
            return Err(Unverified::Expired { seconds: now.since(binding.expires_at()) });
        }
        let digest = binding.digest_of(Self::KIND).ok_or(Unverified::OtherBinding)?;
        let document = &self.document;
        let bound = verify_document(KIND, document, endorsements, binding.nonce(), digest, now)?;
        checks::measured(&document.pcrs)?;
        let claims = NitroTpmClaims {
            module_id: bound.module_id,
            region: bound.region,
            timestamp: document.timestamp,
            pcrs: digests(&document.pcrs),
            public_key: document.public_key.map(<[u8]>::to_vec),
            root: bound.chain.root().clone(),
            not_after: bound.chain.not_after(),
            chain: bound.chain,
            node_key: binding.proven_key().ok_or(Unverified::NodeKeyUnproven)?,
        };
        Ok(Verified::new(binding, claims))
    }
}
