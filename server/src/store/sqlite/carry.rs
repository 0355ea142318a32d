//! Carries a record that was a hash chain over into the tree: once, when its database is opened, all of it or nothing.
//!
//! Each entry keeps its place and its bytes. The chain is checked on the way, and where it ended stands in the first act
//! after it, so that who noted the chain's head then can still tell that the tree begins with what he saw.

use super::super::StoreFault;
use super::super::ledger::Actor;
use super::growth::Growth;
use super::writer::fault;
use crate::clock;
use holdfast_evidence::crypto::sha256;
use holdfast_record::{Frontier, Hash, Leaf};
use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// Entries that are looked at together.
const PAGE: u64 = 4096;
/// What the chain's hash began with.
const CHAIN_PREFIX: &[u8] = &[0x02];

/// Carries over what there is.
pub(super) async fn over(connection: &mut SqliteConnection) -> Result<(), StoreFault> {
    let chain: Option<i64> = sqlx::query_scalar("SELECT 1 FROM sqlite_schema WHERE name = 'chain_end'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(fault("look for a chain"))?;
    if chain.is_none() {
        return Ok(());
    }
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(fault("begin"))?;
    let carried = carry(connection).await;
    let end = if carried.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(&mut *connection).await.map_err(fault("carry the record over"))?;
    carried
}

async fn carry(connection: &mut SqliteConnection) -> Result<(), StoreFault> {
    let end = sqlx::query("SELECT size, hash FROM chain_end")
        .fetch_optional(&mut *connection)
        .await
        .map_err(fault("read the chain's end"))?;
    if let Some(end) = end {
        let size = end.try_get::<i64, _>("size").map_err(fault("read the chain's end"))?.cast_unsigned();
        let hash: Vec<u8> = end.try_get("hash").map_err(fault("read the chain's end"))?;
        entries(connection, size, &hash).await?;
    }
    sqlx::query("DROP TABLE chain_end").execute(connection).await.map_err(fault("end the chain"))?;
    Ok(())
}

async fn entries(connection: &mut SqliteConnection, size: u64, end: &[u8]) -> Result<(), StoreFault> {
    let (mut tree, mut growth) = (Frontier::default(), Growth::default());
    let (mut chain, mut broken_at) = ([0; 32], None);
    while tree.size() < size {
        let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT idx, leaf, hash FROM ledger WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT $3")
                .bind(tree.size().cast_signed())
                .bind(size.cast_signed())
                .bind(PAGE.cast_signed())
                .fetch_all(&mut *connection)
                .await
                .map_err(fault("read the chain"))?;
        if rows.is_empty() {
            return Err(StoreFault::Corrupt { what: "chain: its last entries are missing" });
        }
        for (index, leaf, kept) in rows {
            // An entry's place is all that others know it by: where one is missing, nothing after it can be carried.
            if index.cast_unsigned() != tree.size() {
                return Err(StoreFault::Corrupt { what: "chain: an entry is missing" });
            }
            let hash = Hash::leaf(&leaf);
            chain = sha256(&[CHAIN_PREFIX, &index.to_be_bytes(), &chain, &hash.0]);
            if chain != kept.as_slice() && broken_at.is_none() {
                broken_at = Some(index);
            }
            // Goes on from what is kept, so that one changed entry is one break.
            chain = kept.try_into().unwrap_or_default();
            growth.hash(&mut tree, hash);
            sqlx::query("UPDATE ledger SET hash = $1 WHERE idx = $2")
                .bind(hash.0.to_vec())
                .bind(index)
                .execute(&mut *connection)
                .await
                .map_err(fault("carry an entry over"))?;
        }
        growth.write(connection).await?;
    }
    if chain != end && broken_at.is_none() {
        broken_at = Some(size.cast_signed());
    }
    if let Some(broken_at) = broken_at {
        tracing::error!(alarm = "record.chain_broken", index = broken_at, "the record's chain was broken");
        metrics::counter!("holdfast_alarms_total", "alarm" => "record.chain_broken").increment(1);
    }
    let act = Leaf::Act(json!({
        "at": clock::now().seconds(), "by": Actor::Server.to_string(), "action": "record.carry_over",
        "subject": hex::encode(end), "detail": { "entries": size, "broken_at": broken_at },
    }));
    growth.append(&mut tree, act.encode());
    growth.write(connection).await?;
    sqlx::query("UPDATE history SET ledger_size = $1, frontier = $2 WHERE only_row = 1")
        .bind(tree.size().cast_signed())
        .bind(tree.encode())
        .execute(connection)
        .await
        .map_err(fault("write the head"))?;
    Ok(())
}
