//! JWT authorities and the record of tokens.

use holdfast_evidence::crypto::{Curve, PublicKey};

use super::*;
use crate::authority::life::{Command, Life, LifeRefusal, Stage};

on_each_store! {
    an_authority_lives_from_prepared_to_gone_and_the_bundle_counts_its_changes,
    activating_makes_ours_old_and_leaves_anothers_alone,
    tokens_are_recorded_by_the_active_key_alone_and_keep_it_in_the_bundle,
    a_token_is_judged_again_if_the_world_moved,
}

fn authority(n: u8) -> JwtAuthority {
    let key = PublicKey::ec(Curve::P256, &[n], &[n]).unwrap();
    let life =
        Life { stage: Stage::Prepared, prepared_at: NOW, activated_at: None, ends: NOW.plus(86_400), used_until: NOW };
    JwtAuthority { authority_id: format!("key-{n}"), key, life }
}

async fn act(store: &dyn Store, n: u8, command: Command, ours: &[u8]) -> Result<(), LifeRefusal> {
    let ours = ours.iter().map(|n| format!("key-{n}")).collect();
    store.command_jwt_authority(format!("key-{n}"), command, ours, operator(), NOW).await.unwrap()
}

async fn stages(store: &dyn Store) -> Vec<(String, Stage)> {
    let all = store.jwt_authorities().await.unwrap();
    all.into_iter().map(|one| (one.authority_id, one.life.stage)).collect()
}

async fn an_authority_lives_from_prepared_to_gone_and_the_bundle_counts_its_changes(store: Arc<dyn Store>) {
    store.publish_jwt_authority(authority(1), operator(), NOW).await.unwrap().unwrap();
    store.publish_jwt_authority(authority(2), operator(), NOW).await.unwrap().unwrap();
    let bundle = store.bundle().await.unwrap();
    assert_eq!((bundle.sequence, &bundle.jwt_authorities), (2, &vec![authority(1), authority(2)]));
    assert!(store.publish_jwt_authority(authority(1), operator(), NOW).await.is_err(), "each once");
    assert_eq!(act(&*store, 1, Command::Taint, &[]).await.unwrap_err().code(), "authority.life.stage");
    assert_eq!(act(&*store, 9, Command::Taint, &[]).await.unwrap_err().code(), "authority.life.unknown");
    act(&*store, 1, Command::Activate, &[1, 2]).await.unwrap();
    assert_eq!(store.bundle().await.unwrap().sequence, 2, "its content is the same");
    act(&*store, 2, Command::Activate, &[1, 2]).await.unwrap();
    let mut changes = store.changes();
    act(&*store, 1, Command::Taint, &[]).await.unwrap();
    assert!(matches!(*heard(&mut changes)[0], Notice::Bundle { .. }));
    act(&*store, 1, Command::Revoke, &[]).await.unwrap();
    assert_eq!(stages(&*store).await, [("key-2".to_owned(), Stage::Active)]);
    assert_eq!(store.bundle().await.unwrap().sequence, 4);
    store.retire_jwt_authority("key-2".to_owned(), NOW).await.unwrap();
    store.retire_jwt_authority("key-2".to_owned(), NOW).await.unwrap();
    let (bundle, report) = (store.bundle().await.unwrap(), audit(&*store).await);
    assert_eq!((bundle.sequence, bundle.jwt_authorities.len()), (5, 0));
    assert_eq!((report.acts, report.findings.len()), (7, 0));
}

async fn activating_makes_ours_old_and_leaves_anothers_alone(store: Arc<dyn Store>) {
    for n in 1..=3 {
        store.publish_jwt_authority(authority(n), operator(), NOW).await.unwrap().unwrap();
    }
    act(&*store, 1, Command::Activate, &[1, 3]).await.unwrap();
    act(&*store, 2, Command::Activate, &[2]).await.unwrap();
    act(&*store, 3, Command::Activate, &[1, 3]).await.unwrap();
    let found: Vec<Stage> = stages(&*store).await.into_iter().map(|(_, stage)| stage).collect();
    assert_eq!(found, [Stage::Old, Stage::Active, Stage::Active]);
    assert_eq!(store.jwt_authorities().await.unwrap()[2].life.activated_at, Some(NOW));
}

async fn standing(store: &dyn Store) -> (Node, Entry) {
    let node = admit(store, enrolment(1)).await;
    let draft = entry("web", Parent::Id(node.spiffe_id.clone().unwrap()));
    let entry = store.create_entry(draft, operator(), NOW).await.unwrap().unwrap();
    store.publish_jwt_authority(authority(1), operator(), NOW).await.unwrap().unwrap();
    (node, entry)
}

fn token(node: &Node, entry: &Entry, seconds: i64) -> TokenIssuance {
    TokenIssuance {
        spiffe_id: entry.draft.spiffe_id.clone(),
        audience_sha256: Sha256([5; 32]),
        expires: NOW.plus(seconds),
        node: node.number,
        entry: entry.number,
        revision: entry.revision_number,
    }
}

async fn ask(store: &dyn Store, issuance: TokenIssuance, judged_at: u64) -> Result<(), &'static str> {
    let mut answers = store.record_tokens("key-1".to_owned(), vec![issuance.clone()], judged_at, NOW).await.unwrap();
    let (authority, redeemed, _) = answers.remove(0).map_err(|refused| refused.code())?.redeem();
    assert_eq!((authority.as_str(), redeemed), ("key-1", issuance));
    Ok(())
}

async fn tokens_are_recorded_by_the_active_key_alone_and_keep_it_in_the_bundle(store: Arc<dyn Store>) {
    let (node, entry) = standing(&*store).await;
    let now = || store.revision().n;
    assert_eq!(ask(&*store, token(&node, &entry, 300), now()).await, Err("issuance.authority_gone"), "prepared");
    act(&*store, 1, Command::Activate, &[1]).await.unwrap();
    ask(&*store, token(&node, &entry, 300), now()).await.unwrap();
    ask(&*store, token(&node, &entry, 100), now()).await.unwrap();
    assert_eq!(store.jwt_authorities().await.unwrap()[0].life.used_until, NOW.plus(300));
    assert_eq!(ask(&*store, token(&node, &entry, 86_401), now()).await, Err("issuance.authority_gone"), "it ends");
    store.publish_jwt_authority(authority(2), operator(), NOW).await.unwrap().unwrap();
    act(&*store, 2, Command::Activate, &[1, 2]).await.unwrap();
    assert_eq!(ask(&*store, token(&node, &entry, 300), now()).await, Err("issuance.authority_gone"), "old");
    let report = audit(&*store).await;
    assert_eq!((report.tokens, report.findings.len()), (2, 0));
}

async fn a_token_is_judged_again_if_the_world_moved(store: Arc<dyn Store>) {
    let (node, entry) = standing(&*store).await;
    act(&*store, 1, Command::Activate, &[1]).await.unwrap();
    let seen = store.revision().n;
    store.create_entry(super::entry("db", entry.draft.parent.clone()), operator(), NOW).await.unwrap().unwrap();
    ask(&*store, token(&node, &entry, 300), seen).await.unwrap();
    assert_eq!(ask(&*store, token(&node, &entry, 7201), seen).await, Err("issuance.outlives_evidence"));
    let updated = store.update_entry("web".into(), entry.draft.clone(), None, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(ask(&*store, token(&node, &entry, 300), seen).await, Err("issuance.entry_gone"));
    ask(&*store, token(&node, &updated, 300), seen).await.unwrap();
    let ban = NodeAction::Ban { reason: String::new() };
    store.act(NodeTarget::Number(node.number), ban, operator(), NOW).await.unwrap().unwrap();
    assert_eq!(ask(&*store, token(&node, &updated, 300), seen).await, Err("issuance.node_not_standing"));
}
