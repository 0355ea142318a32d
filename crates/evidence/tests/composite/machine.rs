//! A made-up machine with two kinds of evidence: how each of its items is made for a binding, and verified.

use std::sync::Arc;

use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::gcp::GcpEvidence;
use holdfast_evidence::nitro::NitroEndorsements;
use holdfast_evidence::nitrotpm::{NitroTpmEvidence, NitroTpmItem};
use holdfast_evidence::snp::SnpEvidence;
use holdfast_evidence::tdx::{TdxEvidence, TdxItem};
use holdfast_evidence::tpm::endorsement::{ExpiredIssuers, Roots};
use holdfast_evidence::tpm::{Ask, Endorsers, Invitation, TpmEndorsements, TpmEvidence, Wanted};
use holdfast_evidence::{
    AnsweringKey, Binding, Challenge, Commitment, Evidence as _, EvidenceKind, ItemState, ProvenKey, Purpose, SealRing,
};
use holdfast_identity::TrustDomain;
use ring::rand::SystemRandom;

use crate::gcp::instance::{Instance, asked};
use crate::hypervisor::Hypervisor;
use crate::pki::{Ca, NOW, trusting};
use crate::snp::guest::{Guest, item as snp_item};
use crate::tdx::td::{Td, at};
use crate::virtual_tpm::VirtualTpm;

/// What makes and verifies one item.
pub(crate) trait Source {
    fn kind(&self) -> EvidenceKind;

    /// What the server asks of it.
    fn state(&self) -> ItemState;

    /// The item, signed over `digest` of that challenge.
    fn item(&self, digest: &[u8; 32], challenge: &Challenge) -> Vec<u8>;

    /// The code of its refusal, if it is refused.
    fn verify(&self, item: &[u8], binding: &Binding) -> Result<(), &'static str>;
}

/// What the item commits to, as the server reads it from its bytes.
pub(crate) fn commitment(kind: EvidenceKind, item: &[u8]) -> Commitment<'_> {
    match kind {
        EvidenceKind::Snp => SnpEvidence::parse(item).unwrap().commitment(),
        EvidenceKind::Tdx => TdxEvidence::parse(item).unwrap().commitment(),
        EvidenceKind::Tpm => TpmEvidence::parse(item).unwrap().commitment(),
        EvidenceKind::NitroTpm => NitroTpmEvidence::parse(item).unwrap().commitment(),
        EvidenceKind::Gcp => GcpEvidence::parse(item).unwrap().commitment(),
        EvidenceKind::Nitro | EvidenceKind::Azure => panic!("no composite has it"),
    }
}

pub(crate) fn domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

impl Source for Guest {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Snp
    }

    fn state(&self) -> ItemState {
        ItemState::Report { kind: EvidenceKind::Snp }
    }

    fn item(&self, digest: &[u8; 32], _: &Challenge) -> Vec<u8> {
        snp_item(self, digest)
    }

    fn verify(&self, item: &[u8], binding: &Binding) -> Result<(), &'static str> {
        let verified = SnpEvidence::parse(item).unwrap().verify(&self.endorsements(), binding, NOW);
        verified.map(drop).map_err(|refused| refused.code())
    }
}

impl Source for fn() -> Td {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Tdx
    }

    fn state(&self) -> ItemState {
        ItemState::Report { kind: EvidenceKind::Tdx }
    }

    fn item(&self, digest: &[u8; 32], _: &Challenge) -> Vec<u8> {
        let mut td = self();
        td.put(at::REPORTDATA, &[0; 64]);
        td.put(at::REPORTDATA, digest);
        TdxItem { quote: &td.quote(), ccel: None }.encode()
    }

    fn verify(&self, item: &[u8], binding: &Binding) -> Result<(), &'static str> {
        let verified = TdxEvidence::parse(item).unwrap().verify(&self().endorsements(), binding, NOW);
        verified.map(drop).map_err(|refused| refused.code())
    }
}

/// An EC2 instance with a NitroTPM.
impl Source for Arc<Hypervisor> {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::NitroTpm
    }

    fn state(&self) -> ItemState {
        ItemState::Report { kind: EvidenceKind::NitroTpm }
    }

    fn item(&self, digest: &[u8; 32], challenge: &Challenge) -> Vec<u8> {
        NitroTpmItem { document: &self.sign(&self.fields(challenge.nonce(), digest)) }.encode()
    }

    fn verify(&self, item: &[u8], binding: &Binding) -> Result<(), &'static str> {
        let endorsements = NitroEndorsements { roots: Arc::new(self.roots()), verified: Vec::new() };
        let verified = NitroTpmEvidence::parse(item).unwrap().verify(&endorsements, binding, NOW);
        verified.map(drop).map_err(|refused| refused.code())
    }
}

impl Source for Instance {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Gcp
    }

    fn state(&self) -> ItemState {
        ItemState::plain(EvidenceKind::Gcp, asked()).unwrap()
    }

    fn item(&self, digest: &[u8; 32], _: &Challenge) -> Vec<u8> {
        Self::item(self, digest)
    }

    fn verify(&self, item: &[u8], binding: &Binding) -> Result<(), &'static str> {
        let verified = GcpEvidence::parse(item).unwrap().verify(&self.endorsements(), binding, NOW);
        verified.map(drop).map_err(|refused| refused.code())
    }
}

/// A TPM, and what the server asked it.
pub(crate) struct Tpm {
    tpm: VirtualTpm,
    ask: Ask,
    state: ItemState,
}

impl Tpm {
    pub(crate) fn new(ca: &Ca) -> Self {
        let tpm = VirtualTpm::new(ca);
        let roots = trusting(ca);
        let endorsers = Endorsers {
            roots: &roots,
            expired_issuers: ExpiredIssuers::Refused,
            platforms: &Roots::new(),
            devices: &Roots::new(),
        };
        let wanted = Wanted { selection: asked(), known_firmware_log: None };
        let invitation = Invitation::new(&tpm.material(), &wanted, endorsers, NOW, &SystemRandom::new()).unwrap();
        let (ask, state) = invitation.into_parts();
        Self { tpm, ask, state }
    }

    /// Its node key, proven by a request as well: a report beside the TPM's item certifies none.
    pub(crate) fn node_key(&self) -> ProvenKey {
        let pair = rcgen::KeyPair::try_from(self.tpm.node_key.pkcs8.as_slice()).unwrap();
        ProvenKey::from_csr(rcgen::CertificateParams::default().serialize_request(&pair).unwrap().der()).unwrap()
    }

    /// Has the other's node key: the worst that a stolen or shared key could do.
    pub(crate) fn share_node_key(&mut self, other: &Self) {
        self.tpm.node_key = other.tpm.node_key.again();
    }
}

impl Source for Tpm {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Tpm
    }

    fn state(&self) -> ItemState {
        self.state.clone()
    }

    fn item(&self, digest: &[u8; 32], _: &Challenge) -> Vec<u8> {
        self.tpm.answer_over(&self.ask, digest).encode()
    }

    fn verify(&self, item: &[u8], binding: &Binding) -> Result<(), &'static str> {
        let verified = TpmEvidence::parse(item).unwrap().verify(&TpmEndorsements::default(), binding, NOW);
        verified.map(drop).map_err(|refused| refused.code())
    }
}

/// A machine with a report of its processor and what speaks for its boot.
pub(crate) struct Machine {
    pub(crate) report: Box<dyn Source>,
    pub(crate) boot: Box<dyn Source>,
}

impl Machine {
    /// A challenge for this machine. Its nonce is always the same, so that only what the items say of each other differs.
    #[expect(deprecated, reason = "ring's own fixed random source, for tests")]
    pub(crate) fn challenge(&self) -> Challenge {
        let rng = ring::test::rand::FixedByteRandom { byte: 7 };
        let items = vec![self.report.state(), self.boot.state()];
        let challenge = Challenge::draw(domain(), Purpose::Enrol, items, NOW, 60, &rng).unwrap();
        let ring = SealRing::new(SealKey::new([7; 32]), None);
        Challenge::open(&challenge.seal(&ring, &SystemRandom::new()).unwrap(), &ring, &domain(), NOW).unwrap()
    }

    /// What an honest agent answers: first the report, which names the key of what follows; then the boot, over the report.
    pub(crate) fn answer(&self, key: &ProvenKey) -> [Vec<u8>; 2] {
        let (report, boot) = (self.report.kind(), self.boot.kind());
        let drafts = [self.report.item(&[0; 32], &self.challenge()), self.boot.item(&[0; 32], &self.challenge())];
        let bound = |first: &[u8]| {
            let commitments = [commitment(report, first), commitment(boot, &drafts[1])];
            self.challenge().answer(AnsweringKey::from(key.clone()), &commitments).unwrap()
        };
        let first = self.report.item(bound(&drafts[0]).digest_of(report).unwrap(), &self.challenge());
        let second = self.boot.item(bound(&first).digest_of(boot).unwrap(), &self.challenge());
        [first, second]
    }

    /// What the server does with two items that answer the challenge of this machine: the code of each one's refusal.
    pub(crate) fn judge(&self, items: [&[u8]; 2], key: &ProvenKey) -> [Result<(), &'static str>; 2] {
        let commitments = [commitment(self.report.kind(), items[0]), commitment(self.boot.kind(), items[1])];
        let binding = self.challenge().answer(AnsweringKey::from(key.clone()), &commitments).unwrap();
        [self.report.verify(items[0], &binding), self.boot.verify(items[1], &binding)]
    }
}
