//! Verifies evidence of Google's virtual TPM against a binding. Pure: roots and time are arguments.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::checks;
use super::claims::GcpClaims;
use super::error::Unverified;
use super::instance::Instance;
use super::item::GcpItem;
use crate::EvidenceKind;
use crate::binding::Binding;
use crate::challenge::{Commitment, ItemState};
use crate::crypto;
use crate::error::Malformed;
use crate::evidence::{Evidence, Verified};
use crate::tpm::{AttestationKey, KeyPlace, Public, QuoteAsked, QuotedBoot};
use crate::x509::{Roots, VerifiedPath, path_id, verify_path};

/// An evidence item of kind `gcp` with the digests that it commits to.
#[derive(Clone, Debug)]
pub struct GcpEvidence<'a> {
    bytes: &'a [u8],
    item: GcpItem<'a>,
    ak: Public,
    ak_spki_sha256: [u8; 32],
    log_digest: Option<[u8; 32]>,
}

/// What may be at hand and saves work. Nothing must be fetched: the certificate comes along, what is above it is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcpWants {
    /// The path of this id, if it was verified before.
    pub path: [u8; 32],
}

/// What the verifier brings.
#[derive(Clone, Debug, Default)]
pub struct GcpEndorsements {
    /// The trusted roots and intermediates.
    pub roots: Arc<Roots>,
    /// Paths that were verified before.
    pub verified: Vec<Arc<VerifiedPath>>,
}

impl<'a> GcpEvidence<'a> {
    /// The item.
    #[must_use]
    pub const fn item(&self) -> &GcpItem<'a> {
        &self.item
    }
}

impl crate::evidence::sealed::Sealed for GcpEvidence<'_> {}

impl<'a> Evidence<'a> for GcpEvidence<'a> {
    const KIND: EvidenceKind = EvidenceKind::Gcp;
    type Wants = GcpWants;
    type Endorsements = GcpEndorsements;
    type Claims = GcpClaims;
    type Unverified = Unverified;

    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let item = GcpItem::parse(bytes)?;
        let ak = Public::parse(item.ak_public)?;
        let ak_spki_sha256 = crypto::sha256(&[&ak.key().spki()]);
        let log_digest = item.firmware_log.map(|log| crypto::sha256(&[log]));
        Ok(Self { bytes, item, ak, ak_spki_sha256, log_digest })
    }

    fn commitment(&self) -> Commitment<'a> {
        Commitment {
            kind: Self::KIND,
            item: self.bytes,
            firmware_log: self.log_digest,
            ak_spki_sha256: Some(self.ak_spki_sha256),
        }
    }

    fn wants(&self) -> GcpWants {
        GcpWants { path: path_id(&self.item.ak_certificates) }
    }

    fn verify(
        &self,
        endorsements: &GcpEndorsements,
        binding: &Binding,
        now: UnixTime,
    ) -> Result<Verified<GcpClaims>, Unverified> {
        if now >= binding.expires_at() {
            return Err(Unverified::Late { seconds: now.since(binding.expires_at()) });
        }
        let extra_data = binding.digest_of(Self::KIND).ok_or(Unverified::OtherBinding)?;
        let selection = binding.item(Self::KIND).and_then(ItemState::selection).ok_or(Unverified::OtherBinding)?;
        if binding.firmware_log_of(Self::KIND) != Some(self.log_digest) {
            return Err(Unverified::OtherBinding);
        }
        let node_key = binding.proven_key().ok_or(Unverified::NodeKeyUnproven)?;
        let ak = AttestationKey::check(&self.ak)?;
        let certificates = self.item.ak_certificates.as_slice();
        let der = certificates.first().ok_or(Unverified::CertificateMissing)?;
        let certificate = checks::leaf(der)?;
        checks::dates(&certificate, now)?;
        let path = verify_path(&certificate, certificates, &endorsements.roots, &endorsements.verified, now)?;
        let instance = Instance::of(&certificate)?;
        checks::key(&certificate, self.ak.key())?;
        let asked = QuoteAsked { extra_data, selection };
        let GcpItem { quote, firmware_log, pcr_claims, .. } = &self.item;
        let boot = QuotedBoot::verify(quote, &ak, KeyPlace::Endorsement, &asked, *firmware_log, pcr_claims)?;
        let claims = GcpClaims {
            instance,
            ak_spki_sha256: self.ak_spki_sha256,
            boot,
            root: path.root().clone(),
            node_key,
            not_after: path.not_after(),
            path,
        };
        Ok(Verified::new(binding, claims))
    }
}
