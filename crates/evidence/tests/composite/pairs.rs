//! Each pair that a machine can have.

use std::sync::Arc;

use holdfast_evidence::ProvenKey;
use holdfast_evidence::nitro::DocumentKind;

use crate::gcp::instance::Instance;
use crate::hypervisor::Hypervisor;
use crate::machine::{Machine, Source, Tpm};
use crate::pki::Ca;
use crate::snp::guest::Guest;
use crate::tdx::td::{Td, at};

/// Two machines of one make: each item of both verifies under the same roots.
type Two = [Box<dyn Source>; 2];

fn snp() -> Two {
    let other = Guest::milan().with(|guest| guest.put(0x140, &[0x99; 32]));
    [Box::new(Guest::milan()), Box::new(other)]
}

fn tdx() -> Two {
    let other: fn() -> Td = || Td::v4().with(|td| td.put(at::MRCONFIGID, &[9; 48]));
    let one: fn() -> Td = Td::v4;
    [Box::new(one), Box::new(other)]
}

fn nitrotpm() -> Two {
    let hypervisor = Arc::new(Hypervisor::new(DocumentKind::Tpm));
    [Box::new(Arc::clone(&hypervisor)), Box::new(hypervisor)]
}

fn gcp() -> Two {
    let one = Instance::good();
    let mut other = Instance::good();
    (other.root, other.issuer) = (Arc::clone(&one.root), Arc::clone(&one.issuer));
    other.certify(|_| {});
    [Box::new(one), Box::new(other)]
}

fn tpm() -> (Two, ProvenKey) {
    let ca = Ca::root("vendor");
    let (one, mut other) = (Tpm::new(&ca), Tpm::new(&ca));
    other.share_node_key(&one);
    let key = one.node_key();
    ([Box::new(one), Box::new(other)], key)
}

fn fresh_key() -> ProvenKey {
    crate::gcp::instance::node_key()
}

/// Both machines prove themselves whole; with either item exchanged, one of the two is refused with that code.
fn check(reports: Two, boots: Two, key: &ProvenKey, strange_report: &str, strange_boot: &str) {
    let [one, other] = reports;
    let [one_boot, other_boot] = boots;
    let machines = [Machine { report: one, boot: one_boot }, Machine { report: other, boot: other_boot }];
    let answers = machines.each_ref().map(|machine| machine.answer(key));
    for (machine, answer) in machines.iter().zip(&answers) {
        assert_eq!(machine.judge([&answer[0], &answer[1]], key), [Ok(()), Ok(())]);
    }
    for (mine, strange) in [(0, 1), (1, 0)] {
        let refused = |items: [&[u8]; 2]| {
            let verdicts = machines[mine].judge(items, key);
            verdicts.into_iter().find_map(Result::err).unwrap_or("none: items of two machines are one")
        };
        assert_eq!(refused([&answers[strange][0], &answers[mine][1]]), strange_report);
        assert_eq!(refused([&answers[mine][0], &answers[strange][1]]), strange_boot);
    }
}

#[test]
fn an_snp_report_and_a_tpm_of_two_machines_are_refused() {
    let (tpms, key) = tpm();
    check(snp(), tpms, &key, "snp.report.data", "tpm.activation.secret");
}

#[test]
fn an_snp_report_and_a_nitrotpm_of_two_machines_are_refused() {
    check(snp(), nitrotpm(), &fresh_key(), "nitrotpm.document.binding", "nitrotpm.document.binding");
}

#[test]
fn an_snp_report_and_a_google_tpm_of_two_machines_are_refused() {
    check(snp(), gcp(), &fresh_key(), "snp.report.data", "snp.report.data");
}

#[test]
fn a_td_and_a_tpm_of_two_machines_are_refused() {
    let (tpms, key) = tpm();
    check(tdx(), tpms, &key, "tdx.quote.report_data", "tpm.activation.secret");
}

#[test]
fn a_td_and_a_nitrotpm_of_two_machines_are_refused() {
    check(tdx(), nitrotpm(), &fresh_key(), "nitrotpm.document.binding", "nitrotpm.document.binding");
}

#[test]
fn a_td_and_a_google_tpm_of_two_machines_are_refused() {
    check(tdx(), gcp(), &fresh_key(), "tdx.quote.report_data", "tdx.quote.report_data");
}
