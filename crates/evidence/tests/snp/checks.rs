//! One test per check: it spoils exactly that input, signs everything anew, and expects exactly that refusal.

use holdfast_evidence::crypto::{Curve, PublicKey};
use holdfast_evidence::snp::{Product, TcbOf, Unverified, VekKind};
use holdfast_evidence::{Provenance, TrustClass};

use crate::guest::{ARC, Guest, check, chip_id, integer};
use crate::pki::{Extension, Rsa, der};

const VCEK: VekKind = VekKind::Vcek;
const VLEK: VekKind = VekKind::Vlek;

fn arc(last: &str) -> String {
    format!("{ARC}.{last}")
}

#[test]
fn good_guests_of_every_product_and_key_are_accepted() {
    for product in Product::ALL {
        for kind in [VCEK, VLEK] {
            let verified = Guest::new(product, kind).verify().unwrap();
            assert_eq!((verified.product(), verified.vek().kind), (product, kind));
            assert_eq!(
                verified.vek().chip_id,
                (kind == VCEK).then(|| chip_id(product)[..product.chip_id_bytes()].to_vec())
            );
            assert_eq!(verified.vek().csp_id.as_deref(), (kind == VLEK).then_some("CN=cc-test.example"));
            assert_eq!(verified.report().tcb(TcbOf::Reported, product.layout()), Some(verified.vek().tcb));
            assert_eq!((verified.root().class, verified.provenance()), (TrustClass::Firmware, Provenance::Hardware));
            assert_eq!(verified.not_after().seconds(), 1_893_456_000);
        }
    }
}

#[test]
fn a_report_of_another_version_is_refused() {
    for version in [0u32, 1, 4, 6, 0x0100_0003, u32::MAX] {
        check(Guest::milan(), |guest| guest.put(0, &version.to_le_bytes()), "snp.report.version");
    }
}

#[test]
fn a_version_2_report_takes_its_product_from_the_issuer() {
    for product in Product::ALL {
        let old = Guest::new(product, VCEK).with(|guest| {
            guest.put(0, &[2]);
            guest.put(0x188, &[0; 3]);
            guest.put(0x1f8, &[0; 16]);
        });
        assert_eq!(old.verify().unwrap().product(), product);
        assert_eq!(old.verify().unwrap().report().mitigations(), None);
        check(old, |guest| guest.put(0x188, &[0x19, 1, 1]), "snp.report.reserved");
    }
}

#[test]
fn the_tcb_layout_follows_cpuid_and_not_the_version() {
    let genoa_v5 = Guest::new(Product::Genoa, VCEK).with(|guest| {
        guest.put(0, &[5]);
        guest.put(0x188, &[0x19, 0xa0]);
        guest.put(0x1f8, &[0x0b]);
        guest.put(0x200, &[0x0b]);
    });
    let verified = genoa_v5.verify().unwrap();
    assert_eq!((verified.product(), verified.report().mitigations()), (Product::Genoa, Some((0x0b, 0x0b))));
    let turin_v3 = Guest::new(Product::Turin, VCEK).with(|guest| {
        guest.put(0, &[3]);
        guest.put(0x1f8, &[0; 16]);
    });
    assert_eq!(turin_v3.verify().unwrap().vek().tcb.fmc, Some(1));
}

#[test]
fn another_signature_algorithm_is_refused() {
    for algorithm in [0u32, 2, 0x101] {
        check(Guest::milan(), |guest| guest.put(0x34, &algorithm.to_le_bytes()), "snp.report.signature_algorithm");
    }
}

#[test]
fn a_report_of_a_masked_chip_key_is_refused() {
    check(Guest::milan(), |guest| guest.put(0x48, &[2]), "snp.report.chip_key_masked");
    // as the firmware makes it: unsigned
    check(
        Guest::milan(),
        |guest| {
            guest.put(0x48, &[2]);
            guest.signed = false;
        },
        "snp.report.chip_key_masked",
    );
    check(Guest::milan(), |guest| guest.signed = false, "snp.report.signature");
}

#[test]
fn a_report_that_no_vek_signs_is_refused() {
    for signing_key in 2..8u8 {
        check(Guest::milan(), |guest| guest.put(0x48, &[signing_key << 2]), "snp.report.signing_key");
    }
}

#[test]
fn a_leaf_of_another_kind_than_the_signing_key_is_refused() {
    check(Guest::milan(), |guest| guest.put(0x48, &[4]), "snp.vek.kind");
    check(Guest::new(Product::Milan, VLEK), |guest| guest.put(0x48, &[0]), "snp.vek.kind");
}

#[test]
fn a_leaf_whose_issuer_is_for_the_other_kind_is_refused() {
    check(Guest::milan(), |guest| guest.vek.issuer = "SEV-VLEK-Milan".to_owned(), "snp.vek.issuer");
    check(Guest::new(Product::Milan, VLEK), |guest| guest.vek.issuer = "SEV-Milan".to_owned(), "snp.vek.issuer");
    check(Guest::milan(), |guest| guest.vek.issuer = "SEV-Rome".to_owned(), "snp.vek.issuer");
    check(Guest::milan(), |guest| guest.vek.issuer = "ARK-Milan".to_owned(), "snp.vek.issuer");
}

#[test]
fn a_leaf_of_another_name_is_no_vek() {
    for name in ["VCEK", "SEV-VCEK ", "sev-vcek", "SEV-Milan"] {
        check(Guest::milan(), |guest| guest.vek.subject = name.to_owned(), "snp.vek.missing");
    }
}

#[test]
fn a_report_of_an_unknown_processor_is_refused() {
    for cpuid in [[0x19, 0x20], [0x1a, 0x50], [0x17, 0x31], [0, 0]] {
        check(Guest::milan(), |guest| guest.put(0x188, &cpuid), "snp.product.unknown");
    }
}

#[test]
fn a_certificate_of_another_product_is_refused() {
    check(Guest::milan(), |guest| guest.put(0x188, &[0x19, 0x11]), "snp.product.mismatch");
    check(Guest::new(Product::Genoa, VCEK), |guest| guest.put(0x188, &[0x19, 0x01]), "snp.product.mismatch");
    check(Guest::new(Product::Turin, VCEK), |guest| guest.put(0x188, &[0x19, 0x11]), "snp.product.mismatch");
}

#[test]
fn each_component_of_the_reported_tcb_must_be_the_certified_one() {
    for product in Product::ALL {
        for at in 0..8 {
            for delta in [1u8, 0xff] {
                let spoil = |guest: &mut Guest| guest.report[0x180 + at] = guest.report[0x180 + at].wrapping_add(delta);
                check(Guest::new(product, VCEK), spoil, "snp.tcb.certificate_mismatch");
            }
        }
    }
    for last in ["3.1", "3.2", "3.3", "3.8"] {
        let spoil = |guest: &mut Guest| guest.vek.extension(&arc(last)).value = integer(99);
        check(Guest::milan(), spoil, "snp.tcb.certificate_mismatch");
    }
}

#[test]
fn the_other_tcbs_need_not_be_the_certified_one() {
    for of in [0x38, 0x1e0, 0x1f0] {
        let newer = Guest::milan().with(|guest| guest.report[of + 7] = 220);
        assert_eq!(newer.code(), "accepted");
        let spare = Guest::milan().with(|guest| guest.report[of + 3] = 1);
        assert_eq!(spare.code(), "snp.report.reserved");
    }
}

#[test]
fn a_certificate_for_another_chip_is_refused() {
    for product in Product::ALL {
        for at in [0, product.chip_id_bytes() - 1] {
            check(Guest::new(product, VCEK), |guest| guest.report[0x1a0 + at] ^= 1, "snp.chip_id.mismatch");
        }
    }
    check(Guest::milan(), |guest| guest.vek.extension(&arc("4")).value[63] ^= 1, "snp.chip_id.mismatch");
}

#[test]
fn the_rest_of_an_8_byte_chip_id_is_zero() {
    for at in [8, 63] {
        check(Guest::new(Product::Turin, VCEK), |guest| guest.report[0x1a0 + at] = 1, "snp.chip_id.mismatch");
    }
}

#[test]
fn a_vcek_report_without_a_chip_is_refused() {
    check(Guest::milan(), |guest| guest.put(0x1a0, &[0; 64]), "snp.chip_id.masked");
}

#[test]
fn a_vlek_report_may_name_its_chip_or_not() {
    let named = Guest::new(Product::Genoa, VLEK).with(|guest| guest.put(0x1a0, &[9; 64]));
    assert_eq!(named.code(), "accepted");
}

#[test]
fn a_vek_of_another_size_than_p384_is_refused() {
    let p256 = PublicKey::ec(Curve::P256, &[1], &[2]).unwrap().spki();
    check(Guest::milan(), |guest| guest.vek.spki = p256, "snp.vek.malformed");
    check(Guest::milan(), |guest| guest.vek.spki = Rsa::ask().spki(), "snp.vek.malformed");
}

#[test]
fn extensions_are_read_strictly() {
    let spoils: &[(Product, VekKind, &str, Option<Vec<u8>>)] = &[
        // structVersion
        (Product::Milan, VCEK, "1", Some(integer(1))),
        (Product::Turin, VCEK, "1", Some(integer(0))),
        (Product::Milan, VCEK, "1", Some(vec![2, 2, 0, 0])),
        (Product::Milan, VCEK, "1", None),
        // productName
        (Product::Milan, VCEK, "2", Some(der(0x16, b"Genoa"))),
        (Product::Milan, VCEK, "2", Some(der(0x16, b"MilanX"))),
        (Product::Milan, VCEK, "2", Some(der(0x0c, b"Milan-B0"))),
        (Product::Milan, VCEK, "2", Some(b"Milan-B0".to_vec())),
        (Product::Milan, VCEK, "2", None),
        // SPLs: an INTEGER in its shortest form, from 0 to 255
        (Product::Milan, VCEK, "3.8", Some(vec![2, 1, 219])),
        (Product::Milan, VCEK, "3.8", Some(vec![4, 1, 219])),
        (Product::Milan, VCEK, "3.8", Some(vec![219])),
        (Product::Milan, VCEK, "3.8", Some(vec![2, 2, 1, 219])),
        (Product::Milan, VCEK, "3.8", Some(vec![2, 3, 0, 0, 219])),
        (Product::Milan, VCEK, "3.8", Some(vec![2, 2, 0, 219, 0])),
        (Product::Milan, VCEK, "3.1", None),
        (Product::Milan, VCEK, "3.2", None),
        (Product::Milan, VCEK, "3.3", None),
        (Product::Milan, VCEK, "3.8", None),
        (Product::Turin, VCEK, "3.9", None),
        (Product::Milan, VCEK, "3.4", Some(integer(1))),
        (Product::Milan, VCEK, "3.7", Some(integer(1))),
        // hwID: raw bytes of the product's width, or an OCTET STRING of exactly these
        (Product::Milan, VCEK, "4", None),
        (Product::Milan, VCEK, "4", Some(chip_id(Product::Milan)[..8].to_vec())),
        (Product::Turin, VCEK, "4", Some(chip_id(Product::Turin).to_vec())),
        (Product::Milan, VCEK, "4", Some(der(4, &chip_id(Product::Milan)[..63]))),
        (Product::Milan, VCEK, "4", Some(der(2, &chip_id(Product::Milan)))),
        (Product::Milan, VCEK, "4", Some([der(4, &chip_id(Product::Milan)), vec![0]].concat())),
        (Product::Milan, VCEK, "4", Some([&[4, 0x81, 64][..], &chip_id(Product::Milan)].concat())),
        (Product::Milan, VCEK, "4", Some(der(4, &der(4, &chip_id(Product::Milan))))),
        (Product::Turin, VCEK, "4", Some(der(4, &chip_id(Product::Turin)))),
        // cspID
        (Product::Milan, VLEK, "5", None),
        (Product::Milan, VLEK, "5", Some(der(0x16, b""))),
        (Product::Milan, VLEK, "5", Some(der(0x16, b"CN=a\nb"))),
        (Product::Milan, VLEK, "5", Some(b"CN=cc-test.example".to_vec())),
    ];
    for (product, kind, last, value) in spoils {
        let spoil = |guest: &mut Guest| match value {
            Some(value) => guest.vek.extension(&arc(last)).value = value.clone(),
            None => guest.vek.extensions.retain(|extension| extension.oid != arc(last)),
        };
        let guest = Guest::new(*product, *kind).with(spoil);
        assert_eq!(guest.code(), "snp.vek.malformed", "{product} .{last} {value:x?}");
    }
}

#[test]
fn a_chip_id_may_stand_in_an_octet_string() {
    for product in Product::ALL {
        let id = chip_id(product)[..product.chip_id_bytes()].to_vec();
        let wrapped = |guest: &mut Guest| guest.vek.extension(&arc("4")).value = der(4, &id);
        let guest = Guest::new(product, VCEK).with(wrapped);
        assert_eq!(guest.verify().unwrap().vek().chip_id.as_deref(), Some(&id[..]), "{product}");
        let other = |guest: &mut Guest| guest.vek.extension(&arc("4")).value[3] ^= 1;
        check(guest, other, "snp.chip_id.mismatch");
    }
}

#[test]
fn extensions_of_the_other_kind_or_product_are_refused() {
    let add = |last: &'static str, value: Vec<u8>| {
        move |guest: &mut Guest| guest.vek.extensions.push(Extension::new(&arc(last), false, value))
    };
    check(Guest::milan(), add("5", der(0x16, b"CN=x")), "snp.vek.malformed");
    check(Guest::new(Product::Milan, VLEK), add("4", chip_id(Product::Milan).to_vec()), "snp.vek.malformed");
    check(Guest::milan(), add("3.9", integer(0)), "snp.vek.malformed");
    // twice
    check(Guest::milan(), add("3.1", integer(4)), "snp.vek.malformed");
}

#[test]
fn unknown_extensions_are_left_alone_unless_they_are_critical() {
    let add =
        |critical| move |guest: &mut Guest| guest.vek.extensions.push(Extension::new("1.2.3.4", critical, vec![5, 0]));
    assert_eq!(Guest::milan().with(add(false)).code(), "accepted");
    check(Guest::milan(), add(true), "snp.vek.malformed");
}

#[test]
fn reserved_bytes_of_a_report_are_zero() {
    let spoils = [
        (Product::Milan, [0x4c, 0x4f, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x1f8, 0x207, 0x208, 0x29f]),
        (Product::Turin, [0x4c, 0x4f, 0x18b, 0x19f, 0x1eb, 0x1ef, 0x208, 0x250, 0x29e, 0x29f]),
    ];
    for (product, offsets) in spoils {
        for offset in offsets {
            check(Guest::new(product, VCEK), |guest| guest.put(offset, &[1]), "snp.report.reserved");
        }
    }
    // key flags
    check(Guest::milan(), |guest| guest.put(0x48, &[0x20]), "snp.report.reserved");
    check(Guest::milan(), |guest| guest.put(0x4b, &[0x80]), "snp.report.reserved");
}

#[test]
fn a_report_that_no_guest_asked_for_is_refused() {
    for vmpl in 0..4u8 {
        assert_eq!(Guest::milan().with(|guest| guest.put(0x30, &[vmpl])).code(), "accepted");
    }
    check(Guest::milan(), |guest| guest.put(0x30, &[4]), "snp.report.vmpl");
    check(Guest::milan(), |guest| guest.put(0x30, &[0xff; 4]), "snp.report.vmpl");
}

#[test]
fn a_guest_that_may_be_debugged_is_refused() {
    check(Guest::milan(), |guest| guest.put(0x0a, &[0x0b]), "snp.guest_policy.debug");
}

#[test]
fn a_guest_with_a_migration_agent_is_refused() {
    check(Guest::milan(), |guest| guest.put(0x0a, &[0x07]), "snp.guest_policy.migration_agent");
}

#[test]
fn a_guest_policy_without_bit_17_or_with_unknown_bits_is_refused() {
    check(Guest::milan(), |guest| guest.put(0x0a, &[0x01]), "snp.guest_policy.bits");
    check(Guest::milan(), |guest| guest.put(0x0b, &[0x04]), "snp.guest_policy.bits");
    check(Guest::milan(), |guest| guest.put(0x0f, &[0x80]), "snp.guest_policy.bits");
    let strict = Guest::milan().with(|guest| guest.put(0x0a, &[0x92, 0x03]));
    assert_eq!(strict.code(), "accepted", "every known bit that forbids something");
}

#[test]
fn only_what_a_genuine_key_signed_is_a_genuine_refusal() {
    let refusal = |spoil: fn(&mut Guest)| Guest::milan().with(spoil).verify().unwrap_err();
    let genuine: [fn(&mut Guest); 4] = [
        |guest| guest.put(0x0a, &[0x0b]),
        |guest| guest.put(0x0a, &[0x07]),
        |guest| guest.put(0x30, &[9]),
        |guest| guest.put(0x208, &[1]),
    ];
    for spoil in genuine {
        assert!(refusal(spoil).is_genuine());
        let unsigned = Guest::milan().with(spoil).with(|guest| guest.signed = false).verify().unwrap_err();
        assert_eq!((unsigned.is_genuine(), unsigned.code()), (false, "snp.report.signature"));
    }
    let not: [fn(&mut Guest); 3] =
        [|guest| guest.put(0, &[4]), |guest| guest.put(0x48, &[2]), |guest| guest.report[0x180] ^= 1];
    for spoil in not {
        assert!(!refusal(spoil).is_genuine());
    }
}

#[test]
fn a_signature_has_one_encoding() {
    let guest = Guest::milan();
    let bytes = guest.report_bytes();
    let spoiled = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let (certificates, endorsements) = (guest.certificates(), guest.endorsements());
        holdfast_evidence::snp::verify_report(&bytes, &certificates, &endorsements, guest.now).unwrap_err()
    };
    // spare bytes of r and s, and everything behind
    for at in [0x2d0, 0x2e7, 0x318, 0x32f, 0x330, 0x49f] {
        assert_eq!(spoiled(at), Unverified::SignatureEncoding, "{at:#x}");
    }
    for at in [0x2a0, 0x2cf, 0x2e8, 0x317] {
        assert_eq!(spoiled(at), Unverified::Signature, "{at:#x}");
    }
}

#[test]
fn numbers_outside_the_group_are_no_signature() {
    let guest = Guest::milan();
    let order = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    let order: Vec<u8> = hex::decode(order).unwrap().into_iter().rev().collect();
    for (r, s) in [
        (&[0; 48][..], None),
        (&order, None),
        (&[0xff; 48], None),
        (&[1; 48], Some(&[0; 48][..])),
        (&[1; 48], Some(&order)),
    ] {
        let mut bytes = guest.report_bytes();
        bytes[0x2a0..0x2a0 + 48].copy_from_slice(r);
        if let Some(s) = s {
            bytes[0x2e8..0x2e8 + 48].copy_from_slice(s);
        }
        let (certificates, endorsements) = (guest.certificates(), guest.endorsements());
        let refused = holdfast_evidence::snp::verify_report(&bytes, &certificates, &endorsements, guest.now);
        assert_eq!(refused.unwrap_err(), Unverified::Signature);
    }
}
