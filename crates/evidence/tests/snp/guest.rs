//! A guest on a made-up chip: report, certificates and what the verifier brings, good by default and spoiled by one
//! closure. What is spoiled is signed anew, so that nothing but the check in question can refuse it.

use std::sync::Arc;

use holdfast_evidence::TrustClass;
use holdfast_evidence::snp::{Product, SnpEndorsements, SnpItem, Unverified, VekKind, VerifiedReport, verify_report};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_identity::UnixTime;

use super::pki::{Certificate, Extension, ReportKey, Rsa, der};

/// 2026-01-01; everything is valid from 2020 to 2030.
pub(crate) const NOW: UnixTime = UnixTime(1_767_225_600);
/// AMD's arc.
pub(crate) const ARC: &str = "1.3.6.1.4.1.3704.1";

/// Every input of a verification.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) report: Vec<u8>,
    pub(crate) vek: Certificate,
    pub(crate) ask: Certificate,
    pub(crate) ark: Certificate,
    /// Whether the VEK signs what the report says when it is verified.
    pub(crate) signed: bool,
    pub(crate) lists: Vec<Vec<u8>>,
    pub(crate) class: TrustClass,
    pub(crate) now: UnixTime,
}

/// DER `INTEGER` from 0 to 255.
pub(crate) fn integer(value: u8) -> Vec<u8> {
    if value < 0x80 { vec![2, 1, value] } else { vec![2, 2, 0, value] }
}

/// The chip.
pub(crate) fn chip_id(product: Product) -> [u8; 64] {
    let mut id = [0; 64];
    for (at, byte) in id.iter_mut().enumerate().take(product.chip_id_bytes()) {
        *byte = at as u8 + 1;
    }
    id
}

impl Guest {
    /// A guest of a product whose reports are signed by that kind of key.
    pub(crate) fn new(product: Product, kind: VekKind) -> Self {
        let ask_name = match kind {
            VekKind::Vcek => format!("SEV-{product}"),
            VekKind::Vlek => format!("SEV-VLEK-{product}"),
        };
        let ark_name = format!("ARK-{product}");
        Self {
            report: good_report(product, kind),
            vek: good_vek(product, kind, &ask_name),
            ask: Certificate::ca(&ark_name, &ask_name, Rsa::ask()),
            ark: Certificate::ca(&ark_name, &ark_name, Rsa::ark()),
            signed: true,
            lists: Vec::new(),
            class: TrustClass::Firmware,
            now: NOW,
        }
    }

    /// A Milan guest under a VCEK.
    pub(crate) fn milan() -> Self {
        Self::new(Product::Milan, VekKind::Vcek)
    }

    /// The same with one thing changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Overwrites bytes of the report.
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.report[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The report as the chip hands it out.
    pub(crate) fn report_bytes(&self) -> Vec<u8> {
        let mut report = self.report.clone();
        if self.signed {
            let (mut r, mut s) = ReportKey::vek().sign(&report[..0x2a0]);
            r.reverse();
            s.reverse();
            report[0x2a0..0x2a0 + 48].copy_from_slice(&r);
            report[0x2e8..0x2e8 + 48].copy_from_slice(&s);
        }
        report
    }

    /// VEK and intermediate, DER.
    pub(crate) fn certificates(&self) -> Vec<Vec<u8>> {
        vec![self.vek.sign(Rsa::ask()), self.ask.sign(Rsa::ark())]
    }

    /// What the verifier brings beside certificates.
    pub(crate) fn endorsements(&self) -> SnpEndorsements {
        let mut roots = Roots::new();
        roots.add(Anchor::new(&self.ark.sign(Rsa::ark()), self.class).unwrap());
        self.lists.iter().for_each(|list| roots.add_crl(list).unwrap());
        SnpEndorsements { roots: Arc::new(roots), ..SnpEndorsements::default() }
    }

    pub(crate) fn verify(&self) -> Result<VerifiedReport, Unverified> {
        verify_report(&self.report_bytes(), &self.certificates(), &self.endorsements(), self.now)
    }

    /// The code of its refusal, or `accepted`.
    pub(crate) fn code(&self) -> &'static str {
        self.verify().map_or_else(|refusal| refusal.code(), |_| "accepted")
    }
}

/// Asserts how a guest that one closure spoiled is judged; and that the refusal comes from no missing endorsement.
#[track_caller]
pub(crate) fn check(guest: Guest, spoil: impl FnOnce(&mut Guest), expected: &str) {
    assert_eq!(guest.code(), "accepted", "the guest is good before it is spoiled");
    assert_eq!(guest.with(spoil).code(), expected);
}

/// A GHCB table with these certificates.
pub(crate) fn table(certificates: &[Vec<u8>]) -> Vec<u8> {
    const GUIDS: [&str; 2] = ["63da758de6644564adc5f4b93be8accd", "4ab7b379bbac4fe4a02f05aef327c782"];
    let (mut entries, mut contents) = (Vec::new(), Vec::new());
    let start = 24 * (certificates.len() + 1);
    for (guid, certificate) in GUIDS.iter().zip(certificates) {
        entries.extend(hex::decode(guid).unwrap());
        entries.extend(u32::try_from(start + contents.len()).unwrap().to_le_bytes());
        entries.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        contents.extend_from_slice(certificate);
    }
    entries.extend([0; 24]);
    [entries, contents].concat()
}

/// The item that `guest` sends, once it signed `data`.
pub(crate) fn item(guest: &Guest, data: &[u8]) -> Vec<u8> {
    let mut guest = guest.clone();
    guest.put(0x50, &[0; 64]);
    guest.put(0x50, data);
    SnpItem { report: &guest.report_bytes(), certificates: &table(&guest.certificates()) }.encode()
}

fn good_report(product: Product, kind: VekKind) -> Vec<u8> {
    let (version, cpuid, tcb): (u8, _, _) = match product {
        Product::Milan => (3, [0x19, 0x01, 1], [4, 0, 0, 0, 0, 0, 24, 219]),
        Product::Genoa => (3, [0x19, 0x11, 1], [10, 0, 0, 0, 0, 0, 23, 84]),
        Product::Turin => (5, [0x1a, 0x02, 1], [1, 2, 3, 4, 0, 0, 0, 81]),
    };
    let mut report = vec![0; 1184];
    let mut put = |offset: usize, bytes: &[u8]| report[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0x000, &[version]);
    put(0x004, &7u32.to_le_bytes());
    put(0x008, &0x3_001f_u64.to_le_bytes());
    put(0x010, &[0x11; 16]);
    put(0x020, &[0x22; 16]);
    put(0x034, &1u32.to_le_bytes());
    put(0x038, &tcb);
    put(0x040, &0x25u64.to_le_bytes());
    if kind == VekKind::Vlek {
        put(0x048, &4u32.to_le_bytes());
    }
    put(0x050, &[0x33; 32]);
    put(0x090, &[0x44; 48]);
    put(0x0c0, &[0x55; 32]);
    put(0x0e0, &[0x66; 48]);
    put(0x140, &[0x77; 32]);
    put(0x160, &[0xff; 32]);
    put(0x180, &tcb);
    put(0x188, &cpuid);
    if kind == VekKind::Vcek {
        put(0x1a0, &chip_id(product));
    }
    put(0x1e0, &tcb);
    put(0x1e8, &[40, 55, 1]);
    put(0x1ec, &[39, 55, 1]);
    put(0x1f0, &tcb);
    if version >= 5 {
        put(0x1f8, &0x3fu64.to_le_bytes());
        put(0x200, &0x3bu64.to_le_bytes());
    }
    report
}

fn good_vek(product: Product, kind: VekKind, issuer: &str) -> Certificate {
    let mut vek = Certificate::new(issuer, kind.common_name(), ReportKey::vek().spki());
    vek.serial = vec![0];
    let spl: &[(&str, u8)] = match product {
        Product::Milan => {
            &[("3.1", 4), ("3.2", 0), ("3.4", 0), ("3.5", 0), ("3.6", 0), ("3.7", 0), ("3.3", 24), ("3.8", 219)]
        }
        Product::Genoa => {
            &[("3.1", 10), ("3.2", 0), ("3.4", 0), ("3.5", 0), ("3.6", 0), ("3.7", 0), ("3.3", 23), ("3.8", 84)]
        }
        Product::Turin => {
            &[("3.9", 1), ("3.1", 2), ("3.2", 3), ("3.3", 4), ("3.5", 0), ("3.6", 0), ("3.7", 0), ("3.8", 81)]
        }
    };
    let (struct_version, product_name) = match product {
        Product::Milan => (0, "Milan-B0"),
        Product::Genoa => (0, "Genoa"),
        Product::Turin => (1, "Turin"),
    };
    let mut add = |last: &str, value: Vec<u8>| {
        vek.extensions.push(Extension::new(&format!("{ARC}.{last}"), false, value));
    };
    add("1", integer(struct_version));
    add("2", der(0x16, product_name.as_bytes()));
    for (last, value) in spl {
        add(last, integer(*value));
    }
    match kind {
        VekKind::Vcek => add("4", chip_id(product)[..product.chip_id_bytes()].to_vec()),
        VekKind::Vlek => add("5", der(0x16, b"CN=cc-test.example")),
    }
    vek
}
