//! What nobody can leave out: signatures that verify, by the library that Holdfast verifies with, and passes of a hash.

use std::hint::black_box;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _, UnparsedPublicKey,
};

/// `count` P-256 verifications by ring, over so many bytes.
pub fn p256(count: usize, bytes: usize) -> impl FnMut() {
    verifications(count, bytes, &ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_ASN1)
}

/// `count` P-384 verifications by ring, over so many bytes.
pub fn p384(count: usize, bytes: usize) -> impl FnMut() {
    verifications(count, bytes, &ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1)
}

fn verifications(
    count: usize,
    bytes: usize,
    signing: &'static EcdsaSigningAlgorithm,
    verifying: &'static EcdsaVerificationAlgorithm,
) -> impl FnMut() {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &rng).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &rng).expect("a key");
    let message = vec![7; bytes];
    let signature = pair.sign(&rng, &message).expect("a signature");
    let point = pair.public_key().as_ref().to_vec();
    move || {
        for _ in 0..count {
            let key = UnparsedPublicKey::new(verifying, black_box(&point));
            black_box(key.verify(&message, signature.as_ref())).expect("valid");
        }
    }
}

/// `count` SHA-256 passes over `bytes`.
pub fn passes(count: usize, bytes: Vec<u8>) -> impl FnMut() {
    move || {
        for _ in 0..count {
            black_box(ring::digest::digest(&ring::digest::SHA256, black_box(&bytes)));
        }
    }
}
