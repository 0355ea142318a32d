//! Attacks that span more than one check.

use holdfast_evidence::ItemState;
use holdfast_evidence::Purpose;
use holdfast_evidence::tpm::Attributes;

use crate::pki::NOW;
use crate::stage::{Stage, refused};
use crate::virtual_tpm::{ECDSA_SHA256, Key, Log, VirtualTpm};

#[test]
fn a_replayed_answer_does_not_fit_a_later_challenge() {
    let stage = Stage::new();
    let (first, second) = (stage.enrol(), stage.enrol());
    let mut answer = stage.answer(&first);
    assert_eq!(refused(stage.complete(&second, &answer)), "tpm.activation.secret");
    answer.secrets = stage.answer(&second).secrets;
    assert_eq!(refused(stage.complete(&second, &answer)), "tpm.quote.nonce");
}

#[test]
fn one_machines_credential_activates_for_no_other_ak() {
    let mut stage = Stage::new();
    let drawn = stage.enrol();
    stage.tpm.ak = Key::new(Attributes::AK_TEMPLATE, ECDSA_SHA256);
    let name = stage.tpm.ak.public.name().to_vec();
    assert_eq!(stage.tpm.eks[0].activate(&drawn.ask.credentials[0], &name), None);
}

#[test]
fn a_wrong_or_missing_or_further_secret_is_refused() {
    let stage = Stage::new();
    for spoil in [
        |secrets: &mut Vec<Vec<u8>>| secrets[0][0] ^= 1,
        |secrets: &mut Vec<Vec<u8>>| secrets.clear(),
        |secrets: &mut Vec<Vec<u8>>| secrets[0].clear(),
        |secrets: &mut Vec<Vec<u8>>| secrets.push(vec![0; 32]),
    ] {
        assert_eq!(refused(stage.enrol_with(|answer| spoil(&mut answer.secrets))), "tpm.activation.secret");
    }
}

#[test]
fn relayed_evidence_of_a_good_machine_does_not_carry_a_bad_ones_key() {
    // A good machine answers; the relay puts its own node key in place of the good one's.
    let stage = Stage::new();
    let drawn = stage.enrol();
    let answer = stage.answer(&drawn);
    let relay = Key::new(Attributes::NODE_KEY, ECDSA_SHA256);
    let outcome = stage.complete_bytes(&drawn.seal, &answer.encode(), &relay.spki(), NOW);
    assert_eq!(refused(outcome), "tpm.quote.nonce");
}

#[test]
fn a_known_machines_challenge_is_answered_by_no_other_tpm() {
    use holdfast_evidence::tpm::NodeKeyProof;
    let mut stage = Stage::new();
    let drawn = stage.come_back(NodeKeyProof::Certify);
    stage.tpm = VirtualTpm::new(&stage.ca);
    assert_eq!(refused(stage.complete(&drawn, &stage.answer(&drawn))), "tpm.quote.nonce");
}

#[test]
fn a_log_exchanged_after_the_quote_is_refused() {
    let stage = Stage::new();
    let outcome = stage.enrol_with(|answer| {
        if let Log::Bytes(log) = &mut answer.log {
            // A byte that no digest covers: the path of an application.
            let at = log.windows(4).position(|window| window == b"grub").unwrap();
            log[at] = b'G';
        }
    });
    assert_eq!(refused(outcome), "tpm.quote.nonce");
}

#[test]
fn a_log_withheld_after_the_quote_is_refused() {
    let stage = Stage::new();
    assert_eq!(refused(stage.enrol_with(|answer| answer.log = Log::Absent)), "tpm.quote.nonce");
}

#[test]
fn an_answer_with_more_or_fewer_items_than_asked_is_refused() {
    use holdfast_evidence::tpm::TpmEvidence;
    use holdfast_evidence::{Challenge, ClaimedKey, Evidence as _};
    let stage = Stage::new();
    let (ask, item) = stage.invite().unwrap().into_parts();
    let two: Vec<ItemState> = vec![item.clone(), item];
    for items in [two, Vec::new()] {
        let drawn = stage.draw_items(ask.clone(), items, Purpose::Enrol);
        let answer = stage.answer(&drawn).encode();
        let commitment = TpmEvidence::parse(&answer).unwrap().commitment();
        let challenge = Challenge::open(&drawn.seal, &stage.ring, &stage.trust_domain, NOW).unwrap();
        let key = ClaimedKey::from_spki(&stage.tpm.node_key.spki()).unwrap();
        assert_eq!(challenge.answer(key, &[commitment]).unwrap_err().code(), "challenge.items");
    }
}

#[test]
fn weakest_root_decides_the_class_of_a_machine_with_several_keys() {
    use holdfast_evidence::TrustClass;
    use holdfast_evidence::tpm::endorsement::Anchor;
    let mut stage = Stage::new();
    let simulator = crate::pki::Ca::root("simulator");
    stage.roots.add(Anchor::new(&simulator.der, TrustClass::Simulated).unwrap());
    stage.tpm.eks.push(crate::virtual_tpm::EndorsementKey::new(&simulator));
    let verified = stage.enrol_with(|_| {}).unwrap();
    assert_eq!(verified.claims().class(), Some(TrustClass::Simulated));
}
