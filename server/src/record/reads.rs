//! Who reads evidence is recorded before he sees it; many reads at once share an entry, so that reading in a loop does
//! not fill the record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::store::{Actor, Operation, Store, StoreFault};

/// Time between two entries about one operator's reads at least; who reads first after that waits for nobody.
const WINDOW: Duration = Duration::from_millis(100);
/// Reads in one batch, and so in one entry: a name of 100 bytes each is below the limit of an entry's detail.
const BATCH: usize = 128;
/// Reads that wait; more are told that the store is full.
const QUEUE: usize = 1024;

/// Takes reads that are about to happen.
#[derive(Clone)]
pub struct ReadLog(mpsc::Sender<Read>);

struct Read {
    by: Actor,
    what: &'static str,
    subject: String,
    done: oneshot::Sender<Result<(), StoreFault>>,
}

impl ReadLog {
    /// Records what it is told in `store`, until the last copy of it is gone.
    #[must_use]
    pub fn start(store: Arc<dyn Store>) -> Self {
        let (queue, reads) = mpsc::channel(QUEUE);
        tokio::spawn(keep(store, reads));
        Self(queue)
    }

    /// Returns once it is on record that `by` reads `subject`, a thing of the kind `what`.
    ///
    /// # Errors
    /// [`StoreFault`], and then nothing may be shown.
    pub async fn record(&self, by: Actor, what: &'static str, subject: String) -> Result<(), StoreFault> {
        let (done, recorded) = oneshot::channel();
        self.0.try_send(Read { by, what, subject, done }).map_err(|_| StoreFault::Unavailable)?;
        recorded.await.map_err(|_| StoreFault::Unavailable)?
    }
}

async fn keep(store: Arc<dyn Store>, mut queue: mpsc::Receiver<Read>) {
    let mut reads = Vec::with_capacity(BATCH);
    let mut next = Instant::now();
    while let Some(read) = queue.recv().await {
        reads.push(read);
        sleep_until(next).await;
        while reads.len() < BATCH
            && let Ok(read) = queue.try_recv()
        {
            reads.push(read);
        }
        next = Instant::now() + WINDOW;
        let mut by_reader: BTreeMap<String, Vec<Read>> = BTreeMap::new();
        for read in reads.drain(..) {
            by_reader.entry(read.by.to_string()).or_default().push(read);
        }
        for reads in by_reader.into_values() {
            let Some(by) = reads.first().map(|read| read.by.clone()) else { continue };
            let mut subjects: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for read in &reads {
                subjects.entry(read.what).or_default().push(&read.subject);
            }
            let operation = Operation { action: "evidence.read", subject: String::new(), detail: json!(subjects) };
            let recorded = store.record_operation(operation, by, clock::now()).await.map(|_| ());
            for read in reads {
                // Who went away sees nothing, and stands in the record all the same.
                let _ = read.done.send(recorded.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Leaf;
    use crate::store::sqlite::{SqliteStore, StoreLimits};

    #[tokio::test]
    async fn every_read_is_recorded_with_its_reader_and_a_flood_of_them_in_few_entries() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("store.sqlite");
        let store = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let log = ReadLog::start(store.clone());
        let reader = |n: u32| Actor::Operator { uid: n % 2, name: String::new() };
        log.record(reader(0), "attempt", "first".to_owned()).await.unwrap();
        assert_eq!(store.head().await.unwrap().size, 1, "on record before it is shown");
        let reads = (0..300).map(|n| log.record(reader(n), "attempt", format!("a{n}")));
        for recorded in futures_util::future::join_all(reads).await {
            recorded.unwrap();
        }
        let entries = store.ledger_entries(0, 100).await.unwrap();
        assert!(entries.len() <= 10, "{} entries", entries.len());
        let mut found = Vec::new();
        for entry in &entries {
            let Leaf::Act(act) = Leaf::parse(&entry.leaf).unwrap() else { panic!("no act") };
            assert_eq!(act["action"], "evidence.read");
            for subject in act["detail"]["attempt"].as_array().unwrap() {
                found.push((act["by"].as_str().unwrap().to_owned(), subject.as_str().unwrap().to_owned()));
            }
        }
        assert_eq!(found.len(), 301);
        assert!((0..300).all(|n| found.contains(&(format!("uid {}", n % 2), format!("a{n}")))));
        store.close().await;
        let closed = log.record(reader(0), "attempt", "late".to_owned()).await.unwrap_err();
        assert_eq!(closed.code(), "store.unavailable");
    }
}
