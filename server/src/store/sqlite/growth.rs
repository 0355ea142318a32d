//! The record as the writer's transaction grows it: leaves and nodes in memory until the commit writes them.

use super::super::StoreFault;
use super::writer::fault;
use holdfast_record::tile::TILE_HEIGHT;
use holdfast_record::{Frontier, Hash, LEAF_BYTES_MAX, Node};
use sqlx::sqlite::SqliteConnection;

/// Rows that one statement inserts into the record.
const LEDGER_ROWS: usize = 16;

/// What a transaction adds to the record.
#[derive(Default)]
pub(super) struct Growth {
    leaves: Vec<(u64, Vec<u8>, Hash)>,
    nodes: Vec<(Node, Hash)>,
    /// Bytes of an entry that no bundle could hold.
    too_long: Option<usize>,
}

impl Growth {
    /// Appends a leaf to the tree; returns its index.
    pub(super) fn append(&mut self, tree: &mut Frontier, leaf: Vec<u8>) -> u64 {
        if leaf.len() > LEAF_BYTES_MAX {
            self.too_long = Some(leaf.len());
        }
        let (index, hash) = (tree.size(), Hash::leaf(&leaf));
        self.leaves.push((index, leaf, hash));
        self.hash(tree, hash);
        index
    }

    /// Appends a leaf whose row is there already.
    pub(super) fn hash(&mut self, tree: &mut Frontier, hash: Hash) {
        tree.append(hash, |node, hash| {
            if node.level.is_multiple_of(TILE_HEIGHT) {
                self.nodes.push((node, hash));
            }
        });
    }

    /// Forgets what was not written.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes it; the frontier is the caller's to write.
    pub(super) async fn write(&mut self, connection: &mut SqliteConnection) -> Result<(), StoreFault> {
        if let Some(bytes) = self.too_long {
            return Err(StoreFault::EntryTooLong { bytes });
        }
        let mut leaves = std::mem::take(&mut self.leaves);
        for rows in leaves.chunks_mut(LEDGER_ROWS) {
            let text = if rows.len() == LEDGER_ROWS { MANY_LEDGER_ROWS } else { ONE_LEDGER_ROW };
            let size = if rows.len() == LEDGER_ROWS { LEDGER_ROWS } else { 1 };
            for part in rows.chunks_mut(size) {
                let mut query = sqlx::query(text);
                for (index, leaf, hash) in part {
                    query = query.bind(index.cast_signed()).bind(std::mem::take(leaf)).bind(hash.0.to_vec());
                }
                query.execute(&mut *connection).await.map_err(fault("append to the record"))?;
            }
        }
        for (node, hash) in self.nodes.drain(..) {
            sqlx::query("INSERT INTO ledger_nodes (level, idx, hash) VALUES ($1, $2, $3)")
                .bind(node.level)
                .bind(node.index.cast_signed())
                .bind(hash.0.to_vec())
                .execute(&mut *connection)
                .await
                .map_err(fault("append to the record's tree"))?;
        }
        Ok(())
    }
}

const ONE_LEDGER_ROW: &str = "INSERT INTO ledger (idx, leaf, hash) VALUES ($1, $2, $3)";
const MANY_LEDGER_ROWS: &str = "INSERT INTO ledger (idx, leaf, hash) VALUES \
    ($1, $2, $3), ($4, $5, $6), ($7, $8, $9), ($10, $11, $12), ($13, $14, $15), ($16, $17, $18), ($19, $20, $21), \
    ($22, $23, $24), ($25, $26, $27), ($28, $29, $30), ($31, $32, $33), ($34, $35, $36), ($37, $38, $39), \
    ($40, $41, $42), ($43, $44, $45), ($46, $47, $48)";

/// The tree's right edge as it was written last.
pub(super) async fn read_frontier(connection: &mut SqliteConnection) -> Result<Frontier, StoreFault> {
    let (size, frontier): (i64, Vec<u8>) =
        sqlx::query_as("SELECT ledger_size, frontier FROM history WHERE only_row = 1")
            .fetch_one(connection)
            .await
            .map_err(fault("read the head"))?;
    Frontier::decode(size.cast_unsigned(), &frontier).map_err(|_| StoreFault::Corrupt { what: "frontier" })
}
