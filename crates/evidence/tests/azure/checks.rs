//! One thing spoiled, one refusal: each check has a machine that fails by it alone.

use holdfast_evidence::tpm::{Attributes, Bank, PcrIndex, PcrSelection, PcrSet};
use holdfast_evidence::{EvidenceKind, Purpose, TrustClass};

use crate::guest::NOW;
use crate::machine::{Machine, asked, challenge, check, node_key, seal, verify};
use crate::paravisor::{Ak, runtime_data};
use crate::td::at;

/// The kinds that have a paravisor.
const CONFIDENTIAL: [fn() -> Machine; 2] = [Machine::snp, Machine::tdx];
const ALL: [fn() -> Machine; 3] = [Machine::snp, Machine::tdx, Machine::trusted_launch];

#[test]
fn runtime_data_that_the_hardware_did_not_report_is_refused() {
    for good in CONFIDENTIAL {
        check(
            good,
            |machine| machine.sent_runtime_data = Some(runtime_data(Ak::own(), false)),
            "azure.runtime_data.digest",
        );
        // the same document, spelt otherwise
        check(
            good,
            |machine| machine.sent_runtime_data = Some(machine.runtime_data.replacen("{", "{ ", 1)),
            "azure.runtime_data.digest",
        );
    }
}

#[test]
fn anything_behind_the_digest_in_the_report_data_is_refused() {
    for good in CONFIDENTIAL {
        for at in [0, 31, 32, 63] {
            check(
                good,
                |machine| {
                    let mut data = [0; 64];
                    let digest = holdfast_evidence::crypto::sha256(&[machine.runtime_data.as_bytes()]);
                    data[..32].copy_from_slice(&digest);
                    data[at] ^= 1;
                    machine.report_data = Some(data);
                },
                "azure.runtime_data.digest",
            );
        }
    }
}

#[test]
fn a_tdreport_about_something_else_than_its_quote_is_refused() {
    check(Machine::tdx, |machine| machine.td_report_data = Some([7; 64]), "azure.runtime_data.digest");
}

/// Digests that fit do not help: each field is the quote's, and the reserved ones are zero.
#[test]
fn a_tdreport_of_another_td_than_its_quote_is_refused() {
    macro_rules! spoiled {
        ($($at:literal),*) => { [$(($at, (|report| { report[$at] ^= 1; seal(report); }) as fn(&mut Vec<u8>))),*] };
    }
    // type, reserved, TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM, SEAMATTRIBUTES, reserved, TDATTRIBUTES, XFAM, MRTD, MRCONFIGID,
    // MROWNER, MROWNERCONFIG, RTMR0 to 3, SERVTD_HASH
    for (at, spoil) in spoiled!(
        0, 1, 2, 3, 4, 15, 192, 223, 264, 279, 280, 328, 376, 495, 511, 512, 520, 528, 576, 624, 672, 720, 768, 816,
        864, 911, 912, 959
    ) {
        let td = || Machine::tdx().with(|machine| machine.spoil_td_report = spoil);
        assert_eq!(td().code(), "azure.hcl.td_report", "{at}");
    }
    // without new digests nothing in them may change either
    let spoils: [fn(&mut Vec<u8>); 3] = [|report| report[32] ^= 1, |report| report[80] ^= 1, |report| report[256] ^= 1];
    for spoil in spoils {
        check(Machine::tdx, |machine| machine.spoil_td_report = spoil, "azure.hcl.td_report");
    }
    // nobody but the platform can check these
    let spoils: [fn(&mut Vec<u8>); 2] = [|report| report[16] ^= 1, |report| report[224] ^= 1];
    for spoil in spoils {
        assert_eq!(Machine::tdx().with(|machine| machine.spoil_td_report = spoil).code(), "accepted");
    }
}

/// The paravisor is its kernel, and Microsoft started some without it; `dcap-qvl` has no way to let them pass.
#[test]
fn a_td_without_sept_ve_disable_is_refused_like_any() {
    check(Machine::tdx, |machine| machine.td().put(at::TDATTRIBUTES + 3, &[0]), "tdx.td.sept_ve");
    // the other attributes are asked of it as of any
    check(Machine::tdx, |machine| machine.td().attribute(0), "tdx.td.debug");
    check(Machine::tdx, |machine| machine.td().attribute(29), "tdx.td.migratable");
    check(Machine::tdx, |machine| machine.td().attribute(40), "tdx.td.reserved");
}

#[test]
fn a_report_that_the_guest_asked_for_is_refused() {
    for vmpl in 1..4 {
        check(Machine::snp, |machine| machine.guest().put(0x30, &[vmpl]), "azure.hcl.vmpl");
    }
    check(Machine::snp, |machine| machine.guest().put(0x30, &[4]), "snp.report.vmpl");
}

#[test]
fn the_hardware_report_is_verified_as_one_that_comes_alone() {
    check(Machine::snp, |machine| machine.guest().put(0x0a, &[0x0b]), "snp.guest_policy.debug");
    check(Machine::snp, |machine| machine.guest().signed = false, "snp.report.signature");
    check(Machine::snp, |machine| machine.guest().put(0x186, &[23]), "snp.tcb.certificate_mismatch");
    check(Machine::snp, |machine| machine.guest().vek.not_after = "250101000000Z", "snp.chain.expired");
    check(Machine::snp, |machine| machine.guest().put(0x1a0, &[9]), "snp.chip_id.mismatch");
    check(Machine::tdx, |machine| machine.td().attribute(0), "tdx.td.debug");
    check(Machine::tdx, |machine| machine.td().put(at::MRSIGNERSEAM, &[1]), "tdx.seam.signer");
    check(Machine::tdx, |machine| machine.td().keys.quote = crate::intel::stranger_key(), "tdx.quote.signature");
}

#[test]
fn a_key_that_the_report_does_not_name_is_refused() {
    for good in CONFIDENTIAL {
        let other = |machine: &mut Machine| {
            machine.ak = Ak::other();
            machine.signer = Ak::other();
            machine.area = Ak::other().area(Attributes::AK_TEMPLATE);
            machine.sent_area = machine.area.as_bytes().to_vec();
        };
        check(good, other, "azure.ak.key_mismatch");
    }
}

#[test]
fn a_key_that_signs_anything_is_refused() {
    for good in ALL {
        let free = Attributes::AK_TEMPLATE.without(Attributes::RESTRICTED);
        let spoil = |machine: &mut Machine| {
            machine.area = machine.ak.area(free);
            machine.sent_area = machine.area.as_bytes().to_vec();
        };
        check(good, spoil, "tpm.ak.attributes");
    }
}

#[test]
fn a_key_of_another_template_or_place_than_the_signers_is_refused() {
    for good in CONFIDENTIAL {
        let other = Attributes::AK_TEMPLATE.without(Attributes::NO_DA);
        check(good, |machine| machine.area = machine.ak.area(other), "tpm.quote.signer");
        let unsaid = |machine: &mut Machine| {
            machine.area = machine.ak.area(other);
            machine.sent_area.clear();
        };
        check(good, unsaid, "tpm.quote.signer");
    }
}

#[test]
fn a_quote_that_another_key_signed_is_refused() {
    for good in ALL {
        check(good, |machine| machine.signer = Ak::other(), "tpm.quote.signature");
    }
}

#[test]
fn a_quote_of_something_else_than_was_asked_is_refused() {
    let less = PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE };
    let other_bank = PcrSelection { bank: Bank::Sha384, ..asked() };
    for good in ALL {
        check(good, |machine| machine.quoted = Some(less), "tpm.quote.selection");
        check(good, |machine| machine.quoted = Some(other_bank), "tpm.quote.selection");
        check(good, |machine| machine.extra_data = Some(Vec::new()), "tpm.quote.nonce");
        check(good, |machine| machine.extra_data = Some(vec![7; 31]), "tpm.quote.nonce");
    }
}

#[test]
fn values_that_the_quote_does_not_cover_or_that_are_not_its_own_are_refused() {
    for good in ALL {
        check(good, |machine| machine.claims[0].1[31] ^= 1, "tpm.quote.pcr_digest");
        check(good, |machine| machine.claims.clear(), "tpm.quote.pcr_digest");
        check(good, |machine| machine.claims[0].0 = 12, "tpm.quote.unlisted_pcr");
        check(
            good,
            |machine| {
                let value = machine.claims[0].1.clone();
                machine.claims.push((16, value));
            },
            "tpm.quote.unlisted_pcr",
        );
    }
}

#[test]
fn a_log_that_does_not_lead_to_the_quote_is_refused() {
    for good in ALL {
        let longer = |machine: &mut Machine| machine.firmware.later.push((4, b"slipped in".to_vec()));
        check(good, longer, "tpm.quote.pcr_digest");
        let told = |machine: &mut Machine| {
            longer(machine);
            let values = machine.firmware.pcrs(Bank::Sha256);
            let four = values.get(PcrIndex::new(4).unwrap()).unwrap().as_bytes().to_vec();
            machine.claims.insert(0, (4, four));
        };
        check(good, told, "tpm.quote.replay");
    }
}

#[test]
fn without_a_log_the_values_alone_are_known() {
    let mut machine = Machine::snp().with(|machine| {
        machine.send_log = false;
        let values = machine.firmware.pcrs(Bank::Sha256);
        let claim = |pcr: PcrIndex| (u32::from(pcr.get()), values.get(pcr).unwrap().as_bytes().to_vec());
        machine.claims = asked().pcrs.iter().map(claim).collect();
    });
    let verified = machine.verify().unwrap();
    let boot = &verified.claims().boot;
    assert!(boot.boot().is_none() && boot.replayed.is_empty());
    assert_eq!(boot.pcrs.indices(), asked().pcrs);
}

#[test]
fn a_root_that_nobody_trusts_vouches_for_nothing() {
    let other = Machine::snp().endorsements();
    for good in [Machine::tdx, Machine::trusted_launch] {
        let mut machine = good();
        let binding = machine.binding(challenge(Purpose::Enrol), node_key());
        let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
        let refused = verify(&item, &other, &binding, NOW).unwrap_err();
        // the other machine's root has the name of ours
        assert!(["tdx.pck.untrusted", "chain.signature"].contains(&refused.code()), "{refused}");
        assert!(!refused.is_genuine());
    }
    check(Machine::trusted_launch, |machine| machine.ak_class = None, "chain.untrusted");
    let trusted = Machine::trusted_launch().with(|machine| machine.ak_class = Some(TrustClass::Cloud));
    assert_eq!(trusted.code(), "accepted");
}
