//! The one writer: takes verbs from a queue, runs all that wait in one transaction, and answers after the commit.
//!
//! A verb looks first and writes last, so that a refusal of the domain leaves nothing behind; if one fails all the
//! same, the batch is rolled back and each verb runs again by itself, so that nobody pays for another's fault.

use super::super::StoreFault;
use super::super::changes::{Notice, Revision, gathered};
use super::super::issuances::Issuance;
use super::super::nodes::NodeNumber;
use super::super::rollouts::RolloutState;
use super::growth::{self, Growth};
use super::living::Living;
use super::rollout_rows;
use crate::record::{Frontier, Leaf};
use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// Verbs that may wait; more are refused as a fault of ours, with a retry.
pub(super) const QUEUE: usize = 4096;
/// Verbs in one transaction: as many as still commit within some milliseconds.
const BATCH: usize = 256;

/// Something to do inside the writer's transaction.
pub(super) trait Verb: Send + Sync + 'static {
    /// What its caller gets after the commit.
    type Reply: Send + 'static;
    /// For faults and metrics.
    const NAME: &'static str;
    /// Does it. May run twice, the first time rolled back.
    fn run(&self, tx: &mut Tx) -> impl Future<Output = Result<Self::Reply, StoreFault>> + Send;
}

/// The writer's side of the database, inside a transaction.
pub(super) struct Tx {
    /// The connection.
    pub(super) connection: SqliteConnection,
    state: State,
    growth: Growth,
    living: Living,
    notices: Vec<Notice>,
}

/// What the writer knows without asking the database; it alone changes it.
#[derive(Clone)]
pub(super) struct State {
    pub(super) epoch: [u8; 16],
    pub(super) n: u64,
    /// The record's right edge.
    pub(super) tree: Frontier,
    pub(super) rollout: Arc<RolloutState>,
    /// Registration entries.
    pub(super) entries: u64,
}

impl Tx {
    pub(super) fn new(connection: SqliteConnection, state: State) -> Self {
        Self { connection, state, growth: Growth::default(), living: Living::default(), notices: Vec::new() }
    }

    /// Appends to the record; returns the entry's index.
    pub(super) fn append(&mut self, leaf: &Leaf) -> u64 {
        self.growth.append(&mut self.state.tree, leaf.encode())
    }

    /// Remembers a certificate of `node`, or of a workload on it, as living: see [`Living::add`].
    pub(super) fn remember(&mut self, index: u64, node: NodeNumber, issuance: &Issuance) {
        self.living.add(index, node, issuance);
    }

    /// Writes what is remembered so far: before anything that withdraws or forgets.
    pub(super) async fn write_living(&mut self) -> Result<(), StoreFault> {
        self.living.write(&mut self.connection).await
    }

    /// Entries in the record, those of this transaction among them.
    pub(super) const fn ledger_size(&self) -> u64 {
        self.state.tree.size()
    }

    /// The present revision number.
    pub(super) const fn n(&self) -> u64 {
        self.state.n
    }

    /// Makes the next revision.
    pub(super) const fn next_n(&mut self) -> u64 {
        self.state.n += 1;
        self.state.n
    }

    /// Tells subscribers, after the commit.
    pub(super) fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// Which version decides about whom.
    pub(super) fn rollout(&self) -> &RolloutState {
        &self.state.rollout
    }

    /// Makes another state the present one.
    pub(super) fn roll_out(&mut self, state: RolloutState) {
        self.state.rollout = Arc::new(state);
    }

    /// Registration entries there are.
    pub(super) const fn entries(&mut self) -> &mut u64 {
        &mut self.state.entries
    }

    /// Writes the record's new entries, the head and the revision.
    async fn flush(&mut self, before: &State) -> Result<(), StoreFault> {
        self.write_living().await?;
        self.growth.write(&mut self.connection).await?;
        if (self.state.n, self.state.tree.size()) != (before.n, before.tree.size()) {
            sqlx::query("UPDATE history SET n = $1, ledger_size = $2, frontier = $3 WHERE only_row = 1")
                .bind(self.state.n.cast_signed())
                .bind(self.state.tree.size().cast_signed())
                .bind(self.state.tree.encode())
                .execute(&mut self.connection)
                .await
                .map_err(fault("write the revision"))?;
        }
        Ok(())
    }
}

/// Turns the database's error into ours, naming what was being done.
pub(super) fn fault(verb: &'static str) -> impl FnOnce(sqlx::Error) -> StoreFault {
    move |error| StoreFault::Database { verb, reason: error.to_string() }
}

/// Where verbs are handed in.
#[derive(Clone)]
pub(super) struct Queue(mpsc::Sender<Box<dyn Call>>);

impl Queue {
    /// Runs `verb` in the next transaction and returns its reply after the commit.
    pub(super) async fn run<V: Verb>(&self, verb: V) -> Result<V::Reply, StoreFault> {
        let (reply, answer) = oneshot::channel();
        let asked = Instant::now();
        let call = Box::new(Waiting { verb, outcome: None, reply: Some(reply) });
        self.0.try_send(call).map_err(|_| StoreFault::Unavailable)?;
        let outcome = answer.await.map_err(|_| StoreFault::Unavailable)?;
        metrics::histogram!("holdfast_store_seconds", "verb" => V::NAME).record(asked.elapsed());
        outcome
    }

    /// Ends the writer once it has done what waits.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.0.send(Box::new(Stop(Some(reply)))).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// A verb with the one who waits for it.
trait Call: Send {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<(), StoreFault>>;
    fn finish(self: Box<Self>, committed: Result<(), StoreFault>);
    fn is_stop(&self) -> bool {
        false
    }
}

struct Waiting<V: Verb> {
    verb: V,
    outcome: Option<V::Reply>,
    reply: Option<oneshot::Sender<Result<V::Reply, StoreFault>>>,
}

impl<V: Verb> Call for Waiting<V> {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move {
            self.outcome = Some(self.verb.run(tx).await?);
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>, committed: Result<(), StoreFault>) {
        let outcome = committed.and_then(|()| self.outcome.take().ok_or(StoreFault::Unavailable));
        if let Some(reply) = self.reply.take() {
            // A caller who went away has his change all the same.
            let _ = reply.send(outcome);
        }
    }
}

struct Stop(Option<oneshot::Sender<()>>);

impl Call for Stop {
    fn run<'a>(&'a mut self, _: &'a mut Tx) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(async { Ok(()) })
    }

    fn finish(mut self: Box<Self>, _: Result<(), StoreFault>) {
        if let Some(reply) = self.0.take() {
            let _ = reply.send(());
        }
    }

    fn is_stop(&self) -> bool {
        true
    }
}

/// The writer's ends towards those who watch.
pub(super) struct Watched {
    pub(super) revision: watch::Sender<Revision>,
    pub(super) notices: broadcast::Sender<Arc<Notice>>,
}

/// Starts the writer.
pub(super) fn start(tx: Tx, watched: Watched) -> Queue {
    let (queue, waiting) = mpsc::channel(QUEUE);
    tokio::spawn(write(tx, waiting, watched));
    Queue(queue)
}

async fn write(mut tx: Tx, mut waiting: mpsc::Receiver<Box<dyn Call>>, watched: Watched) {
    let mut calls = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut calls, BATCH).await > 0 {
        let stop = calls.iter().any(|call| call.is_stop());
        metrics::counter!("holdfast_store_commits_total").increment(1);
        metrics::counter!("holdfast_store_verbs_total").increment(calls.len() as u64);
        let began = Instant::now();
        match transaction(&mut tx, &mut calls).await {
            Ok(()) => finish(&mut tx, calls.drain(..), &watched),
            Err(fault) if calls.len() == 1 => {
                tracing::error!(code = fault.code(), error = %fault, "store transaction failed");
                calls.drain(..).for_each(|call| call.finish(Err(fault.clone())));
            }
            Err(fault) => {
                tracing::warn!(code = fault.code(), error = %fault, "store transaction failed, retrying one by one");
                one_by_one(&mut tx, &mut calls, &watched).await;
            }
        }
        metrics::histogram!("holdfast_store_commit_seconds").record(began.elapsed());
        if stop {
            break;
        }
    }
    let _ = tx.connection.close().await;
}

async fn one_by_one(tx: &mut Tx, calls: &mut Vec<Box<dyn Call>>, watched: &Watched) {
    for call in calls.drain(..) {
        let mut alone = vec![call];
        match transaction(tx, &mut alone).await {
            Ok(()) => finish(tx, alone.drain(..), watched),
            Err(fault) => alone.drain(..).for_each(|call| call.finish(Err(fault.clone()))),
        }
    }
}

/// Runs all in one transaction; after an error nothing of it is left, here or on disk.
async fn transaction(tx: &mut Tx, calls: &mut [Box<dyn Call>]) -> Result<(), StoreFault> {
    let before = tx.state.clone();
    let outcome = attempt(tx, calls, &before).await;
    if outcome.is_err() {
        tx.state = before;
        tx.growth.clear();
        tx.living.clear();
        tx.notices.clear();
        // Fails where nothing was begun, or where SQLite rolled back by itself: both are what is wanted.
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut tx.connection).await;
    }
    outcome
}

async fn attempt(tx: &mut Tx, calls: &mut [Box<dyn Call>], before: &State) -> Result<(), StoreFault> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut tx.connection).await.map_err(fault("begin"))?;
    for call in calls.iter_mut() {
        call.run(tx).await?;
    }
    tx.flush(before).await?;
    sqlx::query("COMMIT").execute(&mut tx.connection).await.map_err(fault("commit"))?;
    Ok(())
}

/// Tells those who watch, then those who wait.
fn finish(tx: &mut Tx, calls: impl Iterator<Item = Box<dyn Call>>, watched: &Watched) {
    let revision = Revision { epoch: tx.state.epoch, n: tx.state.n };
    watched.revision.send_if_modified(|held| std::mem::replace(held, revision) != revision);
    for notice in gathered(std::mem::take(&mut tx.notices)) {
        // Nobody listening is fine.
        let _ = watched.notices.send(Arc::new(notice));
    }
    calls.for_each(|call| call.finish(Ok(())));
}

/// Reads what the writer keeps in mind; makes the first row in a new database.
pub(super) async fn load(connection: &mut SqliteConnection, epoch: [u8; 16]) -> Result<State, StoreFault> {
    sqlx::query(
        "INSERT INTO history (only_row, epoch, n, changes_after, bundle_sequence, ledger_size, frontier) \
         VALUES (1, $1, 0, 0, 0, 0, x'') ON CONFLICT (only_row) DO NOTHING",
    )
    .bind(epoch.to_vec())
    .execute(&mut *connection)
    .await
    .map_err(fault("write the first row"))?;
    let row = sqlx::query("SELECT epoch, n FROM history WHERE only_row = 1")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault("read the revision"))?;
    let rollout = rollout_rows::present(&mut *connection).await?.state;
    let entries: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM entries")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault("count entries"))?;
    let tree = growth::read_frontier(connection).await?;
    let epoch: Vec<u8> = row.try_get("epoch").map_err(fault("read the epoch"))?;
    Ok(State {
        entries: entries.cast_unsigned(),
        epoch: epoch.try_into().map_err(|_| StoreFault::Corrupt { what: "epoch" })?,
        n: row.try_get::<i64, _>("n").map_err(fault("read the revision"))?.cast_unsigned(),
        tree,
        rollout: Arc::new(rollout),
    })
}
