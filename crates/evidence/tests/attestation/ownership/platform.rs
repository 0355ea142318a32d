//! Platform certificates.

use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::KnownTpm;
use holdfast_evidence::tpm::ownership::{Factor, OfferedOwnership, Ownership};
use proptest::prelude::*;

use super::Made;
use super::maker::{Maker, Platform, base_certificate, element, issued_as, object_digest};
use crate::pki::Ca;
use crate::virtual_tpm::EndorsementKey;

fn offered(certificate: Vec<u8>) -> OfferedOwnership {
    OfferedOwnership { platform: Some(certificate), device_keys: Vec::new() }
}

impl Made {
    fn ek(&self) -> &[u8] {
        &self.stage.tpm.eks[0].certificate
    }

    fn spoiled(&self, spoil: impl FnOnce(&mut Platform)) -> Result<Ownership, &'static str> {
        self.offer(offered(self.maker.platform(self.ek(), spoil)))
    }
}

#[test]
fn a_platform_certificate_names_the_machine_of_its_endorsement_key_and_stays_on_record() {
    let made = Made::new();
    let certificate = made.maker.platform(made.ek(), |_| {});
    let ownership = made.offer(offered([certificate.clone(), vec![0xff; 40]].concat())).unwrap();
    let platform = ownership.platform.as_ref().unwrap();
    let names = [&platform.manufacturer, &platform.model, &platform.version, &platform.serial];
    assert_eq!(names, ["Maker/One", "R7", "2", "SN-7"]);
    assert_eq!(platform.certificate_sha256, sha256(&[&certificate]));
    assert!(ownership.left_aside.is_empty());
    let known = KnownTpm { ownership, ..made.stage.known() };
    assert_eq!(KnownTpm::parse(&known.encode()).unwrap(), known);
    // nothing is written of what is not there: a former server reads it
    assert_eq!(made.stage.known().encode()[0], 1);
}

#[test]
fn a_holder_is_the_endorsement_certificate_by_issuer_and_serial_number_or_digest_and_nothing_less() {
    let made = Made::new();
    let ek = made.ek().to_vec();
    let base = base_certificate(&ek);
    let stranger = EndorsementKey::new(&made.stage.ca).certificate;
    let issuer = Ca::root("other");
    let other_issuer = issued_as(&element(0x30, &[]), &[0x42]);
    let digest = object_digest(1, &sha256(&[&ek]));
    let (_, parsed) =
        <x509_parser::certificate::X509Certificate<'_> as x509_parser::prelude::FromDer<_>>::from_der(&ek).unwrap();
    let key_digest = object_digest(0, &sha256(&[parsed.public_key().raw]));
    for good in [base.clone(), digest.clone(), key_digest, [base.clone(), digest.clone()].concat()] {
        assert!(made.spoiled(|parts| parts.holder = good).unwrap().platform.is_some());
    }
    let other_digest = object_digest(1, &sha256(&[&stranger]));
    let (_, ca) =
        <x509_parser::certificate::X509Certificate<'_> as x509_parser::prelude::FromDer<_>>::from_der(&issuer.der)
            .unwrap();
    for bad in [
        Vec::new(),
        issued_as(parsed.issuer().as_raw(), &[0x43]),
        issued_as(ca.subject().as_raw(), &[0x42]),
        other_issuer,
        other_digest.clone(),
        [base, other_digest].concat(),
    ] {
        assert_eq!(made.spoiled(|parts| parts.holder = bad), Err("tpm.platform.holder"));
    }
}

#[test]
fn a_platform_certificate_of_another_machine_is_refused() {
    let made = Made::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let stranger = made.stage.ca.ek_for(&key, |params| params.serial_number = Some(vec![0x43].into()));
    let others = made.maker.platform(&stranger, |_| {});
    assert_eq!(made.offer(offered(others)), Err("tpm.platform.holder"));
}

#[test]
fn a_platform_certificate_by_another_maker_is_left_aside_and_one_in_the_makers_name_is_refused() {
    let made = Made::new();
    let mut other = Maker { ca: Ca::root("another") };
    let left = made.offer(offered(other.platform(made.ek(), |_| {}))).unwrap();
    assert_eq!((left.platform, left.left_aside), (None, vec![Factor::Platform]));
    other.ca = Ca::root("maker");
    assert_eq!(made.offer(offered(other.platform(made.ek(), |_| {}))), Err("tpm.platform.signature"));
    // the vendor of TPMs is no maker of machines
    let vendor = Maker { ca: Ca::root("root") };
    assert!(made.offer(offered(vendor.platform(made.ek(), |_| {}))).unwrap().platform.is_none());
}

#[test]
fn dates_versions_types_and_critical_extensions_count() {
    let made = Made::new();
    let spoiled = |spoil: fn(&mut Platform)| made.spoiled(spoil);
    assert_eq!(spoiled(|parts| parts.not_after = "20251231000000Z"), Err("tpm.platform.expired"));
    assert_eq!(spoiled(|parts| parts.version = 0), Err("tpm.platform.malformed"));
    assert_eq!(spoiled(|parts| parts.credential_type = &[8, 5]), Err("tpm.platform.purpose"));
    let unknown = |critical: &[u8]| {
        element(0x30, &[element(6, &[0x55, 0x1d, 55]), critical.to_vec(), element(4, &[5, 0])].concat())
    };
    assert!(made.spoiled(|parts| parts.extensions = unknown(&[])).is_ok());
    let critical = made.spoiled(|parts| parts.extensions = unknown(&[1, 1, 0xff]));
    assert_eq!(critical, Err("tpm.platform.critical_extension"));
}

#[test]
fn a_serial_number_that_stands_for_none_names_no_machine() {
    let made = Made::new();
    for serial in ["To be filled by O.E.M.", "Default string", "0", " none "] {
        let ownership = made.spoiled(|parts| parts.serial = serial).unwrap();
        assert_eq!(ownership.platform.unwrap().serial, "", "{serial}");
    }
}

#[test]
fn no_byte_of_a_platform_certificate_may_change() {
    let made = Made::new();
    let good = made.maker.platform(made.ek(), |_| {});
    for at in 0..good.len() {
        for bit in [1, 0x80] {
            let mut changed = good.clone();
            changed[at] ^= bit;
            let outcome = made.offer(offered(changed));
            assert!(outcome.is_err() || outcome.is_ok_and(|found| found.platform.is_none()), "byte {at}");
        }
        assert!(made.offer(offered(good[..at].to_vec())).is_err(), "cut at {at}");
    }
    assert_eq!(made.offer(offered([good, vec![1]].concat())), Err("tpm.platform.malformed"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_panic_the_reader_of_platform_certificates(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let made = Made::new();
        let _ = made.offer(offered(element(0x30, &bytes)));
        let _ = made.offer(offered(bytes));
    }
}
