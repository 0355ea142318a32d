//! Quotes: their layout, and each check on them with the one input flipped.

use std::sync::Arc;

use holdfast_evidence::tdx::{
    QUOTE_AREA_BYTES_MAX, QUOTE_BYTES_MAX, Quote, TdxEndorsements, TdxItem, Unverified, checks, pck_chain, verify_quote,
};
use holdfast_evidence::{Defect, TrustClass};
use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, date_time_ymd};

use crate::intel::{self, Template, pem};
use crate::td::{CA_SERIAL, NOW, PCK_SERIAL, Td, at, check, qe};

#[test]
fn made_quotes_of_every_kind_verify() {
    for (td, name) in [(Td::v4(), "v4"), (Td::v5(), "v5"), (Td::v5_extended(), "v5 extended")] {
        let verified = td.verify().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(verified.report().mr_td, [1; 48]);
        assert_eq!(verified.report().rt_mr, [[5; 48], [6; 48], [7; 48], [8; 48]]);
        assert_eq!(verified.report().report_data, [0x77; 64]);
        assert_eq!(verified.root().class, TrustClass::Firmware);
    }
    let extended = Td::v5_extended().verify().unwrap();
    let later = extended.report().later.as_ref().unwrap();
    assert_eq!(later.extended.as_ref().unwrap().td_id, [0x1d; 32]);
}

#[test]
fn a_quote_ends_where_its_own_lengths_say() {
    let bytes = Td::v4().quote();
    let quote = Quote::parse(&bytes).unwrap();
    assert_eq!((quote.exact.len(), quote.trailing_bytes, quote.signed.len()), (bytes.len(), 0, 48 + 584));
    for end in 0..bytes.len() {
        let refused = Quote::parse(&bytes[..end]).unwrap_err();
        assert!(matches!(refused.defect, Defect::Truncated { .. }), "{end}: {refused}");
    }
    let padded = [bytes.clone(), vec![9; 39]].concat();
    let quote = Quote::parse(&padded).unwrap();
    assert_eq!((quote.exact, quote.trailing_bytes), (&bytes[..], 39));
}

#[test]
fn nothing_may_be_left_over_inside_a_quote() {
    let bytes = Td::v4().quote();
    let grown = |length_at: usize| {
        let mut changed = [bytes.clone(), vec![0]].concat();
        let length = u32::from_le_bytes(changed[length_at..length_at + 4].try_into().unwrap());
        changed[length_at..length_at + 4].copy_from_slice(&(length + 1).to_le_bytes());
        Quote::parse(&changed).unwrap_err().defect
    };
    // all of the signature data; the certification data in it would run over its end
    let signature_data = 48 + 584;
    assert_eq!(grown(signature_data), Defect::Trailing { left: 1 });
    assert!(matches!(grown(signature_data + 4 + 64 + 64 + 2), Defect::Truncated { .. }));
}

#[test]
fn other_versions_keys_tees_vendors_and_certification_data_are_refused() {
    let bytes = Td::v5().quote();
    let refused = |at: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[at] = value;
        Quote::parse(&changed).unwrap_err().field
    };
    assert_eq!(refused(0, 3), "header.version");
    assert_eq!(refused(0, 6), "header.version");
    assert_eq!(refused(2, 3), "header.attestation_key_type");
    assert_eq!(refused(4, 0), "header.tee_type");
    assert_eq!(refused(12, 0), "header.qe_vendor_id");
    assert_eq!(refused(48, 1), "body.type");
    assert_eq!(refused(48, 5), "body.type");
    assert_eq!(refused(50, 1), "body.size");
    let certification = 54 + 648 + 4 + 128;
    assert_eq!(refused(certification, 5), "certification_data.type");
    assert_eq!(refused(certification + 6 + 384 + 64 + 2 + 32, 1), "certification_data.type");
}

#[test]
fn what_follows_a_quote_may_be_longer_than_a_quote_may() {
    let td = Td::v4();
    for count in [12_000, 60_000, 2 << 20] {
        let padded = [td.quote(), vec![0xee; count]].concat();
        let verified = verify_quote(&padded, &td.endorsements(), td.now).unwrap();
        assert_eq!(verified.trailing_bytes(), count);
    }
    let chain = [td.pck_der(), td.ca_der(), td.root_der()].map(|der| pem(&der)).concat();
    let long = td.quote_with(format!("{chain}{}", " ".repeat(QUOTE_BYTES_MAX)).as_bytes());
    let refused = Quote::parse(&long).unwrap_err();
    assert_eq!((refused.field, refused.code()), ("quote", "tdx.quote.malformed"));
    let item = [long.clone(), vec![0; QUOTE_AREA_BYTES_MAX - long.len()]].concat();
    assert!(TdxItem::parse(&TdxItem { quote: &item, ccel: None }.encode()).is_ok());
}

#[test]
fn a_quote_by_another_key_than_its_own_is_refused() {
    check(Td::v4, |td| td.keys.quote = intel::stranger_key(), "tdx.quote.signature");
}

#[test]
fn a_quoting_enclave_that_the_pck_did_not_sign_is_refused() {
    check(Td::v4, |td| td.keys.qe = intel::stranger_key(), "tdx.qe.signature");
}

#[test]
fn a_quoting_enclave_that_vouches_for_another_key_is_refused() {
    check(Td::v4, |td| td.qe_report_data = Some([7; 64]), "tdx.qe.attestation_key");
    let full = |tail: u8| {
        move |td: &mut Td| {
            let key = intel::coordinates(intel::attestation_key());
            let mut data = [0; 64];
            data[..32].copy_from_slice(&holdfast_evidence::crypto::sha256(&[&key, &td.authentication_data]));
            data[63] = tail;
            td.qe_report_data = Some(data);
        }
    };
    assert!(Td::v4().with(full(0)).verify().is_ok());
    check(Td::v4, full(1), "tdx.qe.attestation_key");
}

#[test]
fn a_pck_chain_without_a_trusted_root_is_refused() {
    let (td, stranger) = (Td::v4(), Td::v4().with(|td| td.root = Template::ca("Other Root", 9, 1)));
    let mut endorsements = td.endorsements();
    endorsements.roots = stranger.roots();
    assert_eq!(verify_quote(&td.quote(), &endorsements, td.now).unwrap_err().code(), "tdx.pck.untrusted");
    endorsements.roots = Arc::default();
    assert_eq!(verify_quote(&td.quote(), &endorsements, td.now).unwrap_err().code(), "tdx.pck.untrusted");
}

#[test]
fn certificates_of_the_pck_chain_are_asked_for_their_dates() {
    let late = date_time_ymd(2025, 12, 31);
    let early = date_time_ymd(2026, 1, 2);
    check(Td::v4, |td| td.pck.params.not_after = late, "tdx.pck.expired");
    check(Td::v4, |td| td.pck.params.not_before = early, "tdx.pck.expired");
    check(Td::v4, |td| td.ca.params.not_after = late, "tdx.pck.expired");
    check(Td::v4, |td| td.ca.params.not_before = early, "tdx.pck.expired");
    check(Td::v4, |td| td.root.params.not_after = late, "tdx.pck.expired");
}

#[test]
fn certificates_of_the_pck_chain_are_asked_for_their_signatures() {
    check(Td::v4, |td| td.keys.pck_issuer = intel::stranger_key(), "tdx.pck.signature");
    check(Td::v4, |td| td.keys.ca_issuer = intel::stranger_key(), "tdx.pck.signature");
}

#[test]
fn certificates_of_the_pck_chain_are_asked_for_their_rights() {
    let rights = "tdx.pck.rights";
    check(Td::v4, |td| td.pck.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), rights);
    check(Td::v4, |td| td.pck.params.key_usages = vec![KeyUsagePurpose::KeyAgreement], rights);
    check(Td::v4, |td| td.pck.params.key_usages.push(KeyUsagePurpose::KeyCertSign), rights);
    check(Td::v4, |td| td.ca.params.is_ca = IsCa::ExplicitNoCa, rights);
    check(Td::v4, |td| td.ca.params.key_usages = vec![KeyUsagePurpose::CrlSign], rights);
    check(Td::v4, |td| td.root.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), rights);
}

#[test]
fn a_chain_that_is_not_there_or_none_of_ours_is_refused() {
    let td = Td::v4();
    let code = |pem: &[u8]| verify_quote(&td.quote_with(pem), &td.endorsements(), td.now).unwrap_err().code();
    assert_eq!(code(b""), "tdx.pck.missing");
    assert_eq!(code(pem(&td.pck_der()).as_bytes()), "tdx.pck.missing");
    assert_eq!(code([pem(b"0\x03\x02\x01\x01"), pem(&td.ca_der())].concat().as_bytes()), "tdx.pck.malformed");
    let other = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let leaf = td.pck.issued(&other, &td.ca, intel::ca_key());
    assert_eq!(code([pem(&leaf), pem(&td.ca_der())].concat().as_bytes()), "tdx.pck.malformed");
    // a certificate without an SGX extension: a signer of documents, say
    let signer = td.signer.issued(intel::pck_key(), &td.ca, intel::ca_key());
    assert_eq!(code([pem(&signer), pem(&td.ca_der())].concat().as_bytes()), "tdx.pck.extension");
}

#[test]
fn an_sgx_extension_of_other_sizes_is_refused() {
    let extension = "tdx.pck.extension";
    check(Td::v4, |td| td.extension.pce_id = vec![0, 0, 0], extension);
    check(Td::v4, |td| td.extension.ppid = vec![0; 15], extension);
    check(Td::v4, |td| td.extension.piid = Some(vec![0; 17]), extension);
}

#[test]
fn a_chain_that_was_asked_before_stands_in_for_its_signatures_and_nothing_else() {
    let good = Td::v4();
    let pck = Some(Arc::new(pck_chain(&Quote::parse(&good.quote()).unwrap(), &good.roots(), NOW).unwrap()));
    let with = |td: &Td, now| {
        let endorsements = TdxEndorsements { pck: pck.clone(), ..td.endorsements() };
        verify_quote(&td.quote(), &endorsements, now)
    };
    assert_eq!(with(&good, NOW).unwrap(), good.verify().unwrap());
    let code = |change: fn(&mut Td)| with(&Td::v4().with(change), NOW).unwrap_err().code();
    assert_eq!(code(|td| td.keys.pck_issuer = intel::pck_key()), "tdx.pck.signature");
    assert_eq!(code(|td| td.keys.ca_issuer = intel::ca_key()), "tdx.pck.signature");
    assert_eq!(code(|td| td.keys.qe = intel::ca_key()), "tdx.qe.signature");
    assert_eq!(code(|td| td.revoked[1] = vec![PCK_SERIAL]), "tdx.pck.revoked");
    let other = TdxEndorsements { pck: pck.clone(), roots: Arc::default(), ..good.endorsements() };
    assert_eq!(verify_quote(&good.quote(), &other, NOW).unwrap_err().code(), "tdx.pck.untrusted");
}

#[test]
fn revoked_certificates_of_the_pck_chain_are_refused() {
    check(Td::v4, |td| td.revoked[1] = vec![9, PCK_SERIAL], "tdx.pck.revoked");
    check(Td::v4, |td| td.revoked[0] = vec![CA_SERIAL], "tdx.pck.revoked");
    // another certificate's number revokes nothing of ours
    assert!(Td::v4().with(|td| td.revoked = [vec![PCK_SERIAL], vec![CA_SERIAL]]).verify().is_ok());
}

#[test]
fn every_bit_of_debug_is_refused() {
    for bit in 0..8 {
        check(Td::v4, |td| td.attribute(bit), "tdx.td.debug");
        check(Td::v5, |td| td.attribute(bit), "tdx.td.debug");
    }
}

#[test]
fn every_reserved_attribute_is_refused() {
    for bit in (8..16).chain(23..27).chain(32..62) {
        check(Td::v4, |td| td.attribute(bit), "tdx.td.reserved");
    }
    for bit in (18..23).chain([16, 27, 30, 31, 62, 63]) {
        assert!(Td::v4().with(|td| td.attribute(bit)).verify().is_ok(), "bit {bit}");
    }
}

#[test]
fn a_migratable_guest_and_one_without_sept_ve_disable_are_refused() {
    check(Td::v4, |td| td.attribute(29), "tdx.td.migratable");
    check(Td::v4, |td| td.body[at::TDATTRIBUTES + 3] = 0, "tdx.td.sept_ve");
}

#[test]
fn a_module_that_is_not_intels_or_not_in_production_is_refused() {
    check(Td::v4, |td| td.body[at::MRSIGNERSEAM] = 1, "tdx.seam.signer");
    check(Td::v4, |td| td.body[at::MRSIGNERSEAM + 47] = 1, "tdx.seam.signer");
    for byte in 0..8 {
        check(Td::v4, |td| td.body[at::SEAMATTRIBUTES + byte] = 1, "tdx.seam.attributes");
    }
}

#[test]
fn a_service_td_is_refused_unless_it_is_listed() {
    let service = [0x5e; 48];
    let bound = |td: &mut Td| td.put(at::MRSERVICETD, &service);
    check(Td::v5, bound, "tdx.td.service_td");
    check(Td::v5_extended, |td| td.put(at::CUR_SERVTD_HASH, &service), "tdx.td.service_td");
    check(Td::v5_extended, |td| td.put(at::CUR_SERVTD_HASH + 47, &[1]), "tdx.td.service_td");
    let listed = Td::v5().with(bound).with(|td| td.service_tds = vec![[1; 48], service]);
    assert!(listed.verify().unwrap().report().has_service_td());
    // one that says so without a measurement that anybody could list
    check(Td::v4, |td| td.attribute(17), "tdx.td.service_td");
    check(Td::v5, |td| td.attribute(17), "tdx.td.service_td");
}

#[test]
fn a_report_for_a_partition_is_refused() {
    check(Td::v5_extended, |td| td.body[at::VMID] = 1, "tdx.td.partition");
}

#[test]
fn the_quoting_enclave_is_the_one_that_intel_describes() {
    let identity = "tdx.qe.identity";
    check(Td::v4, |td| td.qe_report[qe::MRSIGNER] ^= 1, identity);
    check(Td::v4, |td| td.qe_report[qe::MRSIGNER + 31] ^= 1, identity);
    check(Td::v4, |td| td.qe_report[qe::ISVPRODID] = 1, identity);
    check(Td::v4, |td| td.qe_report[qe::ISVPRODID + 1] = 1, identity);
    check(Td::v4, |td| td.qe_report[qe::MISCSELECT] = 1, identity);
    check(Td::v4, |td| td.qe_report[qe::ATTRIBUTES + 1] = 1, identity);
    // a quoting enclave under debug, also where the mask would let it pass
    check(Td::v4, |td| td.qe_report[qe::ATTRIBUTES] |= 2, identity);
    let unmasked = |td: &mut Td| td.qe_identity["attributesMask"] = "00".repeat(16).into();
    assert!(Td::v4().with(unmasked).verify().is_ok());
    let debugged = Td::v4().with(unmasked).with(|td| td.qe_report[qe::ATTRIBUTES] |= 2);
    assert_eq!(debugged.verify().unwrap_err(), Unverified::QeIdentity { field: "ATTRIBUTES" });
}

#[test]
fn report_data_is_what_was_to_be_signed_and_zeros() {
    let td = Td::v4().with(|td| {
        td.put(at::REPORTDATA, &[0; 64]);
        td.put(at::REPORTDATA, b"binding");
    });
    let bytes = td.quote();
    let quote = Quote::parse(&bytes).unwrap();
    assert!(checks::report_data(&quote, b"binding").is_ok());
    assert!(checks::report_data(&quote, b"binding\0\0").is_ok());
    for other in [&b"bindinG"[..], b"bindin", b"", &[0; 65], b"binding!"] {
        assert_eq!(checks::report_data(&quote, other), Err(Unverified::ReportData));
    }
}

#[test]
fn the_pck_chain_alone_costs_no_collateral() {
    let td = Td::v4();
    let bytes = td.quote();
    let verified = pck_chain(&Quote::parse(&bytes).unwrap(), &td.roots(), td.now).unwrap();
    assert_eq!(verified.platform().kind, td.kind());
    assert_eq!(verified.platform().instance_id, Some([0x22; 16]));
    assert_eq!(verified.platform().smt_enabled, Some(true));
    assert_eq!(verified.root().name, "Made-up SGX Root CA");
    assert_eq!(verified.not_after().seconds(), 1_893_456_000);
}
