//! A TPM that is a few keys in memory. Makes genuine evidence, and false evidence on request.

use std::sync::OnceLock;

use holdfast_evidence::crypto::credential::{hmac, kdfa, kdfe};
use holdfast_evidence::crypto::{Curve, HashAlg, PublicKey, SignatureAlg};
use holdfast_evidence::tpm::{
    Ask, Attest, Attributes, Bank, CertifiedKey, ClockInfo, Credential, FirmwareLog, Hierarchy, IdentityMaterial, Name,
    OfferedEk, PcrIndex, PcrSet, Public, ReplayedLog, Scheme, Signature, Signed, TpmItem,
};
use holdfast_evidence::{BindingFields, EvidenceKind, binding_digest, crypto};
use holdfast_tpm_sim::{Profile, boot};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rsa::traits::PublicKeyParts as _;

use crate::vendor::Vendor;

const ECDSA: Scheme = Scheme::Signing { algorithm: SignatureAlg::Ecdsa, hash: 0x000b };

/// What a machine has booted.
pub(crate) struct Boot {
    pub(crate) bytes: Vec<u8>,
    pub(crate) replayed: ReplayedLog,
}

impl Boot {
    pub(crate) fn of(profile: &str) -> Self {
        let events = boot::events(&Profile::load(profile).unwrap()).unwrap();
        let bytes = holdfast_tpm_sim::log::encode(&events, &[holdfast_tpm_sim::Bank::Sha256]);
        let firmware = (0..8).filter_map(PcrIndex::new).fold(PcrSet::default(), PcrSet::with);
        let replayed = ReplayedLog::load(&bytes, Bank::Sha256, firmware).unwrap();
        Self { bytes, replayed }
    }
}

/// One endorsement key.
enum Ek {
    /// Activates once: ring's agreement keys are used up.
    P256(Option<EphemeralPrivateKey>, Vec<u8>),
    /// Activates for ever, but takes long to make: every test shares one of a few.
    Rsa(&'static rsa::RsaPrivateKey),
}

struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
    public: Public,
}

impl Key {
    fn new(attributes: Attributes) -> Self {
        let rng = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap().as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &rng).unwrap();
        let public = public(&point_key(pair.public_key().as_ref()), attributes, &[], None, ECDSA);
        Self { pair, pkcs8, public }
    }

    fn sign(&self, attest: &[u8]) -> Vec<u8> {
        Signature::encode_ecdsa(HashAlg::Sha256, self.pair.sign(&SystemRandom::new(), attest).unwrap().as_ref())
    }
}

fn point_key(point: &[u8]) -> PublicKey {
    PublicKey::ec(Curve::P256, &point[1..33], &point[33..]).unwrap()
}

fn public(key: &PublicKey, attributes: Attributes, policy: &[u8], symmetric: Option<u16>, scheme: Scheme) -> Public {
    Public::parse(&Public::encode(key, HashAlg::Sha256, attributes, policy, symmetric, scheme)).unwrap()
}

/// RSA keys of 2048 bits, made once for all tests.
fn rsa_key(index: usize) -> &'static rsa::RsaPrivateKey {
    static KEYS: OnceLock<Vec<rsa::RsaPrivateKey>> = OnceLock::new();
    &KEYS.get_or_init(|| {
        let threads: Vec<_> = (0..2)
            .map(|_| std::thread::spawn(|| rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })[index]
}

/// What an answer is spoilt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spoil {
    #[default]
    Nothing,
    Secret,
    Quote,
    QuoteSignature,
    Binding,
    PcrDigest,
    CertifySignature,
    NoCertify,
    Log,
}

pub(crate) struct VirtualTpm {
    eks: Vec<(Ek, OfferedEk)>,
    ak: Key,
    node: Key,
    pub(crate) clock: ClockInfo,
    pub(crate) spoil: Spoil,
}

impl VirtualTpm {
    /// With one P-256 endorsement key.
    pub(crate) fn new(vendor: &Vendor) -> Self {
        Self::with(vec![p256_ek(vendor)])
    }

    /// With an RSA and a P-256 endorsement key.
    pub(crate) fn with_two_keys(vendor: &Vendor) -> Self {
        Self::with(vec![rsa_ek(vendor, 0), p256_ek(vendor)])
    }

    /// With an endorsement key that activates again and again.
    pub(crate) fn that_comes_again(vendor: &Vendor) -> Self {
        Self::with(vec![rsa_ek(vendor, 1)])
    }

    fn with(eks: Vec<(Ek, OfferedEk)>) -> Self {
        let clock = ClockInfo { clock: 1_000, reset_count: 3, restart_count: 0, safe: true };
        let (ak, node) = (Key::new(Attributes::AK_TEMPLATE), Key::new(Attributes::NODE_KEY));
        Self { eks, ak, node, clock, spoil: Spoil::Nothing }
    }

    /// A copy of its keys and counters, as of a stolen or cloned state; without endorsement keys.
    pub(crate) fn copy(&self) -> Self {
        let same = |key: &Key| Key {
            pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.pkcs8, &SystemRandom::new()).unwrap(),
            pkcs8: key.pkcs8.clone(),
            public: key.public.clone(),
        };
        Self { eks: Vec::new(), ak: same(&self.ak), node: same(&self.node), clock: self.clock, spoil: self.spoil }
    }

    /// Power off and on.
    pub(crate) fn reboot(&mut self) {
        self.clock.reset_count += 1;
        self.clock.restart_count = 0;
        self.clock.clock += 5_000;
    }

    /// TPM2_Clear: the owner's keys are gone, the counters begin anew; the attestation key, of the endorsement
    /// hierarchy, is the same.
    pub(crate) fn clear(&mut self) {
        self.node = Key::new(Attributes::NODE_KEY);
        self.clock = ClockInfo { clock: 10, reset_count: 0, restart_count: 0, safe: true };
    }

    /// Another node key, resident like the first.
    pub(crate) fn renew_node_key(&mut self) {
        self.node = Key::new(Attributes::NODE_KEY);
    }

    /// A node key that was loaded from outside.
    pub(crate) fn import_node_key(&mut self) {
        let without = Attributes::FIXED_TPM.and(Attributes::FIXED_PARENT).and(Attributes::SENSITIVE_DATA_ORIGIN);
        self.node = Key::new(Attributes::NODE_KEY.without(without));
    }

    /// Forgets that it has all but the endorsement keys at these places.
    pub(crate) fn keep_eks(&mut self, keep: impl Fn(usize) -> bool) {
        let mut place = 0..;
        self.eks.retain(|_| keep(place.next().unwrap()));
    }

    /// A new attestation key, as after an owner's change of mind.
    pub(crate) fn renew_attestation_key(&mut self) {
        self.ak = Key::new(Attributes::AK_TEMPLATE);
    }

    pub(crate) fn material(&self) -> IdentityMaterial {
        let endorsement = self.eks.iter().map(|(_, offered)| offered.clone()).collect();
        IdentityMaterial { endorsement, ak_public: self.ak.public.sized(), ..IdentityMaterial::default() }
    }

    pub(crate) fn ak_alone(&self) -> IdentityMaterial {
        IdentityMaterial { ak_public: self.ak.public.sized(), ..IdentityMaterial::default() }
    }

    /// SHA-256 of each endorsement key's SubjectPublicKeyInfo.
    pub(crate) fn ek_digests(&self) -> Vec<[u8; 32]> {
        let spki = |offered: &OfferedEk| Public::parse_sized(&offered.public).unwrap().key().spki();
        self.eks.iter().map(|(_, offered)| crypto::sha256(&[&spki(offered)])).collect()
    }

    pub(crate) fn node_spki(&self) -> Vec<u8> {
        self.node.public.key().spki()
    }

    pub(crate) fn node_pkcs8(&self) -> Vec<u8> {
        self.node.pkcs8.clone()
    }

    /// The answer to `ask`: the encoded item.
    pub(crate) fn answer(&mut self, ask: &Ask, nonce: &[u8; 32], boot: &Boot) -> Vec<u8> {
        let name = self.ak.public.name();
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for (place, credential) in ask.credentials.iter().enumerate() {
            secrets.push(activate(&mut self.eks[place].0, credential, &name));
        }
        let log_digest = *boot.replayed.digest();
        let mut extra = binding_digest(&BindingFields {
            trust_domain: &"example.org".parse().unwrap(),
            kinds: &[EvidenceKind::Tpm],
            nonce,
            ak_name: &name.to_vec(),
            node_key_spki: &self.node_spki(),
            ek_certificates: &ask.ek_certificates,
            selection: &ask.selection.encode(),
            firmware_log: Some(&log_digest),
            others: &[],
        });
        self.clock.clock += 1;
        let mut values = Vec::new();
        for index in ask.selection.pcrs.iter() {
            values.extend_from_slice(boot.replayed.replay().value(index).as_bytes());
        }
        let mut pcr_digest = HashAlg::Sha256.digest(&[&values]).as_bytes().to_vec();
        match self.spoil {
            Spoil::Secret => secrets.iter_mut().for_each(|secret| secret[0] ^= 1),
            Spoil::Binding => extra[0] ^= 1,
            Spoil::PcrDigest => pcr_digest[0] ^= 1,
            _ => {}
        }
        let signer = name.qualified_in(Hierarchy::Endorsement);
        let mut quote = Attest::encode_quote(&signer, &extra, self.clock, 7, &ask.selection, &pcr_digest);
        let mut quote_signature = self.ak.sign(&quote);
        let node_name = self.node.public.name();
        let node_qualified = node_name.qualified_in(Hierarchy::Owner);
        let certify = Attest::encode_certify(&signer, &extra, self.clock, 7, &node_name, &node_qualified);
        let mut certify_signature = self.ak.sign(&certify);
        let flip_last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
        match self.spoil {
            Spoil::Quote => flip_last(&mut quote),
            Spoil::QuoteSignature => flip_last(&mut quote_signature),
            Spoil::CertifySignature => flip_last(&mut certify_signature),
            _ => {}
        }
        let node_public = self.node.public.sized();
        let mut log = boot.bytes.clone();
        if self.spoil == Spoil::Log {
            flip_last(&mut log);
        }
        // Like the agent, it certifies where asked; and a new node key always.
        let certified = (ask.certify || self.spoil == Spoil::CertifySignature) && self.spoil != Spoil::NoCertify;
        TpmItem {
            secrets: secrets.iter().map(Vec::as_slice).collect(),
            quote: Signed { attest: &quote, signature: &quote_signature },
            certify: certified.then_some(CertifiedKey {
                public: &node_public,
                certify: Signed { attest: &certify, signature: &certify_signature },
            }),
            firmware_log: match ask.known_firmware_log {
                Some(known) if known == log_digest => FirmwareLog::Known(known),
                _ => FirmwareLog::Bytes(&log),
            },
            pcr_claims: Vec::new(),
            residency: Vec::new(),
        }
        .encode()
    }
}

fn p256_ek(vendor: &Vendor) -> (Ek, OfferedEk) {
    let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
    let point = private.compute_public_key().unwrap().as_ref().to_vec();
    let key = point_key(&point);
    let certificate = vendor.certify(&key.spki(), rcgen::KeyUsagePurpose::KeyAgreement);
    (Ek::P256(Some(private), point), offered(&key, certificate))
}

fn rsa_ek(vendor: &Vendor, index: usize) -> (Ek, OfferedEk) {
    let private = rsa_key(index);
    let key = PublicKey::rsa(&private.n().to_bytes_be()).unwrap();
    let certificate = vendor.certify(&key.spki(), rcgen::KeyUsagePurpose::KeyEncipherment);
    (Ek::Rsa(private), offered(&key, certificate))
}

fn offered(key: &PublicKey, certificate: Vec<u8>) -> OfferedEk {
    let attributes = Attributes::EK_LOW_RANGE;
    let policy = hex::decode("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa").unwrap();
    let public = public(key, attributes, &policy, Some(128), Scheme::Null);
    OfferedEk { certificate, chain: Vec::new(), public: public.sized() }
}

/// TPM2_ActivateCredential.
fn activate(ek: &mut Ek, credential: &Credential, name: &Name) -> Vec<u8> {
    use cfb_mode::cipher::{AsyncStreamCipher as _, KeyIvInit as _};
    let seed = match ek {
        Ek::P256(private, point) => {
            // TPM2B_ENCRYPTED_SECRET { TPMS_ECC_POINT { TPM2B x, TPM2B y } }
            let (x, y) = (&credential.encrypted_secret[4..36], &credential.encrypted_secret[38..70]);
            let peer = UnparsedPublicKey::new(&ECDH_P256, [&[4], x, y].concat());
            let private = private.take().expect("a virtual P-256 endorsement key activates once");
            let shared = agree_ephemeral(private, &peer, <[u8]>::to_vec).unwrap();
            kdfe(HashAlg::Sha256, &shared, "IDENTITY", x, &point[1..33], 256).to_vec()
        }
        Ek::Rsa(private) => {
            let padding = rsa::Oaep::new_with_label::<rsa::sha2::Sha256, _>("IDENTITY\0");
            private.decrypt(padding, &credential.encrypted_secret[2..]).unwrap()
        }
    };
    // TPM2B_ID_OBJECT { TPM2B mac, encIdentity }
    let (mac, encrypted) = (&credential.id_object[4..36], &credential.id_object[36..]);
    let integrity = kdfa(HashAlg::Sha256, &seed, "INTEGRITY", &[], &[], 256);
    if hmac(HashAlg::Sha256, &integrity, &[encrypted, &name.to_vec()]).as_bytes() != mac {
        return vec![0; 32];
    }
    let storage = kdfa(HashAlg::Sha256, &seed, "STORAGE", &name.to_vec(), &[], 128);
    let mut identity = encrypted.to_vec();
    cfb_mode::Decryptor::<aes::Aes128>::new_from_slices(&storage, &[0; 16]).unwrap().decrypt(&mut identity);
    identity.split_off(2)
}
