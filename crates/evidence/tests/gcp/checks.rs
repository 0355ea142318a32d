//! One thing spoiled, one refusal: each check has an instance that fails by it alone.

use holdfast_evidence::tpm::{Attributes, Bank, PcrIndex, PcrSelection, PcrSet};
use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose, date_time_ymd};

use crate::instance::{CORE_ESO, Instance, asked, check, named};
use crate::virtual_tpm::{ECDSA_SHA256, Key};

#[test]
fn what_is_no_certificate_of_an_attestation_key_is_refused() {
    check(|instance| instance.certificates.clear(), "gcp.ak.certificate_missing");
    check(|instance| instance.certificates[0] = b"no certificate".to_vec(), "gcp.ak.certificate");
    check(|instance| instance.certificates[0].push(0), "gcp.ak.certificate");
    let spoil = |change: fn(&mut rcgen::CertificateParams)| {
        check(|instance| instance.certify(change), "gcp.ak.certificate");
    };
    spoil(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    spoil(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    spoil(|params| {
        let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions.push(unknown);
    });
}

#[test]
fn dates_count_however_far_apart_they_are() {
    let thirty_years = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2056, 1, 27);
    assert_eq!(Instance::good().with(|instance| instance.certify(thirty_years)).code(), "accepted");
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2025, 12, 31);
    check(|instance| instance.certify(expired), "gcp.ak.expired");
    let early = |params: &mut rcgen::CertificateParams| params.not_before = date_time_ymd(2026, 1, 2);
    check(|instance| instance.certify(early), "gcp.ak.expired");
}

#[test]
fn a_chain_that_does_not_hold_is_refused() {
    check(|instance| instance.certificates.truncate(1), "chain.untrusted");
    check(|instance| *instance.certificates[0].last_mut().unwrap() ^= 1, "chain.signature");
    let strange = |instance: &mut Instance| {
        // one more intermediate of that name, by nobody
        let other = crate::pki::Ca::root("EK/AK CA Root").issuer("EK/AK CA Intermediate", |_| {});
        instance.certificates[1] = other.der;
    };
    check(strange, "chain.signature");
}

/// Google has several intermediates of one name: the one that signed is found among the others.
#[test]
fn of_several_intermediates_of_one_name_the_right_one_is_found() {
    let instance = Instance::good().with(|instance| {
        let namesake = instance.root.issuer("EK/AK CA Intermediate", |_| {});
        instance.certificates.insert(1, namesake.der);
    });
    assert_eq!(instance.code(), "accepted");
}

#[test]
fn the_instance_must_be_named_exactly_once() {
    let spoil = |change: fn(&mut rcgen::CertificateParams)| {
        check(|instance| instance.certify(change), "gcp.instance.malformed");
    };
    spoil(|params| params.custom_extensions.clear());
    spoil(|params| params.custom_extensions[0] = named(&CORE_ESO[..CORE_ESO.len() - 2]));
    spoil(|params| params.custom_extensions[0] = named(&format!("{CORE_ESO}00")));
    // the project's number negative, the zone no UTF-8
    spoil(|params| params.custom_extensions[0] = named(&CORE_ESO.replacen("020600", "020680", 1)));
    spoil(|params| params.custom_extensions[0] = named(&CORE_ESO.replacen("0c0d75", "0c0dff", 1)));
    // doubled extensions are refused before anybody reads them
    let twice = |params: &mut rcgen::CertificateParams| params.custom_extensions.push(named(CORE_ESO));
    check(|instance| instance.certify(twice), "gcp.ak.certificate");
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let theirs = |instance: &mut Instance| {
        let other = Key::new(Attributes::AK_TEMPLATE, ECDSA_SHA256);
        instance.certificates[0] = instance.leaf(&other, |_| {});
    };
    check(theirs, "gcp.ak.key_mismatch");
}

#[test]
fn a_key_that_signs_anything_is_refused() {
    let free = |instance: &mut Instance| {
        instance.ak = Key::new(Attributes::AK_TEMPLATE.without(Attributes::RESTRICTED), ECDSA_SHA256);
        instance.sent_area = instance.ak.public.as_bytes().to_vec();
        instance.certify(|_| {});
    };
    check(free, "tpm.ak.attributes");
}

#[test]
fn a_quote_of_another_key_state_or_question_is_refused() {
    let other = |instance: &mut Instance| instance.signer = Some(Key::new(Attributes::AK_TEMPLATE, ECDSA_SHA256));
    check(other, "tpm.quote.signature");
    check(|instance| instance.extra_data = Some(vec![0; 32]), "tpm.quote.nonce");
    let more = PcrSet::FIRMWARE.with(PcrIndex::new(16).unwrap());
    check(|instance| instance.quoted = PcrSelection { bank: Bank::Sha256, pcrs: more }, "tpm.quote.selection");
    check(|instance| instance.quoted = PcrSelection { bank: Bank::Sha384, ..asked() }, "tpm.quote.selection");
    check(|instance| instance.firmware.later.push((7, b"later".to_vec())), "tpm.quote.pcr_digest");
    check(|instance| instance.claims.push((16, vec![0; 32])), "tpm.quote.unlisted_pcr");
}

/// The area's template is not the one that the signer's name was made of.
#[test]
fn a_key_of_another_template_than_the_signers_is_refused() {
    let spoil = |instance: &mut Instance| {
        let attributes = Attributes::AK_TEMPLATE.without(Attributes::NO_DA);
        let scheme = instance.ak.public.scheme();
        let area = holdfast_evidence::tpm::Public::encode(
            instance.ak.public.key(),
            holdfast_evidence::crypto::HashAlg::Sha256,
            attributes,
            &[],
            None,
            scheme,
        );
        instance.sent_area = area;
    };
    check(spoil, "tpm.quote.signer");
}
