//! An SNP item against a binding: freshness, the node key, and what stands behind the binding in the report data.

use holdfast_evidence::snp::{SnpClaims, SnpEndorsements, SnpEvidence, SnpItem, Unverified};
use holdfast_evidence::{
    Binding, Challenge, ClaimedKey, Evidence as _, EvidenceKind, ItemState, ProvenKey, Purpose, Verified,
};
use holdfast_identity::UnixTime;
use ring::rand::SystemRandom;

use crate::guest::{Guest, NOW, item, table};

fn challenge(kind: EvidenceKind, purpose: Purpose) -> Challenge {
    let item = ItemState::Report { kind };
    Challenge::draw("example.org".parse().unwrap(), purpose, vec![item], NOW, 60, &SystemRandom::new()).unwrap()
}

fn node_key() -> ProvenKey {
    let pair = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
    ProvenKey::from_csr(request.der()).unwrap()
}

fn answered(challenge: Challenge, key: ProvenKey) -> Binding {
    let item = SnpItem { report: &[0; 1184], certificates: &[] }.encode();
    challenge.answer(key, &[SnpEvidence::parse(&item).unwrap().commitment()]).unwrap()
}

fn verify(item: &[u8], guest: &Guest, binding: &Binding, now: UnixTime) -> Result<Verified<SnpClaims>, Unverified> {
    SnpEvidence::parse(item).unwrap().verify(&guest.endorsements(), binding, now)
}

#[test]
fn a_report_over_the_binding_proves_the_guest_and_its_node_key() {
    let (guest, key) = (Guest::milan(), node_key());
    let binding = answered(challenge(EvidenceKind::Snp, Purpose::Enrol), key.clone());
    let digest = *binding.digest_of(EvidenceKind::Snp).unwrap();
    let verified = verify(&item(&guest, &digest), &guest, &binding, NOW).unwrap();
    assert_eq!(verified.challenge_id(), binding.challenge_id());
    let claims = verified.claims();
    assert_eq!((&claims.node_key, claims.not_after.seconds()), (&key, 1_893_456_000));
    assert_eq!(claims.report.report().report_id(), [0x77; 32]);
    assert_eq!(claims.root, *claims.report.root());
}

#[test]
fn other_report_data_than_the_binding_and_zeros_is_refused() {
    let guest = Guest::milan();
    let binding = answered(challenge(EvidenceKind::Snp, Purpose::Enrol), node_key());
    let digest = *binding.digest_of(EvidenceKind::Snp).unwrap();
    let code = |data: &[u8]| verify(&item(&guest, data), &guest, &binding, NOW).map_err(|refusal| refusal.code());
    assert!(code(&digest).is_ok());
    for at in 0..64 {
        let mut data = [0; 64];
        data[..32].copy_from_slice(&digest);
        data[at] ^= 1;
        assert_eq!(code(&data).unwrap_err(), "snp.report.data", "byte {at}");
    }
    assert_eq!(code(&[]).unwrap_err(), "snp.report.data");
    // the binding twice: nothing may stand behind it
    assert_eq!(code(&[digest, digest].concat()).unwrap_err(), "snp.report.data");
}

#[test]
fn a_replayed_report_does_not_fit_a_later_challenge() {
    let (guest, key) = (Guest::milan(), node_key());
    let first = answered(challenge(EvidenceKind::Snp, Purpose::Enrol), key.clone());
    let item = item(&guest, first.digest_of(EvidenceKind::Snp).unwrap());
    assert!(verify(&item, &guest, &first, NOW).is_ok());
    let later = answered(challenge(EvidenceKind::Snp, Purpose::Enrol), key);
    assert_eq!(verify(&item, &guest, &later, NOW).unwrap_err().code(), "snp.report.data");
}

#[test]
fn a_report_for_another_node_key_is_refused() {
    let guest = Guest::milan();
    let drawn = || challenge(EvidenceKind::Snp, Purpose::Enrol);
    let good = answered(drawn(), node_key());
    let relayed = item(&guest, good.digest_of(EvidenceKind::Snp).unwrap());
    let bad = answered(drawn(), node_key());
    assert_eq!(verify(&relayed, &guest, &bad, NOW).unwrap_err().code(), "snp.report.data");
}

#[test]
fn a_node_key_that_nobody_proved_is_refused() {
    let guest = Guest::milan();
    let claimed = ClaimedKey::from_spki(node_key().spki()).unwrap();
    let empty = SnpItem { report: &[0; 1184], certificates: &[] }.encode();
    let commitment = SnpEvidence::parse(&empty).unwrap().commitment();
    let binding = challenge(EvidenceKind::Snp, Purpose::Enrol).answer(claimed.clone(), &[commitment]).unwrap();
    let item = item(&guest, binding.digest_of(EvidenceKind::Snp).unwrap());
    assert_eq!(verify(&item, &guest, &binding, NOW).unwrap_err().code(), "snp.node_key_unproven");

    // on its own connection the node has proven it by the handshake
    let node = "spiffe://example.org/holdfast/node/snp/x".parse().unwrap();
    let renewal = Purpose::Renew { node, spki_sha256: claimed.spki_sha256() };
    let binding = challenge(EvidenceKind::Snp, renewal).answer(claimed, &[commitment]).unwrap();
    let item = self::item(&guest, binding.digest_of(EvidenceKind::Snp).unwrap());
    assert!(verify(&item, &guest, &binding, NOW).is_ok());
}

#[test]
fn a_binding_without_an_snp_item_or_past_its_time_is_refused() {
    let guest = Guest::milan();
    let binding = answered(challenge(EvidenceKind::Snp, Purpose::Enrol), node_key());
    let item = item(&guest, binding.digest_of(EvidenceKind::Snp).unwrap());
    assert!(verify(&item, &guest, &binding, NOW.plus(59)).is_ok());
    assert_eq!(verify(&item, &guest, &binding, NOW.plus(60)).unwrap_err().code(), "challenge.expired");

    let tdx = challenge(EvidenceKind::Tdx, Purpose::Enrol);
    let commitment = holdfast_evidence::challenge::Commitment {
        kind: EvidenceKind::Tdx,
        item: &[1],
        firmware_log: None,
        ak_spki_sha256: None,
    };
    let binding = tdx.answer(node_key(), &[commitment]).unwrap();
    assert_eq!(verify(&item, &guest, &binding, NOW).unwrap_err().code(), "snp.item.other_binding");
}

#[test]
fn a_genuine_debug_guest_over_our_binding_is_a_genuine_refusal() {
    let guest = Guest::milan().with(|guest| guest.put(0x0a, &[0x0b]));
    let binding = answered(challenge(EvidenceKind::Snp, Purpose::Enrol), node_key());
    let ours = item(&guest, binding.digest_of(EvidenceKind::Snp).unwrap());
    let refused = verify(&ours, &guest, &binding, NOW).unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("snp.guest_policy.debug", true));
    // somebody's recorded report is nobody's decision
    let recorded = item(&guest, &[9; 32]);
    let refused = verify(&recorded, &guest, &binding, NOW).unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("snp.report.data", false));
}

#[test]
fn a_malformed_table_or_report_is_no_item() {
    let parse = |report: &[u8], certificates: &[u8]| {
        SnpEvidence::parse(&SnpItem { report, certificates }.encode()).map(|_| ()).map_err(|malformed| malformed.code())
    };
    assert_eq!(parse(&[0; 1184], &[]), Ok(()));
    assert_eq!(parse(&[0; 1183], &[]), Err("snp.item.malformed"));
    assert_eq!(parse(&[0; 1184], &[1; 23]), Err("snp.certificates.malformed"));
}

/// The host writes the table, and the guest cannot mend it: whatever stands in it beside the good certificates, or in
/// their place, the item is one, and the verifier's own certificates count.
#[test]
fn a_bad_entry_of_the_table_spoils_nothing() {
    const ARK: &str = "c0b406a4a803495297433fb6014cd0ae";
    const VLEK: &str = "a8074bc2a25a483eaae639c045a0b8a1";
    let guest = Guest::milan();
    let binding = answered(challenge(EvidenceKind::Snp, Purpose::Enrol), node_key());
    let good = item(&guest, binding.digest_of(EvidenceKind::Snp).unwrap());
    let report = SnpItem::parse(&good).unwrap().report;
    let verify = |table: &[u8], endorsements: &SnpEndorsements| {
        let bytes = SnpItem { report, certificates: table }.encode();
        let evidence = SnpEvidence::parse(&bytes).unwrap();
        evidence.verify(endorsements, &binding, NOW).map(|_| ()).map_err(|refused| refused.code())
    };
    let unknown = "00112233445566778899aabbccddeeff";
    let bad: [(&str, u32, &[u8]); 5] = [
        (ARK, 0, b"junkjunk"),
        (VLEK, 0, &[0xff; 32]),
        (unknown, u32::MAX, b"x"),
        (VLEK, 1 << 20, b"x"),
        (ARK, 0, b""),
    ];
    for (guid, beyond, content) in bad {
        let spoiled = |certificates: &[Vec<u8>]| {
            let good = table(certificates);
            let (entries, contents) = good.split_at(24 * certificates.len());
            // the entries move by one, and so do their contents
            let mut moved = entries.to_vec();
            for entry in moved.chunks_mut(24) {
                entry[16] += 24;
            }
            let at = u32::try_from(good.len() + 24).unwrap().saturating_add(beyond).to_le_bytes();
            let length = u32::try_from(content.len()).unwrap().to_le_bytes();
            let guid = hex::decode(guid).unwrap();
            [guid.as_slice(), &at, &length, &moved, contents, content].concat()
        };
        let beside = spoiled(&guest.certificates());
        assert_eq!(verify(&beside, &guest.endorsements()), Ok(()), "{guid} {content:x?}");
        let held = SnpEndorsements { certificates: guest.certificates(), ..guest.endorsements() };
        assert_eq!(verify(&spoiled(&[]), &held), Ok(()), "{guid} {content:x?}");
        assert!(verify(&spoiled(&[]), &guest.endorsements()).is_err(), "nobody has the certificate");
    }
}
