//! Each check of a quote, flipped alone.

use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tpm::checks::DeniedFirmware;
use holdfast_evidence::tpm::{Attest, Attributes, Bank, Hierarchy, PcrIndex, PcrSelection, PcrSet};

use crate::stage::{Stage, refused, select};
use crate::virtual_tpm::{ECDSA_SHA256, Firmware, Key};

#[test]
fn another_magic_is_refused() {
    let stage = Stage::new();
    let outcome = stage.enrol_quoting(|binding, selection| {
        let mut quote = stage.tpm.quote(binding, selection);
        quote[0] = 0;
        quote
    });
    assert_eq!(refused(outcome), "tpm.quote.magic");
}

#[test]
fn a_certification_in_place_of_a_quote_is_refused() {
    let stage = Stage::new();
    let outcome = stage.enrol_quoting(|binding, _| stage.tpm.certify(binding, &stage.tpm.node_key.public));
    assert_eq!(refused(outcome), "tpm.quote.type");
}

#[test]
fn a_quote_signed_by_another_ak_is_refused() {
    let stage = Stage::new();
    let other = Key::new(Attributes::AK_TEMPLATE, ECDSA_SHA256);
    let outcome = stage.enrol_with(|answer| answer.quote_signature = other.sign(&answer.quote));
    assert_eq!(refused(outcome), "tpm.quote.signature");
}

#[test]
fn a_signature_that_names_another_hash_is_refused() {
    let stage = Stage::new();
    for hash in [4, 0x0c] {
        let outcome = stage.enrol_with(|answer| answer.quote_signature[3] = hash);
        assert_eq!(refused(outcome), "tpm.quote.scheme");
    }
}

#[test]
fn a_signature_of_another_algorithm_is_refused() {
    let stage = Stage::new();
    let outcome = stage.enrol_with(|answer| {
        answer.quote_signature = [&[0, 0x14, 0, 0x0b, 1, 0][..], &[7; 256]].concat();
    });
    assert_eq!(refused(outcome), "tpm.quote.scheme");
}

#[test]
fn trailing_bytes_in_attest_or_signature_are_refused() {
    let stage = Stage::new();
    let mut longer = stage.tpm.quote(&[1; 32], &select(&[]));
    longer.push(0);
    let outcome = stage.enrol_quoting(|_, _| longer);
    assert_eq!(refused(outcome), "tpm.attest.malformed");
    let outcome = stage.enrol_with(|answer| answer.quote_signature.push(0));
    assert_eq!(refused(outcome), "tpm.signature.malformed");
}

#[test]
fn an_empty_nonce_is_refused() {
    let stage = Stage::new();
    let outcome = stage.enrol_quoting(|_, selection| stage.tpm.quote(&[], selection));
    assert_eq!(refused(outcome), "tpm.quote.nonce");
}

#[test]
fn a_quote_for_another_binding_is_refused() {
    let stage = Stage::new();
    let outcome = stage.enrol_quoting(|binding, selection| {
        let mut other = *binding;
        other[31] ^= 1;
        stage.tpm.quote(&other, selection)
    });
    assert_eq!(refused(outcome), "tpm.quote.nonce");
}

#[test]
fn another_qualified_signer_is_refused() {
    let stage = Stage::new();
    let outcome = stage.enrol_quoting(|binding, selection| {
        let signer = stage.tpm.ak.public.name().qualified_in(Hierarchy::Owner);
        Attest::encode_quote(&signer, binding, stage.tpm.clock, 1, selection, &[0; 32])
    });
    assert_eq!(refused(outcome), "tpm.quote.signer");
}

#[test]
fn a_quote_over_other_pcrs_than_asked_is_refused() {
    let mut stage = Stage::new();
    let outcome = stage.enrol_quoting(|binding, _| stage.tpm.quote(binding, &select(&[23])));
    assert_eq!(refused(outcome), "tpm.quote.selection");
    // One that policy needs is left out.
    stage.wanted.selection = select(&[8]);
    let outcome = stage.enrol_quoting(|binding, _| stage.tpm.quote(binding, &select(&[])));
    assert_eq!(refused(outcome), "tpm.quote.selection");
}

#[test]
fn a_quote_over_another_bank_is_refused() {
    let stage = Stage::new();
    let other = PcrSelection { bank: Bank::Sha384, pcrs: select(&[]).pcrs };
    let outcome = stage.enrol_quoting(|binding, _| stage.tpm.quote(binding, &other));
    assert_eq!(refused(outcome), "tpm.quote.selection");
}

#[test]
fn resettable_pcrs_relabelled_as_others_are_refused() {
    // The host quotes PCR 16 and 23, whose values it makes as it likes, and claims them to be 10 and 16.
    let mut stage = Stage::new();
    stage.wanted.selection = select(&[10, 16]);
    let outcome = stage.enrol_quoting(|binding, _| stage.tpm.quote(binding, &select(&[16, 23])));
    assert_eq!(refused(outcome), "tpm.quote.selection");
}

#[test]
fn an_empty_selection_is_refused() {
    let stage = Stage::new();
    let none = PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::EMPTY };
    let outcome = stage.enrol_quoting(|binding, _| stage.tpm.quote(binding, &none));
    assert_eq!(refused(outcome), "tpm.quote.selection");
}

#[test]
fn a_selection_of_sha1_or_of_two_banks_is_refused() {
    let stage = Stage::new();
    for selection in [&[0, 0, 0, 1, 0, 4, 3, 0xff, 0, 0][..], &[0, 0, 0, 2, 0, 4, 3, 1, 0, 0, 0, 11, 3, 0xff, 0, 0]] {
        let outcome = stage.enrol_quoting(|binding, asked| {
            let quote = stage.tpm.quote(binding, asked);
            let at = quote.windows(10).position(|window| window == asked.encode()).unwrap();
            [&quote[..at], selection, &quote[at + 10..]].concat()
        });
        assert_eq!(refused(outcome), "tpm.quote.selection");
    }
}

#[test]
fn a_digest_that_the_log_does_not_lead_to_is_refused_and_all_values_are_wanted() {
    let stage = Stage::new();
    let signer = stage.tpm.ak.public.name().qualified_in(Hierarchy::Endorsement);
    for digest in [&[9; 32][..], &[]] {
        let outcome = stage.enrol_quoting(|binding, selection| {
            Attest::encode_quote(&signer, binding, stage.tpm.clock, 1, selection, digest)
        });
        assert_eq!(refused(outcome), "tpm.quote.pcr_digest");
    }
}

#[test]
fn a_log_that_leaves_a_measurement_out_is_refused_and_the_register_named() {
    let mut stage = Stage::new();
    let honest = stage.tpm.firmware.clone();
    let values = stage.tpm.pcrs(Bank::Sha256);
    let mut lying = honest.clone();
    lying.events.retain(|event| event.data != b"kernel");
    // The log is the lying one in the binding too; the registers are the real ones.
    stage.tpm.firmware = Firmware { events: lying.events, later: Vec::new() };
    let drawn = stage.enrol();
    let mut answer = stage.answer(&drawn);
    let binding = stage.tpm.binding(&drawn.ask, &drawn.nonce, &stage.trust_domain);
    stage.tpm.firmware = honest;
    answer.quote = stage.tpm.quote(&binding, &drawn.ask.selection);
    answer.quote_signature = stage.tpm.ak.sign(&answer.quote);
    assert_eq!(refused(stage.complete(&drawn, &answer)), "tpm.quote.pcr_digest");
    answer.claims = values.iter().take(8).map(|(pcr, value)| (pcr.get().into(), value.as_bytes().to_vec())).collect();
    assert_eq!(refused(stage.complete(&drawn, &answer)), "tpm.quote.replay");
    // Claims that are no truth either leave the question open.
    answer.claims[0].1[0] ^= 1;
    assert_eq!(refused(stage.complete(&drawn, &answer)), "tpm.quote.pcr_digest");
}

#[test]
fn a_value_for_a_pcr_outside_the_quote_is_refused() {
    let stage = Stage::new();
    let outcome = stage.enrol_with(|answer| answer.claims = vec![(23, vec![0; 32])]);
    assert_eq!(refused(outcome), "tpm.quote.unlisted_pcr");
    let outcome = stage.enrol_with(|answer| answer.claims = vec![(3, vec![0; 48])]);
    assert_eq!(refused(outcome), "tpm.quote.unlisted_pcr");
}

#[test]
fn a_bank_that_firmware_never_extended_is_refused() {
    let mut stage = Stage::new();
    stage.tpm.firmware.events.clear();
    assert_eq!(refused(stage.enrol_with(|_| {})), "tpm.event_log.bank_unused");
    let drawn = stage.enrol();
    let mut answer = stage.answer(&drawn);
    answer.log = crate::virtual_tpm::Log::Absent;
    // Without a log the binding is another; sign that one.
    let absent = holdfast_evidence::BindingFields {
        trust_domain: &stage.trust_domain,
        kinds: &[holdfast_evidence::EvidenceKind::Tpm],
        nonce: &drawn.nonce,
        ak_name: &stage.tpm.ak.public.name().to_vec(),
        node_key_spki: &stage.tpm.node_key.spki(),
        ek_certificates: &drawn.ask.ek_certificates,
        selection: &drawn.ask.selection.encode(),
        firmware_log: None,
        others: &[],
    };
    answer.quote = stage.tpm.quote(&holdfast_evidence::binding_digest(&absent), &drawn.ask.selection);
    answer.quote_signature = stage.tpm.ak.sign(&answer.quote);
    assert_eq!(refused(stage.complete(&drawn, &answer)), "tpm.quote.bank_unextended");
}

#[test]
fn a_firmware_version_on_the_deny_list_is_refused() {
    let mut stage = Stage::new();
    let version = stage.tpm.firmware_version;
    let deny = |manufacturer: Option<&str>, versions| DeniedFirmware {
        manufacturer: manufacturer.map(str::to_owned),
        versions,
    };
    stage.endorsements.denied_firmware =
        vec![deny(Some("id:00000001"), version..=version), deny(None, version + 1..=u64::MAX)];
    assert!(stage.enrol_with(|_| {}).is_ok());
    for entry in [deny(None, version..=version), deny(Some("id:48460000"), 0..=version)] {
        stage.endorsements.denied_firmware = vec![entry];
        assert_eq!(refused(stage.enrol_with(|_| {})), "tpm.quote.firmware_version");
    }
}

#[test]
fn an_unsafe_clock_is_tolerated() {
    let mut stage = Stage::new();
    stage.tpm.clock.safe = false;
    assert!(!stage.enrol_with(|_| {}).unwrap().claims().clock.safe);
}

#[test]
fn missing_pcrs_are_named() {
    use holdfast_evidence::tpm::{Unverified, checks};
    let pcr = |index| PcrIndex::new(index).unwrap();
    let missing = PcrSet::EMPTY.with(pcr(8)).with(pcr(11));
    assert_eq!(checks::required(&select(&[9]), &select(&[8, 9, 11])), Err(Unverified::MissingPcr { missing }));
    assert_eq!(checks::required(&select(&[8, 9, 11]), &select(&[9])), Ok(()));
    let other = PcrSelection { bank: HashAlg::Sha512, ..select(&[]) };
    assert_eq!(checks::required(&select(&[]), &other).unwrap_err().code(), "tpm.quote.selection");
}
