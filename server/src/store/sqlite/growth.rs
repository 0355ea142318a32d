//! The record as the writer's transaction grows it: leaves and nodes in memory until the commit writes them.

use super::super::StoreFault;
use super::many::{Inserts, texts};
use super::writer::fault;
use holdfast_record::tile::TILE_HEIGHT;
use holdfast_record::{Frontier, Hash, LEAF_BYTES_MAX, Node};
use sqlx::sqlite::SqliteConnection;

static LEDGER: Inserts = Inserts::new(|| texts("INSERT INTO ledger (idx, leaf, hash) VALUES", 3));

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
        let mut leaves = std::mem::take(&mut self.leaves).into_iter();
        while let Some((text, rows)) = LEDGER.of(leaves.len()) {
            let mut query = sqlx::query(text);
            for (index, leaf, hash) in leaves.by_ref().take(rows) {
                query = query.bind(index.cast_signed()).bind(leaf).bind(hash.0.to_vec());
            }
            query.execute(&mut *connection).await.map_err(fault("append to the record"))?;
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

/// The tree's right edge as it was written last.
pub(super) async fn read_frontier(connection: &mut SqliteConnection) -> Result<Frontier, StoreFault> {
    let (size, frontier): (i64, Vec<u8>) =
        sqlx::query_as("SELECT ledger_size, frontier FROM history WHERE only_row = 1")
            .fetch_one(connection)
            .await
            .map_err(fault("read the head"))?;
    Frontier::decode(size.cast_unsigned(), &frontier).map_err(|_| StoreFault::Corrupt { what: "frontier" })
}
