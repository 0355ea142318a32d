//! What time takes away: expired entries (recorded), void challenges, old changes, rows of attempts and decisions whose time
//! is over, and bodies that nobody names. Entries of the record never go. No statement here reads a whole table: the one
//! writer of the store does nothing else meanwhile.

use super::super::StoreFault;
use super::super::attempts::AttemptId;
use super::super::bodies::Retention;
use super::super::ledger::Actor;
use super::entry_rows::EntryRow;
use super::writer::{Tx, Verb, fault};
use super::{endorsements, entries, kept_facts};
use holdfast_identity::UnixTime;

/// Expired entries that one call deletes; the rest wait for the next.
const ENTRIES_AT_ONCE: u32 = 500;
/// Rows of attempts, of decisions and of facts that one call deletes, each: 17 million a day at one call a second.
const ROWS_AT_ONCE: u32 = 200;
/// Seconds between two looks at endorsements.
pub(super) const THOROUGHLY_EVERY: i64 = 3600;
/// Changes that are kept for agents that come back.
const CHANGES_KEPT: u64 = 100_000;
/// How long a challenge's name is kept beyond its end: the servers' clocks may differ by that.
const CHALLENGE_GRACE: i64 = 3600;

pub(super) struct Prune {
    pub(super) now: UnixTime,
    /// Also what need not be looked at each second.
    pub(super) thorough: bool,
    /// How long evidence is kept. Rows of attempts and the texts of decisions stay a day longer: bodies do by their slack,
    /// and the last use of a text is noted once a day.
    pub(super) retention: Retention,
}

const VOID_CHALLENGES: &str = "DELETE FROM challenges WHERE expires < $1";
const OLD_DECISIONS: &str = "DELETE FROM decisions WHERE rowid IN \
    (SELECT rowid FROM decisions WHERE last_used < $1 ORDER BY last_used LIMIT $2)";
/// Attempts are named by their moment. The last one of each node stays: it says why the node is what it is.
const OLD_ATTEMPTS: &str = "DELETE FROM attempts WHERE id IN (SELECT a.id FROM attempts a WHERE a.id < $1 AND NOT EXISTS \
    (SELECT 1 FROM nodes n WHERE n.number = a.node AND n.last_attempt = a.id) ORDER BY a.id LIMIT $2)";
const OLD_RENEWALS: &str = "DELETE FROM attempts WHERE id IN (SELECT a.id FROM attempts a \
    WHERE a.way = 'renew' AND a.verdict = 'admitted' AND a.id < $1 AND NOT EXISTS \
    (SELECT 1 FROM nodes n WHERE n.number = a.node AND n.last_attempt = a.id) ORDER BY a.id LIMIT $2)";
const OLD_CHANGES: [&str; 2] = [
    "DELETE FROM entry_changes WHERE n <= $1",
    "UPDATE history SET changes_after = $1 WHERE only_row = 1 AND changes_after < $1",
];

/// The name of the first attempt of that moment.
fn first_of(moment: i64) -> Vec<u8> {
    AttemptId::new(u64::try_from(moment).unwrap_or(0).saturating_mul(1000), [0; 10]).0.to_vec()
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
        let before = |kept: i64| now.saturating_sub(kept).saturating_sub(86_400);
        let Retention { evidence, renewals } = self.retention;
        for query in [
            sqlx::query(VOID_CHALLENGES).bind(now - CHALLENGE_GRACE),
            sqlx::query(OLD_DECISIONS).bind(before(evidence.max(renewals))).bind(ROWS_AT_ONCE),
            sqlx::query(OLD_ATTEMPTS).bind(first_of(before(evidence.max(renewals)))).bind(ROWS_AT_ONCE),
            sqlx::query(OLD_RENEWALS).bind(first_of(before(renewals))).bind(ROWS_AT_ONCE),
        ] {
            query.execute(&mut tx.connection).await.map_err(fault("prune"))?;
        }
        kept_facts::prune(tx, ROWS_AT_ONCE).await?;
        if self.thorough {
            endorsements::prune(tx, self.now).await?;
        }
        let after = tx.n().saturating_sub(CHANGES_KEPT);
        if after > 0 {
            for text in OLD_CHANGES {
                let query = sqlx::query(text).bind(after.cast_signed());
                query.execute(&mut tx.connection).await.map_err(fault("prune changes"))?;
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

    use super::*;
    use crate::store::sqlite::{bodies, open};

    #[tokio::test]
    async fn nothing_that_prunes_reads_a_whole_table() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        open::migrate_to(&mut connection, i64::MAX).await;
        let [ended, beyond] = endorsements::pruning();
        let texts: Vec<String> = [VOID_CHALLENGES, OLD_DECISIONS, OLD_ATTEMPTS, OLD_RENEWALS]
            .into_iter()
            .chain(OLD_CHANGES)
            .chain(kept_facts::PRUNING)
            .chain(bodies::PRUNING)
            .chain(["SELECT * FROM entries WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"])
            .map(str::to_owned)
            .chain([ended, beyond])
            .collect();
        for text in texts {
            let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
            let rows = plan.fetch_all(&mut connection).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(!steps.is_empty() && !steps.iter().any(|step| step.starts_with("SCAN")), "{text}: {steps:#?}");
        }
    }
}
