//! The inventory: endorsement keys that are ours.

use super::super::changes::Notice;
use super::super::ledger::Actor;
use super::super::nodes::{Allowed, InventoryEntry};
use super::super::{Sha256, StoreFault};
use super::writer::{Tx, Verb, fault};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;
use sqlx::sqlite::SqliteConnection;

pub(super) struct Allow {
    pub(super) keys: Vec<Allowed>,
    pub(super) by: Actor,
    pub(super) at: UnixTime,
}

impl Verb for Allow {
    type Reply = u64;
    const NAME: &'static str = "allow";

    async fn run(&self, tx: &mut Tx) -> Result<u64, StoreFault> {
        let mut new = 0;
        let mut changed = false;
        for key in &self.keys {
            let held = find(&mut tx.connection, key.digest).await?;
            if held.as_ref().is_some_and(|held| held.label == key.label) {
                continue;
            }
            changed = true;
            new += u64::from(held.is_none());
            tx.append(&leaf("inventory.allow", &key.digest, Some(&key.label), &self.by, self.at));
            sqlx::query(
                "INSERT INTO inventory (digest, label, added_at, added_by) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (digest) DO UPDATE SET label = excluded.label",
            )
            .bind(key.digest.0.to_vec())
            .bind(key.label.clone())
            .bind(self.at.seconds())
            .bind(self.by.to_string())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("allow a key"))?;
        }
        tell(tx, changed, false);
        Ok(new)
    }
}

pub(super) struct Disallow {
    pub(super) digests: Vec<Sha256>,
    pub(super) by: Actor,
    pub(super) at: UnixTime,
}

impl Verb for Disallow {
    type Reply = u64;
    const NAME: &'static str = "disallow";

    async fn run(&self, tx: &mut Tx) -> Result<u64, StoreFault> {
        let mut gone = 0;
        for digest in &self.digests {
            if find(&mut tx.connection, *digest).await?.is_none() {
                continue;
            }
            gone += 1;
            tx.append(&leaf("inventory.disallow", digest, None, &self.by, self.at));
            sqlx::query("DELETE FROM inventory WHERE digest = $1")
                .bind(digest.0.to_vec())
                .execute(&mut tx.connection)
                .await
                .map_err(fault("disallow a key"))?;
        }
        tell(tx, gone > 0, true);
        Ok(gone)
    }
}

fn leaf(action: &str, digest: &Sha256, label: Option<&str>, by: &Actor, at: UnixTime) -> Leaf {
    Leaf::Act(json!({
        "at": at.seconds(), "by": by.to_string(), "action": action,
        "subject": digest.to_string(), "detail": { "label": label },
    }))
}

fn tell(tx: &mut Tx, changed: bool, removed: bool) {
    if changed {
        let n = tx.next_n();
        tx.notify(Notice::Inventory { n, removed });
    }
}

/// The entry with exactly that digest.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    digest: Sha256,
) -> Result<Option<InventoryEntry>, StoreFault> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM inventory WHERE digest = $1")
        .bind(digest.0.to_vec())
        .fetch_optional(connection)
        .await
        .map_err(fault("read the inventory"))?;
    row.map(Row::entry).transpose()
}

/// Entries after `after`, in order of digests.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    after: Option<Sha256>,
    limit: u32,
) -> Result<Vec<InventoryEntry>, StoreFault> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM inventory WHERE digest > $1 ORDER BY digest LIMIT $2")
        .bind(after.map(|digest| digest.0.to_vec()).unwrap_or_default())
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(fault("read the inventory"))?;
    rows.into_iter().map(Row::entry).collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    digest: Vec<u8>,
    bare: bool,
    label: String,
    added_at: i64,
    added_by: String,
}

impl Row {
    fn entry(self) -> Result<InventoryEntry, StoreFault> {
        Ok(InventoryEntry {
            digest: self.digest.try_into()?,
            bare: self.bare,
            label: self.label,
            added_at: UnixTime(self.added_at),
            added_by: self.added_by,
        })
    }
}
