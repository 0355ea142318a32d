//! Verifies the evidence of an enclave against a binding. Pure: roots, chains and time are arguments.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::chain::{VerifiedChain, chain_id, verify_chain};
use super::checks;
use super::claims::{self, NitroClaims};
use super::document::Document;
use super::error::Unverified;
use super::item::NitroItem;
use super::kind::DocumentKind;
use super::module::ModuleId;
use super::refusal::DocumentRefused;
use crate::EvidenceKind;
use crate::binding::Binding;
use crate::challenge::Commitment;
use crate::error::Malformed;
use crate::evidence::{Evidence, Verified};
use crate::x509::Roots;

const KIND: DocumentKind = DocumentKind::Enclave;

/// An evidence item of kind `nitro` with its document, parsed.
#[derive(Clone, Debug)]
pub struct NitroEvidence<'a> {
    bytes: &'a [u8],
    document: Document<'a>,
}

/// What may be at hand and saves work: nothing must be fetched for a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NitroWants {
    /// The chain of this id, if it was verified before.
    pub chain: [u8; 32],
}

/// What the verifier brings, for documents of either kind.
#[derive(Clone, Debug, Default)]
pub struct NitroEndorsements {
    /// The trusted roots.
    pub roots: Arc<Roots>,
    /// Chains that were verified before.
    pub verified: Vec<Arc<VerifiedChain>>,
}

/// A document of either kind that the hypervisor signed for one binding, just now.
pub(crate) struct BoundDocument {
    pub(crate) module_id: ModuleId,
    pub(crate) region: Option<String>,
    pub(crate) chain: Arc<VerifiedChain>,
}

impl<'a> NitroEvidence<'a> {
    /// The document.
    #[must_use]
    pub const fn document(&self) -> &Document<'a> {
        &self.document
    }
}

impl crate::evidence::sealed::Sealed for NitroEvidence<'_> {}

impl<'a> Evidence<'a> for NitroEvidence<'a> {
    const KIND: EvidenceKind = EvidenceKind::Nitro;
    type Wants = NitroWants;
    type Endorsements = NitroEndorsements;
    type Claims = NitroClaims;
    type Unverified = Unverified;

    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let document = Document::parse(KIND, NitroItem::parse(bytes)?.document)?;
        Ok(Self { bytes, document })
    }

    fn commitment(&self) -> Commitment<'a> {
        Commitment { kind: Self::KIND, item: self.bytes, firmware_log: None, ak_spki_sha256: None }
    }

    fn wants(&self) -> NitroWants {
        NitroWants { chain: chain_id(&self.document) }
    }

    fn verify(
        &self,
        endorsements: &NitroEndorsements,
        binding: &Binding,
        now: UnixTime,
    ) -> Result<Verified<NitroClaims>, Unverified> {
        if now >= binding.expires_at() {
            return Err(Unverified::Expired { seconds: now.since(binding.expires_at()) });
        }
        let digest = binding.digest_of(Self::KIND).ok_or(Unverified::OtherBinding)?;
        let document = &self.document;
        let bound = verify_document(KIND, document, endorsements, binding.nonce(), digest, now)?;
        checks::debug(&document.pcrs)?;
        checks::instance(&document.pcrs, &bound.module_id)?;
        let claims = NitroClaims {
            module_id: bound.module_id,
            region: bound.region,
            timestamp: document.timestamp,
            pcrs: claims::digests(&document.pcrs),
            public_key: document.public_key.map(<[u8]>::to_vec),
            root: bound.chain.root().clone(),
            not_after: bound.chain.not_after(),
            chain: bound.chain,
            node_key: binding.proven_key().ok_or(Unverified::NodeKeyUnproven)?,
        };
        Ok(Verified::new(binding, claims))
    }
}

/// The checks that both kinds share: 2 to 11.
pub(crate) fn verify_document(
    kind: DocumentKind,
    document: &Document<'_>,
    endorsements: &NitroEndorsements,
    nonce: &[u8],
    binding: &[u8],
    now: UnixTime,
) -> Result<BoundDocument, DocumentRefused> {
    checks::kind(document, kind)?;
    checks::algorithm(document, kind)?;
    checks::digest(document)?;
    let module_id = checks::module_id(document, kind)?;
    let chain = verify_chain(document, &endorsements.roots, &endorsements.verified, now)?;
    checks::signature(document, &chain)?;
    checks::nonce(document, nonce)?;
    checks::user_data(document, binding)?;
    let region = checks::certificate_name(kind, &module_id, &chain)?;
    checks::timestamp(document, now)?;
    Ok(BoundDocument { module_id, region, chain })
}
