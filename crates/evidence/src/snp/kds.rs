//! What must be fetched for a report, and under which paths AMD's key distribution service (KDS,
//! `https://kdsintf.amd.com`) has it. Fetches nothing.

use super::bits::VekKind;
use super::certificate::{self, Vek, issuer_name};
use super::product::Product;
use super::report::{Report, TcbOf};
use super::tcb::Tcb;
use super::verify::fits;

/// What must be at hand before a report can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnpWants {
    /// The key that signed; `None` if the report names none, and then it verifies nowhere.
    pub kind: Option<VekKind>,
    /// By CPUID, or by the issuer of a certificate that came along; `None` for a report of version 2 that came alone.
    pub product: Option<Product>,
    /// The chip, padded with zeros; all zero where it is not named.
    pub chip_id: [u8; 64],
    /// The reported TCB as it stands in the report.
    pub reported_tcb: [u8; 8],
    /// Whether a certificate of the key came along that is for this chip and TCB, by its own words.
    pub vek_came_along: bool,
    /// Whether a certificate of that certificate's issuer came along, by its own words.
    pub issuer_came_along: bool,
}

impl SnpWants {
    fn of(report: &Report) -> Self {
        Self {
            kind: report.key_info().signed_by(),
            product: report.product(),
            chip_id: report.chip_id(),
            reported_tcb: report.raw_tcb(TcbOf::Reported),
            vek_came_along: false,
            issuer_came_along: false,
        }
    }

    /// What a report wants that came with these certificates, DER.
    pub(crate) fn beside(report: &Report, certificates: &[Vec<u8>]) -> Self {
        let mut wants = SnpWants::of(report);
        let parsed: Vec<_> = certificates.iter().filter_map(|der| certificate::parse(der)).collect();
        let mut veks = parsed.iter().filter_map(|certificate| Vek::read(certificate).ok());
        if let Some(vek) = veks.find(|vek| fits(report, vek).is_ok()) {
            let issuer = issuer_name(vek.kind, vek.product);
            let is_issuer = |name: Option<&str>| name == Some(&issuer);
            wants.product = Some(vek.product);
            wants.vek_came_along = true;
            wants.issuer_came_along =
                parsed.iter().any(|certificate| is_issuer(certificate::common_name(certificate.subject())));
        }
        wants
    }

    /// The reported TCB by component, in the layout of that product.
    #[must_use]
    pub const fn tcb(&self, product: Product) -> Option<Tcb> {
        Tcb::read(self.reported_tcb, product.layout())
    }

    /// Products to ask for: the one that is known, or those whose firmware made reports of version 2.
    #[must_use]
    pub fn products(&self) -> Vec<Product> {
        self.product.map_or_else(|| vec![Product::Milan, Product::Genoa], |product| vec![product])
    }

    /// Paths of the VCEK's certificate, most likely first. None for a VLEK, which AMD gives to providers alone, and
    /// none for a chip that is not named.
    #[must_use]
    pub fn vcek_paths(&self) -> Vec<String> {
        if self.kind != Some(VekKind::Vcek) || self.chip_id == [0; 64] {
            return Vec::new();
        }
        let path = |product: Product| Some(vcek_path(product, &self.chip_id, &self.tcb(product)?));
        self.products().into_iter().filter_map(path).collect()
    }
}

/// Path and query of a VCEK's certificate, DER: the chip in hex, the TCB in decimals of at least two digits.
#[must_use]
pub fn vcek_path(product: Product, chip_id: &[u8; 64], tcb: &Tcb) -> String {
    use std::fmt::Write as _;
    let mut path = format!("/vcek/v1/{product}/");
    for byte in chip_id.iter().take(product.chip_id_bytes()) {
        let _ = write!(path, "{byte:02x}");
    }
    path.push('?');
    if let Some(fmc) = tcb.fmc {
        let _ = write!(path, "fmcSPL={fmc:02}&");
    }
    let Tcb { bootloader, tee, snp, microcode, .. } = tcb;
    let _ = write!(path, "blSPL={bootloader:02}&teeSPL={tee:02}&snpSPL={snp:02}&ucodeSPL={microcode:02}");
    path
}

/// Path of the issuers of such keys, PEM: the intermediate, then the root.
#[must_use]
pub fn chain_path(kind: VekKind, product: Product) -> String {
    format!("/{}/v1/{product}/cert_chain", kind.as_str())
}

/// Path of the root's revocation list, DER.
#[must_use]
pub fn crl_path(kind: VekKind, product: Product) -> String {
    format!("/{}/v1/{product}/crl", kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_service() {
        let mut chip_id = [0; 64];
        chip_id[..8].copy_from_slice(&[0x59, 0x79, 0x0f, 0xb1, 0xc3, 0x9f, 0x35, 0xc1]);
        let tcb = Tcb { fmc: Some(1), bootloader: 1, tee: 1, snp: 4, microcode: 81 };
        assert_eq!(
            vcek_path(Product::Turin, &chip_id, &tcb),
            "/vcek/v1/Turin/59790fb1c39f35c1?fmcSPL=01&blSPL=01&teeSPL=01&snpSPL=04&ucodeSPL=81"
        );
        let tcb = Tcb { fmc: None, bootloader: 4, tee: 0, snp: 24, microcode: 219 };
        let hex = format!("59790fb1c39f35c1{}", "0".repeat(112));
        assert_eq!(
            vcek_path(Product::Milan, &chip_id, &tcb),
            format!("/vcek/v1/Milan/{hex}?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219")
        );
        assert_eq!(chain_path(VekKind::Vlek, Product::Genoa), "/vlek/v1/Genoa/cert_chain");
        assert_eq!(crl_path(VekKind::Vcek, Product::Turin), "/vcek/v1/Turin/crl");
    }

    #[test]
    fn nothing_is_asked_for_a_vlek_or_a_masked_chip() {
        let wants = SnpWants {
            kind: Some(VekKind::Vcek),
            product: None,
            chip_id: [7; 64],
            reported_tcb: [4, 0, 0, 0, 0, 0, 24, 219],
            vek_came_along: false,
            issuer_came_along: false,
        };
        let asked = wants.vcek_paths();
        assert!(
            asked[0].starts_with("/vcek/v1/Milan/0707") && asked[1].starts_with("/vcek/v1/Genoa/0707"),
            "{asked:?}"
        );
        let turin = SnpWants { product: Some(Product::Turin), ..wants.clone() };
        assert!(turin.vcek_paths().is_empty(), "spare bytes of that layout are not zero");
        for wants in [
            SnpWants { kind: Some(VekKind::Vlek), ..wants.clone() },
            SnpWants { kind: None, ..wants.clone() },
            SnpWants { chip_id: [0; 64], ..wants },
        ] {
            assert!(wants.vcek_paths().is_empty());
        }
    }
}
