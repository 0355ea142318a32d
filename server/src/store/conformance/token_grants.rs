//! JWT-SVIDs that are withdrawn: by what, until when, and whoever hears of it.

use holdfast_evidence::crypto::{Curve, PublicKey};
use holdfast_svid::Grant;

use super::*;
use crate::authority::life::{Command, Life, Stage};

on_each_store! {
    tokens_of_one_entry_on_one_node_bear_one_name_until_it_is_withdrawn,
    a_ban_withdraws_the_tokens_of_the_node_and_of_nobody_else,
    a_deleted_entry_withdraws_its_tokens_on_every_node_that_has_them,
    an_entry_that_takes_back_withdraws_tokens_and_a_harmless_change_none,
    other_selectors_withdraw_tokens_though_no_certificate_was_ever_signed,
    what_was_withdrawn_is_told_until_the_last_token_has_ended_and_its_place_is_never_used_again,
    a_token_that_has_ended_everywhere_is_not_withdrawn,
    tokens_alone_are_withdrawn_by_hand_and_counted,
}

async fn signing(store: &dyn Store) {
    let key = PublicKey::ec(Curve::P256, &[1], &[1]).unwrap();
    let life =
        Life { stage: Stage::Prepared, prepared_at: NOW, activated_at: None, ends: NOW.plus(86_400), used_until: NOW };
    let authority = JwtAuthority { authority_id: "key".to_owned(), key, life };
    store.publish_jwt_authority(authority, operator(), NOW).await.unwrap().unwrap();
    store.command_jwt_authority("key".into(), Command::Activate, vec![], operator(), NOW).await.unwrap().unwrap();
}

async fn standing(store: &dyn Store, n: u8, name: &str) -> (Node, Entry) {
    let node = admit(store, enrolment(n)).await;
    let draft = entry(name, Parent::Id(node.spiffe_id.clone().unwrap()));
    (node, store.create_entry(draft, operator(), NOW).await.unwrap().unwrap())
}

/// A recorded token's name.
async fn token(store: &dyn Store, node: &Node, entry: &Entry, seconds: i64) -> Grant {
    let issuance = TokenIssuance {
        spiffe_id: entry.draft.spiffe_id.clone(),
        audience_sha256: Sha256([5; 32]),
        expires: NOW.plus(seconds),
        node: node.number,
        entry: entry.number,
        revision: entry.revision_number,
    };
    let mut recorded = store.record_tokens("key".into(), vec![issuance], store.revision().n, NOW).await.unwrap();
    recorded.remove(0).unwrap().redeem().2
}

async fn withdrawn(store: &dyn Store) -> Vec<Grant> {
    let found = store.withdrawn_grants(0, NOW).await.unwrap();
    assert_eq!(found.left_out, None);
    found.grants.iter().map(|one| one.grant).collect()
}

fn ban() -> NodeAction {
    NodeAction::Ban { reason: String::new() }
}

async fn act(store: &dyn Store, node: &Node, action: NodeAction) {
    store.act(NodeTarget::Number(node.number), action, operator(), NOW).await.unwrap().unwrap();
}

fn is_told(changes: &mut Subscription) -> bool {
    heard(changes).iter().any(|notice| matches!(**notice, Notice::TokensWithdrawn { .. }))
}

async fn tokens_of_one_entry_on_one_node_bear_one_name_until_it_is_withdrawn(store: Arc<dyn Store>) {
    signing(&*store).await;
    let (node, web) = standing(&*store, 1, "web").await;
    let (other, db) = standing(&*store, 2, "db").await;
    let first = token(&*store, &node, &web, 300).await;
    assert_eq!(token(&*store, &node, &web, 100).await, first);
    assert_ne!(token(&*store, &other, &db, 300).await, first);
    act(&*store, &node, ban()).await;
    let found = store.withdrawn_grants(0, NOW).await.unwrap().grants;
    assert_eq!(
        found.iter().map(|one| (one.grant, one.ends, one.at)).collect::<Vec<_>>(),
        [(first, NOW.plus(300), NOW)]
    );
    act(&*store, &node, ban()).await;
    assert_eq!(withdrawn(&*store).await, [first], "once");
    assert!(audit(&*store).await.findings.is_empty());
}

async fn a_ban_withdraws_the_tokens_of_the_node_and_of_nobody_else(store: Arc<dyn Store>) {
    signing(&*store).await;
    let (node, web) = standing(&*store, 1, "web").await;
    let (other, db) = standing(&*store, 2, "db").await;
    let theirs = token(&*store, &node, &web, 300).await;
    token(&*store, &other, &db, 300).await;
    let mut changes = store.changes();
    act(&*store, &node, ban()).await;
    assert!(is_told(&mut changes));
    assert_eq!(withdrawn(&*store).await, [theirs]);
    act(&*store, &other, NodeAction::Evict).await;
    assert_eq!(withdrawn(&*store).await.len(), 2);
}

async fn a_deleted_entry_withdraws_its_tokens_on_every_node_that_has_them(store: Arc<dyn Store>) {
    signing(&*store).await;
    let (node, web) = standing(&*store, 1, "web").await;
    let (other, _) = standing(&*store, 2, "db").await;
    let shared = Parent::Selectors(node.selectors.iter().take(1).cloned().collect());
    let shared = store.create_entry(entry("shared", shared), operator(), NOW).await.unwrap().unwrap();
    token(&*store, &node, &web, 300).await;
    let mut both = vec![token(&*store, &node, &shared, 300).await, token(&*store, &other, &shared, 300).await];
    store.delete_entry("shared".into(), operator(), NOW).await.unwrap().unwrap();
    let mut found = withdrawn(&*store).await;
    both.sort();
    found.sort();
    assert_eq!(found, both);
}

async fn an_entry_that_takes_back_withdraws_tokens_and_a_harmless_change_none(store: Arc<dyn Store>) {
    signing(&*store).await;
    let (node, web) = standing(&*store, 1, "web").await;
    let first = token(&*store, &node, &web, 300).await;
    let change = async |draft: EntryDraft| {
        store.update_entry("web".into(), draft, None, operator(), NOW).await.unwrap().unwrap()
    };
    let mut changes = store.changes();
    let hinted = change(EntryDraft { hint: "h".into(), ..web.draft.clone() }).await;
    assert!(!is_told(&mut changes) && withdrawn(&*store).await.is_empty());
    assert_eq!(token(&*store, &node, &hinted, 300).await, first);
    let mut more = hinted.draft.clone();
    more.selectors.insert("unix:gid:7".parse().unwrap());
    let changed = change(more).await;
    assert!(is_told(&mut changes));
    assert_eq!(withdrawn(&*store).await, [first]);
    assert_ne!(token(&*store, &node, &changed, 300).await, first, "a new one has another name");
    assert_eq!(withdrawn(&*store).await, [first]);
}

async fn other_selectors_withdraw_tokens_though_no_certificate_was_ever_signed(store: Arc<dyn Store>) {
    signing(&*store).await;
    let (node, web) = standing(&*store, 1, "web").await;
    let by_selector = entry("fips", Parent::Selectors(selectors(&["tpm:secure_boot:on"])));
    let fips = store.create_entry(by_selector, operator(), NOW).await.unwrap().unwrap();
    token(&*store, &node, &web, 300).await;
    let stray = token(&*store, &node, &fips, 300).await;
    let mut again = enrolment(1);
    again.clock = Some(clock(5, 2000));
    admission(&mut again).selectors = selectors(&["tpm:secure_boot:off"]);
    admit(&*store, again).await;
    assert_eq!(withdrawn(&*store).await, [stray]);
}

async fn what_was_withdrawn_is_told_until_the_last_token_has_ended_and_its_place_is_never_used_again(
    store: Arc<dyn Store>,
) {
    signing(&*store).await;
    let (node, web) = standing(&*store, 1, "web").await;
    token(&*store, &node, &web, 100).await;
    token(&*store, &node, &web, 300).await;
    store.delete_entry("web".into(), operator(), NOW).await.unwrap().unwrap();
    let place = store.withdrawn_grants(0, NOW).await.unwrap().grants[0].place;
    assert!(store.withdrawn_grants(place, NOW).await.unwrap().grants.is_empty());
    store.prune(NOW.plus(600)).await.unwrap();
    assert_eq!(store.withdrawn_grants(0, NOW.plus(599)).await.unwrap().grants.len(), 1);
    store.prune(NOW.plus(601)).await.unwrap();
    assert!(withdrawn(&*store).await.is_empty());
    let db = entry("db", Parent::Id(node.spiffe_id.clone().unwrap()));
    let db = store.create_entry(db, operator(), NOW).await.unwrap().unwrap();
    token(&*store, &node, &db, 300).await;
    store.delete_entry("db".into(), operator(), NOW).await.unwrap().unwrap();
    assert!(store.withdrawn_grants(place, NOW).await.unwrap().grants[0].place > place);
}

async fn tokens_alone_are_withdrawn_by_hand_and_counted(store: Arc<dyn Store>) {
    signing(&*store).await;
    let (node, web) = standing(&*store, 1, "web").await;
    let of_web = token(&*store, &node, &web, 300).await;
    let filter = SvidFilter { entry_id: Some("web".to_owned()), ..SvidFilter::default() };
    let revoke =
        async || store.revoke_svids(filter.clone(), RevocationReason::KeyCompromise, operator(), NOW).await.unwrap();
    assert_eq!(revoke().await, Withdrew { svids: 0, grants: 1 });
    assert_eq!(withdrawn(&*store).await, [of_web]);
    assert_eq!(revoke().await, Withdrew::default());
}

async fn a_token_that_has_ended_everywhere_is_not_withdrawn(store: Arc<dyn Store>) {
    signing(&*store).await;
    let (node, web) = standing(&*store, 1, "web").await;
    token(&*store, &node, &web, -300).await;
    let mut changes = store.changes();
    act(&*store, &node, ban()).await;
    assert!(!is_told(&mut changes) && withdrawn(&*store).await.is_empty());
}
