//! A server that asks, and a node in an enclave or behind a NitroTPM that answers.

use std::sync::Arc;

use holdfast_evidence::nitro::{DocumentKind, NitroClaims, NitroEndorsements, NitroEvidence, NitroItem, VerifiedChain};
use holdfast_evidence::nitrotpm::{NitroTpmClaims, NitroTpmEvidence, NitroTpmItem};
use holdfast_evidence::{
    AnsweringKey, Binding, BindingFields, Challenge, ClaimedKey, Commitment, Evidence as _, EvidenceKind, ItemState,
    ProvenKey, Purpose, Verified, binding_digest,
};
use holdfast_identity::{TrustDomain, UnixTime};
use ring::rand::SystemRandom;

use crate::hypervisor::{Fields, Hypervisor, NOW};

pub(crate) struct Stage {
    pub(crate) hypervisor: Hypervisor,
    pub(crate) endorsements: NitroEndorsements,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) node_key: ProvenKey,
}

/// Claims of either kind, as far as the tests look at them.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) module_id: String,
    pub(crate) region: Option<String>,
    pub(crate) chain: Arc<VerifiedChain>,
    pub(crate) challenge_id: [u8; 16],
    pub(crate) node_key: ProvenKey,
    pub(crate) provenance: &'static str,
}

/// The code of the refusal, and whether it is one of genuine evidence.
pub(crate) type Outcome = Result<Admitted, (&'static str, bool)>;

pub(crate) fn proven_key() -> ProvenKey {
    let pair = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
    ProvenKey::from_csr(request.der()).unwrap()
}

impl Stage {
    pub(crate) fn new(kind: DocumentKind) -> Self {
        Self::of(Hypervisor::new(kind))
    }

    pub(crate) fn of(hypervisor: Hypervisor) -> Self {
        let endorsements = NitroEndorsements { roots: Arc::new(hypervisor.roots()), verified: Vec::new() };
        let trust_domain = "example.org".parse().unwrap();
        Self { hypervisor, endorsements, trust_domain, node_key: proven_key() }
    }

    pub(crate) fn kind(&self) -> EvidenceKind {
        evidence_kind(self.hypervisor.kind)
    }

    pub(crate) fn draw(&self) -> Challenge {
        self.draw_at(NOW)
    }

    pub(crate) fn draw_at(&self, now: UnixTime) -> Challenge {
        let items = vec![ItemState::Report { kind: self.kind() }];
        let rng = SystemRandom::new();
        Challenge::draw(self.trust_domain.clone(), Purpose::Enrol, items, now, 60, &rng).unwrap()
    }

    /// What the agent has signed for that challenge.
    pub(crate) fn binding(&self, challenge: &Challenge) -> [u8; 32] {
        binding_digest(&BindingFields {
            trust_domain: &self.trust_domain,
            kinds: &[self.kind()],
            nonce: challenge.nonce(),
            ak_name: &[],
            node_key_spki: self.node_key.spki(),
            ek_certificates: &[],
            selection: &[],
            firmware_log: None,
            others: &[],
        })
    }

    /// A good answer's fields.
    pub(crate) fn fields(&self, challenge: &Challenge) -> Fields {
        self.hypervisor.fields(challenge.nonce(), &self.binding(challenge))
    }

    /// Takes a challenge, a document with one change, and verifies it now.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Fields)) -> Outcome {
        let challenge = self.draw();
        let mut fields = self.fields(&challenge);
        change(&mut fields);
        self.complete(challenge, self.hypervisor.kind, &self.hypervisor.sign(&fields), NOW)
    }

    pub(crate) fn code(&self, change: impl FnOnce(&mut Fields)) -> &'static str {
        code(self.with(change))
    }

    /// The answer as the server takes it: an item from the wire, the challenge consumed, everything verified.
    pub(crate) fn complete(&self, challenge: Challenge, kind: DocumentKind, document: &[u8], now: UnixTime) -> Outcome {
        self.complete_with(challenge, kind, document, self.node_key.clone(), now)
    }

    pub(crate) fn complete_with(
        &self,
        challenge: Challenge,
        kind: DocumentKind,
        document: &[u8],
        key: impl Into<AnsweringKey>,
        now: UnixTime,
    ) -> Outcome {
        match kind {
            DocumentKind::Enclave => {
                let item = NitroItem { document }.encode();
                let evidence = NitroEvidence::parse(&item).map_err(|malformed| (malformed.code(), false))?;
                let binding = answered(challenge, key, evidence.commitment())?;
                let verified = evidence.verify(&self.endorsements, &binding, now);
                verified.map(Admitted::from).map_err(|refusal| (refusal.code(), refusal.is_genuine()))
            }
            DocumentKind::Tpm => {
                let item = NitroTpmItem { document }.encode();
                let evidence = NitroTpmEvidence::parse(&item).map_err(|malformed| (malformed.code(), false))?;
                let binding = answered(challenge, key, evidence.commitment())?;
                let verified = evidence.verify(&self.endorsements, &binding, now);
                verified.map(Admitted::from).map_err(|refusal| (refusal.code(), refusal.is_genuine()))
            }
        }
    }
}

fn answered(
    challenge: Challenge,
    key: impl Into<AnsweringKey>,
    commitment: Commitment<'_>,
) -> Result<Binding, (&'static str, bool)> {
    challenge.answer(key, &[commitment]).map_err(|refused| (refused.code(), false))
}

pub(crate) fn evidence_kind(kind: DocumentKind) -> EvidenceKind {
    match kind {
        DocumentKind::Enclave => EvidenceKind::Nitro,
        DocumentKind::Tpm => EvidenceKind::NitroTpm,
    }
}

pub(crate) fn code(outcome: Outcome) -> &'static str {
    outcome.map_or_else(|(code, _)| code, |_| "verified")
}

pub(crate) fn claimed(key: &ProvenKey) -> ClaimedKey {
    ClaimedKey::from_spki(key.spki()).unwrap()
}

impl From<Verified<NitroClaims>> for Admitted {
    fn from(verified: Verified<NitroClaims>) -> Self {
        let claims = verified.claims();
        Self {
            module_id: claims.module_id.to_string(),
            region: claims.region.clone(),
            chain: Arc::clone(&claims.chain),
            challenge_id: verified.challenge_id(),
            node_key: claims.node_key.clone(),
            provenance: claims.provenance().as_str(),
        }
    }
}

impl From<Verified<NitroTpmClaims>> for Admitted {
    fn from(verified: Verified<NitroTpmClaims>) -> Self {
        let claims = verified.claims();
        Self {
            module_id: claims.module_id.to_string(),
            region: claims.region.clone(),
            chain: Arc::clone(&claims.chain),
            challenge_id: verified.challenge_id(),
            node_key: claims.node_key.clone(),
            provenance: claims.provenance().as_str(),
        }
    }
}
