//! Each check of the node key and its certification, flipped alone.

use holdfast_evidence::crypto::SignatureAlg;
use holdfast_evidence::tpm::{Attest, Attributes, Name, Public, Scheme};

use crate::stage::{Outcome, Stage, refused};
use crate::virtual_tpm::{ECDSA_SHA256, Key};

/// The whole way in with this node key, genuinely certified by the genuine attestation key.
fn enrol_with_node_key(key: Key) -> Outcome {
    let mut stage = Stage::new();
    stage.tpm.node_key = key;
    stage.enrol_with(|_| {})
}

/// The whole way in with a certification made by `certify` from the binding.
fn enrol_certifying(stage: &Stage, certify: impl FnOnce(&[u8; 32]) -> Vec<u8>) -> Outcome {
    let drawn = stage.enrol();
    let mut answer = stage.answer(&drawn);
    answer.certify = certify(&stage.tpm.binding(&drawn.ask, &drawn.nonce, &stage.trust_domain));
    answer.certified.as_mut().unwrap().1 = stage.tpm.ak.sign(&answer.certify);
    stage.complete(&drawn, &answer)
}

#[test]
fn software_key_certified_by_a_genuine_ak_is_refused() {
    // TPM2_LoadExternal takes no key with fixedTPM, fixedParent or sensitiveDataOrigin.
    let loaded = Attributes::USER_WITH_AUTH.and(Attributes::SIGN).and(Attributes::NO_DA);
    assert_eq!(refused(enrol_with_node_key(Key::new(loaded, ECDSA_SHA256))), "tpm.node_key.attributes");
}

#[test]
fn imported_key_is_refused() {
    let imported = Attributes::NODE_KEY.without(Attributes::SENSITIVE_DATA_ORIGIN).without(Attributes::FIXED_TPM);
    assert_eq!(refused(enrol_with_node_key(Key::new(imported, ECDSA_SHA256))), "tpm.node_key.attributes");
}

#[test]
fn every_single_attribute_of_the_node_key_counts() {
    for bit in 0..32 {
        let flipped = Attributes::from_bits(Attributes::NODE_KEY.bits() ^ 1 << bit);
        let outcome = enrol_with_node_key(Key::new(flipped, ECDSA_SHA256));
        assert_eq!(refused(outcome), "tpm.node_key.attributes", "bit {bit}");
    }
}

#[test]
fn a_node_key_with_another_scheme_is_refused_and_one_without_is_accepted() {
    let sha384 = Scheme::Signing { algorithm: SignatureAlg::Ecdsa, hash: 0x0c };
    assert_eq!(refused(enrol_with_node_key(Key::new(Attributes::NODE_KEY, sha384))), "tpm.node_key.kind");
    assert!(enrol_with_node_key(Key::new(Attributes::NODE_KEY, Scheme::Null)).is_ok());
}

#[test]
fn a_node_key_without_certification_is_refused() {
    let stage = Stage::new();
    assert_eq!(refused(stage.enrol_with(|answer| answer.certified = None)), "tpm.certify.missing");
}

#[test]
fn a_certified_key_other_than_the_claimed_one_is_refused() {
    let stage = Stage::new();
    let other = Key::new(Attributes::NODE_KEY, ECDSA_SHA256);
    let drawn = stage.enrol();
    let mut answer = stage.answer(&drawn);
    let binding = stage.tpm.binding(&drawn.ask, &drawn.nonce, &stage.trust_domain);
    answer.certify = stage.tpm.certify(&binding, &other.public);
    answer.certified = Some((other.public.sized(), stage.tpm.ak.sign(&answer.certify)));
    assert_eq!(refused(stage.complete(&drawn, &answer)), "tpm.node_key.mismatch");
}

#[test]
fn attributes_are_read_from_the_very_bytes_whose_name_is_certified() {
    // The genuine TPM certified a software key; the host presents its public area with better attributes.
    let stage = Stage::new();
    let loaded = Attributes::USER_WITH_AUTH.and(Attributes::SIGN);
    let node_key = &stage.tpm.node_key.public;
    let as_loaded = Public::encode(node_key.key(), node_key.name_alg(), loaded, &[], None, ECDSA_SHA256);
    let as_loaded = Public::parse(&as_loaded).unwrap();
    let outcome = enrol_certifying(&stage, |binding| stage.tpm.certify(binding, &as_loaded));
    assert_eq!(refused(outcome), "tpm.certify.name");
}

#[test]
fn a_certification_by_another_key_is_refused() {
    let stage = Stage::new();
    let other = Key::new(Attributes::AK_TEMPLATE, ECDSA_SHA256);
    let outcome = stage.enrol_with(|answer| {
        let signature = other.sign(&answer.certify);
        answer.certified.as_mut().unwrap().1 = signature;
    });
    assert_eq!(refused(outcome), "tpm.certify.signature");
}

#[test]
fn a_certification_of_another_challenge_is_refused() {
    let stage = Stage::new();
    let outcome = enrol_certifying(&stage, |_| stage.tpm.certify(&[1; 32], &stage.tpm.node_key.public));
    assert_eq!(refused(outcome), "tpm.certify.nonce");
    let outcome = enrol_certifying(&stage, |_| stage.tpm.certify(&[], &stage.tpm.node_key.public));
    assert_eq!(refused(outcome), "tpm.certify.nonce");
}

#[test]
fn a_quote_in_place_of_a_certification_is_refused() {
    let stage = Stage::new();
    let outcome = enrol_certifying(&stage, |binding| stage.tpm.quote(binding, &stage.wanted.selection));
    assert_eq!(refused(outcome), "tpm.certify.type");
}

#[test]
fn a_certification_with_another_magic_scheme_or_signer_is_refused() {
    let stage = Stage::new();
    let certify = |binding: &[u8; 32]| stage.tpm.certify(binding, &stage.tpm.node_key.public);
    let outcome = enrol_certifying(&stage, |binding| {
        let mut attest = certify(binding);
        attest[3] ^= 1;
        attest
    });
    assert_eq!(refused(outcome), "tpm.certify.magic");
    let outcome = enrol_certifying(&stage, |binding| {
        let mut attest = certify(binding);
        attest[20] ^= 1;
        attest
    });
    assert_eq!(refused(outcome), "tpm.certify.signer");
    let outcome = stage.enrol_with(|answer| answer.certified.as_mut().unwrap().1[3] = 4);
    assert_eq!(refused(outcome), "tpm.certify.scheme");
}

#[test]
fn a_certified_key_under_another_parent_than_a_hierarchy_is_refused() {
    let stage = Stage::new();
    let name = stage.tpm.node_key.public.name();
    let signer = stage.tpm.ak.public.name().qualified_in(holdfast_evidence::tpm::Hierarchy::Endorsement);
    let elsewhere = name.qualified_under(&Name::of(name.alg(), &[b"parent"]));
    let outcome = enrol_certifying(&stage, |binding| {
        Attest::encode_certify(&signer, binding, stage.tpm.clock, 1, &name, &elsewhere)
    });
    assert_eq!(refused(outcome), "tpm.certify.qualified_name");
}
