//! What is kept of each node's list of measured files: how far it is judged, and which attempts' manifests name its parts.
//! Reads nothing into them.

use super::super::attempts::{Attempt, JudgedFiles};
use super::super::nodes::NodeNumber;
use super::super::{Sha256, StoreFault};
use super::writer::{Tx, fault};
use sqlx::sqlite::SqliteConnection;

/// Parts of one list: three weeks of renewals twice an hour, each with something new. A list of more is known by what judged
/// it alone, until the machine boots or another version asks for the whole of it.
const PARTS_MAX: i64 = 1_024;

/// Keeps what came of the list with an attempt that is admitted; forgets everything where none came.
pub(super) async fn keep(tx: &mut Tx, node: NodeNumber, attempt: &Attempt) -> Result<(), StoreFault> {
    let number = number(node)?;
    let Some(files) = &attempt.measured_files else {
        return run(tx, sqlx::query("DELETE FROM measured_files WHERE node = $1").bind(number)).await.map(drop);
    };
    let query = sqlx::query(
        "INSERT INTO measured_files (node, state) VALUES ($1, $2) \
         ON CONFLICT (node) DO UPDATE SET state = excluded.state WHERE measured_files.state <> excluded.state",
    );
    run(tx, query.bind(number).bind(files.states.clone())).await?;
    keep_part(tx, number, files, attempt.evidence.as_ref().map(|evidence| evidence.manifest)).await
}

async fn keep_part(tx: &mut Tx, node: i64, files: &JudgedFiles, manifest: Option<Sha256>) -> Result<(), StoreFault> {
    let forget = || sqlx::query("DELETE FROM list_parts WHERE node = $1").bind(node);
    if files.offset == 0 {
        run(tx, forget()).await?;
    } else if files.length == 0 {
        return Ok(());
    }
    let Some(manifest) = manifest else { return run(tx, forget()).await.map(drop) };
    let text = if files.offset == 0 {
        "INSERT INTO list_parts (node, place, manifest) VALUES ($1, 0, $2)"
    } else {
        // A part goes behind one that is known, or says nothing.
        "INSERT INTO list_parts (node, place, manifest) SELECT $1, MAX(place) + 1, $2 FROM list_parts \
         WHERE node = $1 HAVING MAX(place) < $3"
    };
    let query = sqlx::query(text).bind(node).bind(manifest.0.to_vec());
    let query = if files.offset == 0 { query } else { query.bind(PARTS_MAX - 1) };
    match run(tx, query).await {
        Ok(0) => run(tx, forget()).await.map(drop),
        other => other.map(drop),
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

async fn run(tx: &mut Tx, query: Query<'_>) -> Result<u64, StoreFault> {
    let done = query.execute(&mut tx.connection).await;
    done.map(|done| done.rows_affected()).map_err(fault("keep what came of a list of measured files"))
}

/// How far the list is judged.
pub(super) async fn states(connection: &mut SqliteConnection, node: NodeNumber) -> Result<Option<String>, StoreFault> {
    sqlx::query_scalar("SELECT state FROM measured_files WHERE node = $1")
        .bind(number(node)?)
        .fetch_optional(connection)
        .await
        .map_err(fault("read the state of a list of measured files"))
}

/// The manifests that name its parts, in order.
pub(super) async fn parts(connection: &mut SqliteConnection, node: NodeNumber) -> Result<Vec<Sha256>, StoreFault> {
    let parts: Vec<Vec<u8>> = sqlx::query_scalar("SELECT manifest FROM list_parts WHERE node = $1 ORDER BY place")
        .bind(number(node)?)
        .fetch_all(connection)
        .await
        .map_err(fault("read the parts of a list of measured files"))?;
    parts.into_iter().map(Sha256::try_from).collect()
}

fn number(node: NodeNumber) -> Result<i64, StoreFault> {
    i64::try_from(node.0).map_err(|_| StoreFault::Corrupt { what: "number of a node" })
}
