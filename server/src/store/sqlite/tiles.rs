//! Tiles of the record's tree, and the checkpoints that were signed of it.

use super::super::StoreFault;
use super::super::ledger::KeptCheckpoint;
use super::writer::{Tx, Verb, fault};
use holdfast_identity::UnixTime;
use holdfast_record::{Hash, Tile};
use sqlx::sqlite::SqliteConnection;

/// How long every checkpoint is kept, in seconds; of a day before that, the last one.
const ALL_KEPT: i64 = 7 * 86_400;

/// The hashes of one tile, as many as there are of those that it asks for.
pub(super) async fn hashes(connection: &mut SqliteConnection, tile: Tile) -> Result<Vec<Hash>, StoreFault> {
    let first = tile.node(0);
    let text = if tile.level == 0 {
        "SELECT hash FROM ledger WHERE $1 = 0 AND idx >= $2 AND idx < $3 ORDER BY idx"
    } else {
        "SELECT hash FROM ledger_nodes WHERE level = $1 AND idx >= $2 AND idx < $3 ORDER BY idx"
    };
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(text)
        .bind(first.level)
        .bind(first.index.cast_signed())
        .bind(first.index.saturating_add(u64::from(tile.width)).cast_signed())
        .fetch_all(connection)
        .await
        .map_err(fault("read a tile"))?;
    rows.iter().map(|row| Hash::from_bytes(row).ok_or(StoreFault::Corrupt { what: "hash" })).collect()
}

/// Checkpoints, newest first.
pub(super) async fn checkpoints(
    connection: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<KeptCheckpoint>, StoreFault> {
    let rows: Vec<(i64, String, String)> =
        sqlx::query_as("SELECT at, vkey, note FROM checkpoints ORDER BY number DESC LIMIT $1")
            .bind(limit)
            .fetch_all(connection)
            .await
            .map_err(fault("read checkpoints"))?;
    let read = |(at, vkey, note): (i64, String, String)| {
        let corrupt = || StoreFault::Corrupt { what: "checkpoint" };
        Ok(KeptCheckpoint {
            at: UnixTime(at),
            log: vkey.parse().map_err(|_| corrupt())?,
            checkpoint: note.parse().map_err(|_| corrupt())?,
        })
    };
    rows.into_iter().map(read).collect()
}

pub(super) struct KeepCheckpoint(pub(super) KeptCheckpoint);

impl Verb for KeepCheckpoint {
    type Reply = ();
    const NAME: &'static str = "keep_checkpoint";

    async fn run(&self, tx: &mut Tx) -> Result<(), StoreFault> {
        let claimed = self.0.checkpoint.claimed();
        sqlx::query("INSERT INTO checkpoints (origin, size, root, at, vkey, note) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(claimed.origin.clone())
            .bind(claimed.size.cast_signed())
            .bind(claimed.root.0.to_vec())
            .bind(self.0.at.seconds())
            .bind(self.0.log.to_string())
            .bind(self.0.checkpoint.to_string())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("keep a checkpoint"))?;
        sqlx::query(
            "DELETE FROM checkpoints WHERE at < $1 AND number NOT IN \
             (SELECT MAX(number) FROM checkpoints GROUP BY at / 86400, origin)",
        )
        .bind(self.0.at.seconds() - ALL_KEPT)
        .execute(&mut tx.connection)
        .await
        .map_err(fault("thin out checkpoints"))?;
        Ok(())
    }
}
