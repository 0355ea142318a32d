//! The keys of one server, over a store that is real.

use std::os::unix::fs::PermissionsExt as _;

use super::life::{Command, Stage};
use super::tokens::*;
use super::*;
use crate::authority::testing::NOW;
use crate::store::{Actor, Store, conformance};

struct Place {
    directory: tempfile::TempDir,
    _of_store: tempfile::TempDir,
    store: std::sync::Arc<dyn Store>,
}

impl Place {
    async fn new() -> Self {
        let (of_store, store) = conformance::open().await;
        Self { directory: tempfile::tempdir().unwrap(), _of_store: of_store, store }
    }

    async fn opened(&self, settings: TokenSettings) -> TokenAuthority {
        let files = AuthorityFiles::below(self.directory.path());
        TokenAuthority::open(files, settings, self.store.as_ref(), NOW).await.unwrap()
    }

    async fn stages(&self) -> Vec<Stage> {
        self.store.jwt_authorities().await.unwrap().iter().map(|one| one.life.stage).collect()
    }

    fn key_files(&self) -> Vec<std::path::PathBuf> {
        let folder = self.directory.path().join("authority/jwt");
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

#[tokio::test]
async fn the_first_key_signs_at_once_and_lives_through_a_restart_in_a_file_of_its_own() {
    let place = Place::new().await;
    let opened = place.opened(TokenSettings::default()).await;
    let id = opened.signing().unwrap().authority_id().to_owned();
    assert_eq!(place.stages().await, [Stage::Active]);
    let files = place.key_files();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let again = place.opened(TokenSettings::default()).await;
    assert_eq!(again.signing().unwrap().authority_id(), id);
    assert_eq!(place.stages().await, [Stage::Active]);
}

#[tokio::test]
async fn time_prepares_activates_and_sees_off() {
    let place = Place::new().await;
    let opened = place.opened(TokenSettings::default()).await;
    let first = opened.signing().unwrap().authority_id().to_owned();
    let store = place.store.as_ref();
    opened.tend(store, NOW.plus(43_199)).await.unwrap();
    assert_eq!(place.stages().await, [Stage::Active]);
    opened.tend(store, NOW.plus(43_200)).await.unwrap();
    assert_eq!(place.stages().await, [Stage::Active, Stage::Prepared]);
    opened.tend(store, NOW.plus(72_000)).await.unwrap();
    // Nothing was signed by the first one: it leaves as soon as it is old.
    assert_eq!(place.stages().await, [Stage::Active]);
    assert_ne!(opened.signing().unwrap().authority_id(), first);
    assert_eq!(place.key_files().len(), 1, "its private half is gone");
}

#[tokio::test]
async fn commands_go_from_prepared_to_revoked() {
    let place = Place::new().await;
    let opened = place.opened(TokenSettings::default()).await;
    let first = opened.signing().unwrap().authority_id().to_owned();
    let store = place.store.as_ref();
    let next = opened.prepare(store, Actor::Server, NOW).await.unwrap();
    let twice = opened.prepare(store, Actor::Server, NOW).await.unwrap_err();
    assert_eq!(twice.code(), "authority.life.already_prepared");
    let act = async |id: &str, command| opened.act(store, id, command, Actor::Server, NOW).await;
    assert_eq!(act(&first, Command::Revoke).await.unwrap_err().code(), "authority.life.stage");
    assert_eq!(act("../../etc/passwd", Command::Activate).await.unwrap_err().code(), "authority.life.unknown");
    act(&next, Command::Activate).await.unwrap();
    assert_eq!(opened.signing().unwrap().authority_id(), next);
    act(&first, Command::Taint).await.unwrap();
    assert_eq!(place.stages().await, [Stage::Tainted, Stage::Active]);
    act(&first, Command::Revoke).await.unwrap();
    assert_eq!(place.stages().await, [Stage::Active]);
    assert_eq!(place.key_files().len(), 1);
}

#[tokio::test]
async fn a_lost_file_is_another_servers_key_and_a_stray_file_is_removed() {
    let place = Place::new().await;
    let opened = place.opened(TokenSettings::default()).await;
    let lost = opened.signing().unwrap().authority_id().to_owned();
    let file = place.key_files().remove(0);
    std::fs::rename(&file, file.with_file_name(format!("{}.pem", "A".repeat(43)))).unwrap();
    let again = place.opened(TokenSettings::default()).await;
    assert_ne!(again.signing().unwrap().authority_id(), lost);
    assert_eq!(place.stages().await, [Stage::Active, Stage::Active], "what it signed counts until its end");
    assert_eq!(place.key_files().len(), 1);
    let refused = again.act(place.store.as_ref(), &lost, Command::Activate, Actor::Server, NOW).await.unwrap_err();
    assert_eq!(refused.code(), "authority.life.elsewhere");
    again.tend(place.store.as_ref(), NOW.plus(86_460)).await.unwrap();
    let left = place.store.jwt_authorities().await.unwrap();
    assert!(left.iter().all(|one| one.authority_id != lost));
}

#[tokio::test]
async fn the_next_key_is_of_the_kind_that_is_configured_then() {
    let place = Place::new().await;
    place.opened(TokenSettings::default()).await;
    let settings = TokenSettings { key_kind: holdfast_evidence::crypto::KeyKind::EcP384, ..TokenSettings::default() };
    let opened = place.opened(settings).await;
    let next = opened.prepare(place.store.as_ref(), Actor::Server, NOW).await.unwrap();
    opened.act(place.store.as_ref(), &next, Command::Activate, Actor::Server, NOW).await.unwrap();
    let all = place.store.jwt_authorities().await.unwrap();
    assert_eq!(all[1].key.coordinates().0.len(), 48);
}
