//! Mistakes that verifiers of TDX quotes have made, each as a test here.

use std::sync::Arc;

use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tdx::{CollateralParts, KnownCollateral, TcbStatus, TdxEndorsements, verify_quote};

use crate::intel::pem;
use crate::td::{NOW, Td, at, check, qe};

/// CVE-2026-22696: the identity document was not looked at, so that any enclave could vouch for a key.
#[test]
fn an_enclave_of_somebody_else_is_no_quoting_enclave() {
    check(Td::v4, |td| td.qe_report[qe::MRSIGNER..qe::MRSIGNER + 32].fill(0xaa), "tdx.qe.identity");
}

/// Old collateral keeps a platform up to date for ever.
#[test]
fn last_months_collateral_is_refused_as_such_and_the_machine_is_not() {
    let td = Td::v4().with(|td| td.now = NOW.plus(60 * 24 * 60 * 60));
    let refused = td.verify().unwrap_err();
    assert_eq!(refused.code(), "tdx.collateral.expired");
    assert!(refused.is_collateral() && !refused.is_genuine());
}

/// `verify` answers Ok with a status in a text, and the caller forgets it.
#[test]
fn a_platform_out_of_date_says_so_in_its_claims() {
    let verified = Td::v4().with(|td| td.extension.pce_svn = 10).verify().unwrap();
    assert_eq!(verified.tcb().status, TcbStatus::OutOfDate);
    assert_ne!(verified.tcb().status, Td::v4().verify().unwrap().tcb().status);
}

/// A quote is malleable: what follows it, how its certificates are set, and its own signature. Nothing by which a quote
/// could be known again may rest on any of it.
#[test]
fn bytes_behind_the_end_change_nothing_but_their_count() {
    let good = Td::v4().verify().unwrap();
    for trailing in [vec![0; 70], vec![0; 3065], vec![0xee; 39], b"another quote".to_vec()] {
        let count = trailing.len();
        let padded = Td::v4().with(|td| td.trailing = trailing).verify().unwrap();
        assert_eq!(padded.trailing_bytes(), count);
        assert_eq!((padded.report(), padded.tcb(), padded.platform()), (good.report(), good.tcb(), good.platform()));
        assert_eq!((padded.launch(), padded.not_after()), (good.launch(), good.not_after()));
    }
}

#[test]
fn the_signature_of_a_quote_is_no_key_to_know_it_by() {
    // r, n - s: the other signature that everybody can compute from the first
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let td = Td::v4();
    let bytes = td.quote();
    let s_at = 48 + 584 + 4 + 32;
    let order: Vec<u8> = hex::decode(ORDER).unwrap();
    let mut borrow = 0;
    let mut negated = bytes.clone();
    for n in (0..32).rev() {
        let difference = i32::from(order[n]) - i32::from(bytes[s_at + n]) - borrow;
        borrow = i32::from(difference < 0);
        negated[s_at + n] = difference.rem_euclid(256) as u8;
    }
    assert_ne!(negated, bytes);
    let verify = |quote: &[u8]| verify_quote(quote, &td.endorsements(), NOW).unwrap();
    assert_eq!(verify(&negated), verify(&bytes));
}

#[test]
fn certificates_set_otherwise_are_the_same_certificates() {
    let td = Td::v4();
    let chain = [td.pck_der(), td.ca_der(), td.root_der()].map(|der| pem(&der));
    let verify = |pem: &str| verify_quote(&td.quote_with(pem.as_bytes()), &td.endorsements(), NOW).unwrap();
    let good = verify(&chain.concat());
    assert_eq!(verify(&format!("{}\0", chain.concat())), good);
    assert_eq!(verify(&chain.join("words between\n")), good);
    assert_eq!(verify(&chain[..2].concat()), good, "the root is trusted by value, not because it came along");
}

/// Some collateral carries a PCK chain of its own, which takes the place of the quote's.
#[test]
fn a_pck_chain_in_the_collateral_does_not_stand_in_for_the_quotes() {
    let (td, other) = (Td::v4(), Td::v4().with(|td| td.extension.piid = Some(vec![0x99; 16])));
    let mut document = td.document();
    document["pck_certificate_chain"] = [other.pck_der(), other.ca_der()].map(|der| pem(&der)).concat().into();
    let mut parts = CollateralParts::new();
    parts.add(document.to_string().as_bytes()).unwrap();
    let collateral = KnownCollateral::Fetched(Arc::new(parts.collateral(td.kind()).unwrap()));
    let verified = verify_quote(&td.quote(), &TdxEndorsements { collateral, ..td.endorsements() }, NOW).unwrap();
    assert_eq!(verified.platform().instance_id, Some([0x22; 16]));
}

/// Debug, in every version, also where the body has more behind it.
#[test]
fn a_debug_guest_is_refused_in_every_version() {
    for td in [Td::v4 as fn() -> Td, Td::v5, Td::v5_extended] {
        check(td, |td| td.body[at::TDATTRIBUTES] = 1, "tdx.td.debug");
    }
}

/// What the launch digest is over, as `measure` and the registration of launches have it.
#[test]
fn the_launch_is_initial_memory_and_what_the_host_chose() {
    let launch = |td: Td| td.verify().unwrap().launch().digest();
    let good = launch(Td::v4());
    let fields: Vec<u8> = (1..=4u8).flat_map(|n| [n; 48]).collect();
    assert_eq!(good, sha256(&[b"tdx.launch", &fields]));
    for offset in [at::MRTD, at::MRCONFIGID, at::MRCONFIGID + 48, at::MRCONFIGID + 96] {
        assert_ne!(launch(Td::v4().with(|td| td.body[offset] ^= 1)), good);
    }
    assert_eq!(launch(Td::v4().with(|td| td.body[at::RTMR0] ^= 1)), good);
}
