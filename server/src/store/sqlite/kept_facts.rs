//! Facts of the latest appraised evidence: rows of nodes, and bodies that are kept once.

use super::super::attempts::{Attempt, AttemptId};
use super::super::nodes::NodeNumber;
use super::super::rollouts::{FactBody, KeptFactsOf, NodeFacts};
use super::super::{Held, Sha256, StoreFault};
use super::SqliteStore;
use super::writer::{Tx, fault};
use holdfast_identity::UnixTime;
use std::collections::BTreeMap;

/// Nodes in one answer.
const PAGE: u32 = 1000;

/// Node, its own facts, digest of its log's facts, moment, attempt.
type Row = (i64, Vec<u8>, Option<Vec<u8>>, i64, Vec<u8>);

impl KeptFactsOf for SqliteStore {
    fn facts_of_nodes(&self, after: NodeNumber, limit: u32) -> Held<'_, Vec<NodeFacts>> {
        Box::pin(async move {
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT f.node, b.body, f.log, f.at, f.attempt FROM node_facts f \
                 JOIN fact_bodies b ON b.digest = f.own WHERE f.node > $1 ORDER BY f.node LIMIT $2",
            )
            .bind(after.0.cast_signed())
            .bind(limit.min(PAGE))
            .fetch_all(&mut *self.reporter().await?)
            .await
            .map_err(fault("read facts of nodes"))?;
            rows.into_iter()
                .map(|(node, own, log, at, attempt)| {
                    let attempt = attempt.try_into().map_err(|_| StoreFault::Corrupt { what: "attempt" })?;
                    Ok(NodeFacts {
                        node: NodeNumber(node.cast_unsigned()),
                        own,
                        log: log.map(TryInto::try_into).transpose()?,
                        at: UnixTime(at),
                        attempt: AttemptId(attempt),
                    })
                })
                .collect()
        })
    }

    fn fact_body(&self, digest: Sha256) -> Held<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            sqlx::query_scalar("SELECT body FROM fact_bodies WHERE digest = $1")
                .bind(digest.0.to_vec())
                .fetch_optional(&mut *self.reporter().await?)
                .await
                .map_err(fault("read a body of facts"))
        })
    }

    fn listed(&self, digests: Vec<Sha256>) -> Held<'_, BTreeMap<Sha256, bool>> {
        Box::pin(async move {
            let asked: Vec<String> = digests.iter().map(ToString::to_string).collect();
            let rows: Vec<(Vec<u8>, bool)> = sqlx::query_as(
                "SELECT i.digest, i.bare FROM json_each($1) asked JOIN inventory i ON i.digest = unhex(asked.value)",
            )
            .bind(serde_json::json!(asked).to_string())
            .fetch_all(&mut *self.reporter().await?)
            .await
            .map_err(fault("read the inventory"))?;
            rows.into_iter().map(|(digest, bare)| Ok((digest.try_into()?, bare))).collect()
        })
    }
}

/// Keeps what the attempt's evidence says of the node, in place of what was said before.
pub(super) async fn keep(tx: &mut Tx, attempt: &Attempt, node: NodeNumber) -> Result<(), StoreFault> {
    let Some(facts) = &attempt.facts else { return Ok(()) };
    let (own, log) = (facts.own.digest, facts.log.as_ref().map(|log| log.digest));
    let held: Option<(Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as("SELECT own, log FROM node_facts WHERE node = $1")
        .bind(node.0.cast_signed())
        .fetch_optional(&mut tx.connection)
        .await
        .map_err(fault("read facts of a node"))?;
    let held = held.map(|(own, log)| (Some(own), log)).unwrap_or_default();
    if held != (Some(own.0.to_vec()), log.map(|log| log.0.to_vec())) {
        let_go(tx, node).await?;
    }
    // A machine that shows the same again moves no bytes.
    if held.0.as_deref() != Some(own.0.as_slice()) {
        keep_body(tx, &facts.own).await?;
    }
    if let Some(body) = facts.log.as_ref().filter(|body| held.1.as_deref() != Some(body.digest.0.as_slice())) {
        keep_body(tx, body).await?;
    }
    sqlx::query(
        "INSERT INTO node_facts (node, own, log, at, attempt) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (node) \
         DO UPDATE SET own = excluded.own, log = excluded.log, at = excluded.at, attempt = excluded.attempt",
    )
    .bind(node.0.cast_signed())
    .bind(own.0.to_vec())
    .bind(log.map(|log| log.0.to_vec()))
    .bind(attempt.at.seconds())
    .bind(attempt.id.0.to_vec())
    .execute(&mut tx.connection)
    .await
    .map_err(fault("keep facts of a node"))?;
    Ok(())
}

async fn keep_body(tx: &mut Tx, body: &FactBody) -> Result<(), StoreFault> {
    let held: Option<i64> = sqlx::query_scalar("SELECT 1 FROM fact_bodies WHERE digest = $1")
        .bind(body.digest.0.to_vec())
        .fetch_optional(&mut tx.connection)
        .await
        .map_err(fault("look for a body of facts"))?;
    if held.is_none() {
        sqlx::query("INSERT INTO fact_bodies (digest, body) VALUES ($1, $2)")
            .bind(body.digest.0.to_vec())
            .bind(body.bytes.to_vec())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("keep a body of facts"))?;
    }
    Ok(())
}

/// A body goes when no node names it any more; whether one does is asked once, after some node let go of it.
pub(super) const PRUNING: [&str; 2] = [
    "DELETE FROM fact_bodies WHERE digest IN (SELECT digest FROM fact_bodies_let_go WHERE number <= $1) \
     AND NOT EXISTS (SELECT 1 FROM node_facts f WHERE f.own = fact_bodies.digest) \
     AND NOT EXISTS (SELECT 1 FROM node_facts f WHERE f.log = fact_bodies.digest)",
    "DELETE FROM fact_bodies_let_go WHERE number <= $1",
];

/// Lets go of bodies that no node names, up to so many.
pub(super) async fn prune(tx: &mut Tx, at_once: u32) -> Result<(), StoreFault> {
    let first: Option<i64> = sqlx::query_scalar("SELECT MIN(number) FROM fact_bodies_let_go")
        .fetch_one(&mut tx.connection)
        .await
        .map_err(fault("prune facts"))?;
    let Some(first) = first else { return Ok(()) };
    for text in PRUNING {
        let query = sqlx::query(text).bind(first.saturating_add(i64::from(at_once)));
        query.execute(&mut tx.connection).await.map_err(fault("prune facts"))?;
    }
    Ok(())
}

/// Takes note that the node names what it named no more.
pub(super) async fn let_go(tx: &mut Tx, node: NodeNumber) -> Result<(), StoreFault> {
    sqlx::query(
        "INSERT OR IGNORE INTO fact_bodies_let_go (digest) SELECT own FROM node_facts WHERE node = $1 \
         UNION SELECT log FROM node_facts WHERE node = $1 AND log IS NOT NULL",
    )
    .bind(node.0.cast_signed())
    .execute(&mut tx.connection)
    .await
    .map_err(fault("let go of facts"))?;
    Ok(())
}
