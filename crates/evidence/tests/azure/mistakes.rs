//! The mistakes that other verifiers of virtual TPMs have made, one test each.

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::azure::AzureItem;
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSelection, PcrSet};
use holdfast_evidence::{Purpose, TrustClass};

use crate::guest::NOW;
use crate::machine::{Hardware, Machine, challenge, node_key, verify};
use crate::paravisor::{Ak, runtime_data};

fn pcrs(indices: &[u32]) -> PcrSet {
    indices.iter().map(|index| PcrIndex::new(*index).unwrap()).collect()
}

/// pcrDigest over a list that the machine sends, and the signed selection ignored: quote PCR 0 to 7 and 16, which anybody
/// may reset and extend, and show the value of 16 as that of 8.
#[test]
fn a_resettable_register_is_not_shown_as_another() {
    let with_sixteen = PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE.union(pcrs(&[16])) };
    let mut machine = Machine::snp().with(|machine| {
        machine.firmware.later = vec![(16, b"what PCR 8 should be".to_vec())];
        machine.quoted = Some(with_sixteen);
        let sixteen = machine.firmware.pcrs(Bank::Sha256);
        let sixteen = sixteen.get(PcrIndex::new(16).unwrap()).unwrap().as_bytes().to_vec();
        machine.claims = vec![(8, sixteen)];
    });
    assert_eq!(machine.verify().unwrap_err().code(), "tpm.quote.selection");
}

/// The user's data is compared only where the *evidence* says that it is of a later version.
#[test]
fn no_number_outside_of_what_is_signed_chooses_what_is_checked() {
    for version in [0, 1, 2, 3] {
        let mut machine = Machine::snp().with(|machine| machine.extra_data = Some(vec![7; 32]));
        let binding = machine.binding(challenge(Purpose::Enrol), node_key());
        let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
        let endorsements = machine.endorsements();
        let code = |item: &[u8]| verify(item, &endorsements, &binding, NOW).unwrap_err().code();
        let mut other_report = item.clone();
        let at = item.windows(4).position(|bytes| bytes == b"HCLA").unwrap() + 4;
        other_report[at] = version;
        let known = matches!(version, 1 | 2);
        assert_eq!(code(&other_report), if known { "tpm.quote.nonce" } else { "azure.hcl.malformed" }, "{version}");
        let mut other_item = item;
        other_item[0] = version;
        assert_eq!(
            code(&other_item),
            if version == 1 { "tpm.quote.nonce" } else { "azure.item.malformed" },
            "{version}"
        );
    }
}

/// Expected data is cut or filled up until it fits.
#[test]
fn expected_data_is_neither_cut_nor_filled_up() {
    let mut machine = Machine::snp();
    let binding = machine.binding(challenge(Purpose::Enrol), node_key());
    let digest = *binding.digest_of(EvidenceKind::Azure).unwrap();
    for wrong in [digest[..31].to_vec(), [&digest[..], &[0]].concat(), [&digest[..], &[0; 32]].concat(), Vec::new()] {
        let mut machine = Machine::snp().with(|machine| machine.extra_data = Some(wrong));
        let item = machine.item(&digest);
        assert_eq!(verify(&item, &machine.endorsements(), &binding, NOW).unwrap_err().code(), "tpm.quote.nonce");
    }
    let item = machine.item(&digest);
    assert!(verify(&item, &machine.endorsements(), &binding, NOW).is_ok());
}

/// Registers are compared only if some are asked for.
#[test]
fn an_empty_selection_is_no_quote() {
    let mut machine = Machine::snp();
    let binding = machine.binding(challenge(Purpose::Enrol), node_key());
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    let mut attest = AzureItem::parse(&item).unwrap().quote.attest.to_vec();
    let at = attest.len() - 2 - 32 - 3;
    attest[at..at + 3].fill(0);
    let signature = Ak::own().sign(&attest);
    let mut parts = AzureItem::parse(&item).unwrap();
    parts.quote.attest = &attest;
    parts.quote.signature = &signature;
    let refused = verify(&parts.encode(), &machine.endorsements(), &binding, NOW).unwrap_err();
    assert_eq!(refused.code(), "tpm.quote.selection");
}

/// A report is believed because it is genuine, whoever asked for it: a guest on any cloud asks for one about a key of its
/// own choice.
#[test]
fn a_report_that_a_guest_above_the_paravisor_asked_for_is_refused() {
    let mut machine = Machine::snp().with(|machine| machine.guest().put(0x30, &[2]));
    assert_eq!(machine.verify().unwrap_err().code(), "azure.hcl.vmpl");
}

/// The report of one machine, and the quote of another.
#[test]
fn parts_of_two_machines_are_never_one() {
    let theirs = || {
        Machine::snp().with(|machine| {
            machine.ak = Ak::other();
            machine.signer = Ak::other();
            machine.area = Ak::other().area(holdfast_evidence::tpm::Attributes::AK_TEMPLATE);
            machine.sent_area = machine.area.as_bytes().to_vec();
            machine.runtime_data = runtime_data(Ak::other(), true);
        })
    };
    assert_eq!(theirs().code(), "accepted");
    let (mut ours, mut other) = (Machine::snp(), theirs());
    let binding = ours.binding(challenge(Purpose::Enrol), node_key());
    let digest = *binding.digest_of(EvidenceKind::Azure).unwrap();
    let (own, stranger) = (ours.item(&digest), other.item(&digest));
    let endorsements = ours.endorsements();
    let (own_parts, their_parts) = (AzureItem::parse(&own).unwrap(), AzureItem::parse(&stranger).unwrap());
    // their report, our key and quote
    let mixed = AzureItem { report: their_parts.report, ..own_parts.clone() }.encode();
    assert_eq!(verify(&mixed, &endorsements, &binding, NOW).unwrap_err().code(), "azure.ak.key_mismatch");
    // our report and key, their quote
    let mixed = AzureItem { quote: their_parts.quote, ..own_parts.clone() }.encode();
    assert_eq!(verify(&mixed, &endorsements, &binding, NOW).unwrap_err().code(), "tpm.quote.signer");
    // our runtime data in their report
    let mut report = their_parts.report.to_vec();
    report[0x4d4..].copy_from_slice(&own_parts.report[0x4d4..]);
    let mixed = AzureItem { report: &report, ..own_parts.clone() }.encode();
    assert_eq!(verify(&mixed, &endorsements, &binding, NOW).unwrap_err().code(), "azure.runtime_data.digest");
    assert!(verify(&own_parts.encode(), &endorsements, &binding, NOW).is_ok());
}

/// A TD's quote of another machine beside the report.
#[test]
fn a_td_quote_of_another_machine_is_refused() {
    let mut machine = Machine::tdx().with(|machine| machine.report_data = Some([7; 64]));
    let binding = machine.binding(challenge(Purpose::Enrol), node_key());
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    assert_eq!(verify(&item, &machine.endorsements(), &binding, NOW).unwrap_err().code(), "azure.runtime_data.digest");
}

/// A machine that is no confidential one, with a root for hardware: the class is the certificate's root's.
#[test]
fn a_certificate_never_earns_the_class_of_hardware() {
    let mut machine = Machine::snp().with(|machine| machine.certify(|_| {}));
    let binding = machine.binding(challenge(Purpose::Enrol), node_key());
    let endorsements = machine.endorsements();
    machine.hardware = Hardware::None;
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    let verified = verify(&item, &endorsements, &binding, NOW).unwrap();
    assert_eq!(verified.claims().class(), TrustClass::Cloud);
    assert_eq!(verified.claims().machine.runtime_data(), None);
    let ak = sha256(&[&Ak::own().key().spki()]);
    assert_eq!(verified.claims().instance(), sha256(&[b"azure.instance", b"", &ak]));
}
