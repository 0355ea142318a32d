//! A Google Cloud item against a binding: freshness, the node key, and what a verified instance is known by.

use holdfast_evidence::{ClaimedKey, EvidenceKind, Provenance, Purpose, TrustClass};

use crate::instance::{Instance, challenge, node_key, verify};
use crate::pki::NOW;

#[test]
fn a_quote_over_the_binding_proves_the_instance_its_boot_and_its_node_key() {
    let (good, key) = (Instance::good(), node_key());
    let binding = good.binding(challenge(Purpose::Enrol), key.clone());
    let item = good.item(binding.digest_of(EvidenceKind::Gcp).unwrap());
    let verified = verify(&item, &good.endorsements(), &binding, NOW).unwrap();
    assert_eq!(verified.challenge_id(), binding.challenge_id());
    let claims = verified.claims();
    assert_eq!((&claims.node_key, claims.not_after.seconds()), (&key, 1_893_456_000));
    assert_eq!((claims.class(), claims.provenance()), (TrustClass::Cloud, Provenance::Provider));
    assert_eq!((claims.root.name.as_str(), claims.instance.instance_id), ("EK/AK CA Root", 6_524_697_943_022_743_941));
    assert!(claims.boot.boot().unwrap().secure_boot.as_ref().unwrap().enabled);
    let simulated = good.with(|instance| instance.class = TrustClass::Simulated).verify().unwrap();
    assert_eq!(simulated.claims().provenance(), Provenance::Simulated);
}

#[test]
fn a_replayed_or_relayed_quote_is_refused() {
    let (good, key) = (Instance::good(), node_key());
    let first = good.binding(challenge(Purpose::Enrol), key.clone());
    let item = good.item(first.digest_of(EvidenceKind::Gcp).unwrap());
    let endorsements = good.endorsements();
    assert!(verify(&item, &endorsements, &first, NOW).is_ok());
    for binding in [good.binding(challenge(Purpose::Enrol), key), good.binding(challenge(Purpose::Enrol), node_key())] {
        assert_eq!(verify(&item, &endorsements, &binding, NOW).unwrap_err().code(), "tpm.quote.nonce");
    }
}

#[test]
fn a_node_key_that_nobody_proved_is_refused() {
    let good = Instance::good();
    let claimed = ClaimedKey::from_spki(node_key().spki()).unwrap();
    let binding = good.binding(challenge(Purpose::Enrol), claimed.clone());
    let item = good.item(binding.digest_of(EvidenceKind::Gcp).unwrap());
    let endorsements = good.endorsements();
    assert_eq!(verify(&item, &endorsements, &binding, NOW).unwrap_err().code(), "gcp.node_key_unproven");
    let node = "spiffe://example.org/holdfast/node/gcp/x".parse().unwrap();
    let renewal = Purpose::Renew { node, spki_sha256: claimed.spki_sha256() };
    let binding = good.binding(challenge(renewal), claimed);
    let item = good.item(binding.digest_of(EvidenceKind::Gcp).unwrap());
    assert!(verify(&item, &endorsements, &binding, NOW).is_ok());
}

#[test]
fn a_challenge_that_ended_or_was_another_kinds_is_refused() {
    let good = Instance::good();
    let binding = good.binding(challenge(Purpose::Enrol), node_key());
    let item = good.item(binding.digest_of(EvidenceKind::Gcp).unwrap());
    let endorsements = good.endorsements();
    assert!(verify(&item, &endorsements, &binding, NOW.plus(59)).is_ok());
    assert_eq!(verify(&item, &endorsements, &binding, NOW.plus(60)).unwrap_err().code(), "challenge.expired");
    // a log that was exchanged behind the binding
    let longer = Instance::good().with(|instance| instance.firmware.events.truncate(3));
    let binding = longer.binding(challenge(Purpose::Enrol), node_key());
    let item = good.item(binding.digest_of(EvidenceKind::Gcp).unwrap());
    assert_eq!(verify(&item, &endorsements, &binding, NOW).unwrap_err().code(), "gcp.item.other_binding");
}

#[test]
fn what_google_vouched_for_is_told_from_what_anybody_can_send() {
    let state = |instance: &mut Instance| instance.firmware.later.push((4, b"slipped in".to_vec()));
    let refused = Instance::good().with(state).verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("tpm.quote.pcr_digest", true));
    let refused = Instance::good().with(|instance| instance.extra_data = Some(vec![7; 32])).verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("tpm.quote.nonce", false));
    let strange = Instance::good().with(|instance| {
        state(instance);
        instance.root = std::sync::Arc::new(crate::pki::Ca::root("EK/AK CA Root"));
    });
    let refused = strange.verify().unwrap_err();
    assert_eq!((refused.code(), refused.is_genuine()), ("chain.signature", false));
}

#[test]
fn no_byte_of_an_item_may_change() {
    let good = Instance::good();
    let binding = good.binding(challenge(Purpose::Enrol), node_key());
    let item = good.item(binding.digest_of(EvidenceKind::Gcp).unwrap());
    let endorsements = good.endorsements();
    for at in 0..item.len() {
        let mut changed = item.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(verify(&changed, &endorsements, &binding, NOW).is_err(), "byte {at} of {}", item.len());
    }
}
