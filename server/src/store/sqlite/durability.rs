//! What was acknowledged survives the process: a child writes, says what it was promised, and is killed.

use super::{SqliteStore, StoreLimits};
use crate::record::{Audit, Claim, Leaf};
use crate::store::{
    Actor, Entries, EntryDraft, Issuance, Issuances, IssuerKeyId, Ledger, LedgerEntry, LedgerHead, Origin, Parent,
    Sha256, Store,
};
use holdfast_identity::{TrustDomain, UnixTime};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Names the database to the child.
const DATABASE: &str = "HOLDFAST_TEST_DATABASE";
const NOW: UnixTime = UnixTime(1_700_000_000);

async fn open(database: &Path) -> SqliteStore {
    let trust_domain: TrustDomain = "td".parse().unwrap();
    SqliteStore::open(database, trust_domain, StoreLimits::default()).await.unwrap()
}

fn issuance(serial: u128) -> Issuance {
    Issuance {
        issuer: IssuerKeyId([0; 20]),
        serial: serial.to_be_bytes(),
        spiffe_id: "spiffe://td/holdfast/server".parse().unwrap(),
        spki_sha256: Sha256([1; 32]),
        not_before: NOW,
        not_after: NOW.plus(60),
        origin: Origin::Server,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_until_it_is_killed() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let store = Arc::new(open(Path::new(&database)).await);
    let start = u128::from(store.head().await.unwrap().size) << 32;
    let writers = (0..8_u128).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let serial = start + (writer << 24) + n;
                let recorded = store.record_issuances(vec![issuance(serial)], 0, NOW).await.unwrap().remove(0);
                println!("issued {serial} {}", recorded.unwrap().index());
                let draft = EntryDraft {
                    id: format!("e{serial}"),
                    spiffe_id: format!("spiffe://td/e{serial}").parse().unwrap(),
                    parent: Parent::Id("spiffe://td/node".parse().unwrap()),
                    selectors: BTreeSet::from(["unix:uid:1".parse().unwrap()]),
                    x509_svid_ttl: 0,
                    jwt_svid_ttl: 0,
                    dns_names: Vec::new(),
                    hint: String::new(),
                    expires_at: None,
                    federates_with: BTreeSet::new(),
                };
                store.create_entry(draft, Actor::Server, NOW).await.unwrap().unwrap();
                println!("created e{serial}");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

/// Kills a writing child after `lines` promises; returns them.
fn promises_of_a_killed_child(database: &Path, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "store::sqlite::durability::writes_until_it_is_killed"])
        .env(DATABASE, database)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let promised = |line: &String| line.starts_with("issued ") || line.starts_with("created ");
    let mut read = stdout.lines().map_while(Result::ok).filter(promised);
    let mut promises: Vec<String> = read.by_ref().take(lines).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it still said before it died was acknowledged too; only the last line may be cut short.
    promises.extend(read);
    promises
}

#[tokio::test]
async fn everything_acknowledged_survives_kill_9_and_the_record_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    for round in 0..3 {
        let mut promises = promises_of_a_killed_child(&database, 150 + round * 77);
        assert!(promises.len() >= 150);
        promises.pop();
        let store = open(&database).await;
        let entries = whole_record(&store).await;
        for promise in promises {
            let words: Vec<&str> = promise.split(' ').collect();
            match words.as_slice() {
                ["issued", serial, index] => {
                    let leaf = &entries[index.parse::<usize>().unwrap()].leaf;
                    let serial = serial.parse::<u128>().unwrap().to_be_bytes();
                    assert!(leaf.windows(16).any(|window| window == serial), "{promise}");
                }
                ["created", id] => assert!(store.entry((*id).to_owned()).await.unwrap().is_some(), "{promise}"),
                _ => panic!("{promise}"),
            }
        }
        let mut audit = Audit::default();
        let LedgerHead { size, root } = store.head().await.unwrap();
        audit.claim(size, root, Claim::Head, "the store");
        entries.iter().for_each(|entry| audit.entry(entry.index, &entry.leaf, Some(entry.hash), |_, _| {}));
        let report = audit.finish();
        assert_eq!((report.entries, report.findings), (size, vec![]));
        store.close().await;
    }
}

async fn whole_record(store: &SqliteStore) -> Vec<LedgerEntry> {
    let mut entries: Vec<LedgerEntry> = Vec::new();
    loop {
        let page = store.ledger_entries(entries.len() as u64, 10_000).await.unwrap();
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

#[tokio::test]
async fn only_one_server_has_a_database() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    let first = open(&database).await;
    let second = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await;
    assert!(second.err().unwrap().to_string().contains("another server"));
    first.close().await;
    drop(first);
    open(&database).await;
}

#[tokio::test]
async fn an_audit_reads_the_database_of_a_server_that_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    let store = open(&database).await;
    store.record_issuances(vec![issuance(1)], 0, NOW).await.unwrap();
    store.close().await;
    let archive = SqliteStore::open_for_audit(&database).await.unwrap();
    assert_eq!(archive.ledger_entries(0, 10).await.unwrap().len(), 1);
    assert_eq!(archive.head().await.unwrap().size, 1);
    assert!(archive.node_serials().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_file_is_for_the_server_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("state/store.sqlite");
    let _store = open(&database).await;
    for file in [database.clone(), database.with_extension("sqlite-wal"), database.with_extension("lock")] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
}

#[tokio::test]
async fn a_database_of_the_first_version_keeps_its_endorsements() {
    use crate::store::{EndorsementRole, EndorsementSource, Endorsements, Which};
    use sqlx::ConnectOptions;
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    super::open::migrate_to(&mut connection, 1).await;
    let row = "INSERT INTO endorsements VALUES (x'ab', 'root', x'0102', 'discrete', 'maker', 'CN=Root', 7, 5, 'ada')";
    let row = row.replace("x'ab'", &format!("x'{}'", Sha256::of(&[1, 2])));
    sqlx::query(sqlx::AssertSqlSafe(row)).execute(&mut connection).await.unwrap();
    drop(connection);
    let store = open(&database).await;
    let held = store.endorsements(Which::Trust).await.unwrap();
    assert_eq!(held.len(), 1);
    let draft = &held[0].draft;
    assert_eq!(
        (draft.role, draft.serves.as_str(), draft.source),
        (EndorsementRole::Root, "tpm", EndorsementSource::File)
    );
    assert_eq!((draft.content.as_slice(), draft.class.as_str()), ([1, 2].as_slice(), "discrete"));
    assert_eq!((draft.not_after, draft.fetched_at, held[0].imported_by.as_str()), (UnixTime(7), UnixTime(5), "ada"));
}

/// A chain as the first versions kept it: a hash over its place, its leaf and all before it.
async fn chain(connection: &mut sqlx::SqliteConnection, leaves: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (index, leaf) in leaves.iter().enumerate() {
        let index = index as u64;
        let leaf_hash = crate::record::Hash::leaf(leaf);
        hash = Sha256::of(&[[2].as_slice(), &index.to_be_bytes(), &hash, &leaf_hash.0].concat()).0;
        sqlx::query("INSERT INTO ledger (idx, leaf, hash) VALUES ($1, $2, $3)")
            .bind(index.cast_signed())
            .bind(leaf.clone())
            .bind(hash.to_vec())
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    let row = "INSERT INTO history (only_row, epoch, n, changes_after, bundle_sequence, ledger_size, ledger_hash) \
               VALUES (1, $1, 0, 0, 0, $2, $3)";
    let query = sqlx::query(row).bind(vec![1; 16]).bind((leaves.len() as u64).cast_signed()).bind(hash.to_vec());
    query.execute(connection).await.unwrap();
    hash
}

#[tokio::test]
async fn a_record_that_was_a_chain_is_carried_over_once_and_whole() {
    use sqlx::ConnectOptions;
    let leaves: Vec<Vec<u8>> = (0..600).map(|n| Leaf::Act(serde_json::json!({ "n": n })).encode()).collect();
    for broken in [None, Some(300)] {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("store.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        super::open::migrate_to(&mut connection, 2).await;
        let end = chain(&mut connection, &leaves).await;
        if let Some(index) = broken {
            let changed = sqlx::query("UPDATE ledger SET leaf = x'037b7d' WHERE idx = $1").bind(index);
            changed.execute(&mut connection).await.unwrap();
        }
        drop(connection);
        for _ in 0..2 {
            let store = open(&database).await;
            let entries = whole_record(&store).await;
            assert_eq!(entries.len(), 601, "carried over once");
            let Leaf::Act(act) = Leaf::parse(&entries[600].leaf).unwrap() else { panic!("no act") };
            assert_eq!(
                (act["action"].as_str(), act["subject"].as_str()),
                (Some("record.carry_over"), Some(&*hex::encode(end)))
            );
            assert_eq!(act["detail"], serde_json::json!({ "entries": 600, "broken_at": broken }));
            let report = crate::store::conformance::audit(&store).await;
            assert_eq!((report.entries, report.findings), (601, vec![]));
            if broken.is_none() {
                assert!(entries.iter().zip(&leaves).all(|(entry, leaf)| entry.leaf == *leaf));
            }
            store.close().await;
        }
    }
}

#[tokio::test]
async fn a_chain_with_a_missing_entry_is_not_carried_over() {
    use sqlx::ConnectOptions;
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    super::open::migrate_to(&mut connection, 2).await;
    let leaf = Leaf::Act(serde_json::json!({})).encode();
    chain(&mut connection, &[leaf.clone(), leaf.clone(), leaf]).await;
    sqlx::query("DELETE FROM ledger WHERE idx = 1").execute(&mut connection).await.unwrap();
    drop(connection);
    let refused = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await;
    assert_eq!(refused.err().unwrap().code(), "store.corrupt");
}
