//! Events go out: the record itself is the queue, and each sink keeps how far it has come in it. So nothing is written
//! twice, no event is lost by a crash, and a slow sink costs the issuing path nothing: it only falls behind.
//!
//! `event` says what an entry is to the outside; `cloudevents` and `rfc5424` write it; `webhook`, `syslog` and `file` send
//! it; `courier` does so in order, at least once. Decides nothing, and connects only to what the configuration names.

pub mod cloudevents;
mod courier;
pub mod event;
mod file;
pub mod json;
mod orders;
mod pace;
pub mod rfc5424;
mod sender;
pub mod settings;
mod signature;
mod step;
mod syslog;
#[cfg(test)]
mod tests;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use holdfast_identity::TrustDomain;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::store::{Sink, Store, StoreFault};
use courier::Courier;
pub use event::{Event, Source, TypeFilter};
use orders::Ordered;
pub use orders::{Order, OrderRefused};
pub use pace::Pace;
use sender::Sender;
pub use settings::{Destination, FileSettings, OnReject, SinkSettings, SyslogAddress, SyslogSettings, WebhookSettings};
pub use signature::KeyFault;

/// How often the record is looked at for what is new.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Orders of operators that may wait for one sink.
const ORDERS_MAX: usize = 16;

/// What keeps events from going out.
#[derive(Debug, thiserror::Error)]
pub enum OutboxFault {
    /// A key.
    #[error("sink {sink}: {source}")]
    Key {
        /// Of which sink.
        sink: String,
        /// What is wrong with it.
        source: KeyFault,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl OutboxFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Key { .. } => "events.key",
            Self::Store(fault) => fault.code(),
        }
    }
}

/// The sinks, for operators.
pub struct Outbox {
    source: Source,
    sinks: Vec<Handle>,
    heads: watch::Receiver<u64>,
}

struct Handle {
    settings: SinkSettings,
    state: watch::Receiver<Sink>,
    orders: mpsc::Sender<Ordered>,
}

/// A sink as operators see it.
#[derive(Clone, Debug)]
pub struct SinkStatus {
    /// `webhook`, `syslog` or `file`.
    pub kind: &'static str,
    /// Where to.
    pub place: String,
    /// How far it has come, and how it does.
    pub sink: Sink,
    /// Entries of the record that it has not acknowledged.
    pub lag: u64,
}

/// What sends, to be run once.
pub struct Couriers {
    store: Arc<dyn Store>,
    couriers: Vec<Courier>,
    heads: watch::Sender<u64>,
}

impl Outbox {
    /// Opens every sink of the configuration; nothing is sent yet.
    ///
    /// # Errors
    /// [`OutboxFault`] if a key cannot be used, or the store does not answer.
    pub async fn open(
        sinks: &[SinkSettings],
        store: Arc<dyn Store>,
        trust_domain: TrustDomain,
        pace: Pace,
    ) -> Result<(Self, Couriers), OutboxFault> {
        let source = Source { trust_domain, epoch: store.revision().epoch };
        let (heads, seen) = watch::channel(store.head().await?.size);
        let mut outbox = Self { source: source.clone(), sinks: Vec::new(), heads: seen.clone() };
        let mut couriers = Couriers { store: store.clone(), couriers: Vec::new(), heads };
        for settings in sinks {
            let key = |source| OutboxFault::Key { sink: settings.name.clone(), source };
            let sender = Sender::new(settings).map_err(key)?;
            let sink = store.open_sink(settings.name.clone(), settings.start).await?;
            let (state, shown) = watch::channel(sink.clone());
            let (orders, ordered) = mpsc::channel(ORDERS_MAX);
            outbox.sinks.push(Handle { settings: settings.clone(), state: shown, orders });
            let (source, heads, store) = (source.clone(), seen.clone(), store.clone());
            let parts = courier::Parts { store, source, sender, orders: ordered, heads, state, pace };
            couriers.couriers.push(Courier::new(parts, settings, sink));
        }
        Ok((outbox, couriers))
    }

    /// Whose events these are.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Every sink of the configuration.
    #[must_use]
    pub fn list(&self) -> Vec<SinkStatus> {
        let head = *self.heads.borrow();
        let status = |handle: &Handle| {
            let sink = handle.state.borrow().clone();
            let to = &handle.settings.to;
            SinkStatus { kind: to.kind(), place: to.place(), lag: head.saturating_sub(sink.next), sink }
        };
        self.sinks.iter().map(status).collect()
    }

    /// Has `order` done at the sink called `name`, and says how it stands afterwards.
    ///
    /// # Errors
    /// [`OrderRefused`].
    pub async fn order(&self, name: &str, order: Order, by: crate::store::Actor) -> Result<SinkStatus, OrderRefused> {
        let handle = self.sinks.iter().find(|handle| handle.settings.name == name).ok_or(OrderRefused::Unknown)?;
        let (reply, answer) = tokio::sync::oneshot::channel();
        handle.orders.send(Ordered { order, by, reply }).await.map_err(|_| OrderRefused::Ended)?;
        answer.await.map_err(|_| OrderRefused::Ended)??;
        self.list().into_iter().find(|status| status.sink.name == name).ok_or(OrderRefused::Unknown)
    }
}

impl Couriers {
    /// Sends until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, couriers, heads } = self;
        if couriers.is_empty() {
            return;
        }
        let running: Vec<_> = couriers.into_iter().map(|courier| tokio::spawn(courier.run(stop.clone()))).collect();
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => break,
            }
            match store.head().await {
                Ok(head) => {
                    heads.send_if_modified(|held| std::mem::replace(held, head.size) != head.size);
                }
                Err(fault) => error!(code = fault.code(), %fault, "the record's head cannot be read, events wait"),
            }
        }
        for courier in running {
            let _ = courier.await;
        }
    }
}
