//! The first round trip of a TPM: from what an agent says about its keys to what it must show. Checks the endorsement
//! keys' certificates and every attribute that can be checked before anything is signed; proves nothing yet.

use holdfast_identity::UnixTime;

use super::ak::AttestationKey;
use super::ask::Ask;
use super::credential::{ACTIVATION_SECRET_BYTES, make_credential};
use super::endorsement::{ExpiredIssuers, Roots};
use super::error::{Uninvited, Unverified};
use super::expectation::{KnownTpm, NodeKeyProof, TpmExpectation};
use super::material::IdentityMaterial;
use super::offer::EndorsedOffer;
use super::pcr::PcrSelection;
use crate::challenge::ItemState;
use crate::crypto::credential::random;
use crate::crypto::{SecureRandom, Zeroizing, sha256};

/// What the server wants quoted, whichever way a machine comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Bank and PCRs: 0 to 7 and what policy needs.
    pub selection: PcrSelection,
    /// SHA-256 of a firmware log that the server has and expects the machine to have booted with.
    pub known_firmware_log: Option<[u8; 32]>,
}

/// What endorsement keys are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Endorsers<'a> {
    /// Roots with their classes, intermediates and CRLs.
    pub roots: &'a Roots,
    /// Whether intermediates may have expired.
    pub expired_issuers: ExpiredIssuers,
    /// Whose platform certificates count.
    pub platforms: &'a Roots,
    /// Whose certificates of device keys count.
    pub devices: &'a Roots,
}

/// An ask and what the server must remember to judge the answer: sealed into the challenge, kept nowhere else.
#[derive(Debug)]
pub struct Invitation {
    ask: Ask,
    expectation: TpmExpectation,
}

impl Invitation {
    /// Invites a machine whose attestation key is not on record. Every endorsement key that it offers must have a
    /// certificate that leads to a root, and gets a credential of its own: all of them must be activated.
    ///
    /// # Errors
    /// [`Uninvited::Evidence`] for a structure that does not parse, a certificate that does not verify, keys with
    /// other attributes than theirs, no endorsement key or one twice; [`Uninvited::Fault`] if no random bytes came.
    pub fn new(
        material: &IdentityMaterial,
        wanted: &Wanted,
        endorsers: Endorsers<'_>,
        now: UnixTime,
        rng: &dyn SecureRandom,
    ) -> Result<Self, Uninvited> {
        let EndorsedOffer { known: KnownTpm { ak, eks, ownership }, publics, due } =
            EndorsedOffer::verify(material, endorsers, now)?;
        let name = *AttestationKey::check(&ak)?.name();
        let mut credentials = Vec::with_capacity(publics.len());
        let mut secrets = Vec::with_capacity(publics.len());
        for ek in &publics {
            let secret = Zeroizing::new(random::<ACTIVATION_SECRET_BYTES>(rng)?);
            credentials.push(make_credential(ek, &name, secret.as_slice(), rng)?);
            secrets.push(sha256(&[secret.as_slice()]));
        }
        let expectation = TpmExpectation {
            ak,
            eks,
            secrets,
            selection: wanted.selection,
            known_firmware_log: wanted.known_firmware_log,
            node_key: NodeKeyProof::Certify,
            ownership,
            residency: due,
        };
        Ok(Self::of(credentials, expectation))
    }

    /// Invites a machine whose attestation key is on record: no credential, a quote, and where the node key is new
    /// a certification.
    ///
    /// # Errors
    /// [`Unverified`] if the key on record has other attributes than an attestation key's.
    pub fn returning(known: KnownTpm, wanted: &Wanted, node_key: NodeKeyProof) -> Result<Self, Unverified> {
        let KnownTpm { ak, eks, ownership } = known;
        AttestationKey::check(&ak)?;
        let expectation = TpmExpectation {
            ak,
            eks,
            secrets: Vec::new(),
            selection: wanted.selection,
            known_firmware_log: wanted.known_firmware_log,
            node_key,
            ownership,
            residency: Vec::new(),
        };
        Ok(Self::of(Vec::new(), expectation))
    }

    fn of(credentials: Vec<super::Credential>, expectation: TpmExpectation) -> Self {
        let ask = Ask {
            credentials,
            ek_certificates: expectation.ek_certificates(),
            selection: expectation.selection,
            known_firmware_log: expectation.known_firmware_log,
            certify: matches!(expectation.node_key, NodeKeyProof::Certify),
            residency: expectation.residency.iter().map(|(role, _)| *role).collect(),
        };
        Self { ask, expectation }
    }

    /// What to send to the agent.
    #[must_use]
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// What the answer must show.
    #[must_use]
    pub const fn expectation(&self) -> &TpmExpectation {
        &self.expectation
    }

    /// The ask to send, and the state to draw the challenge with.
    #[must_use]
    pub fn into_parts(self) -> (Ask, ItemState) {
        (self.ask, ItemState::Tpm(Box::new(self.expectation)))
    }
}
