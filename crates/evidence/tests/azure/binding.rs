//! An Azure item against a binding: freshness, the node key, and what a verified machine is known by.

use holdfast_evidence::azure::{AzureEvidence, AzureItem, AzureMachine, AzureWants, VerifiedHardware};
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::{ClaimedKey, Evidence as _, EvidenceKind, Provenance, Purpose, TrustClass};

use crate::guest::NOW;
use crate::machine::{Hardware, Machine, challenge, check, node_key, unique_id, verify};
use crate::paravisor::Ak;
use crate::td::Td;

const ID: &str = "26f8bc30-774e-4290-8e7a-535f3b672aee";

#[test]
fn a_quote_over_the_binding_proves_an_snp_machine_and_its_node_key() {
    let mut machine = Machine::snp();
    let key = node_key();
    let binding = machine.binding(challenge(Purpose::Enrol), key.clone());
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    let verified = verify(&item, &machine.endorsements(), &binding, NOW).unwrap();
    assert_eq!(verified.challenge_id(), binding.challenge_id());
    let claims = verified.claims();
    assert_eq!((&claims.node_key, claims.not_after.seconds()), (&key, 1_893_456_000));
    assert_eq!((claims.class(), claims.provenance()), (TrustClass::Firmware, Provenance::Paravisor));
    assert_eq!(claims.root.name, "ARK-Milan");
    assert_eq!((unique_id(claims), &claims.ak_certificate), (ID, &None));
    let ak = sha256(&[&Ak::own().key().spki()]);
    assert_eq!(claims.instance(), sha256(&[b"azure.instance", ID.as_bytes(), &ak]));
    let Some(VerifiedHardware::Snp(report)) = claims.machine.hardware() else { panic!("{claims:?}") };
    assert_eq!(report.provenance(), Provenance::Hardware);
    assert!(claims.boot.boot().unwrap().secure_boot.as_ref().unwrap().enabled);
}

#[test]
fn a_quote_over_the_binding_proves_a_tdx_machine() {
    let verified = Machine::tdx().verify().unwrap();
    let claims = verified.claims();
    assert_eq!((claims.class(), claims.provenance()), (TrustClass::Firmware, Provenance::Paravisor));
    assert_eq!((claims.root.name.as_str(), unique_id(claims)), ("Made-up SGX Root CA", ID));
    let Some(VerifiedHardware::Tdx(quote)) = claims.machine.hardware() else { panic!("{claims:?}") };
    // collateral ends before any certificate
    assert_eq!(claims.not_after, quote.not_after());
}

#[test]
fn a_certificate_proves_a_machine_with_trusted_launch_as_far_as_the_provider_goes() {
    let verified = Machine::trusted_launch().verify().unwrap();
    let claims = verified.claims();
    assert!(matches!(claims.machine, AzureMachine::TrustedLaunch));
    assert_eq!((claims.class(), claims.provenance()), (TrustClass::Cloud, Provenance::Provider));
    let certificate = claims.ak_certificate.as_ref().unwrap();
    assert_eq!(certificate.subject, "2ede2d532aaf.ConfidentialVM.Azure.windows.net");
    assert_eq!((&claims.root, claims.not_after), (&certificate.root, certificate.not_after));
    let ak = sha256(&[&Ak::own().key().spki()]);
    assert_eq!(claims.instance(), sha256(&[b"azure.instance", b"", &ak]));
}

#[test]
fn a_simulated_root_makes_everything_simulated() {
    for mut machine in [
        Machine::snp().with(|machine| machine.guest().class = TrustClass::Simulated),
        Machine::tdx().with(|machine| machine.td().class = TrustClass::Simulated),
        Machine::trusted_launch().with(|machine| machine.ak_class = Some(TrustClass::Simulated)),
    ] {
        let verified = machine.verify().unwrap();
        assert_eq!(verified.claims().class(), TrustClass::Simulated);
        assert_eq!(verified.claims().provenance(), Provenance::Simulated);
    }
}

#[test]
fn what_must_be_fetched_is_said_before_anything_is_verified() {
    let wants = |mut machine: Machine| AzureEvidence::parse(&machine.item(&[7; 32])).unwrap().wants();
    let AzureWants::Snp(snp) = wants(Machine::snp()) else { panic!("no SNP report") };
    assert!(snp.vek_came_along && snp.issuer_came_along);
    let AzureWants::Tdx(tdx) = wants(Machine::tdx()) else { panic!("no TD quote") };
    assert_eq!(tdx.collateral, Some(Td::v4().kind()));
    assert_eq!(wants(Machine::trusted_launch()), AzureWants::Nothing);
}

#[test]
fn the_public_area_may_be_left_out_where_the_report_names_the_key() {
    for good in [Machine::snp, Machine::tdx] {
        assert_eq!(good().with(|machine| machine.sent_area.clear()).code(), "accepted");
    }
    let nameless = Machine::trusted_launch().with(|machine| machine.sent_area.clear());
    assert_eq!(nameless.code(), "azure.item.malformed");
}

#[test]
fn a_replayed_quote_does_not_fit_a_later_challenge() {
    let (mut machine, key) = (Machine::snp(), node_key());
    let first = machine.binding(challenge(Purpose::Enrol), key.clone());
    let item = machine.item(first.digest_of(EvidenceKind::Azure).unwrap());
    let endorsements = machine.endorsements();
    assert!(verify(&item, &endorsements, &first, NOW).is_ok());
    let later = machine.binding(challenge(Purpose::Enrol), key);
    assert_eq!(verify(&item, &endorsements, &later, NOW).unwrap_err().code(), "tpm.quote.nonce");
    let relayed = machine.binding(challenge(Purpose::Enrol), node_key());
    assert_eq!(verify(&item, &endorsements, &relayed, NOW).unwrap_err().code(), "tpm.quote.nonce");
}

#[test]
fn a_node_key_that_nobody_proved_is_refused() {
    let mut machine = Machine::snp();
    let claimed = ClaimedKey::from_spki(node_key().spki()).unwrap();
    let binding = machine.binding(challenge(Purpose::Enrol), claimed.clone());
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    let endorsements = machine.endorsements();
    assert_eq!(verify(&item, &endorsements, &binding, NOW).unwrap_err().code(), "azure.node_key_unproven");
    // on its own connection the node has proven it by the handshake
    let node = "spiffe://example.org/holdfast/node/azure/x".parse().unwrap();
    let renewal = Purpose::Renew { node, spki_sha256: claimed.spki_sha256() };
    let binding = machine.binding(challenge(renewal), claimed);
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    assert!(verify(&item, &endorsements, &binding, NOW).is_ok());
}

#[test]
fn a_challenge_that_ended_or_a_log_that_was_exchanged_is_refused() {
    let mut machine = Machine::snp();
    let binding = machine.binding(challenge(Purpose::Enrol), node_key());
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    let endorsements = machine.endorsements();
    assert!(verify(&item, &endorsements, &binding, NOW.plus(59)).is_ok());
    assert_eq!(verify(&item, &endorsements, &binding, NOW.plus(60)).unwrap_err().code(), "challenge.expired");
    let mut parts = AzureItem::parse(&item).unwrap();
    parts.firmware_log = None;
    let exchanged = parts.encode();
    assert_eq!(verify(&exchanged, &endorsements, &binding, NOW).unwrap_err().code(), "azure.item.other_binding");
}

/// The key signs our binding before its report is looked at: only then is a refusal about a genuine machine.
#[test]
fn what_genuine_hardware_says_is_told_from_what_anybody_can_send() {
    let debug = || Machine::snp().with(|machine| machine.guest().put(0x0a, &[0x0b]));
    let refused = debug().verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("snp.guest_policy.debug", true));
    let refused = debug().with(|machine| machine.extra_data = Some(vec![9; 32])).verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("tpm.quote.nonce", false));
    let refused = Machine::snp().with(|machine| machine.guest().put(0x30, &[1])).verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("azure.hcl.vmpl", true));
    let refused = Machine::tdx().with(|machine| machine.td().attribute(0)).verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("tdx.td.debug", true));
    let refused = Machine::snp().with(|machine| machine.claims[0].1[0] ^= 1).verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("tpm.quote.pcr_digest", true));
    // the same by a machine whose report nobody trusts
    let strange = Machine::snp().with(|machine| {
        machine.claims[0].1[0] ^= 1;
        machine.guest().signed = false;
    });
    let refused = { strange }.verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("snp.report.signature", false));
}

#[test]
fn a_fault_of_the_verifier_is_no_refusal_of_the_machine() {
    let mut machine = Machine::snp();
    let binding = machine.binding(challenge(Purpose::Enrol), node_key());
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    let evidence = AzureEvidence::parse(&item).unwrap();
    assert!(evidence.answers(&binding, NOW).is_ok());
    let other = machine.binding(challenge(Purpose::Enrol), node_key());
    assert_eq!(evidence.answers(&other, NOW).unwrap_err().code(), "tpm.quote.nonce");
}

#[test]
fn a_report_without_what_vouches_for_it_is_no_item() {
    check(Machine::snp, |machine| machine.hardware = Hardware::None, "azure.ak.certificate_missing");
    let swapped = |mut machine: Machine, mut other: Machine| {
        let (item, beside) = (machine.item(&[7; 32]), other.item(&[7; 32]));
        let mut parts = AzureItem::parse(&item).unwrap();
        parts.hardware = AzureItem::parse(&beside).unwrap().hardware;
        AzureEvidence::parse(&parts.encode()).map(|_| ()).unwrap_err().code()
    };
    for (machine, other) in [
        (Machine::snp(), Machine::tdx()),
        (Machine::tdx(), Machine::snp()),
        (Machine::snp(), Machine::trusted_launch()),
        (Machine::trusted_launch(), Machine::snp()),
        (Machine::trusted_launch(), Machine::tdx()),
    ] {
        assert_eq!(swapped(machine, other), "azure.item.malformed");
    }
}
