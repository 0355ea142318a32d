//! Reading the record, the server's own entries in it, and the sample of strangers beside it.

use super::super::ledger::{Actor, KeptCheckpoint, Ledger, LedgerEntry, LedgerHead, Operation, StrangerLine};
use super::super::{Held, StoreFault};
use super::writer::{Tx, Verb, fault};
use super::{Archive, SqliteStore, growth, tiles};
use crate::record::{Hash, Leaf, Tile};
use holdfast_identity::UnixTime;
use serde_json::json;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeMap;

/// Entries in one answer.
const PAGE: u32 = 10_000;
/// Lines about strangers that are kept.
const STRANGER_LINES: i64 = 20_000;

impl Ledger for SqliteStore {
    fn record_operation(&self, operation: Operation, by: Actor, at: UnixTime) -> Held<'_, u64> {
        Box::pin(self.queue.run(Record { operation, by, at }))
    }

    fn head(&self) -> Held<'_, LedgerHead> {
        Box::pin(async move { head(&mut *self.reader().await?).await })
    }

    fn ledger_entries(&self, from: u64, limit: u32) -> Held<'_, Vec<LedgerEntry>> {
        Box::pin(async move { entries(&mut *self.reporter().await?, from, limit).await })
    }

    fn tiles(&self, tiles: Vec<Tile>) -> Held<'_, Vec<(Tile, Vec<Hash>)>> {
        Box::pin(async move { read_tiles(&mut *self.report_snapshot().await?, tiles).await })
    }

    fn keep_checkpoint(&self, checkpoint: KeptCheckpoint) -> Held<'_, ()> {
        Box::pin(self.queue.run(tiles::KeepCheckpoint(checkpoint)))
    }

    fn checkpoints(&self, limit: u32) -> Held<'_, Vec<KeptCheckpoint>> {
        Box::pin(async move { tiles::checkpoints(&mut *self.reporter().await?, limit.min(PAGE)).await })
    }

    fn node_serials(&self) -> Held<'_, Vec<[u8; 16]>> {
        Box::pin(async move { node_serials(&mut *self.reporter().await?).await })
    }

    fn keep_strangers(&self, lines: Vec<StrangerLine>) -> Held<'_, ()> {
        Box::pin(self.queue.run(KeepStrangers(lines)))
    }

    fn strangers(&self, limit: u32) -> Held<'_, Vec<StrangerLine>> {
        Box::pin(async move {
            let rows: Vec<(i64, String, String)> =
                sqlx::query_as("SELECT minute, source, counts FROM strangers ORDER BY minute DESC, source LIMIT $1")
                    .bind(limit.min(PAGE))
                    .fetch_all(&mut *self.reader().await?)
                    .await
                    .map_err(fault("read the sample of strangers"))?;
            rows.into_iter().map(line).collect()
        })
    }
}

impl Archive {
    /// How many entries there are, and the root over them.
    ///
    /// # Errors
    /// [`StoreFault`] if the file cannot be read.
    pub async fn head(&self) -> Result<LedgerHead, StoreFault> {
        head(&mut *self.reader().await?).await
    }

    /// Entries from `from` on.
    ///
    /// # Errors
    /// [`StoreFault`] if the file cannot be read.
    pub async fn ledger_entries(&self, from: u64, limit: u32) -> Result<Vec<LedgerEntry>, StoreFault> {
        entries(&mut *self.reader().await?, from, limit).await
    }

    /// The hashes of tiles, each cut to what there is of it.
    ///
    /// # Errors
    /// [`StoreFault`] if the file cannot be read.
    pub async fn tiles(&self, tiles: Vec<Tile>) -> Result<Vec<(Tile, Vec<Hash>)>, StoreFault> {
        read_tiles(&mut *self.reader().await?, tiles).await
    }

    /// What was signed, newest first.
    ///
    /// # Errors
    /// [`StoreFault`] if the file cannot be read.
    pub async fn checkpoints(&self, limit: u32) -> Result<Vec<KeptCheckpoint>, StoreFault> {
        tiles::checkpoints(&mut *self.reader().await?, limit).await
    }

    /// Serial numbers of the node SVIDs that the nodes hold.
    ///
    /// # Errors
    /// [`StoreFault`] if the file cannot be read.
    pub async fn node_serials(&self) -> Result<Vec<[u8; 16]>, StoreFault> {
        node_serials(&mut *self.reader().await?).await
    }
}

async fn head(connection: &mut SqliteConnection) -> Result<LedgerHead, StoreFault> {
    let tree = growth::read_frontier(connection).await?;
    Ok(LedgerHead { size: tree.size(), root: tree.root() })
}

async fn read_tiles(connection: &mut SqliteConnection, tiles: Vec<Tile>) -> Result<Vec<(Tile, Vec<Hash>)>, StoreFault> {
    let mut read = Vec::with_capacity(tiles.len());
    for tile in tiles {
        read.push((tile, tiles::hashes(connection, tile).await?));
    }
    Ok(read)
}

async fn entries(connection: &mut SqliteConnection, from: u64, limit: u32) -> Result<Vec<LedgerEntry>, StoreFault> {
    let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT idx, leaf, hash FROM ledger WHERE idx >= $1 ORDER BY idx LIMIT $2")
            .bind(from.cast_signed())
            .bind(limit.min(PAGE))
            .fetch_all(connection)
            .await
            .map_err(fault("read the record"))?;
    rows.into_iter()
        .map(|(index, leaf, hash)| {
            let hash = Hash::from_bytes(&hash).ok_or(StoreFault::Corrupt { what: "hash" })?;
            Ok(LedgerEntry { index: index.cast_unsigned(), leaf, hash })
        })
        .collect()
}

async fn node_serials(connection: &mut SqliteConnection) -> Result<Vec<[u8; 16]>, StoreFault> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT svid_serial FROM nodes WHERE svid_serial IS NOT NULL")
        .fetch_all(connection)
        .await
        .map_err(fault("read the nodes' serials"))?;
    rows.into_iter().map(|row| row.try_into().map_err(|_| StoreFault::Corrupt { what: "serial" })).collect()
}

fn line((minute, source, counts): (i64, String, String)) -> Result<StrangerLine, StoreFault> {
    let counts: BTreeMap<String, u64> =
        serde_json::from_str(&counts).map_err(|_| StoreFault::Corrupt { what: "counts of strangers" })?;
    Ok(StrangerLine { minute: UnixTime(minute), source, counts: counts.into_iter().collect() })
}

struct Record {
    operation: Operation,
    by: Actor,
    at: UnixTime,
}

impl Verb for Record {
    type Reply = u64;
    const NAME: &'static str = "record_operation";

    async fn run(&self, tx: &mut Tx) -> Result<u64, StoreFault> {
        Ok(tx.append(&Leaf::Act(json!({
            "at": self.at.seconds(), "by": self.by.to_string(), "action": self.operation.action,
            "subject": self.operation.subject, "detail": self.operation.detail,
        }))))
    }
}

struct KeepStrangers(Vec<StrangerLine>);

impl Verb for KeepStrangers {
    type Reply = ();
    const NAME: &'static str = "keep_strangers";

    async fn run(&self, tx: &mut Tx) -> Result<(), StoreFault> {
        for line in &self.0 {
            let counts: BTreeMap<&str, u64> = line.counts.iter().map(|(code, n)| (code.as_str(), *n)).collect();
            sqlx::query(
                "INSERT INTO strangers (minute, source, counts) VALUES ($1, $2, $3) \
                 ON CONFLICT (minute, source) DO UPDATE SET counts = excluded.counts",
            )
            .bind(line.minute.seconds())
            .bind(line.source.clone())
            .bind(json!(counts).to_string())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("keep a line about strangers"))?;
        }
        sqlx::query(
            "DELETE FROM strangers WHERE minute < \
             (SELECT minute FROM strangers ORDER BY minute DESC, source LIMIT 1 OFFSET $1)",
        )
        .bind(STRANGER_LINES)
        .execute(&mut tx.connection)
        .await
        .map_err(fault("rotate the sample of strangers"))?;
        Ok(())
    }
}
