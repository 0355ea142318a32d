//! The `sev` crate beside our own verifier: both agree on every real report, and on reports and certificates of which
//! one byte changed. It asks for no dates, no TCB, no chip and no policy, so that it accepts more; never less.

use sev::certs::snp::{Certificate, Chain, Verifiable as _, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use holdfast_evidence::snp::{Product, TcbOf, VekKind, verify_report};

use crate::guest::{Guest, NOW};
use crate::pki::Rsa;
use crate::real::{Real, reports};

fn sev_accepts(report: &[u8], vek: &[u8], issuer: &[u8], root: &[u8]) -> bool {
    let certificates = || -> std::io::Result<Chain> {
        Ok(Chain {
            ca: ca::Chain { ark: Certificate::from_der(root)?, ask: Certificate::from_der(issuer)? },
            vek: Certificate::from_der(vek)?,
        })
    };
    let (Ok(chain), Ok(report)) = (certificates(), AttestationReport::from_bytes(report)) else { return false };
    (&chain, &report).verify().is_ok()
}

fn ours_accepts(real: &Real, report: &[u8], vek: &[u8], issuer: &[u8]) -> bool {
    verify_report(report, &[vek.to_vec(), issuer.to_vec()], &real.endorsements(), real.now).is_ok()
}

#[test]
fn both_accept_every_real_report_and_read_the_same() {
    for real in reports() {
        assert!(sev_accepts(&real.report, &real.vek, &real.issuer, &real.root), "{}", real.name);
        assert!(ours_accepts(&real, &real.report, &real.vek, &real.issuer), "{}", real.name);
        let theirs = AttestationReport::from_bytes(&real.report).unwrap();
        let verified = real.verify_at(real.now).unwrap();
        let ours = verified.report();
        assert_eq!(ours.version(), theirs.version);
        assert_eq!((ours.guest_svn(), ours.vmpl()), (theirs.guest_svn, theirs.vmpl));
        assert_eq!(ours.measurement()[..], theirs.measurement[..]);
        assert_eq!(ours.report_data()[..], theirs.report_data[..]);
        assert_eq!(ours.host_data()[..], theirs.host_data[..]);
        assert_eq!(ours.id_key_digest()[..], theirs.id_key_digest[..]);
        assert_eq!(ours.author_key_digest()[..], theirs.author_key_digest[..]);
        assert_eq!(ours.chip_id()[..], theirs.chip_id[..]);
        assert_eq!(ours.report_id()[..], theirs.report_id[..]);
        for (of, theirs) in [
            (TcbOf::Reported, theirs.reported_tcb),
            (TcbOf::Committed, theirs.committed_tcb),
            (TcbOf::Current, theirs.current_tcb),
            (TcbOf::Launch, theirs.launch_tcb),
        ] {
            let ours = ours.tcb(of, real.product.layout()).unwrap();
            assert_eq!(
                (ours.fmc, ours.bootloader, ours.tee, ours.snp, ours.microcode),
                (theirs.fmc, theirs.bootloader, theirs.tee, theirs.snp, theirs.microcode),
                "{} {of:?}",
                real.name
            );
        }
        let both = theirs.launch_mit_vector.zip(theirs.current_mit_vector);
        assert_eq!(ours.mitigations(), both);
    }
}

/// It verifies what it encodes anew: bytes that it does not read may change under its eyes. These are all such.
fn it_does_not_read(product: Product, at: usize) -> bool {
    let spare = match product {
        Product::Milan | Product::Genoa => 2..6,
        Product::Turin => 4..7,
    };
    let in_a_tcb = [0x38, 0x180, 0x1e0, 0x1f0].iter().any(|tcb| spare.contains(&at.wrapping_sub(*tcb)));
    // behind r, and behind s
    in_a_tcb || (0x2d0..0x2e8).contains(&at) || at >= 0x318
}

#[test]
fn we_refuse_every_changed_byte_and_it_those_that_it_reads() {
    for real in reports() {
        for at in 0..real.report.len() {
            let mut changed = real.report.clone();
            changed[at] ^= 0x10;
            let theirs = at % 7 == 0 && sev_accepts(&changed, &real.vek, &real.issuer, &real.root);
            assert!(!ours_accepts(&real, &changed, &real.vek, &real.issuer), "{} byte {at:#x}", real.name);
            assert!(!theirs || it_does_not_read(real.product, at), "{} byte {at:#x}", real.name);
        }
    }
}

#[test]
fn both_judge_made_reports_alike() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for product in Product::ALL {
        for kind in [VekKind::Vcek, VekKind::Vlek] {
            for round in 0..6 {
                let mut guest = Guest::new(product, kind);
                for at in [0x04..0x08, 0x10..0x30, 0x50..0x188, 0x1e8..0x1eb, 0x1ec..0x1ef].into_iter().flatten() {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    guest.report[at] =
                        if (0x180..0x188).contains(&at) { guest.report[at] } else { (random >> 56) as u8 };
                }
                if kind == VekKind::Vlek {
                    // it wants to be told a chip
                    guest.put(0x1a0, &[1; 8]);
                }
                guest.signed = round % 2 == 0;
                let [vek, issuer] = guest.certificates().try_into().unwrap();
                let (report, root) = (guest.report_bytes(), guest.ark.sign(Rsa::ark()));
                let ours = verify_report(&report, &[vek.clone(), issuer.clone()], &guest.endorsements(), NOW);
                assert_eq!(ours.is_ok(), guest.signed, "{product} {kind} {ours:?}");
                assert_eq!(sev_accepts(&report, &vek, &issuer, &root), guest.signed, "{product} {kind}");
            }
        }
    }
}
