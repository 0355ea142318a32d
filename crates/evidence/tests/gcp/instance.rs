//! A made-up Google and an instance of its: certificate, quote and log, good by default and spoiled by one closure.

use std::sync::Arc;

use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::{HashAlg, sha256};
use holdfast_evidence::gcp::{GcpClaims, GcpEndorsements, GcpEvidence, GcpItem, Unverified};
use holdfast_evidence::tpm::{Attest, Attributes, Bank, ClockInfo, Hierarchy, PcrIndex, PcrSelection, PcrSet, Signed};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{
    AnsweringKey, Binding, Challenge, Commitment, Evidence as _, EvidenceKind, ItemState, ProvenKey, Purpose, Verified,
};
use holdfast_identity::UnixTime;
use rcgen::{CertificateParams, CustomExtension, DnType, KeyUsagePurpose, SubjectPublicKeyInfo};
use ring::rand::SystemRandom;

use crate::pki::{Ca, NOW};
use crate::virtual_tpm::{ECDSA_SHA256, Firmware, Key};

/// 1.3.6.1.4.1.11129.2.1.21
pub(crate) const INSTANCE: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 1, 21];
/// As a certificate of 2024 has it: us-central1-a, 995085049500, core-eso, 6524697943022743941, instance-1.
pub(crate) const CORE_ESO: &str = "30590c0d75732d63656e7472616c312d61020600e7af735e9c0c08636f72652d65736f02085a8c6235b897b1850c0a69\
                                   6e7374616e63652d31a020301ea003020100a1030101ffa2030101ffa303010100a403010100a503010100";

/// Everything that an instance is and sends.
pub(crate) struct Instance {
    pub(crate) root: Arc<Ca>,
    pub(crate) issuer: Arc<Ca>,
    pub(crate) class: TrustClass,
    pub(crate) ak: Key,
    pub(crate) sent_area: Vec<u8>,
    pub(crate) signer: Option<Key>,
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) firmware: Firmware,
    pub(crate) claims: Vec<(u32, Vec<u8>)>,
    pub(crate) quoted: PcrSelection,
    pub(crate) extra_data: Option<Vec<u8>>,
    pub(crate) now: UnixTime,
}

/// PCR 0 to 7, SHA-256.
pub(crate) fn asked() -> PcrSelection {
    PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE }
}

pub(crate) fn node_key() -> ProvenKey {
    let pair = rcgen::KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&pair).unwrap();
    ProvenKey::from_csr(request.der()).unwrap()
}

pub(crate) fn challenge(purpose: Purpose) -> Challenge {
    let item = ItemState::plain(EvidenceKind::Gcp, asked()).unwrap();
    Challenge::draw("example.org".parse().unwrap(), purpose, vec![item], NOW, 60, &SystemRandom::new()).unwrap()
}

/// The extension with that value in hex.
pub(crate) fn named(value: &str) -> CustomExtension {
    CustomExtension::from_oid_content(&INSTANCE, hex::decode(value).unwrap())
}

impl Instance {
    pub(crate) fn good() -> Self {
        let root = Arc::new(Ca::root("EK/AK CA Root"));
        let issuer = Arc::new(root.issuer("EK/AK CA Intermediate", |_| {}));
        let ak = Key::new(Attributes::AK_TEMPLATE, ECDSA_SHA256);
        let mut instance = Self {
            root,
            issuer,
            class: TrustClass::Cloud,
            sent_area: ak.public.as_bytes().to_vec(),
            ak,
            signer: None,
            certificates: Vec::new(),
            firmware: Firmware::typical(),
            claims: Vec::new(),
            quoted: asked(),
            extra_data: None,
            now: NOW,
        };
        instance.certify(|_| {});
        instance
    }

    /// The same with one thing changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Gives the key a certificate, spoiled by `change`, and its issuer's.
    pub(crate) fn certify(&mut self, change: impl FnOnce(&mut CertificateParams)) {
        let leaf = self.leaf(&self.ak, change);
        self.certificates = vec![leaf, self.issuer.der.clone()];
    }

    /// A certificate for that key.
    pub(crate) fn leaf(&self, key: &Key, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let key = SubjectPublicKeyInfo::from_der(&key.spki()).unwrap();
        self.issuer.ek_for(&key, |params| {
            params.distinguished_name.push(DnType::CommonName, "6524697943022743941");
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.custom_extensions = vec![named(CORE_ESO)];
            change(params);
        })
    }

    pub(crate) fn item(&self, binding: &[u8]) -> Vec<u8> {
        let values = self.firmware.pcrs(self.quoted.bank);
        let values: Vec<_> = self.quoted.pcrs.iter().map(|pcr| *values.get(pcr).unwrap()).collect();
        let parts: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let digest = HashAlg::Sha256.digest(&parts);
        let signer = self.ak.public.name().qualified_in(Hierarchy::Endorsement);
        let clock = ClockInfo { clock: 1_000_000, reset_count: 7, restart_count: 1, safe: true };
        let extra = self.extra_data.as_deref().unwrap_or(binding);
        let attest =
            Attest::encode_quote(&signer, extra, clock, 0x2016_0511_0016_2800, &self.quoted, digest.as_bytes());
        let signature = self.signer.as_ref().unwrap_or(&self.ak).sign(&attest);
        let log = self.firmware.log();
        let claims = self.claims.iter();
        GcpItem {
            ak_certificates: self.certificates.iter().map(Vec::as_slice).collect(),
            ak_public: &self.sent_area,
            quote: Signed { attest: &attest, signature: &signature },
            firmware_log: Some(&log),
            pcr_claims: claims.map(|(pcr, value)| (PcrIndex::new(*pcr).unwrap(), value.as_slice())).collect(),
        }
        .encode()
    }

    pub(crate) fn endorsements(&self) -> GcpEndorsements {
        let mut roots = Roots::new();
        roots.add(Anchor::new(&self.root.der, self.class).unwrap());
        GcpEndorsements { roots: Arc::new(roots), verified: Vec::new() }
    }

    pub(crate) fn binding(&self, challenge: Challenge, key: impl Into<AnsweringKey>) -> Binding {
        let commitment = Commitment {
            kind: EvidenceKind::Gcp,
            item: &[1],
            firmware_log: Some(sha256(&[&self.firmware.log()])),
            ak_spki_sha256: Some(sha256(&[&self.ak.spki()])),
        };
        challenge.answer(key, &[commitment]).unwrap()
    }

    /// The whole way, for a new challenge.
    pub(crate) fn verify(&self) -> Result<Verified<GcpClaims>, Unverified> {
        let binding = self.binding(challenge(Purpose::Enrol), node_key());
        let item = self.item(binding.digest_of(EvidenceKind::Gcp).unwrap());
        verify(&item, &self.endorsements(), &binding, self.now)
    }

    /// The code of its refusal, or `accepted`.
    pub(crate) fn code(&self) -> &'static str {
        self.verify().map_or_else(|refusal| refusal.code(), |_| "accepted")
    }
}

pub(crate) fn verify(
    item: &[u8],
    endorsements: &GcpEndorsements,
    binding: &Binding,
    now: UnixTime,
) -> Result<Verified<GcpClaims>, Unverified> {
    GcpEvidence::parse(item)?.verify(endorsements, binding, now)
}

/// Refused with this code, and accepted without the change.
#[track_caller]
pub(crate) fn check(spoil: impl FnOnce(&mut Instance), code: &str) {
    let good = Instance::good();
    assert_eq!(good.code(), "accepted", "the instance is good before it is spoiled");
    assert_eq!(good.with(spoil).code(), code);
}
