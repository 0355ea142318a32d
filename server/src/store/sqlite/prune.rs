//! What time takes away: expired entries (recorded), void challenges, old changes, and bodies that nobody names.

use super::super::StoreFault;
use super::super::ledger::Actor;
use super::entry_rows::EntryRow;
use super::writer::{Tx, Verb, fault};
use super::{endorsements, entries, kept_facts};
use holdfast_identity::UnixTime;

/// Expired entries that one call deletes; the rest wait for the next.
const ENTRIES_AT_ONCE: u32 = 500;
/// Seconds between two passes over whole tables.
pub(super) const THOROUGHLY_EVERY: i64 = 3600;
/// Changes that are kept for agents that come back.
const CHANGES_KEPT: u64 = 100_000;
/// How long a challenge's name is kept beyond its end: the servers' clocks may differ by that.
const CHALLENGE_GRACE: i64 = 3600;

pub(super) struct Prune {
    pub(super) now: UnixTime,
    /// Also what costs a pass over whole tables.
    pub(super) thorough: bool,
    /// How long the text of a decision is kept after its last use, in seconds; its digest stays in the record. A day more
    /// than bodies: its last use is noted once a day.
    pub(super) decisions_kept: i64,
}

impl Verb for Prune {
    type Reply = u64;
    const NAME: &'static str = "prune";

    async fn run(&self, tx: &mut Tx) -> Result<u64, StoreFault> {
        let now = self.now.seconds();
        let expired: Vec<EntryRow> =
            sqlx::query_as("SELECT * FROM entries WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2")
                .bind(now)
                .bind(ENTRIES_AT_ONCE)
                .fetch_all(&mut tx.connection)
                .await
                .map_err(fault("read expired entries"))?;
        let count = expired.len() as u64;
        for row in expired {
            entries::remove(tx, &row.entry()?, "entry.expire", &Actor::Server, self.now).await?;
        }
        let pruned = [
            ("DELETE FROM challenges WHERE expires < $1", now - CHALLENGE_GRACE),
            ("DELETE FROM decisions WHERE last_used < $1", now - self.decisions_kept),
        ];
        for (text, before) in pruned.into_iter().take(if self.thorough { 2 } else { 1 }) {
            let query = sqlx::query(text).bind(before);
            query.execute(&mut tx.connection).await.map_err(fault("prune"))?;
        }
        if self.thorough {
            endorsements::prune(tx, self.now).await?;
            kept_facts::prune(tx).await?;
        }
        let after = tx.n().saturating_sub(CHANGES_KEPT);
        if after > 0 {
            for text in [
                "DELETE FROM entry_changes WHERE n <= $1",
                "UPDATE history SET changes_after = $1 WHERE only_row = 1 AND changes_after < $1",
            ] {
                let query = sqlx::query(text).bind(after.cast_signed());
                query.execute(&mut tx.connection).await.map_err(fault("prune changes"))?;
            }
        }
        Ok(count)
    }
}
