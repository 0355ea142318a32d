//! Keys, endorsement certificates and what is left in the chip.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use holdfast_agent::tpm::{Patience, Tpm, TpmFault, name_of};
use holdfast_tpm_sim::{CommandCode, Effect, Fault};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::machine::{Bench, HANDLES};

const SHA256: u16 = 0x000b;

async fn signs(tpm: &Tpm) {
    let spki = tpm.identity().await.unwrap().node_key_spki;
    let signer = tpm.clone();
    let digest: [u8; 32] = ring::digest::digest(&ring::digest::SHA256, b"hello").as_ref().try_into().unwrap();
    let signature = tokio::task::spawn_blocking(move || signer.sign_blocking(digest)).await.unwrap().unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki[26..]).verify(b"hello", &signature).unwrap();
    tpm.quote([1; 32], SHA256, BTreeSet::from([0, 7])).await.unwrap();
    tpm.certify_node_key([1; 32]).await.unwrap();
}

#[tokio::test]
async fn keys_are_made_once_and_found_again_with_one_command_each() {
    let bench = Bench::new();
    let tpm = bench.tpm();
    let identity = tpm.identity().await.unwrap();
    assert!(identity.persistent);
    assert_eq!(bench.commands(), 8, "look, make, persist and free two keys");
    signs(&tpm).await;
    assert_eq!(bench.commands(), 3);
    tpm.close().await;
    assert_eq!(bench.commands(), 0);

    let tpm = bench.tpm();
    assert_eq!(tpm.identity().await.unwrap(), identity);
    assert_eq!(bench.commands(), 2);
    signs(&tpm).await;
    tpm.close().await;
    let loaded = bench.machine.loaded_handles().unwrap();
    assert_eq!((loaded.transient.len(), loaded.sessions.len()), (0, 0));
}

#[tokio::test]
async fn keys_have_exactly_the_attributes_that_the_server_demands() {
    let bench = Bench::new();
    let identity = bench.tpm().identity().await.unwrap();
    let attributes = |public: &[u8]| hex::encode(&public[6..10]);
    assert_eq!(attributes(&identity.ak_public), "00050472");
    assert_eq!(attributes(&identity.node_key_public), "00040472");
    assert_ne!(name_of(&identity.ak_public), name_of(&identity.node_key_public));
}

#[tokio::test]
async fn another_state_directory_has_another_node_key_and_the_same_attestation_key() {
    let bench = Bench::new();
    let tpm = bench.tpm();
    let before = tpm.identity().await.unwrap();
    tpm.close().await;
    std::fs::remove_file(bench.state().file("tpm.json")).unwrap();
    let tpm = bench.tpm();
    let after = tpm.identity().await.unwrap();
    assert_eq!(after.ak_public, before.ak_public);
    assert_ne!(after.node_key_public, before.node_key_public);
    assert!(after.persistent);
    signs(&tpm).await;
}

#[tokio::test]
async fn what_a_stranger_put_into_a_handle_is_named_and_never_evicted() {
    for (handle, role) in [(HANDLES.0, "attestation key"), (HANDLES.1, "node key")] {
        let bench = Bench::new();
        bench.tool("tpm2_createprimary -Q -C o -G rsa2048 -c primary.ctx");
        bench.tool(&format!("tpm2_evictcontrol -Q -C o -c primary.ctx {handle:#x}"));
        bench.tool("tpm2_flushcontext -t");
        let tpm = bench.tpm();
        let fault = tpm.identity().await.unwrap_err();
        assert_eq!(fault.code(), "agent.tpm.handle_occupied");
        let text = fault.to_string();
        assert!(text.contains(role) && text.contains("RSA-2048") && text.contains("decrypt"), "{text}");
        let persistent = bench.machine.loaded_handles().unwrap().persistent;
        assert!(persistent.contains(&handle), "{persistent:x?}");
    }
}

#[tokio::test]
async fn without_owner_authorisation_both_keys_stay_loaded_and_leave_with_the_agent() {
    let bench = Bench::new();
    bench.tool("tpm2_changeauth -c o secret");
    let tpm = bench.tpm();
    let identity = tpm.identity().await.unwrap();
    assert!(!identity.persistent);
    signs(&tpm).await;
    tpm.endorsement().await.unwrap();
    tpm.close().await;
    let loaded = bench.machine.loaded_handles().unwrap();
    assert_eq!((loaded.transient.len(), loaded.sessions.len()), (0, 0));

    // The same keys at the next start: primaries come from the seed.
    let tpm = bench.tpm();
    assert_eq!(tpm.identity().await.unwrap(), identity);
}

#[tokio::test]
async fn with_owner_authorisation_keys_are_persisted_and_a_wrong_value_is_said_so() {
    let bench = Bench::new().with_owner_auth("secret");
    bench.tool("tpm2_changeauth -c o secret");
    assert!(bench.tpm().identity().await.unwrap().persistent);

    let bench = Bench::new().with_owner_auth("wrong");
    bench.tool("tpm2_changeauth -c o secret");
    assert!(matches!(bench.tpm().identity().await.unwrap_err(), TpmFault::OwnerAuth));
}

#[tokio::test]
async fn a_missing_endorsement_authorisation_is_said_so() {
    let bench = Bench::new();
    bench.tool("tpm2_changeauth -c e secret");
    assert!(matches!(bench.tpm().identity().await.unwrap_err(), TpmFault::EndorsementAuth));
}

#[tokio::test]
async fn what_a_killed_agent_left_in_the_chip_is_flushed_at_the_next_start() {
    let bench = Bench::new();
    bench.state().mark("tpm.in-use").unwrap();
    bench.tool("tpm2_createprimary -Q -C o -G ecc -c primary.ctx");
    bench.command("8001 0000002b 00000176 40000007 40000007 0010 00000000000000000000000000000000 0000 01 0010 000b");
    let before = bench.machine.loaded_handles().unwrap();
    assert_eq!((before.transient.len(), before.sessions.len()), (1, 1));
    let tpm = bench.tpm();
    signs(&tpm).await;
    let after = bench.machine.loaded_handles().unwrap();
    assert_eq!((after.transient.len(), after.sessions.len()), (0, 0));
}

#[tokio::test]
async fn a_chip_without_free_slots_is_cleaned_and_used() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.tool(&format!("tpm2_createprimary -Q -C o -G ecc -c {name}.ctx"));
    }
    assert_eq!(bench.machine.loaded_handles().unwrap().transient.len(), 3);
    let tpm = bench.tpm();
    signs(&tpm).await;
}

#[tokio::test]
async fn endorsement_certificates_and_their_chain_are_read_once() {
    let bench = Bench::new();
    let tpm = bench.tpm();
    tpm.identity().await.unwrap();
    bench.commands();
    let (keys, chain) = tpm.endorsement().await.unwrap();
    let made = bench.machine.machine().endorsements();
    assert_eq!(keys.len(), 2);
    for key in &keys {
        let made = made.iter().find(|made| made.certificate == key.certificate).unwrap();
        assert_eq!(key.public, made.public);
    }
    assert_eq!(keys[0].index, 0x01c0_000a, "the cheaper key first");
    assert_eq!(chain.len(), 1);
    assert_eq!(bench.commands(), 11, "list indices and persistent keys; three indices, three commands each");
    tpm.close().await;

    let tpm = bench.tpm();
    assert_eq!(tpm.endorsement().await.unwrap().0, keys);
    assert_eq!(bench.commands(), 2, "only the keys are looked up");
}

#[tokio::test]
async fn the_actor_outlives_a_suspend_and_a_reset_of_the_chip() {
    let mut bench = Bench::new();
    let tpm = bench.tpm();
    signs(&tpm).await;
    bench.machine.suspend().unwrap();
    signs(&tpm).await;
    let profile = bench.profile.clone();
    bench.machine.reboot(&profile).unwrap();
    signs(&tpm).await;
}

#[tokio::test]
async fn loaded_keys_are_made_anew_after_a_reset_of_the_chip() {
    let mut bench = Bench::new();
    bench.tool("tpm2_changeauth -c o secret");
    let tpm = bench.tpm();
    signs(&tpm).await;
    let profile = bench.profile.clone();
    bench.machine.reboot(&profile).unwrap();
    signs(&tpm).await;
}

#[tokio::test]
async fn a_cleared_chip_gets_a_new_node_key() {
    let mut bench = Bench::new();
    let tpm = bench.tpm();
    let before = tpm.identity().await.unwrap();
    tpm.close().await;
    let profile = bench.profile.clone();
    bench.machine.clear(&profile).unwrap();
    let tpm = bench.tpm();
    let after = tpm.identity().await.unwrap();
    assert_eq!(after.ak_public, before.ak_public);
    assert_ne!(after.node_key_public, before.node_key_public);
    signs(&tpm).await;
}

#[tokio::test]
async fn all_pcr_values_of_a_bank_can_be_read() {
    let bench = Bench::new();
    let values = bench.tpm().pcr_values(SHA256, (0..24).collect()).await.unwrap();
    assert_eq!(values.len(), 24);
    assert_eq!(values[&7], bench.machine.pcr(holdfast_tpm_sim::Bank::Sha256, 7).unwrap());
}

#[tokio::test]
async fn a_chip_that_does_not_answer_is_reported_as_stalled() {
    let bench = Bench::new();
    let patience = Patience { command: Duration::from_millis(500), create: Duration::from_secs(300) };
    let (told, stalls) = mpsc::channel();
    let tpm = Tpm::start(bench.access.clone(), bench.state(), patience, move |stall| {
        let _ = told.send(stall);
    })
    .unwrap();
    tpm.identity().await.unwrap();
    bench.machine.inject(Fault::on(CommandCode(0x158), Effect::Drop));
    let waiting = tpm.clone();
    let quote = tokio::spawn(async move { waiting.quote([1; 32], SHA256, BTreeSet::from([0])).await.is_ok() });
    let stall = tokio::task::spawn_blocking(move || stalls.recv_timeout(Duration::from_secs(10))).await.unwrap();
    assert_eq!(stall.unwrap().command, "Quote");
    assert!(!quote.is_finished());
    quote.abort();
    // The thread blocks in the library for ever; the program would end now.
    std::mem::forget(tpm);
}
