//! Mistakes that verifiers of SNP reports have made, each as a test here.

use std::sync::Arc;

use holdfast_evidence::snp::{Product, SnpEndorsements, VekKind, checks, verify_chain, verify_report};

use crate::guest::{ARC, Guest, NOW, check};
use crate::pki::{Rsa, der, revocation_list};
use crate::real::reports;

/// A chip-id check that waits for the name `VCEK` never runs: the real name is `SEV-VCEK`.
#[test]
fn the_chip_is_checked_for_certificates_of_the_name_that_amd_gives_them() {
    check(Guest::milan(), |guest| guest.report[0x1a0] ^= 1, "snp.chip_id.mismatch");
    for real in reports().iter().filter(|real| real.kind == VekKind::Vcek) {
        let mut report = real.verify_at(real.now).unwrap().report().as_bytes().to_vec();
        report[0x1a7] ^= 1;
        let refused = verify_report(&report, &[real.vek.clone(), real.issuer.clone()], &real.endorsements(), real.now);
        assert_eq!(refused.unwrap_err().code(), "snp.chip_id.mismatch", "{}", real.name);
    }
}

/// A compare of 64 bytes refuses every Turin.
#[test]
fn an_8_byte_chip_id_is_compared_as_such() {
    for real in reports().iter().filter(|real| real.product == Product::Turin) {
        assert_eq!(real.verify_at(real.now).unwrap().vek().chip_id.as_ref().unwrap().len(), 8);
    }
}

/// Chip ids are raw: one that begins like DER is no DER, and nothing panics.
#[test]
fn a_chip_id_that_looks_like_der_is_taken_as_it_is() {
    let looks = [[0x04, 0x3e], [0x02, 0x3e], [0x30, 0x3e], [0x04, 0x82], [0x04, 0xff]];
    for first in looks {
        let mut id = [0x5a; 64];
        id[..2].copy_from_slice(&first);
        let guest = Guest::milan().with(|guest| {
            guest.put(0x1a0, &id);
            guest.vek.extension(&format!("{ARC}.4")).value = id.to_vec();
        });
        assert_eq!(guest.verify().unwrap().vek().chip_id.as_deref(), Some(&id[..]));
        let wrapped = guest.with(|guest| guest.vek.extension(&format!("{ARC}.4")).value = der(4, &id));
        assert_eq!(wrapped.verify().unwrap().vek().chip_id.as_deref(), Some(&id[..]), "the length says what it is");
    }
}

#[test]
fn dates_and_revocation_are_not_forgotten() {
    check(Guest::milan(), |guest| guest.vek.not_after = "250101000000Z", "snp.chain.expired");
    let list = revocation_list("ARK-Milan", &[&[1, 0, 1]], Rsa::ark());
    check(Guest::milan(), |guest| guest.lists.push(list), "snp.chain.revoked");
}

/// A root that was downloaded with the chain is anybody's root.
#[test]
fn a_chain_is_worth_what_the_pinned_root_is() {
    let guest = Guest::milan();
    let whole = [guest.certificates(), vec![guest.ark.sign(Rsa::ark())]].concat();
    let fetched = SnpEndorsements { certificates: whole.clone(), ..SnpEndorsements::default() };
    for endorsements in [fetched, SnpEndorsements::default()] {
        let refused = verify_report(&guest.report_bytes(), &whole, &endorsements, NOW).unwrap_err();
        assert_eq!(refused.code(), "snp.chain.untrusted");
    }
}

#[test]
fn a_vlek_is_supported_and_is_no_vcek() {
    let vlek = Guest::new(Product::Milan, VekKind::Vlek);
    assert_eq!(vlek.code(), "accepted");
    check(vlek.clone(), |guest| guest.put(0x48, &[0]), "snp.vek.kind");
    // a VLEK of the provider's choice cannot stand for a chip: its extensions name none
    check(vlek, |guest| guest.vek.subject = "SEV-VCEK".to_owned(), "snp.vek.issuer");
}

#[test]
fn the_fmc_of_turin_is_compared() {
    let spoil = |guest: &mut Guest| guest.vek.extension(&format!("{ARC}.3.9")).value = vec![2, 1, 9];
    check(Guest::new(Product::Turin, VekKind::Vcek), spoil, "snp.tcb.certificate_mismatch");
}

#[test]
fn reports_of_versions_3_and_5_are_read() {
    for (product, version) in [(Product::Milan, 3), (Product::Turin, 5)] {
        let verified = Guest::new(product, VekKind::Vcek).verify().unwrap();
        assert_eq!(verified.report().version(), version);
    }
}

/// Every caller of the library gets VMPL and debug checked: there is no way around, and no switch.
#[test]
fn vmpl_and_debug_are_checked_with_and_without_a_kept_chain() {
    let good = Guest::milan();
    let kept = Arc::clone(good.verify().unwrap().verified_vek());
    for (spoil, code) in [
        ((|guest| guest.put(0x0a, &[0x0b])) as fn(&mut Guest), "snp.guest_policy.debug"),
        (|guest| guest.put(0x30, &[0xff; 4]), "snp.report.vmpl"),
    ] {
        let spoiled = good.clone().with(spoil);
        assert_eq!(spoiled.code(), code);
        let endorsements = SnpEndorsements { verified: vec![Arc::clone(&kept)], ..good.endorsements() };
        let refused = verify_report(&spoiled.report_bytes(), &[], &endorsements, NOW).unwrap_err();
        assert_eq!(refused.code(), code);
    }
}

/// Expected data that is silently cut or padded lets a prefix pass.
#[test]
fn expected_report_data_is_never_cut_and_an_empty_one_never_met() {
    let report = Guest::milan().with(|guest| guest.put(0x50, &[0; 64])).verify().unwrap().report().clone();
    assert!(checks::report_data(&report, &[]).is_err());
    assert!(checks::report_data(&report, &[0; 64]).is_ok());
    assert!(checks::report_data(&report, &[0; 65]).is_err());
    let report = Guest::milan().with(|guest| guest.put(0x50, &[9; 64])).verify().unwrap().report().clone();
    assert!(checks::report_data(&report, &[9; 32]).is_err(), "what stands behind must be zero");
    assert!(checks::report_data(&report, &[9; 64]).is_ok());
    assert!(checks::report_data(&report, &[9; 65]).is_err());
}

/// The last byte of an INTEGER is its value by luck alone: 219 is `02 02 00 db`.
#[test]
fn an_spl_above_127_is_read_as_der() {
    let guest = Guest::milan().with(|guest| guest.vek.extension(&format!("{ARC}.3.8")).value = vec![2, 1, 0xdb]);
    assert_eq!(guest.code(), "snp.vek.malformed");
    assert_eq!(Guest::milan().verify().unwrap().vek().tcb.microcode, 219);
}

/// Every VEK has the serial number 0: a list that names it would revoke them all, and names none.
#[test]
fn a_list_of_serial_0_revokes_no_vek() {
    let list = revocation_list("ARK-Milan", &[&[0]], Rsa::ark());
    assert_eq!(Guest::milan().with(|guest| guest.lists.push(list)).code(), "accepted");
}

/// A digest of raw evidence is no replay key: the same statement has more than one signature.
#[test]
fn two_signatures_of_one_statement_are_both_good() {
    let guest = Guest::milan();
    let (one, two) = (guest.report_bytes(), guest.report_bytes());
    assert_ne!(one, two);
    for report in [one, two] {
        assert!(verify_report(&report, &guest.certificates(), &guest.endorsements(), NOW).is_ok());
    }
}

#[test]
fn a_chain_is_verified_before_its_key_is_used() {
    let guest = Guest::milan();
    let forged = guest.vek.sign(Rsa::ark());
    let endorsements = guest.endorsements();
    let refused = verify_chain(&forged, &guest.certificates(), &endorsements.roots, NOW).unwrap_err();
    assert_eq!(refused.code(), "snp.chain.signature");
}

/// A report that calls itself older is asked no less.
#[test]
fn what_an_older_version_must_show_is_no_less() {
    let old = Guest::milan().with(|guest| {
        guest.put(0, &[2]);
        guest.put(0x188, &[0; 3]);
        guest.put(0x50, &[9; 64]);
    });
    let report = old.verify().unwrap().report().clone();
    assert!(checks::report_data(&report, &[9; 32]).is_err());
    check(old.clone(), |guest| guest.put(0x0a, &[0x0b]), "snp.guest_policy.debug");
    check(old.clone(), |guest| guest.report[0x1a0] ^= 1, "snp.chip_id.mismatch");
    check(old, |guest| guest.put(0x30, &[7]), "snp.report.vmpl");
}
