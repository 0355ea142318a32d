//! Signatures of files: the field's own, and each thing about one flipped.

use holdfast_evidence::crypto::{Curve, HashAlg, PublicKey};
use holdfast_evidence::tpm::ima::{
    DigestOf, FAILURES_MAX, FileDigest, ImaKeys, SignatureBudget, SignatureRefused, SigningKey, keys_of_pem, pem_of_der,
};
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

/// By which four bytes signatures name a key.
fn id(key: &PublicKey) -> [u8; 4] {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &key.subject_public_key());
    *digest.as_ref().last_chunk().unwrap()
}

fn attribute_of(kind: [u8; 2], hash: u8, id: [u8; 4], signature: &[u8]) -> Vec<u8> {
    let length = u16::try_from(signature.len()).unwrap().to_be_bytes();
    [&kind[..], &[hash], &id, &length[..], signature].concat()
}

fn attribute(hash: u8, key: &PublicKey, signature: &[u8]) -> Vec<u8> {
    attribute_of([3, 2], hash, id(key), signature)
}

fn keys(keys: impl IntoIterator<Item = PublicKey>) -> ImaKeys {
    ImaKeys::new(keys.into_iter().map(SigningKey::from).collect()).unwrap()
}

fn check(keys: &ImaKeys, digest: &FileDigest<'_>, attribute: &[u8]) -> Result<(), SignatureRefused> {
    keys.check(digest, DigestOf::Unsaid, attribute, &mut SignatureBudget::default())
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
    let keys = keys([key]);
    let check = |digest: &[u8], attribute: &[u8]| check(&keys, &FileDigest::Strong(HashAlg::Sha256, digest), attribute);
    assert_eq!(check(&digest, &attribute), Ok(()));
    let mut other = digest.clone();
    other[0] ^= 1;
    assert_eq!(check(&other, &attribute), Err(SignatureRefused::Key));
    for (at, expected) in [
        (0, SignatureRefused::Form),
        (1, SignatureRefused::Key),
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
    assert_eq!(check(&digest, &other_id), Err(SignatureRefused::Key), "it names another key, so that none is tried");
    assert_eq!(check(&digest, &attribute[..attribute.len() - 1]), Err(SignatureRefused::Form));
    assert_eq!(check(&digest, b""), Err(SignatureRefused::Absent));
}

#[test]
fn malformed_signatures_of_the_field_prove_nothing() {
    let Some(folder) = vectors::folder() else { return };
    let (_, _, key) = of_the_field().unwrap();
    let keys = keys([key]);
    for line in std::fs::read_to_string(folder.join("tpm/keylime/ima/bad_signatures.txt")).unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let digest = hex::decode(fields[3].strip_prefix("sha256:").unwrap()).unwrap();
        let attribute = hex::decode(fields[5]).unwrap();
        assert!(check(&keys, &FileDigest::Strong(HashAlg::Sha256, &digest), &attribute).is_err());
    }
}

#[test]
fn ecdsa_signatures_of_both_curves_verify_over_the_digest() {
    for (algorithm, curve, hash, number) in [
        (&ECDSA_P256_SHA256_ASN1_SIGNING, Curve::P256, HashAlg::Sha256, 4),
        (&ECDSA_P384_SHA384_ASN1_SIGNING, Curve::P384, HashAlg::Sha384, 5),
    ] {
        let (key, signature) = ec(algorithm, curve, b"the file");
        let keys = keys([ec(algorithm, curve, b"").0, key.clone()]);
        let digest = hash.digest(&[b"the file"]);
        let file = FileDigest::Strong(hash, digest.as_bytes());
        assert_eq!(check(&keys, &file, &attribute(number, &key, &signature)), Ok(()));
        let other = hash.digest(&[b"another file"]);
        let (other, weak) = (FileDigest::Strong(hash, other.as_bytes()), FileDigest::Weak(&[0; 20]));
        assert_eq!(check(&keys, &other, &attribute(number, &key, &signature)), Err(SignatureRefused::Key));
        assert_eq!(check(&keys, &file, &attribute(6, &key, &signature)), Err(SignatureRefused::Hash));
        assert_eq!(check(&keys, &weak, &attribute(2, &key, &signature)), Err(SignatureRefused::Hash));
    }
}

#[test]
fn no_keys_are_no_keys() {
    assert!(ImaKeys::new(Vec::new()).is_none());
    let off_curve = PublicKey::ec(Curve::P256, &[1; 32], &[1; 32]).unwrap();
    assert!(ImaKeys::new(vec![off_curve.into()]).is_none());
}

/// Version 3 is over kind, algorithm and digest, so that a signature of fs-verity's digest stands for no content.
#[test]
fn version_3_is_over_kind_algorithm_and_digest() {
    let digest = HashAlg::Sha256.digest(&[b"the file"]);
    let file = FileDigest::Strong(HashAlg::Sha256, digest.as_bytes());
    let by = |kind: [u8; 2], message: &[u8]| {
        let (key, signature) = ec(&ECDSA_P256_SHA256_ASN1_SIGNING, Curve::P256, message);
        (attribute_of(kind, 4, id(&key), &signature), keys([key]))
    };
    for (kind, holds_for) in
        [([6, 3], [DigestOf::Verity, DigestOf::Unsaid]), ([3, 3], [DigestOf::Content, DigestOf::Unsaid])]
    {
        let (attribute, keys) = by(kind, &[&[kind[0], 4], digest.as_bytes()].concat());
        for of in [DigestOf::Content, DigestOf::Verity, DigestOf::Unsaid] {
            let checked = keys.check(&file, of, &attribute, &mut SignatureBudget::default());
            let expected = if holds_for.contains(&of) { Ok(()) } else { Err(SignatureRefused::Hash) };
            assert_eq!(checked, expected, "{kind:?} {of:?}");
        }
        let mut as_the_other = attribute.clone();
        as_the_other[0] = if kind[0] == 6 { 3 } else { 6 };
        assert_eq!(check(&keys, &file, &as_the_other), Err(SignatureRefused::Key));
    }
    // What signs the bare digest is of version 2, and none of fs-verity's.
    let (mut attribute, keys) = by([3, 2], b"the file");
    assert_eq!(check(&keys, &file, &attribute), Ok(()));
    let verity = keys.check(&file, DigestOf::Verity, &attribute, &mut SignatureBudget::default());
    assert_eq!(verity, Err(SignatureRefused::Hash));
    attribute[0] = 6;
    assert_eq!(check(&keys, &file, &attribute), Err(SignatureRefused::Form));
    attribute[..2].copy_from_slice(&[3, 3]);
    assert_eq!(check(&keys, &file, &attribute), Err(SignatureRefused::Key));
}

#[test]
fn after_so_many_false_signatures_none_is_computed_but_what_held_before_still_holds() {
    let (key, signature) = ec(&ECDSA_P256_SHA256_ASN1_SIGNING, Curve::P256, b"the file");
    let keys = keys([key.clone()]);
    let digest = HashAlg::Sha256.digest(&[b"the file"]);
    let (good, bad) = (attribute(4, &key, &signature), attribute(4, &key, &signature[..signature.len() - 1]));
    let file = FileDigest::Strong(HashAlg::Sha256, digest.as_bytes());
    let exhausted = || {
        let mut budget = SignatureBudget::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(keys.check(&file, DigestOf::Unsaid, &bad, &mut budget), Err(SignatureRefused::Key));
        }
        budget
    };
    let mut budget = exhausted();
    assert_eq!(keys.check(&file, DigestOf::Unsaid, &bad, &mut budget), Err(SignatureRefused::TooMany));
    assert_eq!(keys.check(&file, DigestOf::Unsaid, &good, &mut budget), Err(SignatureRefused::TooMany));
    // A signature that names a key of nobody costs nothing, and takes nothing of the budget.
    let nobodys = attribute_of([3, 2], 4, [9; 4], &signature);
    assert_eq!(keys.check(&file, DigestOf::Unsaid, &nobodys, &mut budget), Err(SignatureRefused::Key));
    assert_eq!(check(&keys, &file, &good), Ok(()));
    let mut budget = exhausted();
    assert_eq!(keys.check(&file, DigestOf::Unsaid, &good, &mut budget), Ok(()), "known to hold");
    let other = HashAlg::Sha256.digest(&[b"another file"]);
    let other = FileDigest::Strong(HashAlg::Sha256, other.as_bytes());
    assert_eq!(
        keys.check(&other, DigestOf::Unsaid, &good, &mut budget),
        Err(SignatureRefused::TooMany),
        "of this digest"
    );
}

#[test]
fn a_certificate_names_its_key_by_its_identifier_and_by_its_hash() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::ExplicitNoCa;
    parameters.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![0xaa, 0xbb, 1, 2, 3, 4]);
    let der = parameters.self_signed(&key).unwrap().der().to_vec();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der(), &SystemRandom::new());
    let signature = pair.unwrap().sign(&SystemRandom::new(), b"the file").unwrap().as_ref().to_vec();
    let pem = pem_of_der(&der).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
    let read = keys_of_pem(pem.as_bytes()).unwrap();
    let by_hash = id(read[0].key());
    let bare = pem_of_der(&read[0].key().spki()).unwrap();
    assert!(bare.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    let (certificate, bare) =
        (ImaKeys::new(read).unwrap(), ImaKeys::new(keys_of_pem(bare.as_bytes()).unwrap()).unwrap());
    let digest = HashAlg::Sha256.digest(&[b"the file"]);
    let file = FileDigest::Strong(HashAlg::Sha256, digest.as_bytes());
    for (id, by_certificate, by_key) in [
        ([1, 2, 3, 4], Ok(()), Err(SignatureRefused::Key)),
        (by_hash, Ok(()), Ok(())),
        ([0xaa, 0xbb, 1, 2], Err(SignatureRefused::Key), Err(SignatureRefused::Key)),
    ] {
        let attribute = attribute_of([3, 2], 4, id, &signature);
        assert_eq!(check(&certificate, &file, &attribute), by_certificate, "{id:?}");
        assert_eq!(check(&bare, &file, &attribute), by_key, "{id:?}");
    }
    assert!(pem_of_der(&der[..der.len() - 1]).is_none());
    assert!(pem_of_der(b"-----BEGIN CERTIFICATE-----").is_none());
}
