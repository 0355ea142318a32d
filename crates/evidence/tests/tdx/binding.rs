//! A TDX item against a binding: freshness, the node key, the log, and what stands behind the binding in the report
//! data.

use holdfast_evidence::tdx::{TdxClaims, TdxEvidence, TdxItem, Unverified};
use holdfast_evidence::{
    Binding, Challenge, ClaimedKey, Evidence as _, EvidenceKind, ItemState, ProvenKey, Provenance, Purpose, TrustClass,
    Verified,
};
use holdfast_identity::UnixTime;
use ring::rand::SystemRandom;

use crate::log::{Log, boot};
use crate::td::{NOW, Td, at};

fn challenge(kind: EvidenceKind, purpose: Purpose) -> Challenge {
    let item = ItemState::Report { kind };
    Challenge::draw("example.org".parse().unwrap(), purpose, vec![item], NOW, 60, &SystemRandom::new()).unwrap()
}

fn node_key() -> ProvenKey {
    let pair = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
    ProvenKey::from_csr(request.der()).unwrap()
}

/// The answer to a challenge by a TD with this log.
fn answered(challenge: Challenge, key: ProvenKey, ccel: Option<&[u8]>) -> Binding {
    let item = TdxItem { quote: &Td::v4().quote(), ccel }.encode();
    challenge.answer(key, &[TdxEvidence::parse(&item).unwrap().commitment()]).unwrap()
}

/// The item that `td` sends, once it signed `data`.
fn item(mut td: Td, data: &[u8], log: Option<&Log>) -> Vec<u8> {
    td.put(at::REPORTDATA, &[0; 64]);
    td.put(at::REPORTDATA, data);
    let bytes = log.map(|log| {
        td.put(at::RTMR0, log.registers().as_flattened());
        log.encode()
    });
    TdxItem { quote: &td.quote(), ccel: bytes.as_deref() }.encode()
}

fn verify(item: &[u8], binding: &Binding, now: UnixTime) -> Result<Verified<TdxClaims>, Unverified> {
    TdxEvidence::parse(item).unwrap().verify(&Td::v4().endorsements(), binding, now)
}

fn digest(binding: &Binding) -> [u8; 32] {
    *binding.digest_of(EvidenceKind::Tdx).unwrap()
}

#[test]
fn a_quote_over_the_binding_proves_the_guest_its_boot_and_its_node_key() {
    let (log, key) = (boot(), node_key());
    let bytes = log.encode();
    let binding = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), key.clone(), Some(&bytes));
    let verified = verify(&item(Td::v4(), &digest(&binding), Some(&log)), &binding, NOW).unwrap();
    assert_eq!(verified.challenge_id(), binding.challenge_id());
    let claims = verified.claims();
    assert_eq!(claims.node_key, key);
    assert_eq!(claims.not_after, UnixTime(1_768_780_799), "the PCK CRL's last second");
    assert_eq!((claims.class(), claims.provenance()), (TrustClass::Firmware, Provenance::Hardware));
    assert!(claims.boot.as_ref().unwrap().secure_boot.as_ref().unwrap().enabled);
}

#[test]
fn without_a_log_nothing_is_said_about_the_boot() {
    let binding = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), node_key(), None);
    let verified = verify(&item(Td::v4(), &digest(&binding), None), &binding, NOW).unwrap();
    assert!(verified.claims().boot.is_none());
}

#[test]
fn a_root_of_class_simulated_makes_everything_simulated() {
    let td = || Td::v4().with(|td| td.class = TrustClass::Simulated);
    let binding = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), node_key(), None);
    let item = item(td(), &digest(&binding), None);
    let verified = TdxEvidence::parse(&item).unwrap().verify(&td().endorsements(), &binding, NOW).unwrap();
    assert_eq!(verified.claims().provenance(), Provenance::Simulated);
}

#[test]
fn other_report_data_than_the_binding_and_zeros_is_refused() {
    let binding = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), node_key(), None);
    let digest = digest(&binding);
    let code = |data: &[u8]| verify(&item(Td::v4(), data, None), &binding, NOW).map_err(|refusal| refusal.code());
    assert!(code(&digest).is_ok());
    for at in 0..64 {
        let mut data = [0; 64];
        data[..32].copy_from_slice(&digest);
        data[at] ^= 1;
        assert_eq!(code(&data).unwrap_err(), "tdx.quote.report_data", "byte {at}");
    }
    assert_eq!(code(&[]).unwrap_err(), "tdx.quote.report_data");
    assert_eq!(code(&[digest, digest].concat()).unwrap_err(), "tdx.quote.report_data");
}

#[test]
fn a_replayed_quote_does_not_fit_a_later_challenge() {
    let key = node_key();
    let first = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), key.clone(), None);
    let item = item(Td::v4(), &digest(&first), None);
    assert!(verify(&item, &first, NOW).is_ok());
    let second = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), key, None);
    assert_eq!(verify(&item, &second, NOW).unwrap_err().code(), "tdx.quote.report_data");
}

#[test]
fn a_good_guests_quote_does_not_carry_another_ones_key() {
    let drawn = challenge(EvidenceKind::Tdx, Purpose::Enrol);
    let ring = holdfast_evidence::SealRing::new(holdfast_evidence::crypto::SealKey::new([7; 32]), None);
    let seal = drawn.seal(&ring, &SystemRandom::new()).unwrap();
    let open = || Challenge::open(&seal, &ring, &"example.org".parse().unwrap(), NOW).unwrap();
    let item = item(Td::v4(), &digest(&answered(open(), node_key(), None)), None);
    let relayed = answered(open(), node_key(), None);
    assert_eq!(verify(&item, &relayed, NOW).unwrap_err().code(), "tdx.quote.report_data");
}

#[test]
fn a_node_key_that_nobody_proved_is_refused() {
    let claimed = ClaimedKey::from(node_key());
    let item_bytes = TdxItem { quote: &Td::v4().quote(), ccel: None }.encode();
    let commitment = TdxEvidence::parse(&item_bytes).unwrap().commitment();
    let binding = challenge(EvidenceKind::Tdx, Purpose::Enrol).answer(claimed, &[commitment]).unwrap();
    let refused = verify(&item(Td::v4(), &digest(&binding), None), &binding, NOW).unwrap_err();
    assert_eq!(refused, Unverified::NodeKeyUnproven);
}

#[test]
fn an_item_of_another_binding_is_refused() {
    let binding = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), node_key(), None);
    // a log that did not enter the binding
    let with_log = item(Td::v4(), &digest(&binding), Some(&boot()));
    assert_eq!(verify(&with_log, &binding, NOW).unwrap_err(), Unverified::OtherBinding);
    let bytes = boot().encode();
    let other = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), node_key(), Some(&bytes));
    let without = item(Td::v4(), &digest(&other), None);
    assert_eq!(verify(&without, &other, NOW).unwrap_err(), Unverified::OtherBinding);
    let other_log = item(Td::v4(), &digest(&other), Some(&Log::default()));
    assert_eq!(verify(&other_log, &other, NOW).unwrap_err(), Unverified::OtherBinding);
}

#[test]
fn a_challenge_that_ended_meanwhile_is_refused() {
    let binding = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), node_key(), None);
    let item = item(Td::v4(), &digest(&binding), None);
    assert!(verify(&item, &binding, NOW.plus(59)).is_ok());
    assert_eq!(verify(&item, &binding, NOW.plus(60)).unwrap_err().code(), "challenge.expired");
}

/// Signatures first, then whom they answer, then what was signed: only the last is about a genuine machine.
#[test]
fn what_a_genuine_guest_signed_is_told_from_what_anybody_can_send() {
    let binding = answered(challenge(EvidenceKind::Tdx, Purpose::Enrol), node_key(), None);
    let debug = |td: Td| td.with(|td| td.attribute(0));
    let refused = verify(&item(debug(Td::v4()), &digest(&binding), None), &binding, NOW).unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("tdx.td.debug", true));
    let refused = verify(&item(debug(Td::v4()), &[7; 32], None), &binding, NOW).unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("tdx.quote.report_data", false));
    let forged = debug(Td::v4()).with(|td| td.keys.quote = crate::intel::stranger_key());
    let refused = verify(&item(forged, &digest(&binding), None), &binding, NOW).unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("tdx.quote.signature", false));
}

#[test]
fn an_item_wants_collateral_for_its_own_kind_of_platform() {
    let bytes = item(Td::v4(), &[], None);
    let evidence = TdxEvidence::parse(&bytes).unwrap();
    assert_eq!(evidence.wants().collateral, Some(Td::v4().kind()));
    let td = Td::v4();
    let strange = TdxItem { quote: &td.quote_with(b"no certificates"), ccel: None }.encode();
    assert_eq!(TdxEvidence::parse(&strange).unwrap().wants().collateral, None);
}
