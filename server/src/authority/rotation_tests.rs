//! Intermediates and roots through their lives, on a real store, with a root in files as the upstream authority.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use holdfast_identity::UnixTime;
use rcgen::KeyPair;

use super::bundle::pem;
use super::life::Stage;
use super::testing::{NOW, Place};
use super::*;
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::store::{Actor, EntryNumber, NodeNumber, Origin, Store, X509State};

const LIFE: i64 = 1000;
const LEAD: i64 = 100;

struct House {
    place: Place,
    store: Arc<dyn Store>,
    authority: Authority,
}

fn operator() -> Actor {
    Actor::Operator { uid: 0, name: "root".to_owned() }
}

/// A new root in the files of the upstream authority; its name.
fn put_root(place: &Place) -> KeyId {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let validity = (NOW.plus(-60), NOW.plus(100_000));
    let serial = profile::draw_serial(&ring::rand::SystemRandom::new()).unwrap();
    let params = profile::signer(&place.options.trust_domain, "root", serial, validity, 1).unwrap();
    let root = params.self_signed(&key).unwrap().der().to_vec();
    let (cert_file, key_file) = upstream_files(place);
    fs::create_dir_all(cert_file.parent().unwrap()).unwrap();
    fs::write(cert_file, pem("CERTIFICATE", &root)).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    KeyId::of(&root).unwrap()
}

fn upstream_files(place: &Place) -> (std::path::PathBuf, std::path::PathBuf) {
    let folder = place.options.root_key.with_file_name("upstream");
    (folder.join("cert.pem"), folder.join("key.pem"))
}

fn rotation(place: &Place) -> Rotation {
    let (cert_file, key_file) = upstream_files(place);
    let upstream = UpstreamSettings::Files { cert_file, key_file, bundle_file: None }.authority();
    Rotation { upstream: Some(upstream), lifetime: LIFE, lead: LEAD }
}

async fn open(place: &Place, store: &dyn Store, now: UnixTime) -> Result<Authority, OpeningFault> {
    let opened = Authority::open(place.options.trust_domain.clone(), place.files(), store, now).await?;
    Ok(opened.rotating(rotation(place)))
}

async fn house() -> (House, KeyId) {
    let place = Place::new();
    let root = put_root(&place);
    let init = UpstreamInit {
        trust_domain: place.options.trust_domain.clone(),
        data_dir: place.options.data_dir.clone(),
        upstream: rotation(&place).upstream.unwrap(),
        ttl: LIFE,
        now: NOW,
    };
    init_upstream(&init).await.unwrap();
    let database = place.options.data_dir.join("test.sqlite");
    let limits = StoreLimits { entries_max: 10, ..StoreLimits::default() };
    let store = SqliteStore::open(&database, place.options.trust_domain.clone(), limits).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    let authority = open(&place, store.as_ref(), NOW).await.unwrap();
    (House { place, store, authority }, root)
}

impl House {
    async fn tend(&self, at: i64) -> Result<(), RotationFault> {
        self.authority.tend(self.store.as_ref(), NOW.plus(at)).await
    }

    async fn state(&self) -> X509State {
        self.store.x509_authorities().await.unwrap()
    }

    /// IDs at a stage.
    async fn at(&self, stage: Stage) -> Vec<String> {
        self.state().await.authorities.into_iter().filter(|one| one.life.stage == stage).map(|one| one.id).collect()
    }

    async fn roots(&self) -> Vec<KeyId> {
        self.store.bundle().await.unwrap().authorities.iter().map(|root| KeyId::of(&root.der).unwrap()).collect()
    }

    /// Drafts an SVID that ends `ttl` after `at`.
    fn draft(&self, at: i64, ttl: i64) {
        let issuer = self.authority.issuer();
        let origin = Origin::Workload { node: NodeNumber(1), entry: EntryNumber(1), revision: 0 };
        let id = issuer.trust_domain().with_path("/w").unwrap();
        issuer.draft(origin, id, &OwnKey::generate().unwrap().spki(), Vec::new(), (NOW.plus(at), ttl, &[])).unwrap();
    }

    async fn prepare(&self, at: i64) -> Result<String, &'static str> {
        let made = self.authority.prepare(self.store.as_ref(), operator(), NOW.plus(at)).await;
        made.map(|one| one.id).map_err(|fault| fault.code())
    }

    async fn activate(&self, id: &str, early: bool, at: i64) -> Result<(), &'static str> {
        let made = self.authority.activate(self.store.as_ref(), (id, early), operator(), NOW.plus(at)).await;
        made.map(|_| ()).map_err(|fault| fault.code())
    }

    async fn taint(&self, id: &str, at: i64) -> Result<(), &'static str> {
        let made = self.authority.taint(self.store.as_ref(), id, operator(), NOW.plus(at)).await;
        made.map(|_| ()).map_err(|fault| fault.code())
    }

    async fn revoke(&self, id: &str, at: i64) -> Result<(), &'static str> {
        let made = self.authority.revoke(self.store.as_ref(), id, operator(), NOW.plus(at)).await;
        made.map(|_| ()).map_err(|fault| fault.code())
    }

    async fn taint_root(&self, id: &KeyId, at: i64) -> Result<(), &'static str> {
        let made = self.authority.taint_root(self.store.as_ref(), &id.to_string(), operator(), NOW.plus(at)).await;
        made.map_err(|fault| fault.code())
    }

    async fn revoke_root(&self, id: &KeyId, at: i64) -> Result<(), &'static str> {
        let made = self.authority.revoke_root(self.store.as_ref(), &id.to_string(), operator(), NOW.plus(at)).await;
        made.map_err(|fault| fault.code())
    }
}

#[tokio::test]
async fn the_next_is_prepared_at_half_life_and_signs_when_a_sixth_is_left() {
    let (house, _) = house().await;
    let first = house.at(Stage::Active).await;
    house.tend(LIFE / 2 - 1).await.unwrap();
    assert!(house.at(Stage::Prepared).await.is_empty());
    house.tend(LIFE / 2).await.unwrap();
    let next = house.at(Stage::Prepared).await;
    assert_eq!((next.len(), house.at(Stage::Active).await), (1, first.clone()));
    house.draft(800, 100);
    house.tend(LIFE * 5 / 6 + 1).await.unwrap();
    assert_eq!((house.at(Stage::Active).await, house.at(Stage::Old).await), (next.clone(), first.clone()));
    assert_eq!(house.authority.issuer().path().key_id.to_string(), next[0]);
    assert_eq!(house.authority.former().len(), 1);
    // The last SVID under it ends at 900; clocks differ by a minute.
    house.tend(959).await.unwrap();
    assert_eq!(house.at(Stage::Old).await, first);
    house.tend(960).await.unwrap();
    assert!(house.at(Stage::Old).await.is_empty() && house.authority.former().is_empty());
    assert_eq!(house.roots().await.len(), 1, "the root stays");
    let names: Vec<_> = fs::read_dir(house.place.files().directory()).unwrap().flatten().collect();
    let former = names.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with("former"));
    assert_eq!(former.count(), 0, "its key is gone");
}

#[tokio::test]
async fn what_was_under_way_when_an_authority_was_replaced_counts() {
    let (house, _) = house().await;
    let id = house.prepare(10).await.unwrap();
    let under_way = house.authority.issuer();
    house.activate(&id, false, 20).await.unwrap();
    under_way.was_used_until(NOW.plus(500));
    house.tend(400).await.unwrap();
    assert_eq!(house.at(Stage::Old).await.len(), 1);
    house.tend(560).await.unwrap();
    assert!(house.at(Stage::Old).await.is_empty());
}

#[tokio::test]
async fn each_command_wants_its_own_stage() {
    let (house, _) = house().await;
    let first = house.at(Stage::Active).await.remove(0);
    for refused in [house.taint(&first, 1).await, house.revoke(&first, 1).await, house.activate(&first, true, 1).await]
    {
        assert_eq!(refused.unwrap_err(), "authority.life.stage");
    }
    let next = house.prepare(10).await.unwrap();
    assert_eq!(house.prepare(11).await.unwrap_err(), "authority.life.already_prepared");
    assert_eq!(house.taint(&next, 11).await.unwrap_err(), "authority.life.stage");
    assert_eq!(house.activate("00ff", false, 11).await.unwrap_err(), "authority.life.unknown");
    assert_eq!(house.activate("no hex", false, 11).await.unwrap_err(), "authority.life.unknown");
    house.activate(&next, false, 12).await.unwrap();
    assert_eq!(house.revoke(&first, 13).await.unwrap_err(), "authority.life.stage");
    house.taint(&first, 14).await.unwrap();
    assert_eq!(house.taint(&first, 15).await.unwrap_err(), "authority.life.stage");
    let told = house.authority.bundle().get().to_message().tainted_key_ids;
    assert_eq!(told, [KeyId::from_hex(&first).unwrap().as_bytes().to_vec()]);
    assert_eq!(house.authority.tainted_at(), NOW.plus(14));
    assert!(house.authority.bundle().get().revoked().is_empty());
    house.revoke(&first, 16).await.unwrap();
    assert_eq!(house.revoke(&first, 17).await.unwrap_err(), "authority.life.unknown");
    assert_eq!(house.authority.bundle().get().revoked().len(), 1);
    assert!(house.authority.former().is_empty());
    house.tend(LIFE + 101).await.unwrap();
    assert!(house.state().await.marks.is_empty(), "nothing below it can be shown any more");
}

#[tokio::test]
async fn a_new_root_is_published_before_anything_is_signed_below_it_and_the_old_one_goes_last() {
    let (house, old_root) = house().await;
    let sequence = house.authority.bundle().get().sequence();
    let new_root = put_root(&house.place);
    house.tend(LIFE / 2).await.unwrap();
    assert_eq!(house.roots().await, [old_root.clone(), new_root.clone()]);
    assert!(house.authority.bundle().get().sequence() > sequence);
    assert_eq!(house.authority.issuer().path().root_id, old_root);
    let next = house.at(Stage::Prepared).await.remove(0);
    let early = house.activate(&next, false, LIFE / 2 + LEAD - 1).await;
    assert_eq!(early.unwrap_err(), "authority.life.too_early");
    house.draft(820, 120);
    house.tend(850).await.unwrap();
    assert_eq!(house.authority.issuer().path().root_id, new_root);
    house.tend(999).await.unwrap();
    assert_eq!(house.roots().await.len(), 2, "the last SVID below it lives");
    house.tend(1000).await.unwrap();
    assert_eq!(house.roots().await, std::slice::from_ref(&new_root));
    let domain = &house.place.options.trust_domain;
    let on_disk = Issuer::load(domain, &house.place.files(), NOW.plus(1000)).unwrap();
    assert_eq!(on_disk.bundle().authorities().len(), 1, "the file follows");
    assert_eq!(on_disk.path().root_id, new_root);
}

#[tokio::test]
async fn an_operator_may_change_over_early() {
    let (house, _) = house().await;
    put_root(&house.place);
    let next = house.prepare(1).await.unwrap();
    assert_eq!(house.activate(&next, false, 2).await.unwrap_err(), "authority.life.too_early");
    house.activate(&next, true, 2).await.unwrap();
    assert_eq!(house.at(Stage::Active).await, [next]);
}

#[tokio::test]
async fn a_root_that_is_in_use_is_not_tainted_and_a_revoked_one_never_comes_back() {
    let (house, old_root) = house().await;
    assert_eq!(house.taint_root(&old_root, 1).await.unwrap_err(), "authority.root.in_use");
    let unknown = KeyId::new(&[9; 20]).unwrap();
    assert_eq!(house.taint_root(&unknown, 1).await.unwrap_err(), "authority.root.unknown");
    let (cert_file, key_file) = upstream_files(&house.place);
    let kept = [fs::read(&cert_file).unwrap(), fs::read(&key_file).unwrap()];
    let new_root = put_root(&house.place);
    let next = house.prepare(2).await.unwrap();
    house.activate(&next, true, 3).await.unwrap();
    assert_eq!(house.revoke_root(&old_root, 4).await.unwrap_err(), "authority.root.stage");
    house.taint_root(&old_root, 5).await.unwrap();
    assert_eq!(house.taint_root(&old_root, 6).await.unwrap_err(), "authority.root.stage");
    assert_eq!(house.at(Stage::Tainted).await.len(), 1, "and what is below it");
    assert_eq!(house.authority.bundle().get().to_message().tainted_key_ids.len(), 2);
    assert_eq!(house.roots().await.len(), 2, "tainted is not revoked");
    house.revoke_root(&old_root, 7).await.unwrap();
    assert_eq!(house.roots().await, [new_root]);
    fs::write(cert_file, &kept[0]).unwrap();
    fs::write(key_file, &kept[1]).unwrap();
    assert_eq!(house.prepare(8).await.unwrap_err(), "authority.upstream.marked_root");
    assert_eq!(house.roots().await.len(), 1);
}

#[tokio::test]
async fn a_change_over_that_broke_off_is_finished_at_the_next_start() {
    let (house, _) = house().await;
    let files = house.place.files();
    let before = fs::read(files.intermediate()).unwrap();
    let next = house.prepare(1).await.unwrap();
    let prepared = fs::read(files.prepared()).unwrap();
    house.activate(&next, false, 2).await.unwrap();
    // As the disk would be if the server had died right after the store said so.
    fs::write(files.intermediate(), &before).unwrap();
    fs::write(files.prepared(), &prepared).unwrap();
    fs::set_permissions(files.prepared(), fs::Permissions::from_mode(0o600)).unwrap();
    let again = open(&house.place, house.store.as_ref(), NOW.plus(3)).await.unwrap();
    assert_eq!(again.issuer().path().key_id.to_string(), next);
    assert_eq!(again.former().len(), 1, "the former one's key is still there for its revocation lists");
    assert!(!Path::new(&files.prepared()).exists());
}

#[tokio::test]
async fn an_intermediate_that_is_not_active_does_not_sign_whoever_puts_it_back() {
    let (house, _) = house().await;
    let files = house.place.files();
    let before = fs::read(files.intermediate()).unwrap();
    let first = house.at(Stage::Active).await.remove(0);
    let next = house.prepare(1).await.unwrap();
    house.activate(&next, false, 2).await.unwrap();
    fs::write(files.intermediate(), &before).unwrap();
    house.authority.renew(house.store.as_ref(), NOW.plus(3)).await.unwrap();
    assert_eq!(house.authority.issuer().path().key_id.to_string(), next);
    let refused = async || match open(&house.place, house.store.as_ref(), NOW.plus(4)).await {
        Err(OpeningFault::Authority(fault)) => fault.code(),
        _ => "opened",
    };
    assert_eq!(refused().await, "authority.not_active");
    house.taint(&first, 5).await.unwrap();
    house.revoke(&first, 6).await.unwrap();
    assert_eq!(refused().await, "authority.not_active");
}

#[tokio::test]
async fn an_upstream_authority_that_is_away_stops_nothing_and_is_not_stormed() {
    let (house, _) = house().await;
    let (cert_file, _) = upstream_files(&house.place);
    fs::remove_file(&cert_file).unwrap();
    let first = house.at(Stage::Active).await;
    assert_eq!(house.tend(500).await.unwrap_err().code(), "authority.file");
    house.tend(549).await.unwrap();
    assert_eq!(house.tend(550).await.unwrap_err().code(), "authority.file");
    assert_eq!(house.at(Stage::Active).await, first);
    house.draft(551, 60);
}

#[tokio::test]
async fn everything_stands_in_the_record_in_its_order() {
    let (house, _) = house().await;
    let from = house.store.head().await.unwrap().size;
    let first = house.at(Stage::Active).await.remove(0);
    let next = house.prepare(1).await.unwrap();
    house.activate(&next, false, 2).await.unwrap();
    house.taint(&first, 3).await.unwrap();
    house.revoke(&first, 4).await.unwrap();
    let entries = house.store.ledger_entries(from, 100).await.unwrap();
    let text: String = entries.iter().map(|entry| String::from_utf8_lossy(&entry.leaf).into_owned() + "\n").collect();
    let at = |action: &str| text.find(&format!("\"{action}\"")).unwrap_or_else(|| panic!("{action} in {text}"));
    let order = ["x509.request", "x509.prepare", "x509.activate", "x509.taint", "x509.revoke"].map(at);
    assert!(order.is_sorted(), "{order:?}");
    assert!(text.contains("root (uid 0)"), "{text}");
}

#[tokio::test]
async fn without_an_upstream_authority_an_operator_renews_and_nothing_is_prepared() {
    let (house, _) = house().await;
    let by_hand = Authority::open(
        house.place.options.trust_domain.clone(),
        house.place.files(),
        house.store.as_ref(),
        NOW.plus(1),
    );
    let by_hand = by_hand.await.unwrap();
    by_hand.tend(house.store.as_ref(), NOW.plus(900)).await.unwrap();
    assert!(house.at(Stage::Prepared).await.is_empty());
    let refused = by_hand.prepare(house.store.as_ref(), operator(), NOW.plus(901)).await;
    assert_eq!(refused.unwrap_err().code(), "authority.upstream.absent");
}

#[tokio::test]
async fn an_upstream_authority_that_hangs_keeps_nobody_from_tainting_and_revoking() {
    let (house, _) = house().await;
    let store = house.store.as_ref();
    let old = house.authority.issuer().path().key_id.to_string();
    let next = house.prepare(0).await.unwrap();
    house.activate(&next, true, 0).await.unwrap();
    let command = vec!["/bin/sleep".to_owned(), "60".to_owned()];
    let upstream = UpstreamSettings::Command { command, timeout: std::time::Duration::from_secs(60) }.authority();
    let authority = open(&house.place, store, NOW).await.unwrap();
    let authority = authority.rotating(Rotation { upstream: Some(upstream), ..rotation(&house.place) });
    let asking = authority.prepare(store, operator(), NOW);
    let revoking = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        authority.taint(store, &old, operator(), NOW).await.unwrap();
        authority.revoke(store, &old, operator(), NOW).await.unwrap();
    };
    tokio::select! {
        answer = asking => panic!("it was to hang: {answer:?}"),
        () = revoking => {}
    }
    assert!(house.state().await.find(&KeyId::from_hex(&old).unwrap()).is_none());
}
