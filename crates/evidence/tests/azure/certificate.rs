//! The certificate of an attestation key: the only word for a machine with Trusted Launch, one more for a confidential VM.

use holdfast_evidence::{Provenance, TrustClass};
use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose, date_time_ymd};

use crate::machine::{Machine, check};
use crate::paravisor::{Ak, purposes};

/// 2.23.133.8.1, for endorsement keys.
const EK_PURPOSE: &str = "300706056781050801";
/// 1.3.6.1.4.1.311.10.3.12 alone.
const OLDER_PURPOSE: &str = "300c060a2b0601040182370a030c";

fn certified() -> Machine {
    Machine::snp().with(|machine| machine.certify(|_| {}))
}

#[test]
fn a_confidential_vm_may_bring_a_certificate_as_one_more_word() {
    let verified = certified().verify().unwrap();
    let claims = verified.claims();
    let certificate = claims.ak_certificate.as_ref().unwrap();
    assert_eq!((certificate.root.class, certificate.provenance()), (TrustClass::Cloud, Provenance::Provider));
    // the hardware's root is the one above the machine
    assert_eq!((claims.root.name.as_str(), claims.class()), ("ARK-Milan", TrustClass::Firmware));
}

#[test]
fn a_certificate_that_nobody_trusts_or_that_has_expired_is_no_word_and_no_harm() {
    for mut machine in [
        certified().with(|machine| machine.ak_class = None),
        certified().with(|machine| machine.certificates.truncate(1)),
        certified().with(|machine| machine.certify(|params| params.not_after = date_time_ymd(2025, 1, 1))),
    ] {
        let verified = machine.verify().unwrap();
        assert_eq!(verified.claims().ak_certificate, None);
        assert_eq!(verified.claims().not_after.seconds(), 1_893_456_000);
    }
}

#[test]
fn a_certificate_of_another_machines_key_is_refused_everywhere() {
    for good in [certified, Machine::trusted_launch] {
        let theirs = |machine: &mut Machine| machine.certificates[0] = machine.ak_ca.leaf(&Ak::other().key(), |_| {});
        check(good, theirs, "azure.ak.key_mismatch");
    }
}

#[test]
fn what_is_no_certificate_of_an_attestation_key_is_refused_everywhere() {
    for good in [certified, Machine::trusted_launch] {
        let spoil = |change: fn(&mut rcgen::CertificateParams)| {
            check(good, |machine| machine.certify(change), "azure.ak.certificate");
        };
        spoil(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        spoil(|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
        spoil(|params| params.custom_extensions = vec![purposes(EK_PURPOSE)]);
        spoil(|params| {
            let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            unknown.set_criticality(true);
            params.custom_extensions.push(unknown);
        });
        check(good, |machine| machine.certificates[0] = b"no certificate".to_vec(), "azure.ak.certificate");
        check(good, |machine| machine.certificates[0].push(0), "azure.ak.certificate");
    }
}

#[test]
fn a_signature_that_is_none_is_refused_everywhere() {
    for good in [certified, Machine::trusted_launch] {
        let spoil = |machine: &mut Machine| *machine.certificates[0].last_mut().unwrap() ^= 1;
        check(good, spoil, "chain.signature");
    }
}

#[test]
fn a_machine_with_trusted_launch_is_known_by_a_current_certificate_alone() {
    let good = Machine::trusted_launch;
    check(good, |machine| machine.certificates.clear(), "azure.ak.certificate_missing");
    check(good, |machine| machine.certificates.truncate(1), "chain.untrusted");
    check(good, |machine| machine.certify(|params| params.not_after = date_time_ymd(2025, 1, 1)), "azure.ak.expired");
    check(good, |machine| machine.certify(|params| params.not_before = date_time_ymd(2027, 1, 1)), "azure.ak.expired");
    let older =
        |machine: &mut Machine| machine.certify(|params| params.custom_extensions = vec![purposes(OLDER_PURPOSE)]);
    assert_eq!(good().with(older).code(), "accepted");
}

/// The TPM of a machine that is no confidential one does not become one by leaving its report out.
#[test]
fn a_confidential_vm_without_its_report_is_what_its_certificate_says() {
    let mut machine = Machine::trusted_launch();
    let verified = machine.verify().unwrap();
    assert_eq!(verified.claims().class(), TrustClass::Cloud);
    assert_eq!(verified.claims().provenance(), Provenance::Provider);
}
