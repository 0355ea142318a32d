//! What a signer refuses to sign, and how a log is published, shown and audited: each attack by name.

use super::*;
use crate::record::{Held, Leaf, Shown, Source, open_key, publish, verify};
use crate::store::sqlite::{SqliteStore, StoreLimits};
use axum::http::Request;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const NOW: UnixTime = UnixTime(1_700_000_000);

struct Place {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    signer: Arc<Signer>,
}

async fn place_at(directory: tempfile::TempDir) -> Place {
    let store = open(directory.path()).await;
    let signer = Arc::new(signer(&store, directory.path()).await.unwrap());
    Place { directory, store, signer }
}

async fn place() -> Place {
    place_at(tempfile::tempdir().unwrap()).await
}

async fn open(directory: &Path) -> Arc<dyn Store> {
    let database = directory.join("holdfast.sqlite");
    Arc::new(SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap())
}

async fn signer(store: &Arc<dyn Store>, directory: &Path) -> Result<Signer, RecordFault> {
    let key_file = directory.join("record.key");
    let key = open_key(&key_file, None, &"td".parse().unwrap())?;
    let pace = Pace { interval: Duration::from_secs(3600), entries: 5 };
    Signer::open(store.clone(), SignerOptions { key, key_file, pace }).await
}

/// Entries that are like no others.
async fn grow(store: &Arc<dyn Store>, entries: u64) {
    static GROWN: AtomicU64 = AtomicU64::new(100_000);
    for _ in 0..entries {
        let subject = GROWN.fetch_add(1, Ordering::Relaxed).to_string();
        let operation = Operation { action: "test", subject, detail: json!({}) };
        store.record_operation(operation, Actor::Server, NOW).await.unwrap();
    }
}

/// Copies what a backup of the data directory holds. The database's own side files go when it is closed.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        match std::fs::copy(entry.path(), to.join(entry.file_name())) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
        }
    }
}

/// Closes the store so that its file is whole.
async fn closed(place: Place) -> tempfile::TempDir {
    place.store.close().await;
    place.directory
}

#[tokio::test]
async fn checkpoints_follow_each_other_and_the_key_stands_in_the_record() {
    let place = place().await;
    let first = place.signer.sign(NOW).await.unwrap();
    assert_eq!(first.claimed().size, 1, "the act that names the key");
    assert_eq!(place.signer.sign(NOW).await.unwrap(), first, "nothing new, nothing signed");
    grow(&place.store, 300).await;
    assert_eq!(place.signer.latest().await.unwrap(), first);
    let second = place.signer.sign(NOW).await.unwrap();
    assert_eq!(second.verify(place.signer.log()).unwrap().size, 301);
    let log = place.signer.log().clone();
    let proven = place.signer.prove(7).await.unwrap();
    assert_eq!(proven.checkpoint, second);
    assert_eq!(proven.proof.verify(Hash::leaf(&proven.leaf), second.claimed().root), Ok(()));
    let again = place_at(closed(place).await).await;
    assert_eq!((again.signer.latest().await.unwrap(), again.signer.log()), (second, &log));
    assert_eq!(again.store.head().await.unwrap().size, 301, "a known key is not recorded again");
}

#[tokio::test]
async fn a_database_put_back_from_an_older_copy_is_not_signed() {
    let place = place().await;
    place.signer.sign(NOW).await.unwrap();
    let directory = closed(place).await;
    let backup = tempfile::tempdir().unwrap();
    copy(directory.path(), backup.path());
    let place = place_at(directory).await;
    grow(&place.store, 10).await;
    place.signer.sign(NOW).await.unwrap();
    let directory = closed(place).await;
    for file in ["holdfast.sqlite", "holdfast.sqlite-wal", "holdfast.sqlite-shm"] {
        let _ = std::fs::remove_file(directory.path().join(file));
        let _ = std::fs::copy(backup.path().join(file), directory.path().join(file));
    }
    let place = place_at(directory).await;
    let refused = place.signer.sign(NOW).await.unwrap_err();
    assert_eq!(refused.code(), "record.rolled_back");
    // Growing beyond what was signed does not help it.
    grow(&place.store, 30).await;
    assert_eq!(place.signer.sign(NOW).await.unwrap_err().code(), "record.forked");
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(place.signer.clone().keep(stop.clone()));
    stop.cancel();
    keeping.await.unwrap();
    let last = place.store.ledger_entries(31, 100).await.unwrap().pop().unwrap();
    assert!(String::from_utf8_lossy(&last.leaf).contains("record.forked"), "the alarm is recorded");
}

#[tokio::test]
async fn a_database_that_names_a_checkpoint_of_its_own_is_not_believed() {
    // Written by somebody who has the database and not the key.
    let place = place().await;
    let signed = place.signer.sign(NOW).await.unwrap();
    let log = place.signer.log().clone();
    let other = SigningKey::from_seed(log.name(), zeroize::Zeroizing::new([1; 32])).unwrap();
    let fork = Checkpoint { origin: log.name().to_owned(), size: 7, root: Hash([7; 32]) }.sign(&other).unwrap();
    place.store.keep_checkpoint(KeptCheckpoint { at: NOW, log, checkpoint: fork }).await.unwrap();
    let directory = closed(place).await;
    let store = open(directory.path()).await;
    assert_eq!(signer(&store, directory.path()).await.err().unwrap().code(), "record.checkpoint.signature");
    assert_eq!(signed.claimed().size, 1);
}

#[tokio::test]
async fn of_two_records_that_were_signed_neither_may_be_forgotten() {
    // Two copies ran with one key, and the longer one's database is put back beside the other's last checkpoint.
    let place = place().await;
    place.signer.sign(NOW).await.unwrap();
    let directory = closed(place).await;
    let twin = tempfile::tempdir().unwrap();
    copy(directory.path(), twin.path());
    let (here, there) = (place_at(directory).await, place_at(twin).await);
    grow(&here.store, 5).await;
    grow(&there.store, 9).await;
    here.signer.sign(NOW).await.unwrap();
    there.signer.sign(NOW).await.unwrap();
    let (here, there) = (closed(here).await, closed(there).await);
    std::fs::copy(here.path().join("record.checkpoint"), there.path().join("record.checkpoint")).unwrap();
    let back = place_at(there).await;
    assert_eq!(back.signer.sign(NOW).await.unwrap_err().code(), "record.forked");
}

#[tokio::test]
async fn what_is_beside_the_key_must_verify_with_it() {
    let place = place().await;
    let signed = place.signer.sign(NOW).await.unwrap().to_string();
    let directory = closed(place).await;
    let file = directory.path().join("record.checkpoint");
    std::fs::write(&file, signed.replace("\n1\n", "\n2\n")).unwrap();
    let store = open(directory.path()).await;
    assert_eq!(signer(&store, directory.path()).await.err().unwrap().code(), "record.checkpoint.signature");
    std::fs::write(&file, "nonsense").unwrap();
    assert_eq!(signer(&store, directory.path()).await.err().unwrap().code(), "authority.content");
}

#[tokio::test]
async fn a_key_of_another_origin_than_is_configured_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, td) = (directory.path().join("record.key"), "td".parse().unwrap());
    let key = open_key(&path, Some("td/one"), &td).unwrap();
    assert_eq!(open_key(&path, None, &td).unwrap().verifier(), key.verifier());
    assert_eq!(open_key(&path, Some("td/two"), &td).unwrap_err().code(), "authority.content");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_new_key_is_recorded_with_what_the_old_one_signed() {
    let place = place().await;
    let (old, signed) = (place.signer.log().to_string(), place.signer.sign(NOW).await.unwrap());
    let directory = closed(place).await;
    std::fs::remove_file(directory.path().join("record.key")).unwrap();
    let place = place_at(directory).await;
    let leaf = place.store.ledger_entries(1, 1).await.unwrap().remove(0).leaf;
    let Leaf::Act(act) = Leaf::parse(&leaf).unwrap() else { panic!("no act") };
    assert_eq!(
        (act["action"].as_str(), act["subject"].as_str()),
        (Some("record.key"), Some(&*place.signer.log().to_string()))
    );
    assert_eq!(act["detail"]["before"]["vkey"], old);
    assert_eq!(act["detail"]["before"]["root"], signed.claimed().root.to_base64());
    assert_eq!(place.signer.sign(NOW).await.unwrap().claimed().size, 2);
}

async fn codes(source: &mut Source, held: &Held) -> Vec<&'static str> {
    let report = verify(source, held, |_, _| {}).await.unwrap();
    report.findings.iter().map(|finding| finding.code).collect()
}

#[tokio::test]
async fn a_log_is_published_extended_and_audited_by_its_files_alone() {
    let place = place().await;
    let www = tempfile::tempdir().unwrap();
    let mut earlier = Vec::new();
    for entries in [4, 260, 300] {
        grow(&place.store, entries).await;
        let signed = place.signer.sign(NOW).await.unwrap();
        let mut source = Source::Archive(archive(&place).await);
        let done = publish(&mut source, www.path()).await.unwrap();
        assert_eq!((done.size, done.root), (signed.claimed().size, signed.claimed().root));
        earlier.push((format!("{entries}"), signed));
    }
    assert_eq!(std::fs::read_to_string(www.path().join("checkpoint")).unwrap(), earlier[2].1.to_string());
    let held = Held { log: Some(place.signer.log().clone()), earlier };
    let mut files = Source::Directory(www.path().to_owned());
    assert_eq!(codes(&mut files, &held).await, [""; 0]);
    for (file, byte, expected) in [
        ("tile/entries/000", 40, "audit.checkpoint_differs"),
        ("tile/entries/002.p/53", 9, "audit.checkpoint_differs"),
        ("tile/0/001", 4000, "audit.tile_differs"),
        ("tile/1/000.p/2", 33, "audit.tile_differs"),
        ("checkpoint", 4, "audit.origin_differs"),
    ] {
        let path = www.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[byte] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert!(codes(&mut files, &held).await.contains(&expected), "{file}");
        std::fs::remove_file(&path).unwrap();
        let gone = verify(&mut files, &held, |_, _| {}).await;
        assert!(gone.is_err() || !gone.unwrap().findings.is_empty(), "{file} is gone");
        std::fs::write(&path, whole).unwrap();
    }
    let other = SigningKey::from_seed("td/other", zeroize::Zeroizing::new([1; 32])).unwrap();
    let strange = Held { log: Some(other.verifier().clone()), earlier: Vec::new() };
    assert_eq!(codes(&mut files, &strange).await, ["audit.origin_differs"]);
}

#[tokio::test]
async fn a_record_without_a_checkpoint_is_not_whole_by_a_key_that_verified_nothing() {
    let place = place().await;
    grow(&place.store, 5).await;
    let mut source = Source::Archive(archive(&place).await);
    let held = || Held { log: Some(place.signer.log().clone()), earlier: Vec::new() };
    assert_eq!(codes(&mut source, &held()).await, ["audit.missing"]);
    assert_eq!(codes(&mut source, &Held::default()).await, [""; 0], "nobody asked for a signature");
    let signed = place.signer.sign(NOW).await.unwrap();
    assert_eq!(codes(&mut source, &held()).await, [""; 0]);
    // Rewritten, with the checkpoint taken out: one that the auditor kept tells as much as before.
    let database = place.directory.path().join("holdfast.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
    let mut beside = <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    sqlx::raw_sql("DELETE FROM checkpoints").execute(&mut beside).await.unwrap();
    assert_eq!(codes(&mut source, &held()).await, ["audit.missing"]);
    let earlier = vec![("mine".to_owned(), signed)];
    assert_eq!(codes(&mut source, &Held { earlier, ..held() }).await, [""; 0]);
}

async fn archive(place: &Place) -> crate::store::sqlite::Archive {
    SqliteStore::open_for_audit(&place.directory.path().join("holdfast.sqlite")).await.unwrap()
}

#[tokio::test]
async fn a_directory_of_another_history_is_not_written_over() {
    let (one, two) = (place().await, place().await);
    let www = tempfile::tempdir().unwrap();
    for (place, good) in [(&one, true), (&two, false)] {
        place.signer.sign(NOW).await.unwrap();
        let published = publish(&mut Source::Archive(archive(place).await), www.path()).await;
        assert_eq!(published.is_ok(), good);
    }
}

#[tokio::test]
async fn a_database_that_somebody_edits_is_found_out() {
    use sqlx::ConnectOptions as _;
    for edit in [
        "UPDATE ledger SET leaf = x'037b7d' WHERE idx = 7",
        "UPDATE ledger SET hash = zeroblob(32) WHERE idx = 300",
        "UPDATE ledger_nodes SET hash = zeroblob(32) WHERE idx = 0",
        "DELETE FROM ledger_nodes",
        "DELETE FROM ledger WHERE idx = 5",
        "DELETE FROM ledger WHERE idx > 290",
        "UPDATE history SET frontier = zeroblob(length(frontier))",
        "UPDATE ledger SET idx = -1 WHERE idx = 4; UPDATE ledger SET idx = 4 WHERE idx = 5; UPDATE ledger SET idx = 5 \
         WHERE idx = -1",
        "UPDATE checkpoints SET note = replace(note, '303', '302')",
    ] {
        let place = place().await;
        grow(&place.store, 302).await;
        place.signer.sign(NOW).await.unwrap();
        let held = Held { log: Some(place.signer.log().clone()), earlier: Vec::new() };
        let directory = closed(place).await;
        let database = directory.path().join("holdfast.sqlite");
        let archive = async || Source::Archive(SqliteStore::open_for_audit(&database).await.unwrap());
        assert_eq!(codes(&mut archive().await, &held).await, [""; 0]);
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
        sqlx::raw_sql(edit).execute(&mut options.connect().await.unwrap()).await.unwrap();
        assert!(!codes(&mut archive().await, &held).await.is_empty(), "{edit}");
    }
}

#[tokio::test]
async fn the_listener_shows_what_was_signed_and_nothing_beyond() {
    let place = place().await;
    grow(&place.store, 299).await;
    let signed = place.signer.sign(NOW).await.unwrap();
    grow(&place.store, 300).await;
    let shown = Shown { store: place.store.clone(), signer: place.signer.clone() };
    let get = async |path: &str| {
        let answer = shown.answer(&Request::get(path).body(()).unwrap()).await;
        let status = answer.status().as_u16();
        let kept = answer.headers()["cache-control"].to_str().unwrap().contains("immutable");
        (status, kept, axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1 << 24).await.unwrap())
    };
    let (status, kept, body) = get("/checkpoint").await;
    assert_eq!((status, kept, body.as_ref()), (200, false, signed.to_string().as_bytes()));
    for (path, status, length) in [
        ("/tile/0/000", 200, 256 * 32),
        ("/tile/0/001.p/44", 200, 44 * 32),
        ("/tile/0/001.p/7", 200, 7 * 32),
        ("/tile/0/001.p/45", 404, 0),
        ("/tile/0/001", 404, 0),
        ("/tile/1/000.p/1", 200, 32),
        ("/tile/1/000.p/2", 404, 0),
        ("/tile/9/000", 404, 0),
        ("/tile/entries/x999/x999/x999/x999/x999/999", 404, 0),
        ("/", 404, 0),
        ("//checkpoint", 404, 0),
        ("/tile/0/../../checkpoint", 404, 0),
    ] {
        let (found, kept, body) = get(path).await;
        assert_eq!((found, kept, body.len()), (status, status == 200, length), "{path}");
    }
    let (_, _, bundle) = get("/tile/entries/001.p/44").await;
    assert_eq!(holdfast_record::tile::decode_bundle(44, &bundle).unwrap().len(), 44);
    let refused = shown.answer(&Request::post("/checkpoint").body(()).unwrap()).await;
    assert_eq!(refused.status().as_u16(), 405);
}

#[tokio::test]
async fn a_monitor_audits_the_log_over_http() {
    let place = place().await;
    grow(&place.store, 600).await;
    place.signer.sign(NOW).await.unwrap();
    let stop = CancellationToken::new();
    let shown = Shown { store: place.store.clone(), signer: place.signer.clone() };
    let address = shown.bind("127.0.0.1:0".parse().unwrap(), stop.clone()).await.unwrap();
    let mut source = Source::url(&format!("http://{address}/"), Path::new("/nonexistent"));
    let held = Held { log: Some(place.signer.log().clone()), earlier: Vec::new() };
    let report = verify(&mut source, &held, |_, _| {}).await.unwrap();
    assert_eq!((report.entries, report.findings), (601, vec![]));
    stop.cancel();
}

#[tokio::test]
async fn entries_wait_for_a_checkpoint_no_longer_than_the_pace_says() {
    let place = place().await;
    place.signer.sign(NOW).await.unwrap();
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(place.signer.clone().keep(stop.clone()));
    grow(&place.store, 6).await;
    while place.signer.latest().await.unwrap().claimed().size < 7 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    grow(&place.store, 1).await;
    stop.cancel();
    keeping.await.unwrap();
    assert_eq!(place.signer.latest().await.unwrap().claimed().size, 8, "once more at the end");
}
