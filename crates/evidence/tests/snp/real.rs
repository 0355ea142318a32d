//! Reports of real machines, judged as their provenance says. Reads `shared/vectors/cvm`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_evidence::TrustClass;
use holdfast_evidence::snp::{
    CertificateTable, Product, SnpEndorsements, TcbOf, Unverified, VekKind, VerifiedReport, bundle, verify_report,
};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_identity::UnixTime;

use crate::vectors;

/// 2026-11-21.
pub(crate) const TODAY: UnixTime = UnixTime(1_795_219_200);
/// 2025-06-01, inside the year of the VLEK.
pub(crate) const VLEK_DAY: UnixTime = UnixTime(1_748_736_000);

/// A real report with its certificates.
pub(crate) struct Real {
    pub(crate) name: &'static str,
    pub(crate) product: Product,
    pub(crate) kind: VekKind,
    pub(crate) now: UnixTime,
    pub(crate) report: Vec<u8>,
    /// The VEK's certificate, DER.
    pub(crate) vek: Vec<u8>,
    /// Its issuer's, DER.
    pub(crate) issuer: Vec<u8>,
    /// The root, DER.
    pub(crate) root: Vec<u8>,
}

const REPORTS: [(&str, &str, &str, Product, VekKind, UnixTime); 7] = [
    ("milan v3", "snp-milan/azure-aci-v3/report.bin", "vcek.pem", Product::Milan, VekKind::Vcek, TODAY),
    ("milan v2 azure", "snp-milan/trustee-v2/report.bin", "vcek.der", Product::Milan, VekKind::Vcek, TODAY),
    ("milan v2", "snp-milan/virtee-v2/report.bin", "vcek.der", Product::Milan, VekKind::Vcek, TODAY),
    ("genoa v3", "snp-genoa/azure-aci-v3/report.bin", "vcek.pem", Product::Genoa, VekKind::Vcek, TODAY),
    ("genoa configfs", "snp-genoa/configfs-tsm-v3/outblob.bin", "auxblob.bin", Product::Genoa, VekKind::Vcek, TODAY),
    ("turin v5", "snp-turin/azure-aci-v5/report.bin", "vcek.pem", Product::Turin, VekKind::Vcek, TODAY),
    ("milan vlek", "snp-milan-vlek-aws/report.bin", "vlek.der", Product::Milan, VekKind::Vlek, VLEK_DAY),
];

fn folder() -> Option<PathBuf> {
    vectors::folder().map(|folder| folder.join("cvm")).filter(|folder| folder.is_dir())
}

/// All of them; none where there are no vectors.
pub(crate) fn reports() -> Vec<Real> {
    let Some(folder) = folder() else { return Vec::new() };
    REPORTS
        .iter()
        .map(|(name, report, vek, product, kind, now)| {
            let path = folder.join(report);
            let certificates = std::fs::read(path.parent().unwrap().join(vek)).unwrap();
            let vek = if vek.ends_with("auxblob.bin") {
                CertificateTable::parse(&certificates).unwrap().certificates().unwrap().remove(2)
            } else {
                bundle(&certificates).unwrap().remove(0)
            };
            let lower = product.as_str().to_lowercase();
            let issuer = if *kind == VekKind::Vcek { "ask" } else { "asvk" };
            let read = |what: &str| std::fs::read(folder.join(format!("roots/amd-{lower}-{what}.der"))).unwrap();
            Real {
                name,
                product: *product,
                kind: *kind,
                now: *now,
                report: std::fs::read(&path).unwrap(),
                vek,
                issuer: read(issuer),
                root: read("ark"),
            }
        })
        .collect()
}

/// AMD's roots, all three.
pub(crate) fn endorsements(folder: &Path) -> SnpEndorsements {
    let mut roots = Roots::new();
    for product in ["milan", "genoa", "turin"] {
        let der = std::fs::read(folder.join(format!("cvm/roots/amd-{product}-ark.der"))).unwrap();
        roots.add(Anchor::new(&der, TrustClass::Firmware).unwrap());
    }
    SnpEndorsements { roots: Arc::new(roots), ..SnpEndorsements::default() }
}

impl Real {
    pub(crate) fn endorsements(&self) -> SnpEndorsements {
        endorsements(&vectors::folder().unwrap())
    }

    pub(crate) fn verify_at(&self, now: UnixTime) -> Result<VerifiedReport, Unverified> {
        verify_report(&self.report, &[self.vek.clone(), self.issuer.clone()], &self.endorsements(), now)
    }
}

#[test]
fn every_good_report_verifies() {
    for real in reports() {
        let verified = real.verify_at(real.now).unwrap_or_else(|refusal| panic!("{}: {refusal}", real.name));
        assert_eq!((verified.product(), verified.vek().kind), (real.product, real.kind), "{}", real.name);
        assert_eq!(verified.root().name, format!("ARK-{}", real.product));
    }
}

#[test]
fn the_facts_are_those_of_the_provenance() {
    let tcb = |real: &Real, of| {
        let verified = real.verify_at(real.now).unwrap();
        verified.report().tcb(of, real.product.layout()).unwrap().to_string()
    };
    for real in reports() {
        let verified = real.verify_at(real.now).unwrap();
        let report = verified.report();
        let (reported, firmware, vmpl, platform) = match real.name {
            "milan v3" => ("bl=4 tee=0 snp=24 ucode=219", "1.55.29", 0, 0x25),
            "milan v2 azure" => ("bl=3 tee=0 snp=8 ucode=115", "1.52.4", 0, 1),
            "milan v2" => ("bl=3 tee=0 snp=8 ucode=115", "1.52.4", 0, 1),
            "genoa v3" => ("bl=10 tee=0 snp=23 ucode=84", "1.55.40", 0, 0x27),
            "genoa configfs" => ("bl=10 tee=0 snp=23 ucode=84", "1.55.40", 0, 0x25),
            "turin v5" => ("fmc=1 bl=1 tee=1 snp=4 ucode=81", "1.55.65", 0, 0x65),
            "milan vlek" => ("bl=4 tee=0 snp=24 ucode=217", "1.55.29", 1, 0x27),
            other => panic!("{other}"),
        };
        assert_eq!(tcb(&real, TcbOf::Reported), reported, "{}", real.name);
        assert_eq!(report.current_firmware().to_string(), firmware);
        assert_eq!(report.committed_firmware().to_string(), firmware);
        assert_eq!((report.vmpl(), report.platform_info().0), (vmpl, platform));
    }
    for real in reports().iter().filter(|real| real.name == "milan vlek") {
        assert_eq!(tcb(real, TcbOf::Committed), "bl=4 tee=0 snp=24 ucode=219");
        assert_eq!(tcb(real, TcbOf::Current), "bl=4 tee=0 snp=24 ucode=220");
        assert_eq!(tcb(real, TcbOf::Launch), "bl=4 tee=0 snp=24 ucode=219");
        let verified = real.verify_at(real.now).unwrap();
        assert_eq!(verified.vek().csp_id.as_deref(), Some("CN=cc-us-east-2.amazonaws.com"));
        assert_eq!((verified.vek().product_name.as_str(), verified.report().chip_id()), ("Milan", [0; 64]));
        assert!(!verified.report().has_id_block());
    }
    for real in reports().iter().filter(|real| real.name == "turin v5") {
        assert_eq!(real.verify_at(real.now).unwrap().report().mitigations(), Some((0x3f, 0x3f)));
    }
}

#[test]
fn a_vlek_of_last_year_is_expired_today() {
    for real in reports().iter().filter(|real| real.kind == VekKind::Vlek) {
        assert_eq!(real.verify_at(TODAY).unwrap_err().code(), "snp.chain.expired");
    }
}

#[test]
fn a_vlek_does_not_chain_to_the_intermediate_of_vceks() {
    let Some(folder) = folder() else { return };
    for real in reports().iter().filter(|real| real.kind == VekKind::Vlek) {
        let ask = std::fs::read(folder.join("roots/amd-milan-ask.der")).unwrap();
        let refused = verify_report(&real.report, &[real.vek.clone(), ask], &real.endorsements(), real.now);
        assert_eq!(refused.unwrap_err().code(), "snp.chain.issuer_missing");
    }
}

#[test]
fn certificates_with_a_made_up_chip_are_refused() {
    let Some(folder) = folder() else { return };
    for real in reports().iter().filter(|real| real.name == "milan v2 azure") {
        // raw bytes, and an OCTET STRING of them; of another chip and TCB, and their signatures are nobody's
        for file in ["NEG-vcek-hwid-legacy-encoding.der", "NEG-vcek-hwid-new-encoding.der"] {
            let spoiled = std::fs::read(folder.join("snp-milan/trustee-v2").join(file)).unwrap();
            let endorsements = real.endorsements();
            let refused = verify_report(&real.report, &[spoiled.clone(), real.issuer.clone()], &endorsements, TODAY);
            assert_eq!(refused.unwrap_err().code(), "snp.tcb.certificate_mismatch", "{file}");
            let chain = holdfast_evidence::snp::verify_chain(&spoiled, &[&real.issuer], &endorsements.roots, TODAY);
            assert_eq!(chain.unwrap_err().code(), "snp.chain.signature", "{file}");
        }
    }
}

#[test]
fn no_report_verifies_with_another_ones_certificates() {
    let all = reports();
    for real in &all {
        for other in all.iter().filter(|other| other.name != real.name) {
            let refused = verify_report(
                &real.report,
                &[other.vek.clone(), other.issuer.clone()],
                &real.endorsements(),
                other.now,
            );
            assert!(!refused.unwrap_err().is_genuine(), "{} with {}", real.name, other.name);
        }
    }
}

#[test]
fn the_table_of_a_real_machine_is_enough() {
    let Some(folder) = folder() else { return };
    let table = std::fs::read(folder.join("snp-genoa/configfs-tsm-v3/auxblob.bin")).unwrap();
    let report = std::fs::read(folder.join("snp-genoa/configfs-tsm-v3/outblob.bin")).unwrap();
    let certificates = CertificateTable::parse(&table).unwrap().certificates().unwrap();
    assert_eq!(certificates.len(), 3);
    let endorsements = endorsements(&vectors::folder().unwrap());
    assert!(verify_report(&report, &certificates, &endorsements, TODAY).is_ok());
    // ARK, ASK and VEK of the table, and nobody who trusts the ARK
    let refused = verify_report(&report, &certificates, &SnpEndorsements::default(), TODAY);
    assert_eq!(refused.unwrap_err().code(), "snp.chain.untrusted");
}
