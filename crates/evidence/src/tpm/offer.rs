//! What a machine offers to be invited, with every certificate in it verified: the one way to it, for servers that invite and
//! for readers who verify again what was offered then. Proves no possession of any key.

use holdfast_identity::UnixTime;

use super::ak::AttestationKey;
use super::ek::EkIdentity;
use super::ek_template::check_endorsement_key;
use super::endorsement::verify_ek_certificate;
use super::error::Unverified;
use super::expectation::{KnownTpm, TpmExpectation};
use super::invitation::Endorsers;
use super::material::{IdentityMaterial, OfferedEk};
use super::ownership::{self, DeviceRole, Examined, Ownership, OwnershipEndorsers};
use super::public::Public;

/// Keys whose certificates lead to roots. Whether they are in one TPM is for the answer to show.
#[derive(Clone, Debug)]
pub struct EndorsedOffer {
    pub(super) known: KnownTpm,
    /// Public areas of the endorsement keys, in order.
    pub(super) publics: Vec<Public>,
    /// The device keys that must still speak.
    pub(super) due: Vec<(DeviceRole, Public)>,
}

/// In what an offer and a challenge differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferDiffers {
    /// The attestation key.
    AttestationKey,
    /// The endorsement keys, or the roots above them.
    EndorsementKeys,
    /// The platform, the device keys, or the roots above them.
    Ownership,
}

impl EndorsedOffer {
    /// Verifies an offer: each endorsement key must have a certificate that leads to a root; platform certificate and
    /// device keys must hold, or are left aside where no root speaks for them.
    ///
    /// # Errors
    /// [`Unverified`] at the first check that fails, without an endorsement key and for one that is there twice.
    pub fn verify(material: &IdentityMaterial, endorsers: Endorsers<'_>, at: UnixTime) -> Result<Self, Unverified> {
        let ak = material.ak()?;
        AttestationKey::check(&ak)?;
        if material.endorsement.is_empty() {
            return Err(Unverified::EkMissing);
        }
        let mut eks: Vec<EkIdentity> = Vec::with_capacity(material.endorsement.len());
        let mut publics = Vec::with_capacity(material.endorsement.len());
        for offered in &material.endorsement {
            let (identity, public) = verify_endorsement_key(offered, endorsers, at)?;
            if eks.iter().any(|known| known.spki_sha256 == identity.spki_sha256) {
                return Err(Unverified::EkTwice);
            }
            eks.push(identity);
            publics.push(public);
        }
        let certificates = material.endorsement.iter().map(|offered| offered.certificate.as_slice());
        let certified: Vec<_> = eks.iter().zip(certificates).collect();
        let Endorsers { expired_issuers, platforms, devices, .. } = endorsers;
        let whose = OwnershipEndorsers { platforms, devices, expired_issuers };
        let Examined { ownership, due } = ownership::examine(&material.ownership, &certified, &whose, at)?;
        Ok(Self { known: KnownTpm { ak, eks, ownership }, publics, due })
    }

    /// What holds of platform and device keys.
    #[must_use]
    pub const fn ownership(&self) -> &Ownership {
        &self.known.ownership
    }

    /// Whether a challenge expects the answer of just these keys.
    ///
    /// # Errors
    /// In what they differ.
    pub fn compare(&self, expected: &TpmExpectation) -> Result<(), OfferDiffers> {
        if self.known.ak != expected.ak {
            return Err(OfferDiffers::AttestationKey);
        }
        // Texts are cut where they are written: both are compared as written.
        let written = |eks: &[EkIdentity], ownership: &Ownership| {
            KnownTpm { ak: self.known.ak.clone(), eks: eks.to_vec(), ownership: ownership.clone() }.encode()
        };
        let none = Ownership::default();
        if written(&self.known.eks, &none) != written(&expected.eks, &none) {
            return Err(OfferDiffers::EndorsementKeys);
        }
        let same = written(&[], &self.known.ownership) == written(&[], &expected.ownership);
        if same && self.due == expected.residency { Ok(()) } else { Err(OfferDiffers::Ownership) }
    }
}

/// Verifies the certificate of one offered endorsement key, and that it is for the public area offered with it.
fn verify_endorsement_key(
    offered: &OfferedEk,
    endorsers: Endorsers<'_>,
    now: UnixTime,
) -> Result<(EkIdentity, Public), Unverified> {
    let public = Public::parse_sized(&offered.public)?;
    check_endorsement_key(&public)?;
    let chain: Vec<&[u8]> = offered.chain.iter().map(Vec::as_slice).collect();
    let Endorsers { roots, expired_issuers, .. } = endorsers;
    let certificate = verify_ek_certificate(&offered.certificate, &chain, public.key(), roots, expired_issuers, now)?;
    Ok((EkIdentity::from(certificate), public))
}
