//! No byte of anything that is signed may change: of the report, of the VEK's certificate, of its issuer's.

use std::sync::Arc;

use holdfast_evidence::snp::{SnpEndorsements, verify_report};

use crate::guest::Guest;
use crate::real::{Real, reports};

/// Flips one bit of every byte, another one from byte to byte.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).map(|at| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        (at, changed)
    })
}

fn report_of(real: &Real) {
    let verified = real.verify_at(real.now).unwrap();
    // the chain is kept, so that each flip costs one signature
    let endorsements = SnpEndorsements { verified: vec![Arc::clone(verified.verified_vek())], ..real.endorsements() };
    assert!(verify_report(&real.report, &[], &endorsements, real.now).is_ok());
    for (at, changed) in flipped(&real.report) {
        assert!(verify_report(&changed, &[], &endorsements, real.now).is_err(), "{} byte {at:#x}", real.name);
    }
}

fn certificates_of(real: &Real) {
    let endorsements = real.endorsements();
    let verify = |vek: &[u8], issuer: &[u8]| {
        verify_report(&real.report, &[vek.to_vec(), issuer.to_vec()], &endorsements, real.now)
    };
    for (at, changed) in flipped(&real.vek) {
        assert!(verify(&changed, &real.issuer).is_err(), "{} VEK byte {at}", real.name);
    }
    for (at, changed) in flipped(&real.issuer) {
        assert!(verify(&real.vek, &changed).is_err(), "{} issuer byte {at}", real.name);
    }
}

#[test]
fn no_byte_of_a_real_report_may_change() {
    reports().iter().for_each(report_of);
}

#[test]
fn no_byte_of_a_real_vcek_or_its_issuer_may_change() {
    reports().iter().filter(|real| ["milan v3", "genoa v3"].contains(&real.name)).for_each(certificates_of);
}

#[test]
fn no_byte_of_a_real_turin_vcek_or_vlek_or_its_issuer_may_change() {
    reports().iter().filter(|real| ["turin v5", "milan vlek"].contains(&real.name)).for_each(certificates_of);
}

#[test]
fn no_byte_of_a_made_report_may_change() {
    let guest = Guest::milan();
    let (report, certificates, endorsements) = (guest.report_bytes(), guest.certificates(), guest.endorsements());
    let kept = verify_report(&report, &certificates, &endorsements, guest.now).unwrap();
    let endorsements = SnpEndorsements { verified: vec![Arc::clone(kept.verified_vek())], ..endorsements };
    for (at, changed) in flipped(&report) {
        assert!(verify_report(&changed, &[], &endorsements, guest.now).is_err(), "byte {at:#x}");
    }
}

#[test]
fn no_byte_of_a_made_vek_may_change() {
    let guest = Guest::milan();
    let ([vek, issuer], endorsements) = (<[Vec<u8>; 2]>::try_from(guest.certificates()).unwrap(), guest.endorsements());
    for (at, changed) in flipped(&vek) {
        let refused = verify_report(&guest.report_bytes(), &[changed, issuer.clone()], &endorsements, guest.now);
        assert!(refused.is_err(), "byte {at}");
    }
}

#[test]
fn cut_reports_are_refused() {
    let guest = Guest::milan();
    let report = guest.report_bytes();
    for length in [0, 1, 0x2a0, 1183] {
        let refused = verify_report(&report[..length], &guest.certificates(), &guest.endorsements(), guest.now);
        assert_eq!(refused.unwrap_err().code(), "snp.report.malformed");
    }
    let longer = [report, vec![0]].concat();
    let refused = verify_report(&longer, &guest.certificates(), &guest.endorsements(), guest.now);
    assert_eq!(refused.unwrap_err().code(), "snp.report.malformed");
}
