//! Names by which operators list and ban what makers say of machines: SHA-256 of `fact=value`. A database of before holds the
//! bare digests alone, and a machine that comes back by its attestation key says neither anew, so a ban by name would meet
//! none of those that stand. Adds what is missing when a database is opened.

use super::super::{Sha256, StoreFault};
use super::writer::fault;
use holdfast_appraisal::facts::{FactId, OwnershipFact, owner_digest};
use holdfast_appraisal::{Value, digest_of};
use sqlx::sqlite::SqliteConnection;

/// Kinds of marks whose digest is bare, and the fact whose value it is.
const BARE: [(&str, OwnershipFact); 5] = [
    ("platform.certificate", OwnershipFact::PlatformCertificate),
    ("iak.certificate", OwnershipFact::IakCertificate),
    ("iak.spki", OwnershipFact::IakSpki),
    ("idevid.certificate", OwnershipFact::IdevidCertificate),
    ("idevid.spki", OwnershipFact::IdevidSpki),
];

/// Adds the names of what is on record without one, all of them or none: a node that has one of a kind is not looked at again.
pub(super) async fn add(connection: &mut SqliteConnection) -> Result<(), StoreFault> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(fault("begin"))?;
    let added = names(connection).await;
    let end = if added.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(connection).await.map_err(fault("name what is said of nodes"))?;
    added
}

async fn names(connection: &mut SqliteConnection) -> Result<(), StoreFault> {
    for (kind, fact) in BARE {
        let id = FactId::Owned(fact);
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT s.node, s.digest FROM (SELECT node, digest FROM node_marks WHERE kind = $1 \
             UNION ALL SELECT node, digest FROM node_mentions WHERE kind = $1) s \
             WHERE NOT EXISTS (SELECT 1 FROM node_mentions m WHERE m.node = s.node AND m.kind = $2) ORDER BY s.node",
        )
        .bind(kind)
        .bind(id.to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(fault("look for names of what is said of nodes"))?;
        for (node, digest) in rows {
            let digest: Sha256 = digest.try_into()?;
            let Some(value) = digest_of(&digest.0) else { continue };
            sqlx::query("INSERT OR IGNORE INTO node_mentions (digest, kind, node) VALUES ($1, $2, $3)")
                .bind(owner_digest(id, &Value::Digest(value)).to_vec())
                .bind(id.to_string())
                .bind(node)
                .execute(&mut *connection)
                .await
                .map_err(fault("name what is said of nodes"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use holdfast_identity::UnixTime;

    use super::*;
    use crate::store::sqlite::of_before::with_a_node;
    use crate::store::sqlite::{SqliteStore, StoreLimits};
    use crate::store::{Actor, NodeAction, NodeNumber, NodeTarget, Nodes};

    #[tokio::test]
    async fn of_the_names_of_a_node_all_are_added_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let database = with_a_node(directory.path(), 8, &["iak.spki", "iak.spki"], &[]).await;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
        let mut beside = <SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
        crate::store::sqlite::open::migrate_to(&mut beside, i64::MAX).await;
        // The second name finds the first one there, as if the server had been killed between them.
        let trap = "CREATE TRIGGER trap BEFORE INSERT ON node_mentions WHEN EXISTS (SELECT 1 FROM node_mentions) \
                    BEGIN SELECT RAISE(ABORT, 'killed'); END";
        sqlx::raw_sql(trap).execute(&mut beside).await.unwrap();
        assert!(add(&mut beside).await.is_err());
        sqlx::raw_sql("DROP TRIGGER trap").execute(&mut beside).await.unwrap();
        add(&mut beside).await.unwrap();
        let named: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM node_mentions").fetch_one(&mut beside).await.unwrap();
        assert_eq!(named, 2);
    }

    #[tokio::test]
    async fn a_ban_by_name_meets_the_machines_of_before_too() {
        let directory = tempfile::tempdir().unwrap();
        let database = with_a_node(directory.path(), 8, &BARE.map(|(kind, _)| kind), &[]).await;

        // Opened twice: the second time nothing is missing.
        for _ in 0..2 {
            let store = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
            let node = store.node(NodeTarget::Number(NodeNumber(1))).await.unwrap().unwrap();
            assert_eq!((node.marks.len(), node.mentions.len()), (2, 8), "{node:?}");
            for (n, (_, fact)) in (0..).zip(BARE) {
                let name = owner_digest(FactId::Owned(fact), &Value::Digest(digest_of(&[n; 32]).unwrap()));
                for (action, banned) in
                    [(NodeAction::Ban { reason: "stolen".into() }, true), (NodeAction::Unban, false)]
                {
                    let target = NodeTarget::Mark(Sha256(name));
                    let node = store.act(target, action, Actor::Server, UnixTime(1)).await.unwrap().unwrap();
                    assert_eq!((node.number, node.ban.is_some()), (NodeNumber(1), banned));
                }
            }
            crate::store::Store::close(&store).await;
        }
    }
}
