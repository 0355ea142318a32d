//! A server that asks and takes answers, and the node key of whoever answers.

use std::sync::OnceLock;

use holdfast_evidence::tpm::PcrSelection;
use holdfast_evidence::{
    Binding, BindingFields, Challenge, Commitment, EvidenceKind, ItemState, ProvenKey, Purpose, binding_digest,
};
use holdfast_identity::{TrustDomain, UnixTime};
use holdfast_tpm_sim::guest::{Attack, GuestKind, GuestSpec, attacks_of};
use ring::rand::SystemRandom;

/// A challenge of one item, and who answers.
pub(crate) struct Question {
    kind: EvidenceKind,
    challenge: Challenge,
    trust_domain: TrustDomain,
    node_key: ProvenKey,
    selection: Option<PcrSelection>,
}

impl Question {
    pub(crate) fn of(kind: EvidenceKind) -> Self {
        Self::drawn(kind, ItemState::Report { kind }, None)
    }

    /// Of a virtual TPM, whose quote must cover this.
    pub(crate) fn of_quote(kind: EvidenceKind, selection: PcrSelection) -> Self {
        Self::drawn(kind, ItemState::Quote { kind, selection }, Some(selection))
    }

    fn drawn(kind: EvidenceKind, item: ItemState, selection: Option<PcrSelection>) -> Self {
        let trust_domain: TrustDomain = "example.org".parse().unwrap();
        let rng = SystemRandom::new();
        let challenge = Challenge::draw(trust_domain.clone(), Purpose::Enrol, vec![item], now(), 60, &rng).unwrap();
        let node_key = ProvenKey::from_csr(certificate_request()).unwrap();
        Self { kind, challenge, trust_domain, node_key, selection }
    }

    pub(crate) fn nonce(&self) -> &[u8; 32] {
        self.challenge.nonce()
    }

    pub(crate) fn selection(&self) -> PcrSelection {
        self.selection.unwrap()
    }

    /// What the machine must sign.
    pub(crate) fn binding(&self, ak_name: &[u8], firmware_log: Option<&[u8; 32]>) -> [u8; 32] {
        binding_digest(&BindingFields {
            trust_domain: &self.trust_domain,
            kinds: &[self.kind],
            nonce: self.challenge.nonce(),
            ak_name,
            node_key_spki: self.node_key.spki(),
            ek_certificates: &[],
            selection: &self.selection.map(|selection| selection.encode()).unwrap_or_default(),
            firmware_log,
            others: &[],
        })
    }

    pub(crate) fn answer(self, commitment: Commitment<'_>) -> Binding {
        self.challenge.answer(self.node_key, &[commitment]).unwrap()
    }
}

/// Of one node key for all questions: where it is part of who a guest is, the guest is the same each time.
fn certificate_request() -> &'static [u8] {
    static REQUEST: OnceLock<Vec<u8>> = OnceLock::new();
    REQUEST.get_or_init(|| {
        let pair = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().serialize_request(&pair).unwrap().der().to_vec()
    })
}

/// The clock.
pub(crate) fn now() -> UnixTime {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    UnixTime(i64::try_from(now).unwrap())
}

/// 64 bytes, zeros behind these.
pub(crate) fn padded(bytes: &[u8; 32]) -> [u8; 64] {
    let mut all = [0; 64];
    all[..32].copy_from_slice(bytes);
    all
}

pub(crate) fn attack(kind: GuestKind, name: &str) -> &'static Attack {
    attacks_of(kind).iter().find(|attack| attack.name == name).unwrap_or_else(|| panic!("no attack {name}"))
}

/// The guest under attack.
pub(crate) fn attacked(mut spec: GuestSpec, attack: &Attack) -> GuestSpec {
    let before = spec.clone();
    attack.apply(&mut spec);
    assert_ne!(spec, before, "{} does nothing", attack.name);
    spec
}
