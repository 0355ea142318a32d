//! Foreign trust domains whose private keys the tests hold: they sign what no server would, and the real agent judges it by
//! the bundle that the real server was given. Asks nobody: see `court`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use holdfast_evidence::crypto::{KeyKind, PrivateKey};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use serde_json::{Value, json};

use crate::workload::tokens::{JwtAuthority, now};

/// A trust domain of the tests' own.
pub(crate) struct Stranger {
    pub(crate) name: &'static str,
    /// Its key for tokens.
    pub(crate) key: JwtAuthority,
    /// Keys of other kinds, for tokens too, by their algorithm.
    pub(crate) others: Vec<(&'static str, JwtAuthority)>,
    /// An authority for certificates, whose key might sign tokens as well.
    pub(crate) authority: CertificateKey,
}

impl Stranger {
    pub(crate) fn new(name: &'static str) -> Self {
        let key = JwtAuthority::new(KeyKind::EcP256);
        Self { name, key, others: Vec::new(), authority: CertificateKey::new(name) }
    }

    /// With a key for each kind of signature.
    pub(crate) fn of_all_kinds(name: &'static str) -> Self {
        let other = |alg, kind| (alg, JwtAuthority::new(kind));
        Self { others: vec![other("ES384", KeyKind::EcP384), other("RS256", KeyKind::Rsa2048)], ..Self::new(name) }
    }

    /// Its bundle's keys for tokens.
    pub(crate) fn token_keys(&self) -> Vec<Value> {
        std::iter::once(&self.key)
            .chain(self.others.iter().map(|(_, key)| key))
            .map(|key| key.jwk("jwt-svid"))
            .collect()
    }

    /// Header and claims of a token that verifies for [`AUDIENCE`].
    pub(crate) fn good(&self) -> (Value, Value) {
        let header = json!({ "alg": "ES256", "kid": self.key.id, "typ": "JWT" });
        (header, json!({ "sub": self.id("x"), "aud": [AUDIENCE], "exp": now().seconds() + 300 }))
    }

    /// A token of exactly this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.key.sign(header, claims)
    }

    /// An ID of the domain.
    pub(crate) fn id(&self, path: &str) -> String {
        format!("spiffe://{}/{path}", self.name)
    }
}

/// Whom tokens of strangers are for.
pub(crate) const AUDIENCE: &str = "me";

/// An authority of X.509-SVIDs, with its key at hand.
pub(crate) struct CertificateKey {
    key: KeyPair,
    pub(crate) der: Vec<u8>,
}

impl CertificateKey {
    fn new(domain: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{domain}").try_into().unwrap())];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { key, der }
    }

    /// The key as a bundle has it, for `usage`, with its certificate and with an ID.
    pub(crate) fn jwk(&self, usage: &str, kid: &str) -> Value {
        let point = self.key.der_bytes();
        json!({
            "use": usage, "kid": kid, "kty": "EC", "crv": "P-256", "x5c": [STANDARD.encode(&self.der)],
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        })
    }

    /// A token that it signs.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        sign_by(&self.key.serialize_der(), header, claims)
    }
}

/// An RSA key, which signs by any algorithm that there is for it.
pub(crate) struct RsaKey {
    key: ring::rsa::KeyPair,
}

impl RsaKey {
    /// Its ID.
    pub(crate) const ID: &'static str = "rsa";
    /// By their names.
    pub(crate) const ALGORITHMS: [(&'static str, &'static dyn RsaEncoding); 6] = [
        ("RS256", &RSA_PKCS1_SHA256),
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];

    pub(crate) fn new() -> Self {
        let pkcs8 = PrivateKey::draw(KeyKind::Rsa2048, &SystemRandom::new()).unwrap();
        Self { key: ring::rsa::KeyPair::from_pkcs8(&pkcs8).unwrap() }
    }

    /// The key as a bundle has it.
    pub(crate) fn jwk(&self) -> Value {
        let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.key.public());
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "use": "jwt-svid", "kid": Self::ID, "kty": "RSA", "n": encode(&public.n), "e": encode(&public.e) })
    }

    /// A token that it signs by this algorithm, whatever the header says.
    pub(crate) fn sign(&self, encoding: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
        let text = text(header, claims);
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn text(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// A token that a P-256 key (PKCS#8) signs, whatever the key is for.
pub(crate) fn sign_by(pkcs8: &[u8], header: &Value, claims: &Value) -> String {
    let text = text(header, claims);
    let rng = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &rng).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(key.sign(&rng, text.as_bytes()).unwrap()))
}
