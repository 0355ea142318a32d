//! Attacks by name: each is refused, the peer learns one word, and a stranger leaves nothing in the record.

use std::time::Duration;

use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::{Challenge, Purpose, SealRing};
use holdfast_protocol::agent as wire;
use holdfast_protocol::agent::complete_request::Part;
use holdfast_server::clock;
use holdfast_server::store::{NodeAction, NodeTarget, Sha256, Standing};
use ring::rand::SystemRandom;
use tonic::Code;

use crate::house::{BY, House, import, settings, word};
use crate::vendor::Vendor;
use crate::virtual_tpm::{Boot, Spoil, VirtualTpm};
use holdfast_server::listen::ListenLimits;

#[tokio::test]
async fn each_spoilt_part_of_an_enrolment_is_refused() {
    let house = House::open().await;
    for (spoil, code) in [
        (Spoil::Secret, None),
        (Spoil::Quote, Some("tpm.quote.signature")),
        (Spoil::QuoteSignature, Some("tpm.quote.signature")),
        (Spoil::Binding, Some("tpm.quote.nonce")),
        (Spoil::CertifySignature, Some("tpm.certify.signature")),
        (Spoil::NoCertify, Some("tpm.certify.missing")),
        (Spoil::Log, Some("tpm.quote.nonce")),
    ] {
        let before = house.attempts().await.len();
        let mut tpm = house.machine().await;
        tpm.spoil = spoil;
        let refused = house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
        assert_eq!((refused.code(), word(&refused)), (Code::PermissionDenied, "refused"), "{spoil:?}");
        let attempts = house.attempts().await;
        match code {
            Some(code) => assert_eq!((attempts.len(), attempts[0].code.as_str()), (before + 1, code), "{spoil:?}"),
            None => assert_eq!(attempts.len(), before, "{spoil:?}: nothing of a stranger's in the record"),
        }
    }
}

#[tokio::test]
async fn pcr_values_are_asked_for_once_and_nothing_is_decided_before() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    tpm.spoil = Spoil::PcrDigest;
    let stranger = house.stranger().await;
    let begun = stranger.begin(&tpm).await.unwrap();
    let item = tpm.answer(&begun.ask, &begun.nonce(), &house.boot);
    let answer = stranger.complete(&begun.answer.seal, tpm.node_spki(), &item).await.unwrap();
    let Some(wire::complete_response::Outcome::NeedMore(more)) = answer.outcome else { panic!("{answer:?}") };
    assert!(more.all_pcr_values && !more.firmware_log);
    assert!(house.attempts().await.is_empty());
}

#[tokio::test]
async fn a_machine_that_is_not_in_the_inventory_is_refused() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::new(&house.vendor);
    let refused = house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
    assert_eq!(word(&refused), "refused");
    assert!(house.attempts().await[0].node.is_none());
}

#[tokio::test]
async fn a_tpm_of_an_unknown_vendor_gets_no_challenge() {
    let house = House::open().await;
    let tpm = VirtualTpm::new(&Vendor::new("Somebody"));
    house.allow(&tpm).await;
    assert_eq!(word(&house.stranger().await.begin(&tpm).await.unwrap_err()), "refused");
    assert!(house.attempts().await.is_empty());
}

#[tokio::test]
async fn a_simulated_root_is_not_trusted_unless_the_file_says_so() {
    let house = House::open().await;
    let simulator = Vendor::new("Simulator");
    import(house.store.as_ref(), simulator.root(), "simulated").await;
    let tpm = VirtualTpm::new(&simulator);
    house.allow(&tpm).await;
    assert_eq!(word(&house.stranger().await.begin(&tpm).await.unwrap_err()), "refused");
}

#[tokio::test]
async fn a_challenge_is_answered_once() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let stranger = house.stranger().await;
    let begun = stranger.begin(&tpm).await.unwrap();
    let item = tpm.answer(&begun.ask, &begun.nonce(), &house.boot);
    stranger.complete(&begun.answer.seal, tpm.node_spki(), &item).await.unwrap();
    let replayed = stranger.complete(&begun.answer.seal, tpm.node_spki(), &item).await.unwrap_err();
    assert_eq!(word(&replayed), "again");
    assert_eq!(house.attempts().await.len(), 1);
}

#[tokio::test]
async fn a_challenge_that_aged_is_void() {
    let aged = holdfast_server::desk::DeskSettings { challenge_lifetime: 1, ..settings() };
    let house = House::open_with(aged, ListenLimits::default()).await;
    let mut tpm = house.machine().await;
    let stranger = house.stranger().await;
    let begun = stranger.begin(&tpm).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(word(&stranger.answer(&begun, &mut tpm, &house.boot).await.unwrap_err()), "again");
}

#[tokio::test]
async fn no_byte_of_a_seal_may_change() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let stranger = house.stranger().await;
    let begun = stranger.begin(&tpm).await.unwrap();
    let item = tpm.answer(&begun.ask, &begun.nonce(), &house.boot);
    for at in (0..begun.answer.seal.len()).step_by(13) {
        let mut seal = begun.answer.seal.clone();
        seal[at] ^= 0x40;
        let refused = stranger.complete(&seal, tpm.node_spki(), &item).await.unwrap_err();
        assert_eq!(word(&refused), "again", "byte {at}");
    }
    assert!(stranger.complete(&begun.answer.seal, tpm.node_spki(), &item).await.is_ok(), "unchanged it opens");
}

#[tokio::test]
async fn no_byte_of_an_answer_may_change() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    house.enrol(&mut tpm).await;
    let stranger = house.stranger().await;
    let material = tpm.ak_alone().encode();
    let mut at = 0;
    loop {
        let begun = stranger.begin_with(material.clone()).await.unwrap();
        let mut item = tpm.answer(&begun.ask, &begun.nonce(), &house.boot);
        let Some(byte) = item.get_mut(at) else { break };
        *byte ^= 1 << (at % 8);
        let answer = stranger.complete(&begun.answer.seal, tpm.node_spki(), &item).await;
        let admitted =
            answer.is_ok_and(|answer| matches!(answer.outcome, Some(wire::complete_response::Outcome::Admitted(_))));
        assert!(!admitted, "byte {at}");
        at += 1;
    }
    assert!(at > 500);
    assert!(stranger.attest(&mut tpm, &house.boot).await.is_ok(), "unchanged it is admitted");
}

#[tokio::test]
async fn no_byte_of_a_key_may_change() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let stranger = house.stranger().await;
    let begun = stranger.begin(&tpm).await.unwrap();
    let item = tpm.answer(&begun.ask, &begun.nonce(), &house.boot);
    for at in 0..tpm.node_spki().len() {
        let mut spki = tpm.node_spki();
        spki[at] ^= 1;
        let refused = stranger.complete(&begun.answer.seal, spki, &item).await.unwrap_err();
        assert!(["refused", "again"].contains(&word(&refused)), "byte {at}");
    }
}

#[tokio::test]
async fn a_seal_of_other_servers_or_another_trust_domain_does_not_open() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let stranger = house.stranger().await;
    let begun = stranger.begin(&tpm).await.unwrap();
    let item = tpm.answer(&begun.ask, &begun.nonce(), &house.boot);
    let rng = SystemRandom::new();
    let text = std::fs::read_to_string(house.challenge_key()).unwrap();
    let ours: [u8; 32] = hex::decode(text.trim()).unwrap().try_into().unwrap();
    for (trust_domain, key, told) in [("example.org", [7; 32], "again"), ("other.org", ours, "refused")] {
        let drawn = Challenge::draw(
            trust_domain.parse().unwrap(),
            Purpose::Enrol,
            house.items_of(&begun.answer.seal, ours),
            clock::now(),
            60,
            &rng,
        );
        let seal = drawn.unwrap().seal(&SealRing::new(SealKey::new(key), None), &rng).unwrap();
        let refused = stranger.complete(&seal, tpm.node_spki(), &item).await.unwrap_err();
        assert_eq!(word(&refused), told, "{trust_domain}");
    }
}

#[tokio::test]
async fn a_challenge_drawn_for_one_node_is_not_answered_on_anothers_connection() {
    let house = House::open().await;
    let (mut a, mut b) = (house.machine().await, house.machine().await);
    let (own_a, _) = house.stand(&mut a).await;
    let (own_b, _) = house.stand(&mut b).await;
    let begun = own_a.begin_all(Vec::new()).await.unwrap();
    assert_eq!(word(&own_b.answer(&begun, &mut a, &house.boot).await.unwrap_err()), "refused");
    let stranger = house.stranger().await;
    let begun = own_a.begin_all(Vec::new()).await.unwrap();
    assert_eq!(word(&stranger.answer(&begun, &mut a, &house.boot).await.unwrap_err()), "refused");
}

#[tokio::test]
async fn another_machines_node_key_cannot_be_claimed() {
    let house = House::open().await;
    let (mut a, b) = (house.machine().await, house.machine().await);
    let stranger = house.stranger().await;
    let begun = stranger.begin(&a).await.unwrap();
    let item = a.answer(&begun.ask, &begun.nonce(), &house.boot);
    let refused = stranger.complete(&begun.answer.seal, b.node_spki(), &item).await.unwrap_err();
    assert_eq!(word(&refused), "refused");
}

#[tokio::test]
async fn a_node_key_that_was_loaded_from_outside_is_refused_though_the_tpm_certifies_it() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    tpm.import_node_key();
    let refused = house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
    assert_eq!(word(&refused), "refused");
    assert_eq!(house.attempts().await[0].code, "tpm.node_key.attributes");
}

#[tokio::test]
async fn a_certificate_without_its_quote_earns_nothing() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let admitted = house.enrol(&mut tpm).await;
    let own = house.own(&tpm, &admitted).await;
    assert_eq!(word(&own.node().sync(wire::SyncRequest::default()).await.unwrap_err()), "attest");
    let request = wire::SignX509SvidsRequest { requests: vec![wire::SvidRequest::default()] };
    assert_eq!(word(&own.node().sign_x509_svids(request).await.unwrap_err()), "attest");
}

#[tokio::test]
async fn banned_machine_returns_with_its_other_ek() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::with_two_keys(&house.vendor);
    house.allow(&tpm).await;
    let (own, admitted) = house.stand(&mut tpm).await;
    house.act(&admitted.spiffe_id, NodeAction::Ban { reason: "stolen".to_owned() }).await;
    assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
    house.act(&admitted.spiffe_id, NodeAction::Evict).await;
    tpm.keep_eks(|place| place == 0);
    tpm.renew_attestation_key();
    tpm.renew_node_key();
    let refused = house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
    assert_eq!(word(&refused), "refused", "evicting does not lift a ban, nor does another key");
    assert_eq!(house.attempts().await[0].code, "node.banned");
}

#[tokio::test]
async fn a_machine_may_be_banned_before_it_is_ever_seen() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let target = NodeTarget::Mark(Sha256(tpm.ek_digests()[0]));
    let ban = NodeAction::Ban { reason: "sold".to_owned() };
    house.store.act(target, ban, BY, clock::now()).await.unwrap().unwrap();
    assert_eq!(word(&house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err()), "refused");
}

#[tokio::test]
async fn a_clock_that_went_back_under_the_same_counters_is_refused() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, _) = house.stand(&mut tpm).await;
    tpm.clock.clock = 500;
    assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
    assert_eq!(house.attempts().await[0].code, "node.clock.went_back");
}

/// What a standing that has just ended answers: within a second, not at once.
async fn until_refused(own: &crate::client::Client) -> tonic::Status {
    for _ in 0..100 {
        match own.node().sync(wire::SyncRequest::default()).await {
            Err(status) => return status,
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("the standing has not ended");
}

#[tokio::test]
async fn a_cleared_tpm_never_renews_and_is_enrolled_anew_if_it_is_hardware() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    let (own, admitted) = house.stand(&mut tpm).await;
    let old_key = house.node(&admitted.spiffe_id).await.node_key_spki;
    tpm.clear();
    let stranger = house.stranger().await;
    assert_eq!(word(&stranger.attest(&mut tpm, &house.boot).await.unwrap_err()), "enrol");
    assert_eq!(house.attempts().await[0].code, "node.clock.fell");
    let gone = until_refused(&own).await;
    assert_ne!(word(&gone), "", "the old key stands no more");
    let again = house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap();
    assert_eq!(again.spiffe_id, admitted.spiffe_id);
    assert_ne!(house.node(&admitted.spiffe_id).await.node_key_spki, old_key);
}

#[tokio::test]
async fn a_cleared_tpm_of_a_copyable_class_waits_for_approval() {
    let house = House::open().await;
    let cloud = Vendor::new("Hypervisor");
    import(house.store.as_ref(), cloud.root(), "vtpm").await;
    let mut tpm = VirtualTpm::that_comes_again(&cloud);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    tpm.clear();
    let stranger = house.stranger().await;
    let mut words = Vec::new();
    for _ in 0..3 {
        match stranger.attest(&mut tpm, &house.boot).await {
            Ok(_) => panic!("a copy was let in"),
            Err(refused) => words.push(word(&refused).to_owned()),
        }
    }
    assert_eq!(words.last().unwrap(), "approval", "{words:?}");
    house.act(&admitted.spiffe_id, NodeAction::Approve).await;
    assert!(stranger.attest(&mut tpm, &house.boot).await.is_ok());
}

#[tokio::test]
async fn a_root_that_was_withdrawn_carries_nobody() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    house.store.withdraw_endorsement(Sha256::of(house.vendor.root()), BY, clock::now()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(word(&own.renew(&mut tpm, &house.boot).await.unwrap_err()), "refused");
    assert_eq!(house.attempts().await[0].code, "tpm.ek.root_withdrawn");
    assert_eq!(house.node(&admitted.spiffe_id).await.standing, Standing::Refused);
}

#[tokio::test]
async fn messages_that_are_not_what_the_protocol_says_are_malformed() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let stranger = house.stranger().await;
    let begun = stranger.begin(&tpm).await.unwrap();
    let item = tpm.answer(&begun.ask, &begun.nonce(), &house.boot);
    let header = |length: usize| {
        Part::Header(wire::AnswerHeader {
            seal: begun.answer.seal.clone(),
            node_key_spki: tpm.node_spki(),
            csr: Vec::new(),
            items: vec![wire::ItemHeader { kind: "tpm".to_owned(), length: length as u32 }],
            measured_files: None,
        })
    };
    let chunk = |bytes: &[u8]| Part::Chunk(bytes.to_vec());
    let rest = item.len() - 1000;
    for (what, parts) in [
        ("nothing", vec![]),
        ("a chunk first", vec![chunk(&item)]),
        ("two headers", vec![header(item.len()), header(item.len())]),
        ("an empty chunk", vec![header(item.len()), chunk(&[])]),
        ("a chunk too many", vec![header(item.len()), chunk(&item[..rest]), chunk(&item[rest..]), chunk(&[0])]),
        ("a chunk too long", vec![header(1000), chunk(&item)]),
        ("too few bytes", vec![header(item.len()), chunk(&item[..rest])]),
        ("an item of no bytes", vec![header(0)]),
        ("an item of gigabytes", vec![header(u32::MAX as usize), chunk(&item)]),
    ] {
        let refused = stranger.send(parts).await.unwrap_err();
        assert_eq!(word(&refused), "malformed", "{what}");
    }
    let unknown = wire::IdentityMaterial { kind: "snp".to_owned(), material: vec![1] };
    assert_eq!(word(&stranger.begin_all(vec![unknown.clone()]).await.unwrap_err()), "malformed");
    assert_eq!(word(&stranger.begin_all(vec![unknown; 9]).await.unwrap_err()), "malformed");
    assert_eq!(word(&stranger.begin_with(vec![0xff; 1000]).await.unwrap_err()), "refused");
    assert_eq!(word(&stranger.begin_all(Vec::new()).await.unwrap_err()), "enrol");
    assert!(house.attempts().await.is_empty());
    assert!(stranger.attest(&mut tpm_again(&house).await, &house.boot).await.is_ok(), "the port lives on");
}

async fn tpm_again(house: &House) -> VirtualTpm {
    house.machine().await
}

#[tokio::test]
async fn without_a_policy_nobody_is_admitted() {
    let house = House::open().await;
    house.apply("[rule.require]\ntpm.manufacturer = { any_of = [\"id:00000000\"] }\n").await;
    let mut tpm = house.machine().await;
    assert_eq!(word(&house.stranger().await.attest(&mut tpm, &Boot::of("uki")).await.unwrap_err()), "refused");
}
