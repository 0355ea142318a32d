//! What makers say of machines, as rows. By these a machine may be banned; which one it is, keys say alone.

use super::super::nodes::{Mark, Node, NodeNumber};
use super::super::{Sha256, StoreFault};
use super::writer::{Tx, fault};
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeMap;

/// Nodes that one digest leads to. A maker who says the same of more makes no sense, and is not believed further.
const NODES_MAX: u32 = 1_000;

/// Whether anything that is said of the machine is banned: as itself, or as another machine's of which it was said before
/// it was of this one. So whoever comes with a name that another one has had, and is banned, takes nobody down with him.
pub(super) async fn are_banned(tx: &mut Tx, itself: &[NodeNumber], mentioned: &[Mark]) -> Result<bool, StoreFault> {
    for mark in mentioned {
        let by_digest: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM node_marks m JOIN nodes n ON n.number = m.node WHERE m.digest = $1 AND n.ban IS NOT NULL",
        )
        .bind(mark.digest.0.to_vec())
        .fetch_optional(&mut tx.connection)
        .await
        .map_err(fault("look for a ban"))?;
        if by_digest.is_some() {
            return Ok(true);
        }
        let rows: Vec<(i64, i64, bool)> = sqlx::query_as(
            "SELECT m.number, m.node, n.ban IS NOT NULL FROM node_mentions m JOIN nodes n ON n.number = m.node \
             WHERE m.digest = $1 LIMIT $2",
        )
        .bind(mark.digest.0.to_vec())
        .bind(NODES_MAX)
        .fetch_all(&mut tx.connection)
        .await
        .map_err(fault("look for a ban"))?;
        let is_own = |node: i64| itself.contains(&NodeNumber(node.cast_unsigned()));
        let own = rows.iter().filter(|(_, node, _)| is_own(*node)).map(|(number, ..)| *number).min();
        let is_before = |number: i64| own.is_none_or(|own| number < own);
        if rows.iter().any(|(number, _, banned)| *banned && is_before(*number)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same of a node that is on record, by what was said of it before: one question for all of it.
pub(super) async fn of_node_are_banned(tx: &mut Tx, node: &Node) -> Result<bool, StoreFault> {
    if node.mentions.is_empty() {
        return Ok(false);
    }
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM node_mentions own JOIN node_mentions m ON m.digest = own.digest AND m.number < own.number \
         JOIN nodes n ON n.number = m.node WHERE own.node = $1 AND m.node <> $1 AND n.ban IS NOT NULL \
         UNION ALL SELECT 1 FROM node_mentions own JOIN node_marks m ON m.digest = own.digest \
         JOIN nodes n ON n.number = m.node WHERE own.node = $1 AND n.ban IS NOT NULL LIMIT 1",
    )
    .bind(node.number.0.cast_signed())
    .fetch_optional(&mut tx.connection)
    .await
    .map_err(fault("look for a ban"))?;
    Ok(found.is_some())
}

/// The nodes of which this is said, in the order in which it was.
pub(super) async fn nodes(connection: &mut SqliteConnection, digest: Sha256) -> Result<Vec<NodeNumber>, StoreFault> {
    let rows: Vec<i64> =
        sqlx::query_scalar("SELECT node FROM node_mentions WHERE digest = $1 ORDER BY number LIMIT $2")
            .bind(digest.0.to_vec())
            .bind(NODES_MAX)
            .fetch_all(connection)
            .await
            .map_err(fault("read what is said of nodes"))?;
    Ok(rows.into_iter().map(|number| NodeNumber(number.cast_unsigned())).collect())
}

/// What is said of the nodes from `first` to `last`.
pub(super) async fn of_nodes(
    connection: &mut SqliteConnection,
    first: i64,
    last: i64,
) -> Result<BTreeMap<i64, Vec<Mark>>, StoreFault> {
    let rows: Vec<(i64, String, Vec<u8>)> = sqlx::query_as(
        "SELECT node, kind, digest FROM node_mentions WHERE node BETWEEN $1 AND $2 ORDER BY kind, digest",
    )
    .bind(first)
    .bind(last)
    .fetch_all(connection)
    .await
    .map_err(fault("read what is said of nodes"))?;
    let mut found: BTreeMap<i64, Vec<Mark>> = BTreeMap::new();
    for (node, kind, digest) in rows {
        found.entry(node).or_default().push(Mark { kind, digest: digest.try_into()? });
    }
    Ok(found)
}

/// Takes note of what is said of a node that was admitted.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    node: &mut Node,
    mentioned: &[Mark],
) -> Result<(), StoreFault> {
    for mark in mentioned {
        if node.mentions.iter().any(|held| held.digest == mark.digest) {
            continue;
        }
        sqlx::query("INSERT INTO node_mentions (digest, kind, node) VALUES ($1, $2, $3)")
            .bind(mark.digest.0.to_vec())
            .bind(mark.kind.clone())
            .bind(node.number.0.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(fault("write what is said of a node"))?;
        node.mentions.push(mark.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::of_before::with_a_node;
    use crate::store::sqlite::{SqliteStore, StoreLimits};
    use crate::store::{Actor, Allowed, NodeTarget, Nodes};
    use holdfast_identity::UnixTime;

    #[tokio::test]
    async fn a_database_of_before_keeps_its_bans_and_its_inventory_and_recognises_by_keys_alone() {
        let directory = tempfile::tempdir().unwrap();
        let texts = [
            "UPDATE nodes SET ban = '[1,\"ada\",\"stolen\"]'".to_owned(),
            format!("INSERT INTO inventory VALUES (x'{}', 'an IAK of ours', 1, 'ada')", "44".repeat(32)),
        ];
        let marks = ["ek.spki", "platform.id", "iak.spki", "idevid.spki"];
        let database = with_a_node(directory.path(), 8, &marks, &texts).await;

        let store = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
        let node = store.node(NodeTarget::Mark(Sha256([0; 32]))).await.unwrap().unwrap();
        let kinds = |marks: &[Mark]| marks.iter().map(|mark| mark.kind.clone()).collect::<Vec<_>>();
        assert_eq!(kinds(&node.marks), ["ek.spki", "iak.spki"]);
        let names = ["tpm.iak.spki_sha256", "tpm.idevid.spki_sha256"];
        assert_eq!(kinds(&node.mentions), ["idevid.spki", "platform.id", names[0], names[1]]);
        assert!(node.ban.is_some());
        let named = Mark { kind: "platform.id".to_owned(), digest: Sha256([1; 32]) };
        assert!(store.ownership(vec![named], Vec::new()).await.unwrap().node.is_none());
        // What was listed goes on listing what it did; what is listed now says of what it is.
        let new = Allowed { digest: Sha256([5; 32]), label: String::new() };
        store.allow(vec![new], Actor::Server, UnixTime(2)).await.unwrap();
        let bare: Vec<bool> = store.inventory(None, 10).await.unwrap().iter().map(|entry| entry.bare).collect();
        assert_eq!(bare, [false, true]);
    }
}
