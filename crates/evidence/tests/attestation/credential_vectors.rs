//! The derivations and encryptions of credential activation, against the vectors of go-tpm that were validated on the
//! reference TPM. Reads `shared/vectors`.
#![expect(deprecated, reason = "ring's own fixed random source, for tests")]

use holdfast_evidence::crypto::credential::{agree, kdfa, kdfe, oaep_encrypt};
use holdfast_evidence::crypto::{Curve, HashAlg, PublicKey};
use holdfast_evidence::reader::Writer;
use ring::test::rand::FixedSliceRandom;
use serde_json::Value;

use crate::vectors;

fn cases(name: &str) -> Vec<Value> {
    let Some(folder) = vectors::folder() else { return Vec::new() };
    let text = std::fs::read_to_string(folder.join("tpm/go-tpm/crypto").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    hex::decode(case[field].as_str().unwrap()).unwrap()
}

fn hash(case: &Value) -> Option<HashAlg> {
    HashAlg::from_id(u16::try_from(case["HashAlg"].as_u64().unwrap()).unwrap())
}

/// Runs `check` on every case, which says whether it is one of ours (not SHA-1, not P-521).
fn all(name: &str, least: usize, check: impl Fn(&Value) -> bool) {
    let cases = cases(name);
    let checked = cases.iter().filter(|case| check(case)).count();
    println!("{name}: {checked} of {} cases checked, the others use SHA-1 or P-521", cases.len());
    assert!(cases.is_empty() || checked >= least, "only {checked} cases checked");
}

#[test]
fn kdfa_gives_what_the_reference_tpm_gives() {
    all("kdfa.json", 70, |case| {
        let Some(hash) = hash(case) else { return false };
        let bits = u32::try_from(case["Bits"].as_u64().unwrap()).unwrap();
        let label = case["Label"].as_str().unwrap();
        let derived = kdfa(hash, &bytes(case, "Key"), label, &bytes(case, "ContextU"), &bytes(case, "ContextV"), bits);
        assert_eq!(*derived, bytes(case, "Result"), "{}", case["Name"]);
        true
    });
}

#[test]
fn kdfe_gives_what_the_reference_tpm_gives() {
    all("kdfe.json", 70, |case| {
        let Some(hash) = hash(case) else { return false };
        let bits = u32::try_from(case["Bits"].as_u64().unwrap()).unwrap();
        let label = case["Label"].as_str().unwrap();
        let derived = kdfe(hash, &bytes(case, "Z"), label, &bytes(case, "ContextU"), &bytes(case, "ContextV"), bits);
        assert_eq!(*derived, bytes(case, "Result"), "{}", case["Name"]);
        true
    });
}

/// nameAlg, and the hash of a scheme where the key has one: what the label is hashed with.
fn read_public(public: &[u8]) -> (u16, u16, Vec<u8>) {
    let at = |offset: usize| u16::from_be_bytes([public[offset], public[offset + 1]]);
    let policy = usize::from(at(8));
    let symmetric = 10 + policy;
    let scheme = symmetric + if at(symmetric) == 0x10 { 2 } else { 6 };
    let (scheme_hash, rest) = if at(scheme) == 0x10 { (at(2), scheme + 2) } else { (at(scheme + 2), scheme + 4) };
    (at(2), scheme_hash, public[rest..].to_vec())
}

#[test]
fn seeds_for_rsa_keys_are_encrypted_as_the_reference_tpm_decrypts_them() {
    all("rsa_labeled_encaps.json", 40, |case| {
        let (_, hash, rest) = read_public(&bytes(case, "PublicKey"));
        let Some(hash) = HashAlg::from_id(hash) else { return false };
        let modulus = &rest[8..];
        let salt = bytes(case, "OAEPSalt");
        let rng = FixedSliceRandom { bytes: &salt };
        let label = case["Label"].as_str().unwrap();
        let encrypted = oaep_encrypt(modulus, hash, label, &bytes(case, "Secret"), &rng).unwrap();
        assert_eq!(encrypted, bytes(case, "Ciphertext"), "{}", case["Name"]);
        true
    });
}

#[test]
fn seeds_for_ecc_keys_are_agreed_as_the_reference_tpm_agrees_them() {
    all("ecc_labeled_encaps.json", 35, |case| {
        let (name_alg, _, rest) = read_public(&bytes(case, "PublicKey"));
        let curve = Curve::from_id(u16::from_be_bytes([rest[0], rest[1]]));
        let (Some(hash), Some(curve)) = (HashAlg::from_id(name_alg), curve) else { return false };
        let mut at = if rest[2..4] == [0, 0x10] { 4 } else { 6 };
        let mut coordinate = || {
            let length = usize::from(u16::from_be_bytes([rest[at], rest[at + 1]]));
            at += 2 + length;
            rest[at - length..at].to_vec()
        };
        let key = PublicKey::ec(curve, &coordinate(), &coordinate()).unwrap();
        let PublicKey::Ec { point, .. } = &key else { panic!("no point") };
        // ring wants the scalar as wide as the curve's order.
        let scalar = bytes(case, "EphemeralPrivate");
        let scalar = [vec![0; curve.field_size() - scalar.len()], scalar].concat();
        let agreed = agree(curve, point, &FixedSliceRandom { bytes: &scalar }).unwrap();
        let (x, y) = agreed.ephemeral.coordinates();
        assert_eq!(Writer::new().sized16(x).sized16(y).finish(), bytes(case, "Ciphertext"), "{}", case["Name"]);
        let bits = u32::try_from(hash.size() * 8).unwrap();
        let label = case["Label"].as_str().unwrap();
        let seed = kdfe(hash, &agreed.shared_x, label, x, key.coordinates().0, bits);
        assert_eq!(*seed, bytes(case, "Secret"), "{}", case["Name"]);
        true
    });
}
