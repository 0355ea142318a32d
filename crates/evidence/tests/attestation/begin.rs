//! What is refused before a challenge is drawn.

use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::{HashAlg, SignatureAlg};
use holdfast_evidence::tpm::endorsement::{Anchor, Roots};
use holdfast_evidence::tpm::{Attributes, IdentityMaterial, Public, Scheme};

use crate::pki::Ca;
use crate::stage::Stage;
use crate::virtual_tpm::{ECDSA_SHA256, EK_POLICY, EndorsementKey, Key};

#[track_caller]
fn uninvited(stage: &Stage) -> &'static str {
    stage.invite().map(|_| ()).unwrap_err().code()
}

#[test]
fn unrestricted_ak_is_refused() {
    let mut stage = Stage::new();
    stage.tpm.ak = Key::new(Attributes::AK_TEMPLATE.without(Attributes::RESTRICTED), ECDSA_SHA256);
    assert_eq!(uninvited(&stage), "tpm.ak.attributes");
}

#[test]
fn every_attribute_of_the_ak_but_its_authorisation_counts() {
    let authorisation = Attributes::USER_WITH_AUTH.and(Attributes::ADMIN_WITH_POLICY).and(Attributes::NO_DA).bits();
    for bit in 0..32 {
        let mut stage = Stage::new();
        let flipped = Attributes::from_bits(Attributes::AK_TEMPLATE.bits() ^ 1 << bit);
        stage.tpm.ak = Key::new(flipped, ECDSA_SHA256);
        let invited = stage.invite().map(|_| "invited").unwrap_or_else(|refusal| refusal.code());
        let expected = if 1 << bit & authorisation == 0 { "tpm.ak.attributes" } else { "invited" };
        assert_eq!(invited, expected, "bit {bit}");
    }
}

#[test]
fn an_ak_without_scheme_or_with_sha1_is_refused() {
    for scheme in [Scheme::Null, Scheme::Signing { algorithm: SignatureAlg::Ecdsa, hash: 4 }] {
        let mut stage = Stage::new();
        stage.tpm.ak = Key::new(Attributes::AK_TEMPLATE, scheme);
        assert_eq!(uninvited(&stage), "tpm.ak.scheme");
    }
    let mut stage = Stage::new();
    stage.tpm.ak = Key::new(Attributes::AK_TEMPLATE, Scheme::Signing { algorithm: SignatureAlg::Rsassa, hash: 0x0b });
    assert_eq!(uninvited(&stage), "tpm.ak.scheme");
}

#[test]
fn a_machine_without_endorsement_key_is_refused() {
    let mut stage = Stage::new();
    stage.tpm.eks.clear();
    assert_eq!(uninvited(&stage), "tpm.ek.missing");
}

#[test]
fn the_same_endorsement_key_twice_is_refused() {
    let mut stage = Stage::new();
    let material = stage.tpm.material();
    let twice = [material.endorsement.clone(), material.endorsement].concat();
    let material = IdentityMaterial { endorsement: twice, ..stage.tpm.material() };
    let endorsers = holdfast_evidence::tpm::Endorsers {
        roots: &stage.roots,
        expired_issuers: Default::default(),
        platforms: &stage.platforms,
        devices: &stage.devices,
    };
    let invited = holdfast_evidence::tpm::Invitation::new(
        &material,
        &stage.wanted,
        endorsers,
        crate::pki::NOW,
        &ring::rand::SystemRandom::new(),
    );
    assert_eq!(invited.map(|_| ()).unwrap_err().code(), "tpm.ek.duplicate");
    stage.tpm.eks.push(EndorsementKey::new(&stage.ca));
    assert!(stage.invite().is_ok());
}

#[test]
fn one_machines_ek_certificate_with_another_key_is_refused() {
    let mut stage = Stage::new();
    stage.tpm.eks[0].public = EndorsementKey::new(&stage.ca).public;
    assert_eq!(uninvited(&stage), "tpm.ek.public_mismatch");
}

#[test]
fn a_certificate_below_no_root_of_ours_is_refused() {
    let mut stage = Stage::new();
    stage.tpm.eks = vec![EndorsementKey::new(&Ca::root("stranger"))];
    assert_eq!(uninvited(&stage), "tpm.ek.untrusted");
}

#[test]
fn one_bad_endorsement_key_among_good_ones_refuses_the_machine() {
    let mut stage = Stage::new();
    stage.tpm.eks.push(EndorsementKey::new(&Ca::root("stranger")));
    assert_eq!(uninvited(&stage), "tpm.ek.untrusted");
}

#[test]
fn an_endorsement_key_with_another_keys_attributes_is_refused() {
    let mut stage = Stage::new();
    let key = stage.tpm.eks[0].public.key().clone();
    let mut with = |attributes, policy: &[u8], symmetric, scheme| {
        let public = Public::encode(&key, HashAlg::Sha256, attributes, policy, symmetric, scheme);
        stage.tpm.eks[0].public = Public::parse(&public).unwrap();
        stage.invite().map(|_| "invited").unwrap_or_else(|refusal| refusal.code())
    };
    let (low, high) = (Attributes::EK_LOW_RANGE, Attributes::EK_HIGH_RANGE);
    let ecdh = Scheme::Signing { algorithm: SignatureAlg::Ecdsa, hash: 0x0b };
    assert_eq!(with(low, &EK_POLICY, Some(128), Scheme::Null), "invited");
    assert_eq!(with(low.and(Attributes::SIGN), &EK_POLICY, Some(128), Scheme::Null), "tpm.ek.attributes");
    assert_eq!(with(high, &EK_POLICY, Some(128), Scheme::Null), "tpm.ek.policy");
    assert_eq!(with(low, &[], Some(128), Scheme::Null), "tpm.ek.policy");
    assert_eq!(with(low, &EK_POLICY, None, Scheme::Null), "tpm.ek.storage");
    assert_eq!(with(low, &EK_POLICY, Some(128), ecdh), "tpm.ek.storage");
}

#[test]
fn the_class_of_the_root_becomes_the_class_of_the_key() {
    let mut stage = Stage::new();
    stage.roots = Roots::new();
    stage.roots.add(Anchor::new(&stage.ca.der, TrustClass::Simulated).unwrap().named("the test's"));
    let invitation = stage.invite().unwrap();
    let ek = &invitation.expectation().eks()[0];
    assert!(ek.is_simulated());
    assert_eq!((ek.root_name.as_str(), ek.manufacturer.as_str()), ("the test's", "id:48460000"));
}
