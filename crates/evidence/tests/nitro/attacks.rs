//! Mistakes that verifiers have made, each by name.

use std::sync::Arc;

use holdfast_evidence::nitro::DocumentKind;
use holdfast_evidence::{Challenge, EvidenceKind, ItemState, Purpose};
use holdfast_identity::UnixTime;
use ring::rand::SystemRandom;

use crate::hypervisor::NOW;
use crate::stage::{Stage, claimed, code, proven_key};

const KINDS: [(DocumentKind, &str); 2] = [(DocumentKind::Enclave, "nitro"), (DocumentKind::Tpm, "nitrotpm")];

#[test]
fn a_stale_document_does_not_answer_a_later_challenge() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        let first = stage.draw();
        let document = stage.hypervisor.sign(&stage.fields(&first));
        assert!(stage.complete(first, kind, &document, NOW).is_ok());
        // seconds later, in date, with a chain that holds
        let replayed = stage.complete(stage.draw(), kind, &document, NOW);
        assert_eq!(replayed.unwrap_err(), (&*format!("{name}.document.nonce").leak(), false));
    }
}

#[test]
fn a_document_for_another_node_key_is_refused() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        let challenge = stage.draw();
        let document = stage.hypervisor.sign(&stage.fields(&challenge));
        let relayed = stage.complete_with(challenge, kind, &document, proven_key(), NOW);
        assert_eq!(code(relayed), format!("{name}.document.binding"));
    }
}

#[test]
fn a_node_key_that_nobody_proved_is_refused() {
    for (kind, name) in KINDS {
        let stage = Stage::new(kind);
        let challenge = stage.draw();
        let document = stage.hypervisor.sign(&stage.fields(&challenge));
        let outcome = stage.complete_with(challenge, kind, &document, claimed(&stage.node_key), NOW);
        assert_eq!(outcome.unwrap_err(), (&*format!("{name}.node_key_unproven").leak(), true));
    }
}

#[test]
fn a_renewal_is_a_new_document_for_the_key_of_the_connection() {
    for (kind, _) in KINDS {
        let stage = Stage::new(kind);
        let renew = |spki_sha256| {
            let node = "spiffe://example.org/holdfast/node/nitro/x".parse().unwrap();
            let items = vec![ItemState::Report { kind: stage.kind() }];
            let purpose = Purpose::Renew { node, spki_sha256 };
            Challenge::draw(stage.trust_domain.clone(), purpose, items, NOW, 60, &SystemRandom::new()).unwrap()
        };
        let challenge = renew(stage.node_key.spki_sha256());
        let document = stage.hypervisor.sign(&stage.fields(&challenge));
        assert!(stage.complete_with(challenge, kind, &document, claimed(&stage.node_key), NOW).is_ok());
        let challenge = renew([7; 32]);
        let document = stage.hypervisor.sign(&stage.fields(&challenge));
        let outcome = stage.complete_with(challenge, kind, &document, claimed(&stage.node_key), NOW);
        assert_eq!(code(outcome), "challenge.node_key");
    }
}

#[test]
fn a_challenge_that_became_void_is_refused() {
    for (kind, _) in KINDS {
        let stage = Stage::new(kind);
        let challenge = stage.draw();
        let document = stage.hypervisor.sign(&stage.fields(&challenge));
        let late = UnixTime(challenge.expires_at().seconds());
        assert_eq!(code(stage.complete(challenge, kind, &document, late)), "challenge.expired");
    }
}

/// A challenge for an SNP report is answered by no document: the binding has no digest for it.
#[test]
fn a_document_that_was_not_asked_is_refused() {
    for (kind, _) in KINDS {
        let stage = Stage::new(kind);
        let items = vec![ItemState::Report { kind: EvidenceKind::Snp }];
        let challenge =
            Challenge::draw(stage.trust_domain.clone(), Purpose::Enrol, items, NOW, 60, &SystemRandom::new()).unwrap();
        let document = stage.hypervisor.sign(&stage.fields(&challenge));
        assert_eq!(code(stage.complete(challenge, kind, &document, NOW)), "challenge.items");
    }
}

#[test]
fn a_chain_kept_for_one_enclave_does_not_vouch_for_another() {
    let mut stage = Stage::new(DocumentKind::Enclave);
    let other = Stage::new(DocumentKind::Enclave);
    stage.endorsements.verified = vec![other.with(|_| {}).unwrap().chain];
    let admitted = stage.with(|_| {}).unwrap();
    assert!(!Arc::ptr_eq(&admitted.chain, &stage.endorsements.verified[0]));
    // its key signs nothing here either
    let challenge = stage.draw();
    let forged = other.hypervisor.sign(&stage.fields(&challenge));
    assert_eq!(code(stage.complete(challenge, DocumentKind::Enclave, &forged, NOW)), "nitro.document.signature");
}
