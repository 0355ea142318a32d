//! Signatures of files: the field's own, and each thing about one flipped.

use holdfast_evidence::crypto::{Curve, HashAlg, PublicKey};
use holdfast_evidence::tpm::ima::{FileDigest, ImaKeys, SignatureRefused};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
};

use crate::vectors;

/// A signature of `/usr/bin/dd` by an RSA key of 2,048 bits, as evmctl wrote it.
fn of_the_field() -> Option<(Vec<u8>, Vec<u8>, PublicKey)> {
    let folder = vectors::folder()?.join("tpm/keylime/ima");
    let line = std::fs::read_to_string(folder.join("signatures.txt")).unwrap();
    let fields: Vec<&str> = line.lines().next().unwrap().split(' ').collect();
    let digest = hex::decode(fields[3].strip_prefix("sha256:").unwrap()).unwrap();
    let keyring: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("ima_keyring.json")).unwrap()).unwrap();
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.decode(keyring["pubkeys"][0].as_str().unwrap()).unwrap();
    Some((digest, hex::decode(fields[5]).unwrap(), PublicKey::from_spki(&key).unwrap()))
}

fn attribute(hash: u8, signature: &[u8]) -> Vec<u8> {
    let length = u16::try_from(signature.len()).unwrap().to_be_bytes();
    [&[3, 2, hash, 1, 2, 3, 4], &length[..], signature].concat()
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: Curve, message: &[u8]) -> (PublicKey, Vec<u8>) {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(curve.field_size());
    (PublicKey::ec(curve, x, y).unwrap(), pair.sign(&rng, message).unwrap().as_ref().to_vec())
}

#[test]
fn a_real_rsa_signature_verifies_over_its_digest_and_no_other() {
    let Some((digest, attribute, key)) = of_the_field() else { return };
    let keys = ImaKeys::new(vec![key]).unwrap();
    let check = |digest: &[u8], attribute: &[u8]| keys.check(&FileDigest::Strong(HashAlg::Sha256, digest), attribute);
    assert_eq!(check(&digest, &attribute), Ok(()));
    let mut other = digest.clone();
    other[0] ^= 1;
    assert_eq!(check(&other, &attribute), Err(SignatureRefused::Key));
    for (at, expected) in [
        (0, SignatureRefused::Form),
        (1, SignatureRefused::Form),
        (2, SignatureRefused::Hash),
        (7, SignatureRefused::Form),
        (8, SignatureRefused::Form),
        (9, SignatureRefused::Key),
        (attribute.len() - 1, SignatureRefused::Key),
    ] {
        let mut spoiled = attribute.clone();
        spoiled[at] ^= 1;
        assert_eq!(check(&digest, &spoiled), Err(expected), "byte {at}");
    }
    let mut other_id = attribute.clone();
    other_id[3] ^= 1;
    assert_eq!(check(&digest, &other_id), Ok(()), "the key id is a hint");
    assert_eq!(check(&digest, &attribute[..attribute.len() - 1]), Err(SignatureRefused::Form));
    assert_eq!(check(&digest, b""), Err(SignatureRefused::Absent));
}

#[test]
fn malformed_signatures_of_the_field_prove_nothing() {
    let Some(folder) = vectors::folder() else { return };
    let (_, _, key) = of_the_field().unwrap();
    let keys = ImaKeys::new(vec![key]).unwrap();
    for line in std::fs::read_to_string(folder.join("tpm/keylime/ima/bad_signatures.txt")).unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let digest = hex::decode(fields[3].strip_prefix("sha256:").unwrap()).unwrap();
        let attribute = hex::decode(fields[5]).unwrap();
        assert!(keys.check(&FileDigest::Strong(HashAlg::Sha256, &digest), &attribute).is_err());
    }
}

#[test]
fn ecdsa_signatures_of_both_curves_verify_over_the_digest() {
    for (algorithm, curve, hash, id) in [
        (&ECDSA_P256_SHA256_ASN1_SIGNING, Curve::P256, HashAlg::Sha256, 4),
        (&ECDSA_P384_SHA384_ASN1_SIGNING, Curve::P384, HashAlg::Sha384, 5),
    ] {
        let (key, signature) = ec(algorithm, curve, b"the file");
        let keys = ImaKeys::new(vec![ec(algorithm, curve, b"").0, key]).unwrap();
        let digest = hash.digest(&[b"the file"]);
        let file = FileDigest::Strong(hash, digest.as_bytes());
        assert_eq!(keys.check(&file, &attribute(id, &signature)), Ok(()));
        let other = hash.digest(&[b"another file"]);
        assert!(keys.check(&FileDigest::Strong(hash, other.as_bytes()), &attribute(id, &signature)).is_err());
        assert_eq!(keys.check(&file, &attribute(6, &signature)), Err(SignatureRefused::Hash));
        assert_eq!(keys.check(&FileDigest::Weak(&[0; 20]), &attribute(2, &signature)), Err(SignatureRefused::Hash));
    }
}

#[test]
fn no_keys_are_no_keys() {
    assert!(ImaKeys::new(Vec::new()).is_none());
    let off_curve = PublicKey::ec(Curve::P256, &[1; 32], &[1; 32]).unwrap();
    assert!(ImaKeys::new(vec![off_curve]).is_none());
}
