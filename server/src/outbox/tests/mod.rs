//! The outbox against real receivers: what goes out, in which order, and what a receiver's mistakes cost.

mod lines;
mod operators;
mod receiver;
mod webhooks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock;
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::store::{Actor, Operation, SinkStart};

/// What a machine's owner could have written into a name: ends of lines, strings, elements and colours.
const HOSTILE: &str = "x\"]\\ \r\n<1>1 - evil\u{1b}[31m\u{7f}\u{202e}\u{0}é";

/// Without waiting, so that a test takes no longer than it must.
const PACE: Pace = Pace { first: Duration::from_millis(2), longest: Duration::from_millis(10), save: Duration::ZERO };

struct World {
    store: Arc<dyn Store>,
    directory: tempfile::TempDir,
}

/// Sinks that run.
struct Running {
    outbox: Outbox,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    fn sink(&self) -> Sink {
        self.outbox.list().remove(0).sink
    }

    /// Waits until the only sink is as `is` wants it.
    async fn until(&self, what: &str, is: impl Fn(&Sink) -> bool) -> Sink {
        until(what, || Some(self.sink()).filter(&is)).await
    }
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = found() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let store = SqliteStore::open(&path, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
        Self { store: Arc::new(store), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Records `count` acts.
    async fn act(&self, count: u64, subject: &str) {
        for number in 0..count {
            let detail = json!({ "number": number });
            let operation = Operation { action: "test.act", subject: subject.to_owned(), detail };
            self.store.record_operation(operation, Actor::Server, clock::now()).await.unwrap();
        }
    }

    async fn start(&self, settings: SinkSettings) -> Running {
        let (outbox, couriers) =
            Outbox::open(&[settings], self.store.clone(), "td".parse().unwrap(), PACE).await.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(couriers.run(stop.clone()));
        Running { outbox, stop, task }
    }

    /// What the record says was done, in order.
    async fn actions(&self) -> Vec<String> {
        let entries = self.store.ledger_entries(0, 10_000).await.unwrap();
        let events = entries.iter().map(|entry| Event::of(entry.index, &entry.leaf));
        events.map(|event| event.short_kind().to_owned()).collect()
    }
}

fn webhook(directory: &Path, url: &str, batch: usize) -> SinkSettings {
    use std::os::unix::fs::PermissionsExt as _;
    let secret_file = directory.join("secret");
    std::fs::write(&secret_file, receiver::SECRET).unwrap();
    std::fs::set_permissions(&secret_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let to = WebhookSettings {
        url: url.to_owned(),
        secret_file: Some(secret_file),
        ed25519_file: None,
        ca_file: "/nowhere".into(),
        // Longer than any answer here takes; what hangs is given up after it, or by an order.
        timeout: Duration::from_secs(5),
    };
    sink(Destination::Webhook(to), batch)
}

fn sink(to: Destination, batch: usize) -> SinkSettings {
    SinkSettings {
        name: "one".to_owned(),
        types: TypeFilter::default(),
        start: SinkStart::First,
        on_reject: OnReject::Skip,
        batch,
        to,
    }
}

fn operator() -> Actor {
    Actor::Operator { uid: 7, name: "ada".to_owned() }
}

/// The indices of entries in what arrived.
fn indices(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["data"]["index"].as_u64().unwrap()).collect()
}
