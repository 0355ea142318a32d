//! The stage that every test here plays on: a server's ring and roots, and one machine.

use std::sync::Arc;

use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::tpm::endorsement::{ExpiredIssuers, Roots};
use holdfast_evidence::tpm::ownership::OfferedOwnership;
use holdfast_evidence::tpm::{
    Ask, Bank, Endorsers, IdentityMaterial, Invitation, KnownLog, KnownTpm, NodeKeyProof, PcrIndex, PcrSelection,
    PcrSet, ReplayedLog, TpmClaims, TpmEndorsements, TpmEvidence, Uninvited, Unverified, Wanted,
};
use holdfast_evidence::{
    Challenge, ChallengeRefused, ClaimedKey, Evidence as _, ItemState, Purpose, SealRing, Verified,
};
use holdfast_identity::{TrustDomain, UnixTime};
use ring::rand::SystemRandom;

use crate::pki::{Ca, NOW, trusting};
use crate::virtual_tpm::{Answer, VirtualTpm};

/// Seconds that a challenge lives.
pub(crate) const LIFETIME: i64 = 60;

pub(crate) struct Stage {
    pub(crate) ca: Ca,
    pub(crate) roots: Roots,
    pub(crate) platforms: Roots,
    pub(crate) devices: Roots,
    pub(crate) ring: SealRing,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) tpm: VirtualTpm,
    pub(crate) wanted: Wanted,
    pub(crate) endorsements: TpmEndorsements,
}

/// A challenge on its way: what the agent got.
pub(crate) struct Drawn {
    pub(crate) seal: Vec<u8>,
    pub(crate) nonce: [u8; 32],
    pub(crate) ask: Ask,
}

/// Everything that may refuse a machine in `complete`, by its code.
pub(crate) type Outcome = Result<Verified<TpmClaims>, &'static str>;

impl Stage {
    pub(crate) fn new() -> Self {
        let ca = Ca::root("root");
        Self {
            roots: trusting(&ca),
            platforms: Roots::new(),
            devices: Roots::new(),
            tpm: VirtualTpm::new(&ca),
            ca,
            ring: SealRing::new(SealKey::new([7; 32]), None),
            trust_domain: "example.org".parse().unwrap(),
            wanted: Wanted { selection: select(&[]), known_firmware_log: None },
            endorsements: TpmEndorsements::default(),
        }
    }

    pub(crate) fn invite(&self) -> Result<Invitation, Uninvited> {
        self.invite_offering(OfferedOwnership::default())
    }

    /// A machine that offers more than its endorsement keys.
    pub(crate) fn invite_offering(&self, ownership: OfferedOwnership) -> Result<Invitation, Uninvited> {
        let endorsers = Endorsers {
            roots: &self.roots,
            expired_issuers: ExpiredIssuers::Refused,
            platforms: &self.platforms,
            devices: &self.devices,
        };
        let material = IdentityMaterial { ownership, ..self.tpm.material() };
        // It travels.
        let material = IdentityMaterial::parse(&material.encode()).unwrap();
        Invitation::new(&material, &self.wanted, endorsers, NOW, &SystemRandom::new())
    }

    pub(crate) fn draw(&self, invitation: Invitation, purpose: Purpose) -> Drawn {
        let (ask, item) = invitation.into_parts();
        self.draw_items(ask, vec![item], purpose)
    }

    pub(crate) fn draw_items(&self, ask: Ask, items: Vec<ItemState>, purpose: Purpose) -> Drawn {
        let rng = SystemRandom::new();
        let challenge = Challenge::draw(self.trust_domain.clone(), purpose, items, NOW, LIFETIME, &rng).unwrap();
        let nonce = *challenge.nonce();
        // Both travel: what is used from here on is what was read back.
        let ask = Ask::parse(&ask.encode()).unwrap();
        Drawn { seal: challenge.seal(&self.ring, &rng).unwrap(), nonce, ask }
    }

    pub(crate) fn enrol(&self) -> Drawn {
        self.draw(self.invite().unwrap(), Purpose::Enrol)
    }

    /// A known machine on a new connection.
    pub(crate) fn come_back(&self, node_key: NodeKeyProof) -> Drawn {
        let known = KnownTpm::parse(&self.known().encode()).unwrap();
        self.draw(Invitation::returning(known, &self.wanted, node_key).unwrap(), Purpose::Return)
    }

    pub(crate) fn known(&self) -> KnownTpm {
        let invitation = self.invite().unwrap();
        let expected = invitation.expectation();
        KnownTpm {
            ak: self.tpm.ak.public.clone(),
            eks: expected.eks().to_vec(),
            ownership: expected.ownership().clone(),
        }
    }

    pub(crate) fn answer(&self, drawn: &Drawn) -> Answer {
        self.tpm.answer(&drawn.ask, &drawn.nonce, &self.trust_domain)
    }

    pub(crate) fn complete(&self, drawn: &Drawn, answer: &Answer) -> Outcome {
        self.complete_bytes(&drawn.seal, &answer.encode(), &self.tpm.node_key.spki(), NOW.plus(1))
    }

    /// What the server does in `complete`, on bytes.
    pub(crate) fn complete_bytes(&self, seal: &[u8], item: &[u8], spki: &[u8], now: UnixTime) -> Outcome {
        let refused = |refused: ChallengeRefused| refused.code();
        let challenge = Challenge::open(seal, &self.ring, &self.trust_domain, now).map_err(refused)?;
        let evidence = TpmEvidence::parse(item).map_err(|malformed| malformed.code())?;
        let key = ClaimedKey::from_spki(spki).map_err(|malformed| malformed.code())?;
        let binding = challenge.answer(key, &[evidence.commitment()]).map_err(refused)?;
        let id = binding.challenge_id();
        let verified =
            evidence.verify(&self.endorsements, &binding, now).map_err(|unverified: Unverified| unverified.code())?;
        assert_eq!(verified.challenge_id(), id);
        Ok(verified)
    }

    /// The whole way in for an unknown machine, its answer spoiled by `spoil`.
    pub(crate) fn enrol_with(&self, spoil: impl FnOnce(&mut Answer)) -> Outcome {
        let drawn = self.enrol();
        let mut answer = self.answer(&drawn);
        spoil(&mut answer);
        self.complete(&drawn, &answer)
    }

    /// The whole way in for an unknown machine whose quote is made by `quote` from the binding.
    pub(crate) fn enrol_quoting(&self, quote: impl FnOnce(&[u8; 32], &PcrSelection) -> Vec<u8>) -> Outcome {
        let drawn = self.enrol();
        let mut answer = self.answer(&drawn);
        let binding = self.tpm.binding(&drawn.ask, &drawn.nonce, &self.trust_domain);
        answer.quote = quote(&binding, &drawn.ask.selection);
        answer.quote_signature = self.tpm.ak.sign(&answer.quote);
        self.complete(&drawn, &answer)
    }

    /// The server remembers this log.
    pub(crate) fn keep(&mut self, log: &Arc<ReplayedLog>) {
        self.wanted.known_firmware_log = Some(*log.digest());
        self.endorsements.known_log = KnownLog::Replayed(Arc::clone(log));
    }
}

/// PCR 0 to 7 and these, SHA-256.
pub(crate) fn select(more: &[u32]) -> PcrSelection {
    let more: PcrSet = more.iter().map(|index| PcrIndex::new(*index).unwrap()).collect();
    PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE.union(more) }
}

/// The code of a refusal.
#[track_caller]
pub(crate) fn refused(outcome: Outcome) -> &'static str {
    outcome.map(|_| ()).unwrap_err()
}
