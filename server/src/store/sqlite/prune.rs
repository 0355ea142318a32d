//! What time takes away: expired entries (recorded), void challenges, old changes, rows of attempts and decisions whose time
//! is over, and bodies that nobody names. Entries of the record never go. No statement here reads a whole table: the one
//! writer of the store does nothing else meanwhile.

use super::super::StoreFault;
use super::super::attempts::AttemptId;
use super::super::bodies::Retention;
use super::super::ledger::Actor;
use super::entry_rows::EntryRow;
use super::writer::{Tx, Verb, fault};
use super::{endorsements, entries, exchanges, kept_facts, revocation_lists, revocations, token_grants};
use holdfast_identity::UnixTime;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Expired entries that one call deletes; the rest wait for the next.
const ENTRIES_AT_ONCE: u32 = 500;
/// Rows of attempts, of decisions and of facts that one call deletes, each: 17 million a day at one call a second.
const ROWS_AT_ONCE: u32 = 200;
/// Seconds between two looks at endorsements, and at the attempts that stayed.
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
    /// How far rows of attempts were looked through.
    pub(super) passed: Arc<Passed>,
}

/// Up to which name all attempts, and all renewals, were looked through: what stayed there is the last of some node. Fleets
/// whose machines come and go leave one each, without end, and they are looked at again once in [`THOROUGHLY_EVERY`] alone.
#[derive(Debug, Default)]
pub(super) struct Passed([Mutex<Vec<u8>>; 2]);

fn lock(passed: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    passed.lock().unwrap_or_else(PoisonError::into_inner)
}

const VOID_CHALLENGES: &str = "DELETE FROM challenges WHERE expires < $1";
const OLD_DECISIONS: &str = "DELETE FROM decisions WHERE rowid IN \
    (SELECT rowid FROM decisions WHERE last_used < $1 ORDER BY last_used LIMIT $2)";
/// Attempts are named by their moment. The last one of each node stays: it says why the node is what it is.
const OLD_ATTEMPTS: &str = "DELETE FROM attempts WHERE id IN (SELECT a.id FROM attempts a WHERE a.id < $1 AND NOT EXISTS \
    (SELECT 1 FROM nodes n WHERE n.number = a.node AND n.last_attempt = a.id) AND a.id >= $3 ORDER BY a.id LIMIT $2) \
    RETURNING id";
const OLD_RENEWALS: &str = "DELETE FROM attempts WHERE id IN (SELECT a.id FROM attempts a \
    WHERE a.way = 'renew' AND a.verdict = 'admitted' AND a.id < $1 AND NOT EXISTS \
    (SELECT 1 FROM nodes n WHERE n.number = a.node AND n.last_attempt = a.id) AND a.id >= $3 ORDER BY a.id LIMIT $2) \
    RETURNING id";
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
        ] {
            query.execute(&mut tx.connection).await.map_err(fault("prune"))?;
        }
        let all = (OLD_ATTEMPTS, first_of(before(evidence.max(renewals))));
        for (passed, (text, end)) in self.passed.0.iter().zip([all, (OLD_RENEWALS, first_of(before(renewals)))]) {
            let from = if self.thorough { Vec::new() } else { lock(passed).clone() };
            let query = sqlx::query_scalar(text).bind(end.clone()).bind(ROWS_AT_ONCE).bind(from);
            let gone: Vec<Vec<u8>> = query.fetch_all(&mut tx.connection).await.map_err(fault("prune attempts"))?;
            let is_end = gone.len() < ROWS_AT_ONCE as usize;
            *lock(passed) = if is_end { end } else { gone.into_iter().max().unwrap_or_default() };
        }
        kept_facts::prune(tx, ROWS_AT_ONCE).await?;
        exchanges::prune(tx, self.now).await?;
        revocations::prune(tx, self.now).await?;
        token_grants::prune(tx, self.now).await?;
        if self.thorough {
            revocation_lists::prune(tx, self.now).await?;
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
    use crate::store::Entries as _;
    use crate::store::sqlite::{SqliteStore, StoreLimits, bodies, open};

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
            .chain([revocations::PRUNING])
            .chain(token_grants::PRUNING)
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

    #[tokio::test]
    async fn what_stays_is_not_looked_at_every_second_and_goes_once_it_may() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("store.sqlite");
        let store = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
        let mut beside = SqliteConnection::connect_with(&options).await.unwrap();
        let attempt = |id: u8| {
            format!(
                "INSERT INTO attempts (id, at, way, kinds, source, node, verdict, code, decision, idx) VALUES \
                 (x'{}', 0, 'renew', 'snp', '', 1, 'admitted', '', x'', {id})",
                format!("{id:02}").repeat(16)
            )
        };
        let node = "INSERT INTO nodes (number, standing, kinds, trust_class, copyable, known, description, node_key_spki, \
                    selectors, changed_n, rule, first_seen, attested_at, evidence_expires, svid_not_after, last_attempt) \
                    VALUES (1, 'admitted', 'snp', '', FALSE, x'', '', x'', '[]', 0, '', 0, 0, 0, 0, x'"
            .to_owned();
        let last = |id: u8| format!("UPDATE nodes SET last_attempt = x'{}'", format!("{id:02}").repeat(16));
        let now = UnixTime(4_000_000_000);
        let mut after = async |seconds: i64, texts: Vec<String>| -> Vec<i64> {
            for text in texts {
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut beside).await.unwrap();
            }
            store.prune(now.plus(seconds)).await.unwrap();
            sqlx::query_scalar("SELECT idx FROM attempts ORDER BY id").fetch_all(&mut beside).await.unwrap()
        };
        let begin = vec![format!("{node}{}')", "02".repeat(16)), attempt(1), attempt(2)];
        assert_eq!(after(0, begin).await, [2], "the last one of its node stays");
        assert_eq!(after(1, vec![attempt(3), last(3)]).await, [2, 3], "what was looked at is left alone for a while");
        assert_eq!(after(THOROUGHLY_EVERY + 1, Vec::new()).await, [3]);
    }
}
