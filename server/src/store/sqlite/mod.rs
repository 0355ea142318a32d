//! The store in one SQLite file: WAL with synchronous=FULL, one writer with group commit, a few readers.

mod attempt_rows;
mod attempts;
mod authorities;
mod bodies;
mod carry;
#[cfg(test)]
mod durability;
mod endorsements;
mod entries;
mod entry_reads;
mod entry_rows;
mod entry_sets;
mod exchanges;
mod federation_rows;
mod federations;
mod growth;
#[cfg(test)]
mod halves;
mod inventory;
mod issuances;
mod judge;
mod jwt_authorities;
mod kept_facts;
mod ledger;
mod list_rows;
mod listed_names;
mod live_svids;
mod living;
mod machines;
mod many;
mod mentions;
mod node_rows;
mod nodes;
#[cfg(test)]
mod of_before;
mod open;
mod policies;
#[cfg(test)]
mod pools;
mod proposals;
mod prune;
mod reports;
mod revocation_lists;
mod revocations;
mod rollout_rows;
mod rollouts;
mod sinks;
mod tiles;
mod token_grants;
mod writer;
mod x509_authorities;

use super::bodies::Retention;
use super::changes::{Changes, Notice, Revision, Subscription};
use super::{Held, Store, StoreFault};
use futures_util::future::BoxFuture;
use holdfast_identity::TrustDomain;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool, Transaction};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use tokio::sync::{broadcast, watch};
use writer::fault;

/// How much a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Registration entries in all.
    pub entries_max: u64,
    /// How long what attempts were judged by is kept.
    pub retention: Retention,
}

impl Default for StoreLimits {
    /// A million entries.
    fn default() -> Self {
        Self { entries_max: 1_000_000, retention: Retention::default() }
    }
}

/// The store of one server.
pub struct SqliteStore {
    queue: writer::Queue,
    readers: SqlitePool,
    /// For whatever nobody's attestation waits for: reports, lists, the audit, what-if, the outbox.
    reports: SqlitePool,
    revision: watch::Sender<Revision>,
    notices: broadcast::Sender<Arc<Notice>>,
    trust_domain: TrustDomain,
    limits: StoreLimits,
    /// When the last thorough pruning was, in seconds since the epoch.
    pruned: AtomicI64,
    passed: Arc<prune::Passed>,
    /// Held as long as the store lives: the operating system lets go of it if the process dies.
    _lock: File,
}

/// The database of a server that is down, for the audit.
pub struct Archive {
    readers: SqlitePool,
}

impl SqliteStore {
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreFault> {
        self.readers.acquire().await.map_err(fault("get a reader"))
    }

    /// A reader for operators: however long they read, the desk has its own.
    async fn reporter(&self) -> Result<PoolConnection<Sqlite>, StoreFault> {
        self.reports.acquire().await.map_err(fault("get a reader for reports"))
    }

    /// Such a reader that sees one moment.
    async fn report_snapshot(&self) -> Result<Transaction<'static, Sqlite>, StoreFault> {
        self.reports.begin().await.map_err(fault("get a reader for reports"))
    }

    /// A reader that sees one moment.
    async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, StoreFault> {
        self.readers.begin().await.map_err(fault("get a reader"))
    }
}

impl Archive {
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreFault> {
        self.readers.acquire().await.map_err(fault("get a reader"))
    }
}

impl Changes for SqliteStore {
    fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    fn changes(&self) -> Subscription {
        Subscription { notices: self.notices.subscribe(), revision: self.revision.subscribe() }
    }

    fn ping(&self) -> Held<'_, ()> {
        Box::pin(async move {
            let row = sqlx::query_scalar::<_, i64>("SELECT n FROM history WHERE only_row = 1");
            row.fetch_one(&mut *self.reader().await?).await.map_err(fault("read the revision"))?;
            Ok(())
        })
    }
}

impl Store for SqliteStore {
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.queue.close().await;
            self.readers.close().await;
            self.reports.close().await;
        })
    }
}
