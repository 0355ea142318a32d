//! Databases as earlier versions left them, for tests of what becomes of them.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};

use super::open::migrate_to;

/// One of that version in `directory`, with one admitted node that has these marks, and whatever else `texts` write. The
/// digest of a mark is its place, 32 times.
pub(super) async fn with_a_node(directory: &Path, version: i64, marks: &[&str], texts: &[String]) -> PathBuf {
    let database = directory.join("store.sqlite");
    let options = SqliteConnectOptions::new().filename(&database).create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.unwrap();
    migrate_to(&mut old, version).await;
    let node = "INSERT INTO nodes (number, standing, kinds, trust_class, copyable, known, description, node_key_spki, \
        selectors, changed_n, rule, first_seen, attested_at, evidence_expires, svid_not_after) VALUES \
        (1, 'admitted', 'tpm', 'discrete', FALSE, x'', '', x'', '[]', 0, '', 0, 0, 0, 0)";
    let marks = marks
        .iter()
        .enumerate()
        .map(|(n, kind)| format!("INSERT INTO node_marks VALUES (x'{}', '{kind}', 1)", format!("{n:02}").repeat(32)));
    for text in std::iter::once(node.to_owned()).chain(marks).chain(texts.iter().cloned()) {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut old).await.unwrap();
    }
    old.close().await.unwrap();
    database
}
