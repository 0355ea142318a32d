//! Facts of the latest appraised evidence: rows of nodes, and bodies that are kept once.

use super::super::attempts::{Attempt, AttemptId};
use super::super::nodes::NodeNumber;
use super::super::rollouts::{FactBody, KeptFactsOf, NodeFacts};
use super::super::{Held, Sha256, StoreFault};
use super::SqliteStore;
use super::writer::{Tx, fault};
use holdfast_identity::UnixTime;
use std::collections::BTreeSet;

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

    fn listed(&self, digests: Vec<Sha256>) -> Held<'_, BTreeSet<Sha256>> {
        Box::pin(async move {
            let asked: Vec<String> = digests.iter().map(ToString::to_string).collect();
            let rows: Vec<Vec<u8>> = sqlx::query_scalar(
                "SELECT i.digest FROM json_each($1) asked JOIN inventory i ON i.digest = unhex(asked.value)",
            )
            .bind(serde_json::json!(asked).to_string())
            .fetch_all(&mut *self.reporter().await?)
            .await
            .map_err(fault("read the inventory"))?;
            rows.into_iter().map(TryInto::try_into).collect()
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

/// Lets go of facts of nodes that are gone, and of bodies that no node names.
pub(super) async fn prune(tx: &mut Tx) -> Result<(), StoreFault> {
    for text in [
        "DELETE FROM node_facts WHERE node NOT IN (SELECT number FROM nodes)",
        "DELETE FROM fact_bodies WHERE digest NOT IN (SELECT own FROM node_facts) \
         AND digest NOT IN (SELECT log FROM node_facts WHERE log IS NOT NULL)",
    ] {
        sqlx::query(text).execute(&mut tx.connection).await.map_err(fault("prune facts"))?;
    }
    Ok(())
}
