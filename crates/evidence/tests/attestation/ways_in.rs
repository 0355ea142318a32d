//! The three ways in, on honest evidence.

use std::sync::Arc;

use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::{KnownLog, NodeKeyProof, PcrIndex};
use holdfast_evidence::{Provenance, Purpose, TrustClass};

use crate::pki::NOW;
use crate::stage::{Stage, refused, select};
use crate::virtual_tpm::{EndorsementKey, Log};

#[test]
fn an_unknown_machine_enrols_by_activation_certify_and_quote() {
    let stage = Stage::new();
    let verified = stage.enrol_with(|_| {}).unwrap();
    let claims = verified.claims();
    assert_eq!(claims.ak_name, stage.tpm.ak.public.name());
    assert_eq!(claims.node_key.spki(), stage.tpm.node_key.spki());
    assert_eq!((claims.certified_now, claims.activated_now), (true, true));
    assert_eq!(claims.clock, stage.tpm.clock);
    assert_eq!(claims.selection, select(&[]));
    assert_eq!(claims.replayed, select(&[]).pcrs);
    assert!(claims.unexplained().is_empty());
    assert_eq!(claims.class(), Some(TrustClass::Discrete));
    assert_eq!(claims.provenance(), Provenance::Hardware);
    assert_eq!(claims.eks[0].certificate_sha256, sha256(&[&stage.tpm.eks[0].certificate]));
    let boot = claims.boot().unwrap();
    assert_eq!(boot.boot_applications.len(), 3);
    assert!(boot.secure_boot.as_ref().is_some());
    // PCR 8 was not asked: the command line in the log proves nothing.
    assert_eq!(boot.command_lines().count(), 0);
}

#[test]
fn a_quote_over_pcr_8_proves_the_command_line() {
    let mut stage = Stage::new();
    stage.wanted.selection = select(&[8]);
    let verified = stage.enrol_with(|_| {}).unwrap();
    let lines: Vec<_> = verified.claims().boot().unwrap().command_lines().filter_map(|line| line.text).collect();
    assert_eq!(lines, ["ro quiet"]);
}

#[test]
fn every_offered_ek_is_activated_and_becomes_part_of_one_machine() {
    let mut stage = Stage::new();
    stage.tpm.eks.push(EndorsementKey::new(&stage.ca));
    let drawn = stage.enrol();
    assert_eq!(drawn.ask.credentials.len(), 2);
    let mut answer = stage.answer(&drawn);
    assert_eq!(stage.complete(&drawn, &answer).unwrap().claims().eks.len(), 2);
    answer.secrets.pop();
    assert_eq!(refused(stage.complete(&drawn, &answer)), "tpm.activation.secret");
}

#[test]
fn a_known_machine_returns_with_a_quote_alone() {
    let stage = Stage::new();
    let spki_sha256 = sha256(&[&stage.tpm.node_key.spki()]);
    let drawn = stage.come_back(NodeKeyProof::OnRecord { spki_sha256 });
    assert!(drawn.ask.credentials.is_empty() && !drawn.ask.certify);
    let verified = stage.complete(&drawn, &stage.answer(&drawn)).unwrap();
    assert_eq!((verified.claims().certified_now, verified.claims().activated_now), (false, false));
    assert_eq!(verified.claims().node_key.spki(), stage.tpm.node_key.spki());
    assert_eq!(verified.claims().known(), stage.known());
}

#[test]
fn a_known_machine_with_a_new_node_key_has_it_certified() {
    let stage = Stage::new();
    let drawn = stage.come_back(NodeKeyProof::Certify);
    assert!(drawn.ask.certify);
    assert!(stage.complete(&drawn, &stage.answer(&drawn)).unwrap().claims().certified_now);
    let other = stage.come_back(NodeKeyProof::OnRecord { spki_sha256: [0; 32] });
    assert_eq!(refused(stage.complete(&other, &stage.answer(&other))), "tpm.node_key.not_on_record");
}

#[test]
fn a_node_renews_on_its_connection_with_the_key_of_that_connection_only() {
    let stage = Stage::new();
    let spki_sha256 = sha256(&[&stage.tpm.node_key.spki()]);
    let node = stage.trust_domain.with_path("/holdfast/node/tpm/a").unwrap();
    let renew = |spki_sha256| {
        let known = stage.known();
        let proof = NodeKeyProof::OnRecord { spki_sha256 };
        let invitation = holdfast_evidence::tpm::Invitation::returning(known, &stage.wanted, proof).unwrap();
        stage.draw(invitation, Purpose::Renew { node: node.clone(), spki_sha256 })
    };
    let drawn = renew(spki_sha256);
    assert!(stage.complete(&drawn, &stage.answer(&drawn)).is_ok());
    let other = renew([1; 32]);
    assert_eq!(refused(stage.complete(&other, &stage.answer(&other))), "challenge.node_key");
}

#[test]
fn a_log_known_by_digest_is_neither_sent_nor_parsed_again() {
    let mut stage = Stage::new();
    let first = stage.enrol_with(|_| {}).unwrap();
    let log = Arc::clone(first.claims().log.as_ref().unwrap());
    stage.keep(&log);
    let drawn = stage.enrol();
    let answer = stage.answer(&drawn);
    assert!(matches!(answer.log, Log::Known(_)));
    let again = stage.complete(&drawn, &answer).unwrap();
    assert!(Arc::ptr_eq(&log, again.claims().log.as_ref().unwrap()));
}

#[test]
fn a_known_log_may_also_come_from_the_store_as_bytes() {
    let mut stage = Stage::new();
    let log = stage.tpm.firmware.log();
    stage.wanted.known_firmware_log = Some(sha256(&[&log]));
    stage.endorsements.known_log = KnownLog::Bytes(log);
    assert!(stage.enrol_with(|_| {}).is_ok());
}

#[test]
fn a_known_log_that_is_not_at_hand_is_asked_for() {
    let mut stage = Stage::new();
    stage.wanted.known_firmware_log = Some(sha256(&[&stage.tpm.firmware.log()]));
    assert_eq!(refused(stage.enrol_with(|_| {})), "tpm.event_log.unknown");
    stage.endorsements.known_log = KnownLog::Bytes(b"another".to_vec());
    assert_eq!(refused(stage.enrol_with(|_| {})), "tpm.event_log.unknown");
}

#[test]
fn a_known_log_whose_facts_rest_on_other_pcrs_is_asked_for_again() {
    let mut stage = Stage::new();
    let first = stage.enrol_with(|_| {}).unwrap();
    stage.keep(&Arc::clone(first.claims().log.as_ref().unwrap()));
    stage.wanted.selection = select(&[8]);
    assert_eq!(refused(stage.enrol_with(|_| {})), "tpm.event_log.unknown");
}

#[test]
fn a_log_digest_that_was_not_offered_is_refused() {
    let stage = Stage::new();
    let drawn = stage.enrol();
    let mut answer = stage.answer(&drawn);
    answer.log = Log::Known(sha256(&[&stage.tpm.firmware.log()]));
    assert_eq!(refused(stage.complete(&drawn, &answer)), "tpm.event_log.not_offered");
}

#[test]
fn a_challenge_opens_under_the_previous_seal_key_but_not_under_another() {
    use holdfast_evidence::SealRing;
    use holdfast_evidence::crypto::SealKey;
    let mut stage = Stage::new();
    let drawn = stage.enrol();
    let answer = stage.answer(&drawn);
    stage.ring = SealRing::new(SealKey::new([8; 32]), Some(SealKey::new([7; 32])));
    assert!(stage.complete(&drawn, &answer).is_ok());
    stage.ring = SealRing::new(SealKey::new([9; 32]), Some(SealKey::new([8; 32])));
    assert_eq!(refused(stage.complete(&drawn, &answer)), "challenge.seal");
}

#[test]
fn an_expired_challenge_is_refused() {
    let stage = Stage::new();
    let drawn = stage.enrol();
    let (item, spki) = (stage.answer(&drawn).encode(), stage.tpm.node_key.spki());
    assert!(stage.complete_bytes(&drawn.seal, &item, &spki, NOW.plus(59)).is_ok());
    assert_eq!(refused(stage.complete_bytes(&drawn.seal, &item, &spki, NOW.plus(60))), "challenge.expired");
}

#[test]
fn a_challenge_of_another_trust_domain_is_refused() {
    let mut stage = Stage::new();
    let drawn = stage.enrol();
    let answer = stage.answer(&drawn);
    stage.trust_domain = "example.net".parse().unwrap();
    assert_eq!(refused(stage.complete(&drawn, &answer)), "challenge.trust_domain");
}

#[test]
fn a_pcr_that_no_log_covers_is_proven_by_the_digest_from_a_claim() {
    let mut stage = Stage::new();
    stage.tpm.firmware.later = vec![(23, b"application".to_vec())];
    stage.wanted.selection = select(&[16, 23]);
    let (p16, p23) = (PcrIndex::new(16).unwrap(), PcrIndex::new(23).unwrap());
    let value = stage.tpm.pcrs(stage.wanted.selection.bank).get(p23).unwrap().as_bytes().to_vec();
    assert_eq!(refused(stage.enrol_with(|_| {})), "tpm.quote.pcr_digest");
    let verified = stage.enrol_with(|answer| answer.claims = vec![(23, value.clone())]).unwrap();
    let claims = verified.claims();
    assert_eq!(claims.pcrs.get(p23).unwrap().as_bytes(), value);
    assert_eq!(claims.unexplained().iter().collect::<Vec<_>>(), [p23]);
    assert!(claims.untouched.contains(p16));
}

#[test]
fn a_register_that_the_system_extended_after_hand_over_proves_its_value_but_not_its_events() {
    let mut stage = Stage::new();
    stage.tpm.firmware.later = vec![(8, b"phase".to_vec())];
    stage.wanted.selection = select(&[8]);
    let p8 = PcrIndex::new(8).unwrap();
    let value = stage.tpm.pcrs(stage.wanted.selection.bank).get(p8).unwrap().as_bytes().to_vec();
    let verified = stage.enrol_with(|answer| answer.claims = vec![(8, value)]).unwrap();
    assert!(!verified.claims().replayed.contains(p8));
    assert!(verified.claims().unexplained().contains(p8));
    assert_eq!(verified.claims().boot().unwrap().command_lines().count(), 0);
}
