//! Every rule of the chain, by the one certificate that breaks it.

use std::sync::Arc;

use ciborium::Value;
use holdfast_evidence::TrustClass;
use holdfast_evidence::nitro::DocumentKind;
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_identity::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, date_time_ymd,
};

use crate::hypervisor::{Hypervisor, NOW};
use crate::stage::{Outcome, Stage, code};

fn stage(position: usize, spoil: impl Fn(&mut CertificateParams)) -> Stage {
    Stage::of(Hypervisor::spoiled(DocumentKind::Enclave, |at, params| {
        if at == position {
            spoil(params);
        }
    }))
}

fn refused(position: usize, expected: &str, spoil: impl Fn(&mut CertificateParams)) {
    assert_eq!(stage(position, spoil).with(|_| {}).unwrap_err(), (expected, false), "certificate {position}");
}

#[test]
fn an_issuer_that_is_no_ca_is_refused() {
    for position in 1..4 {
        refused(position, "nitro.chain.not_ca", |params| params.is_ca = IsCa::ExplicitNoCa);
        refused(position, "nitro.chain.not_ca", |params| params.is_ca = IsCa::NoCa);
    }
}

#[test]
fn an_issuer_that_may_not_sign_certificates_is_refused() {
    for position in 1..4 {
        refused(position, "nitro.chain.key_usage", |params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        });
        refused(position, "nitro.chain.key_usage", |params| params.key_usages = Vec::new());
    }
}

#[test]
fn more_issuers_than_a_path_length_allows_are_refused() {
    for (position, allowed) in [(1, 1), (2, 0), (0, 2)] {
        refused(position, "nitro.chain.path_length", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(allowed));
        });
    }
}

#[test]
fn a_document_signed_by_a_ca_is_refused() {
    refused(4, "nitro.chain.leaf_is_ca", |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
}

#[test]
fn a_certificate_that_may_not_sign_documents_is_refused() {
    refused(4, "nitro.chain.key_usage", |params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    refused(4, "nitro.chain.key_usage", |params| params.key_usages = Vec::new());
    refused(4, "nitro.chain.key_usage", |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    });
}

#[test]
fn every_certificate_must_be_valid_now() {
    for position in 0..5 {
        refused(position, "nitro.chain.expired", |params| params.not_after = date_time_ymd(2025, 12, 31));
        refused(position, "nitro.chain.expired", |params| params.not_before = date_time_ymd(2026, 1, 2));
    }
}

#[test]
fn a_critical_extension_that_is_not_understood_is_refused() {
    for position in 1..5 {
        refused(position, "nitro.chain.critical_extension", |params| {
            let mut strange = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            strange.set_criticality(true);
            params.custom_extensions = vec![strange];
        });
    }
}

#[test]
fn keys_and_signatures_of_another_curve_are_refused() {
    for position in 0..5 {
        let hypervisor = Hypervisor::with_keys(
            DocumentKind::Enclave,
            |_, _| {},
            |at| {
                let algorithm =
                    if at == position && at < 4 { &PKCS_ECDSA_P256_SHA256 } else { &PKCS_ECDSA_P384_SHA384 };
                KeyPair::generate_for(algorithm).unwrap()
            },
        );
        let outcome = Stage::of(hypervisor).with(|_| {});
        let expected = if position < 4 { "nitro.chain.key" } else { "verified" };
        assert_eq!(code(outcome), expected, "certificate {position}");
    }
}

#[test]
fn a_root_that_only_the_document_brings_is_refused() {
    let (ours, theirs) = (Stage::new(DocumentKind::Enclave), Stage::new(DocumentKind::Enclave));
    let endorsements = ours.endorsements.clone();
    // equal in every name, and signed by itself
    let strangers = Stage { endorsements, ..theirs };
    assert_eq!(strangers.with(|_| {}).unwrap_err(), ("nitro.chain.root", false));
    let nobody = Stage { endorsements: Default::default(), ..Stage::new(DocumentKind::Enclave) };
    assert_eq!(nobody.with(|_| {}).unwrap_err(), ("nitro.chain.root", false));
}

#[test]
fn a_strangers_chain_behind_the_pinned_root_is_refused() {
    let (ours, theirs) = (Stage::new(DocumentKind::Enclave), Stage::new(DocumentKind::Enclave));
    let root = Value::Bytes(ours.hypervisor.cabundle[0].clone());
    let strangers = Stage { endorsements: ours.endorsements.clone(), ..theirs };
    let outcome = strangers.with(|fields| fields.get("cabundle").as_array_mut().unwrap()[0] = root);
    assert_eq!(outcome.unwrap_err(), ("nitro.chain.signature", false));
}

#[test]
fn certificates_out_of_order_left_out_or_added_are_refused() {
    let stage = Stage::new(DocumentKind::Enclave);
    let with = |change: &dyn Fn(&mut Vec<Value>)| -> Outcome {
        stage.with(|fields| change(fields.get("cabundle").as_array_mut().unwrap()))
    };
    assert_eq!(code(with(&|bundle| bundle.swap(1, 2))), "nitro.chain.issuer");
    assert_eq!(code(with(&|bundle| bundle.reverse())), "nitro.chain.root");
    assert_eq!(code(with(&|bundle| drop(bundle.remove(0)))), "nitro.chain.root");
    assert_eq!(code(with(&|bundle| drop(bundle.remove(2)))), "nitro.chain.issuer");
    assert_eq!(code(with(&|bundle| bundle.truncate(1))), "nitro.chain.issuer");
    assert_eq!(code(with(&|bundle| bundle.insert(1, bundle[0].clone()))), "nitro.chain.issuer");
    assert_eq!(code(with(&|bundle| bundle.push(bundle[3].clone()))), "nitro.chain.path_length");
    let garbage = |bundle: &mut Vec<Value>| bundle[2] = Value::Bytes(vec![0x30; 60]);
    assert_eq!(code(with(&garbage)), "nitro.chain.malformed");
    let longer = |bundle: &mut Vec<Value>| bundle[2].as_bytes_mut().unwrap().push(0);
    assert_eq!(code(with(&longer)), "nitro.chain.malformed");
}

#[test]
fn a_certificate_whose_signature_was_changed_is_refused() {
    for position in 1..5 {
        let mut hypervisor = Hypervisor::new(DocumentKind::Enclave);
        let roots = Arc::new(hypervisor.roots());
        let der = if position < 4 { &mut hypervisor.cabundle[position] } else { &mut hypervisor.certificate };
        // the last bytes are those of s
        let last = der.len() - 3;
        der[last] ^= 1;
        let mut stage = Stage::of(hypervisor);
        stage.endorsements.roots = roots;
        assert_eq!(stage.with(|_| {}).unwrap_err(), ("nitro.chain.signature", false), "certificate {position}");
    }
}

#[test]
fn a_certificate_signed_by_another_algorithm_is_refused() {
    // ecdsa-with-SHA384; it stands inside the signed part and behind it
    let identifier = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
    for (position, both) in [(1, true), (3, false), (4, true), (4, false)] {
        let mut hypervisor = Hypervisor::new(DocumentKind::Enclave);
        let roots = Arc::new(hypervisor.roots());
        let der = if position < 4 { &mut hypervisor.cabundle[position] } else { &mut hypervisor.certificate };
        let places: Vec<_> =
            (0..der.len() - identifier.len()).filter(|at| der[*at..].starts_with(&identifier)).collect();
        assert_eq!(places.len(), 2);
        for at in places.into_iter().skip(usize::from(!both)) {
            der[at + 9] = 2;
        }
        let mut stage = Stage::of(hypervisor);
        stage.endorsements.roots = roots;
        assert_eq!(stage.with(|_| {}).unwrap_err(), ("nitro.chain.algorithm", false), "certificate {position}");
    }
}

#[test]
fn a_known_chain_saves_its_signatures_and_nothing_else() {
    let mut stage = Stage::new(DocumentKind::Enclave);
    let chain = stage.with(|_| {}).unwrap().chain;
    stage.endorsements.verified = vec![Arc::clone(&chain)];
    let again = stage.with(|_| {}).unwrap().chain;
    assert!(Arc::ptr_eq(&chain, &again), "the kept chain was used");

    // the document itself is verified as before
    let challenge = stage.draw();
    let mut document = stage.hypervisor.sign(&stage.fields(&challenge));
    let last = document.len() - 1;
    document[last] ^= 1;
    let outcome = stage.complete(challenge, DocumentKind::Enclave, &document, NOW);
    assert_eq!(code(outcome), "nitro.document.signature");

    // other certificates are another chain
    let other = Hypervisor::new(DocumentKind::Enclave);
    let strangers = Stage { hypervisor: other, ..stage };
    assert_eq!(code(strangers.with(|_| {})), "nitro.chain.root");
}

#[test]
fn a_known_chain_ends_with_its_dates_and_with_its_root() {
    let mut stage = Stage::new(DocumentKind::Enclave);
    let chain = stage.with(|_| {}).unwrap().chain;
    stage.endorsements.verified = vec![Arc::clone(&chain)];

    let later = chain.not_after().plus(1);
    let outcome = {
        let challenge = stage.draw_at(later);
        let document = stage.hypervisor.sign(&stage.fields(&challenge));
        stage.complete(challenge, DocumentKind::Enclave, &document, later)
    };
    assert_eq!(code(outcome), "nitro.chain.expired");
    assert!(later > UnixTime(0));

    // the root is trusted for less now
    let mut roots = Roots::new();
    roots.add(Anchor::new(&stage.hypervisor.cabundle[0], TrustClass::Simulated).unwrap());
    stage.endorsements.roots = Arc::new(roots);
    let admitted = stage.with(|_| {}).unwrap();
    assert!(!Arc::ptr_eq(&chain, &admitted.chain));
    assert_eq!((admitted.chain.root().class, admitted.provenance), (TrustClass::Simulated, "simulated"));

    // and not at all
    stage.endorsements.roots = Arc::new(Roots::new());
    assert_eq!(code(stage.with(|_| {})), "nitro.chain.root");
}
