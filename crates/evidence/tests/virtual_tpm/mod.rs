//! A TPM in software: makes genuine evidence in process, with ring's keys. Plays the whole TPM side of an attestation:
//! activation, quote, certification, firmware log. Every part can be spoiled by the test that holds it.
#![allow(dead_code, reason = "each test binary uses its part")]

mod firmware;

use holdfast_evidence::crypto::credential::{aes_cfb_encrypt, hmac, kdfa, kdfe};
use holdfast_evidence::crypto::{Curve, HashAlg, PublicKey, SignatureAlg};
use holdfast_evidence::tpm::ownership::{DeviceRole, OfferedOwnership};
use holdfast_evidence::tpm::{
    Ask, Attest, Attributes, Bank, CertifiedKey, ClockInfo, Credential, FirmwareLog, Hierarchy, IdentityMaterial,
    OfferedEk, PcrSelection, PcrValues, Public, Scheme, Signature, Signed, TpmItem,
};
use holdfast_evidence::{BindingFields, EvidenceKind, binding_digest};
use holdfast_identity::TrustDomain;
use rcgen::PublicKeyData as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

#[allow(unused_imports, reason = "each test binary uses its part")]
pub(crate) use firmware::{Event, Firmware};

use crate::pki::Ca;

pub(crate) const ECDSA_SHA256: Scheme = Scheme::Signing { algorithm: SignatureAlg::Ecdsa, hash: 0x000b };

/// PolicyA of the TCG's EK templates.
pub(crate) const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// A signing key and its public area.
pub(crate) struct Key {
    pub(crate) pair: EcdsaKeyPair,
    pub(crate) pkcs8: Vec<u8>,
    pub(crate) public: Public,
}

impl Key {
    pub(crate) fn new(attributes: Attributes, scheme: Scheme) -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let key = PublicKey::ec(Curve::P256, x, y).unwrap();
        let public = Public::encode(&key, HashAlg::Sha256, attributes, &[], None, scheme);
        Self { pair, pkcs8: pkcs8.as_ref().to_vec(), public: Public::parse(&public).unwrap() }
    }

    /// The same key once more.
    pub(crate) fn again(&self) -> Self {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8, &SystemRandom::new());
        Self { pair: pair.unwrap(), pkcs8: self.pkcs8.clone(), public: self.public.clone() }
    }

    /// A `TPMT_SIGNATURE` over `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signed = self.pair.sign(&SystemRandom::new(), message).unwrap();
        Signature::encode_ecdsa(HashAlg::Sha256, signed.as_ref())
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        self.public.key().spki()
    }
}

/// An endorsement key: a P-256 storage key whose scalar the virtual TPM knows, with its certificate.
pub(crate) struct EndorsementKey {
    scalar: [u8; 32],
    pub(crate) public: Public,
    pub(crate) certificate: Vec<u8>,
}

impl EndorsementKey {
    pub(crate) fn new(ca: &Ca) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = PublicKey::from_spki(&pair.subject_public_key_info()).unwrap();
        let attributes = Attributes::EK_LOW_RANGE;
        let public = Public::encode(&key, HashAlg::Sha256, attributes, &EK_POLICY, Some(128), Scheme::Null);
        let public = Public::parse(&public).unwrap();
        // PKCS#8 of a P-256 key as ring writes it has the scalar at this place.
        let scalar = pair.serialize_der()[36..68].try_into().unwrap();
        Self { scalar, certificate: ca.ek_for(&pair, |_| {}), public }
    }

    pub(crate) fn offered(&self) -> OfferedEk {
        OfferedEk { certificate: self.certificate.clone(), chain: Vec::new(), public: self.public.sized() }
    }

    /// `TPM2_ActivateCredential` for the object called `name`; `None` is what a TPM answers with an error.
    pub(crate) fn activate(&self, credential: &Credential, name: &[u8]) -> Option<Vec<u8>> {
        let sized = |bytes: &[u8]| -> Option<(Vec<u8>, Vec<u8>)> {
            let length = usize::from(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?));
            Some((bytes.get(2..2 + length)?.to_vec(), bytes.get(2 + length..)?.to_vec()))
        };
        let (point, _) = sized(&credential.encrypted_secret)?;
        let (x, rest) = sized(&point)?;
        let (y, _) = sized(&rest)?;
        let shared = self.shared_x(&x, &y)?;
        let ek_x = self.public.key().coordinates().0;
        let seed = kdfe(HashAlg::Sha256, &shared, "IDENTITY", &x, ek_x, 256);
        let (object, _) = sized(&credential.id_object)?;
        let (mac, encrypted) = sized(&object)?;
        let integrity = kdfa(HashAlg::Sha256, &seed, "INTEGRITY", &[], &[], 256);
        if hmac(HashAlg::Sha256, &integrity, &[&encrypted, name]).as_bytes() != mac {
            return None;
        }
        let storage = kdfa(HashAlg::Sha256, &seed, "STORAGE", name, &[], 128);
        let (secret, rest) = sized(&cfb_decrypt(&storage, &encrypted))?;
        rest.is_empty().then_some(secret)
    }

    /// ring has no static Diffie-Hellman; an "ephemeral" key drawn from a source that only ever says our scalar is one.
    #[expect(deprecated, reason = "ring's own fixed random source, for tests")]
    fn shared_x(&self, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
        let rng = ring::test::rand::FixedSliceRandom { bytes: &self.scalar };
        let PublicKey::Ec { point, .. } = PublicKey::ec(Curve::P256, x, y)? else { return None };
        let agreed = holdfast_evidence::crypto::credential::agree(Curve::P256, &point, &rng).ok()?;
        assert_eq!(&agreed.ephemeral, self.public.key(), "the scalar is the endorsement key's");
        Some(agreed.shared_x.to_vec())
    }
}

/// CFB decryption by encryption alone: the key stream of a block is the encryption of the ciphertext before it.
fn cfb_decrypt(key: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    for (n, block) in ciphertext.chunks(16).enumerate() {
        let before: &[u8] = if n == 0 { &[] } else { &ciphertext[(n - 1) * 16..n * 16] };
        // Encrypting D(previous blocks) ‖ zeros in CFB leaves the key stream in the zeros.
        let mut stream = [&plain[..], &[0; 16]].concat();
        aes_cfb_encrypt(key, &mut stream).unwrap();
        assert!(n == 0 || stream[(n - 1) * 16..n * 16] == *before);
        plain.extend(block.iter().zip(&stream[n * 16..]).map(|(c, s)| c ^ s));
    }
    plain
}

/// A machine: its TPM's keys, its clock, its firmware's log and the registers that the log led to.
pub(crate) struct VirtualTpm {
    pub(crate) eks: Vec<EndorsementKey>,
    pub(crate) ak: Key,
    pub(crate) node_key: Key,
    pub(crate) clock: ClockInfo,
    pub(crate) firmware_version: u64,
    pub(crate) firmware: Firmware,
}

impl VirtualTpm {
    pub(crate) fn new(ca: &Ca) -> Self {
        Self {
            eks: vec![EndorsementKey::new(ca)],
            ak: Key::new(Attributes::AK_TEMPLATE, ECDSA_SHA256),
            node_key: Key::new(Attributes::NODE_KEY, ECDSA_SHA256),
            clock: ClockInfo { clock: 1_000_000, reset_count: 7, restart_count: 1, safe: true },
            firmware_version: 0x0001_0002_0003_0004,
            firmware: Firmware::typical(),
        }
    }

    pub(crate) fn material(&self) -> IdentityMaterial {
        IdentityMaterial {
            endorsement: self.eks.iter().map(EndorsementKey::offered).collect(),
            ak_public: self.ak.public.sized(),
            ownership: OfferedOwnership::default(),
        }
    }

    pub(crate) fn pcrs(&self, bank: Bank) -> PcrValues {
        self.firmware.pcrs(bank)
    }

    /// The digest that this machine must sign for that nonce.
    pub(crate) fn binding(&self, ask: &Ask, nonce: &[u8; 32], trust_domain: &TrustDomain) -> [u8; 32] {
        binding_digest(&BindingFields {
            trust_domain,
            kinds: &[EvidenceKind::Tpm],
            nonce,
            ak_name: &self.ak.public.name().to_vec(),
            node_key_spki: &self.node_key.spki(),
            ek_certificates: &ask.ek_certificates,
            selection: &ask.selection.encode(),
            firmware_log: Some(&holdfast_evidence::crypto::sha256(&[&self.firmware.log()])),
            others: &[],
        })
    }

    /// `TPMS_ATTEST` of a quote.
    pub(crate) fn quote(&self, extra_data: &[u8], selection: &PcrSelection) -> Vec<u8> {
        let values = self.pcrs(selection.bank);
        let values: Vec<_> = selection.pcrs.iter().map(|pcr| *values.get(pcr).unwrap()).collect();
        let parts: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let digest = HashAlg::Sha256.digest(&parts);
        let signer = self.ak.public.name().qualified_in(Hierarchy::Endorsement);
        Attest::encode_quote(&signer, extra_data, self.clock, self.firmware_version, selection, digest.as_bytes())
    }

    /// `TPMS_ATTEST` of a certification of `public`.
    pub(crate) fn certify(&self, extra_data: &[u8], public: &Public) -> Vec<u8> {
        let signer = self.ak.public.name().qualified_in(Hierarchy::Endorsement);
        let name = public.name();
        let qualified = name.qualified_in(Hierarchy::Owner);
        Attest::encode_certify(&signer, extra_data, self.clock, self.firmware_version, &name, &qualified)
    }

    /// Everything that an honest agent answers.
    pub(crate) fn answer(&self, ask: &Ask, nonce: &[u8; 32], trust_domain: &TrustDomain) -> Answer {
        self.answer_over(ask, &self.binding(ask, nonce, trust_domain))
    }

    /// The same over any digest.
    pub(crate) fn answer_over(&self, ask: &Ask, binding: &[u8; 32]) -> Answer {
        let name = self.ak.public.name().to_vec();
        let activate = |(ek, credential): (&EndorsementKey, &Credential)| ek.activate(credential, &name).unwrap();
        let quote = self.quote(binding, &ask.selection);
        let certify = self.certify(binding, &self.node_key.public);
        let log = self.firmware.log();
        Answer {
            secrets: self.eks.iter().zip(&ask.credentials).map(activate).collect(),
            quote_signature: self.ak.sign(&quote),
            quote,
            certified: ask.certify.then(|| (self.node_key.public.sized(), self.ak.sign(&certify))),
            certify,
            log: match ask.known_firmware_log {
                Some(known) if known == holdfast_evidence::crypto::sha256(&[&log]) => Log::Known(known),
                _ => Log::Bytes(log),
            },
            claims: Vec::new(),
            residency: Vec::new(),
        }
    }
}

/// The firmware log as answered.
#[derive(Clone)]
pub(crate) enum Log {
    Bytes(Vec<u8>),
    Known([u8; 32]),
    Absent,
}

/// An answer in its parts, to be spoiled and then sent.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) secrets: Vec<Vec<u8>>,
    pub(crate) quote: Vec<u8>,
    pub(crate) quote_signature: Vec<u8>,
    /// Public area and signature.
    pub(crate) certified: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) certify: Vec<u8>,
    pub(crate) log: Log,
    pub(crate) claims: Vec<(u32, Vec<u8>)>,
    /// What device keys state: attestation structure and signature.
    pub(crate) residency: Vec<(DeviceRole, Vec<u8>, Vec<u8>)>,
}

impl Answer {
    pub(crate) fn item(&self) -> TpmItem<'_> {
        let pcr = |index| holdfast_evidence::tpm::PcrIndex::new(index).unwrap();
        TpmItem {
            secrets: self.secrets.iter().map(Vec::as_slice).collect(),
            quote: Signed { attest: &self.quote, signature: &self.quote_signature },
            certify: self.certified.as_ref().map(|(public, signature)| CertifiedKey {
                public,
                certify: Signed { attest: &self.certify, signature },
            }),
            firmware_log: match &self.log {
                Log::Bytes(bytes) => FirmwareLog::Bytes(bytes),
                Log::Known(digest) => FirmwareLog::Known(*digest),
                Log::Absent => FirmwareLog::Absent,
            },
            pcr_claims: self.claims.iter().map(|(index, value)| (pcr(*index), value.as_slice())).collect(),
            residency: self
                .residency
                .iter()
                .map(|(role, attest, signature)| (*role, Signed { attest, signature }))
                .collect(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.item().encode()
    }
}
