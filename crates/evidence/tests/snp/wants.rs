//! What an item wants fetched before it can be verified.

use holdfast_evidence::Evidence as _;
use holdfast_evidence::snp::{Product, SnpEvidence, SnpItem, SnpWants, VekKind};

use crate::guest::{Guest, chip_id, table};
use crate::pki::Rsa;

fn wants(guest: &Guest, certificates: &[Vec<u8>]) -> SnpWants {
    let item = SnpItem { report: &guest.report_bytes(), certificates: &table(certificates) }.encode();
    SnpEvidence::parse(&item).unwrap().wants()
}

#[test]
fn a_report_alone_wants_the_certificate_of_its_chip_and_reported_tcb() {
    let turin = Guest::new(Product::Turin, VekKind::Vcek).with(|guest| guest.put(0x38, &[9; 4]));
    let wants = wants(&turin, &[]);
    assert_eq!(
        (wants.kind, wants.product, wants.chip_id),
        (Some(VekKind::Vcek), Some(Product::Turin), chip_id(Product::Turin))
    );
    assert!(!wants.vek_came_along && !wants.issuer_came_along);
    assert_eq!(
        wants.vcek_paths(),
        ["/vcek/v1/Turin/0102030405060708?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=81"]
    );
}

#[test]
fn what_came_along_need_not_be_fetched() {
    let guest = Guest::milan();
    let [vek, ask] = guest.certificates().try_into().unwrap();
    let both = wants(&guest, &[vek.clone(), ask]);
    assert!(both.vek_came_along && both.issuer_came_along);
    let alone = wants(&guest, &[vek]);
    assert!(alone.vek_came_along && !alone.issuer_came_along);
    let stale = Guest::milan().with(|guest| guest.vek.extension("1.3.6.1.4.1.3704.1.3.8").value = vec![2, 1, 9]);
    assert!(!wants(&guest, &[stale.vek.sign(Rsa::ask())]).vek_came_along);
}

#[test]
fn a_version_2_report_learns_its_product_from_the_certificate_that_came() {
    let old = Guest::new(Product::Genoa, VekKind::Vcek).with(|guest| {
        guest.put(0, &[2]);
        guest.put(0x188, &[0; 3]);
    });
    assert_eq!(wants(&old, &old.certificates()).product, Some(Product::Genoa));
    let alone = wants(&old, &[]);
    assert_eq!((alone.product, alone.vcek_paths().len()), (None, 2));
}

#[test]
fn a_vlek_is_not_to_be_had_from_the_service() {
    let vlek = Guest::new(Product::Milan, VekKind::Vlek);
    let wants = wants(&vlek, &[]);
    assert_eq!((wants.kind, wants.vcek_paths().len()), (Some(VekKind::Vlek), 0));
}
