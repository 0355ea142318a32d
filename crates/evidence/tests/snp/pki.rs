//! A PKI like AMD's, in hand-written DER: RSA roots and intermediates that sign by RSASSA-PSS, P-384 leaves with AMD's
//! extensions. Everything is a public field, good by default.

use std::sync::OnceLock;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rsa::sha2::Sha384;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pss, RsaPrivateKey};

use holdfast_evidence::crypto::{Curve, HashAlg, PublicKey};

/// One DER element.
pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    element.extend_from_slice(content);
    element
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

/// An object identifier.
pub(crate) fn oid(text: &str) -> Vec<u8> {
    let arcs: Vec<u64> = text.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let digits: Vec<u8> = (0..5).rev().map(|at| ((arc >> (7 * at)) & 0x7f) as u8).collect();
        let zeros = digits.iter().take(4).take_while(|digit| **digit == 0).count();
        let last = digits.len() - 1;
        content.extend(
            digits.iter().enumerate().skip(zeros).map(|(at, digit)| if at < last { digit | 0x80 } else { *digit }),
        );
    }
    der(6, &content)
}

/// `AlgorithmIdentifier` of RSASSA-PSS with one hash and salt, with or without the trailer field.
pub(crate) fn pss(hash: &str, salt: u8, trailer: bool) -> Vec<u8> {
    let hash = sequence(&[oid(hash), vec![5, 0]]);
    let mask = sequence(&[oid("1.2.840.113549.1.1.8"), hash.clone()]);
    let mut parameters = vec![der(0xa0, &hash), der(0xa1, &mask), der(0xa2, &[2, 1, salt])];
    if trailer {
        parameters.push(der(0xa3, &[2, 1, 1]));
    }
    sequence(&[oid("1.2.840.113549.1.1.10"), sequence(&parameters)])
}

/// SHA-384.
pub(crate) const SHA384: &str = "2.16.840.1.101.3.4.2.2";
/// SHA-256.
pub(crate) const SHA256: &str = "2.16.840.1.101.3.4.2.1";

/// Bits of RSA keys. AMD's have 4096; half of it is made sooner.
pub(crate) static RSA_BITS: OnceLock<usize> = OnceLock::new();

/// An RSA key of the test PKI; made once a process.
pub(crate) struct Rsa {
    private: RsaPrivateKey,
}

struct System;

impl rsa::rand_core::RngCore for System {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, to: &mut [u8]) {
        SystemRandom::new().fill(to).unwrap();
    }
    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for System {}

/// Random to nobody.
struct Counting(u8);

impl rsa::rand_core::RngCore for Counting {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, to: &mut [u8]) {
        to.iter_mut().for_each(|byte| {
            self.0 = self.0.wrapping_mul(5).wrapping_add(17);
            *byte = self.0;
        });
    }
    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Counting {}

impl Rsa {
    fn generate() -> Self {
        Self { private: RsaPrivateKey::new(&mut System, *RSA_BITS.get_or_init(|| 2048)).unwrap() }
    }

    /// The key of roots.
    pub(crate) fn ark() -> &'static Self {
        static KEY: OnceLock<Rsa> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    /// The key of intermediates.
    pub(crate) fn ask() -> &'static Self {
        static KEY: OnceLock<Rsa> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        PublicKey::rsa(&self.private.n().to_bytes_be()).unwrap().spki()
    }

    /// Signs with a salt that is the same each time, so that one certificate has one digest.
    pub(crate) fn sign(&self, message: &[u8], salt: usize) -> Vec<u8> {
        let hashed = HashAlg::Sha384.digest(&[message]);
        self.private.sign_with_rng(&mut Counting(0), Pss::new_with_salt::<Sha384>(salt), hashed.as_bytes()).unwrap()
    }
}

/// A P-384 key that signs reports.
pub(crate) struct ReportKey(EcdsaKeyPair);

impl ReportKey {
    pub(crate) fn generate() -> Self {
        let rng = SystemRandom::new();
        let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap())
    }

    /// The one that guests use by default.
    pub(crate) fn vek() -> &'static Self {
        static KEY: OnceLock<ReportKey> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(48);
        PublicKey::ec(Curve::P384, x, y).unwrap().spki()
    }

    /// r and s, big-endian.
    pub(crate) fn sign(&self, message: &[u8]) -> ([u8; 48], [u8; 48]) {
        let signature = self.0.sign(&SystemRandom::new(), message).unwrap();
        let (r, s) = signature.as_ref().split_at(48);
        (r.try_into().unwrap(), s.try_into().unwrap())
    }
}

/// An extension: identifier, criticality, value.
#[derive(Clone, Debug)]
pub(crate) struct Extension {
    pub(crate) oid: String,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

impl Extension {
    pub(crate) fn new(oid: &str, critical: bool, value: Vec<u8>) -> Self {
        Self { oid: oid.to_owned(), critical, value }
    }

    fn encode(&self) -> Vec<u8> {
        let mut parts = vec![oid(&self.oid)];
        if self.critical {
            parts.push(vec![1, 1, 0xff]);
        }
        parts.push(der(4, &self.value));
        sequence(&parts)
    }
}

/// A certificate before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) serial: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    /// That outside of what is signed, if it is another.
    pub(crate) outer_algorithm: Option<Vec<u8>>,
    pub(crate) salt: usize,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// `YYMMDDHHMMSSZ`.
    pub(crate) not_before: &'static str,
    pub(crate) not_after: &'static str,
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
}

fn name(common: &str) -> Vec<u8> {
    let attribute = |oid_text: &str, text: &str| der(0x31, &sequence(&[oid(oid_text), der(0x0c, text.as_bytes())]));
    sequence(&[attribute("2.5.4.10", "Advanced Micro Devices"), attribute("2.5.4.3", common)])
}

impl Certificate {
    pub(crate) fn new(issuer: &str, subject: &str, spki: Vec<u8>) -> Self {
        Self {
            serial: vec![1],
            algorithm: pss(SHA384, 48, true),
            outer_algorithm: None,
            salt: 48,
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            not_before: "200101000000Z",
            not_after: "300101000000Z",
            spki,
            extensions: Vec::new(),
        }
    }

    /// A CA certificate.
    pub(crate) fn ca(issuer: &str, subject: &str, key: &Rsa) -> Self {
        let mut certificate = Self::new(issuer, subject, key.spki());
        certificate.serial = vec![1, 0, 1];
        certificate.extensions = vec![
            Extension::new("2.5.29.19", true, sequence(&[vec![1, 1, 0xff]])),
            Extension::new("2.5.29.15", true, vec![3, 2, 1, 0b0000_0110]),
        ];
        certificate
    }

    pub(crate) fn extension(&mut self, oid: &str) -> &mut Extension {
        self.extensions.iter_mut().find(|extension| extension.oid == oid).unwrap()
    }

    /// Its signed DER.
    pub(crate) fn sign(&self, by: &Rsa) -> Vec<u8> {
        let extensions: Vec<Vec<u8>> = self.extensions.iter().map(Extension::encode).collect();
        let mut parts = vec![
            der(0xa0, &[2, 1, 2]),
            der(2, &self.serial),
            self.algorithm.clone(),
            name(&self.issuer),
            sequence(&[der(0x17, self.not_before.as_bytes()), der(0x17, self.not_after.as_bytes())]),
            name(&self.subject),
            self.spki.clone(),
        ];
        if !extensions.is_empty() {
            parts.push(der(0xa3, &sequence(&extensions)));
        }
        let tbs = sequence(&parts);
        let signature = by.sign(&tbs, self.salt);
        let outer = self.outer_algorithm.as_ref().unwrap_or(&self.algorithm).clone();
        sequence(&[tbs, outer, der(3, &[vec![0], signature].concat())])
    }
}

/// A revocation list of `issuer` with these serial numbers.
pub(crate) fn revocation_list(issuer: &str, serials: &[&[u8]], by: &Rsa) -> Vec<u8> {
    dated_list(issuer, serials, by, ("240101000000Z", Some("350101000000Z")))
}

/// The same of other dates: `thisUpdate`, `nextUpdate`.
pub(crate) fn dated_list(issuer: &str, serials: &[&[u8]], by: &Rsa, dates: (&str, Option<&str>)) -> Vec<u8> {
    let time = |text: &str| der(0x17, text.as_bytes());
    let entries: Vec<Vec<u8>> =
        serials.iter().map(|serial| sequence(&[der(2, serial), time("240101000000Z")])).collect();
    let mut parts = vec![der(2, &[1]), pss(SHA384, 48, true), name(issuer), time(dates.0)];
    parts.extend(dates.1.map(time));
    if !entries.is_empty() {
        parts.push(sequence(&entries));
    }
    let tbs = sequence(&parts);
    let signature = by.sign(&tbs, 48);
    sequence(&[tbs, pss(SHA384, 48, true), der(3, &[vec![0], signature].concat())])
}
