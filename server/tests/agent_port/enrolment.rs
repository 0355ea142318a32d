//! The three ways in.

use holdfast_protocol::agent as wire;
use holdfast_server::clock;
use holdfast_server::store::{NodeAction, NodeState, NodeTarget, Standing};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::house::{House, id, word};
use crate::virtual_tpm::{Boot, VirtualTpm};

#[tokio::test]
async fn an_unknown_machine_from_the_inventory_is_activated_certified_quoted_and_named() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let begun = house.stranger().await.begin(&tpm).await.unwrap();
    assert_eq!((begun.ask.credentials.len(), begun.ask.certify), (1, true));
    let admitted = house.enrol(&mut tpm).await;
    let name = format!("spiffe://example.org/holdfast/node/tpm/{}", hex::encode(tpm.ek_digests()[0]));
    assert_eq!(admitted.spiffe_id, name);
    let (_, leaf) = X509Certificate::from_der(&admitted.certificate_chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, tpm.node_spki(), "the certificate is for the key in the TPM");
    assert_eq!(leaf.validity().not_after.timestamp(), admitted.svid_not_after);
    assert!(admitted.svid_not_after <= admitted.evidence_expires_at);
    assert!(leaf.validity().not_before.timestamp() <= clock::now().seconds() - 59);
    let bundle = admitted.bundle.unwrap();
    assert_eq!((bundle.trust_domain.as_str(), bundle.x509_authorities), ("example.org", vec![house.root.clone()]));
    let node = house.node(&name).await;
    assert_eq!((node.state(clock::now()), node.trust_class.as_str()), (NodeState::Admitted, "discrete"));
    assert_eq!(node.selectors.iter().map(ToString::to_string).collect::<Vec<_>>(), ["tpm:secure_boot:true"]);
    assert_eq!(house.attempts().await[0].id.to_string(), admitted.attempt_id);
}

#[tokio::test]
async fn every_endorsement_key_that_is_offered_is_activated_and_all_are_one_machine() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::with_two_keys(&house.vendor);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    let first = house.node(&admitted.spiffe_id).await;
    assert_eq!(first.marks.len(), 4, "certificate and key of each of two");
    for digest in tpm.ek_digests() {
        let target = NodeTarget::Mark(holdfast_server::store::Sha256(digest));
        assert_eq!(house.store.node(target).await.unwrap().unwrap().number, first.number);
    }
}

#[tokio::test]
async fn a_known_machine_returns_with_its_attestation_key_alone() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let first = house.enrol(&mut tpm).await;
    let again = house.stranger().await;
    let begun = again.begin_with(tpm.ak_alone().encode()).await.unwrap();
    assert!(begun.ask.credentials.is_empty() && begun.ask.certify, "nothing is activated again");
    assert_eq!(begun.ask.known_firmware_log, Some(*house.boot.replayed.digest()), "nor is the log sent again");
    let second = again.answer(&begun, &mut tpm, &house.boot).await.unwrap();
    assert_eq!(second.spiffe_id, first.spiffe_id);
    assert_ne!(second.certificate_chain[0], first.certificate_chain[0], "it has a new SVID");
}

#[tokio::test]
async fn a_known_machine_with_a_new_node_key_returns_and_the_old_key_is_nobodys() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (old, admitted) = house.stand(&mut tpm).await;
    let mut stream = old.node().sync(wire::SyncRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let mut replaced = tpm.copy();
    replaced.renew_node_key();
    let again = house.stranger().await;
    let begun = again.begin_with(replaced.ak_alone().encode()).await.unwrap();
    let second = again.answer(&begun, &mut replaced, &house.boot).await.unwrap();
    assert_eq!(second.spiffe_id, admitted.spiffe_id);
    let gone = old.node().sync(wire::SyncRequest::default()).await.unwrap_err();
    assert_eq!(word(&gone), "attest");
    assert_eq!(word(&old.begin_all(Vec::new()).await.unwrap_err()), "enrol", "its certificate's key is not on record");
}

#[tokio::test]
async fn a_node_renews_on_its_own_connection_with_one_quote_and_keeps_its_svid_while_it_serves() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let admitted = house.enrol(&mut tpm).await;
    let own = house.own(&tpm, &admitted).await;
    for named in [false, true] {
        let material =
            holdfast_protocol::agent::IdentityMaterial { kind: "tpm".to_owned(), material: tpm.ak_alone().encode() };
        let materials = if named { vec![material] } else { Vec::new() };
        let begun = own.begin_all(materials).await.unwrap();
        assert!(begun.ask.credentials.is_empty() && !begun.ask.certify);
        let renewed = own.answer(&begun, &mut tpm, &house.boot).await.unwrap();
        assert!(renewed.certificate_chain.is_empty());
        assert_eq!(renewed.svid_not_after, admitted.svid_not_after);
    }
    assert_eq!(
        house.attempts().await.iter().map(|one| one.way.as_str()).collect::<Vec<_>>(),
        ["renew", "renew", "enrol"]
    );
}

#[tokio::test]
async fn a_reboot_is_normal() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    drop(own);
    tpm.reboot();
    let own = house.own(&tpm, &admitted).await;
    assert_eq!(own.renew(&mut tpm, &house.boot).await.unwrap().spiffe_id, admitted.spiffe_id);
}

#[tokio::test]
async fn a_reboot_into_another_state_is_judged_anew_and_ends_the_nodes_standing() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let (own, admitted) = house.stand(&mut tpm).await;
    drop(own);
    tpm.reboot();
    let own = house.own(&tpm, &admitted).await;
    let refused = own.renew(&mut tpm, &Boot::of("secure-boot-off")).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (tonic::Code::PermissionDenied, "refused"));
    let attempt = &house.attempts().await[0];
    assert_eq!((attempt.verdict.as_str(), attempt.code.as_str()), ("refused", "policy.no_rule_matched"));
    assert!(refused.message().contains(&attempt.id.to_string()));
    let full = house.store.attempt(attempt.id).await.unwrap().unwrap();
    assert!(full.decision.contains("tpm.secure_boot.enabled"), "{}", full.decision);
    assert_eq!(house.node(&admitted.spiffe_id).await.standing, Standing::Refused);
    assert!(own.renew(&mut tpm, &house.boot).await.is_ok(), "back in the good state it is admitted again");
}

#[tokio::test]
async fn an_evicted_machine_enrols_from_the_start_and_keeps_its_name() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    let (own, admitted) = house.stand(&mut tpm).await;
    house.act(&admitted.spiffe_id, NodeAction::Evict).await;
    assert_eq!(word(&own.begin_all(Vec::new()).await.unwrap_err()), "enrol");
    let stranger = house.stranger().await;
    assert_eq!(word(&stranger.begin_with(tpm.ak_alone().encode()).await.unwrap_err()), "enrol");
    assert_eq!(house.enrol(&mut tpm).await.spiffe_id, admitted.spiffe_id);
}

#[tokio::test]
async fn a_machine_that_shows_fewer_keys_keeps_its_name() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::with_two_keys(&house.vendor);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    house.act(&admitted.spiffe_id, NodeAction::Evict).await;
    // The RSA key, which may be the larger of the two: alone it would name the machine otherwise.
    tpm.keep_eks(|place| place == 0);
    assert_eq!(house.enrol(&mut tpm).await.spiffe_id, admitted.spiffe_id);
}

#[tokio::test]
async fn a_machine_that_waits_for_approval_is_admitted_once_it_has_it() {
    let house = House::open().await;
    house.apply("").await;
    let text = "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"lab\"\n\
         [issue]\nnode_id = \"/holdfast/node/tpm/{tpm.machine}\"\n\
         [[rule]]\nname = \"asked\"\nownership = \"approval\"\ntrust_classes = [\"discrete\"]\n";
    let draft = holdfast_server::store::PolicyDraft {
        name: "lab".to_owned(),
        documents: vec![holdfast_server::store::Document { name: "lab.toml".to_owned(), text: text.to_owned() }],
        mode: holdfast_server::store::Mode::Enforce,
        message: String::new(),
    };
    house.store.apply_policy(draft, crate::house::BY, clock::now()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    let stranger = house.stranger().await;
    let waits = stranger.attest(&mut tpm, &house.boot).await.unwrap_err();
    assert_eq!(word(&waits), "approval");
    let target = NodeTarget::Mark(holdfast_server::store::Sha256(tpm.ek_digests()[0]));
    let node = house.store.node(target.clone()).await.unwrap().unwrap();
    assert_eq!(node.standing, Standing::Pending);
    house.store.act(target, NodeAction::Approve, crate::house::BY, clock::now()).await.unwrap().unwrap();
    let admitted = stranger.attest(&mut tpm, &house.boot).await.unwrap();
    assert_eq!(admitted.spiffe_id, id(&format!("/holdfast/node/tpm/{}", hex::encode(tpm.ek_digests()[0]))).to_string());
}
