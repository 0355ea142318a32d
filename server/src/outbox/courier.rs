//! Brings the record's entries to one sink, in order, each until it is acknowledged. The cursor follows what was
//! acknowledged, never what was sent: a crash makes the sink see some entries twice, and none not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::event::{Event, Place, Source, TypeFilter};
use super::orders::{Order, OrderRefused, Ordered};
use super::pace::Pace;
use super::sender::{Delivery, Sender};
use super::settings::{OnReject, SinkSettings};
use super::step::{Load, PAGE, STORE_WAIT, Step, Turn, step};
use crate::clock;
use crate::store::{Actor, Operation, Sink, Store, StoreFault};

/// Times that a sink must refuse an event before it is believed: the refusal may be of the moment.
const REFUSALS: u32 = 3;
/// Events in a row that are left out before the sink is parked: who takes nothing is not set up right.
const SKIPS_IN_A_ROW_MAX: u32 = 10;
/// Characters of an error that are kept.
const ERROR_CHARS_MAX: usize = 300;

/// What a courier works with.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) source: Source,
    pub(super) sender: Sender,
    pub(super) orders: mpsc::Receiver<Ordered>,
    pub(super) heads: watch::Receiver<u64>,
    pub(super) state: watch::Sender<Sink>,
    pub(super) pace: Pace,
}

/// Brings entries to one sink.
pub(super) struct Courier {
    store: Arc<dyn Store>,
    source: Source,
    sender: Sender,
    orders: mpsc::Receiver<Ordered>,
    heads: watch::Receiver<u64>,
    state: watch::Sender<Sink>,
    pace: Pace,
    types: TypeFilter,
    on_reject: OnReject,
    batch: usize,
    sink: Sink,
    /// Whether the sink's row is older than `sink`, and when it was written.
    unsaved: bool,
    saved: Instant,
    load: Option<Load>,
    /// Events up to here go one by one: the delivery that held them was refused as a whole.
    alone_until: u64,
    refusals: u32,
    skips: u32,
    rest: Option<Instant>,
}

impl Courier {
    pub(super) fn new(parts: Parts, settings: &SinkSettings, sink: Sink) -> Self {
        let Parts { store, source, sender, orders, heads, state, pace } = parts;
        Self {
            store,
            source,
            sender,
            orders,
            heads,
            state,
            pace,
            types: settings.types.clone(),
            on_reject: settings.on_reject,
            batch: settings.batch,
            sink,
            unsaved: false,
            saved: Instant::now(),
            load: None,
            alone_until: 0,
            refusals: 0,
            skips: 0,
            rest: None,
        }
    }

    /// Until `stop`. What is under way then is sent again by the next one.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.show();
            let done = tokio::select! {
                () = stop.cancelled() => break,
                // Taken out first, as what follows needs all of the courier.
                ordered = self.orders.recv() => Err(ordered),
                done = step(
                    &mut self.sender, &self.store, &self.source, &mut self.heads, &self.types, &self.sink, &mut self.load,
                    Turn { batch: self.batch, alone_until: self.alone_until, rest: self.rest, unsaved: self.unsaved },
                ) => Ok(done),
            };
            let outcome = match done {
                Err(Some(ordered)) => {
                    self.obey(ordered).await;
                    Ok(())
                }
                // Nobody can give orders any more: the server ends.
                Err(None) => break,
                Ok(Ok(step)) => self.after(step).await,
                Ok(Err(fault)) => Err(fault),
            };
            if let Err(fault) = outcome {
                error!(sink = self.sink.name, code = fault.code(), %fault, "the store does not answer, events wait");
                tokio::time::sleep(STORE_WAIT).await;
            }
        }
        if self.unsaved
            && let Err(fault) = self.save().await
        {
            error!(sink = self.sink.name, code = fault.code(), %fault, "the cursor is not saved, events come again");
        }
    }

    async fn after(&mut self, step: Step) -> Result<(), StoreFault> {
        match step {
            Step::Looked => {
                self.rest = None;
                self.save_if_due().await
            }
            Step::Nothing { through } => {
                self.advance(through);
                self.save_if_due().await
            }
            Step::Delivered(delivery) => self.judge(delivery).await,
        }
    }

    async fn judge(&mut self, delivery: Delivery) -> Result<(), StoreFault> {
        let (events, through) =
            self.load.as_ref().map_or((0, self.sink.next), |load| (load.events.len(), load.through));
        match delivery {
            Delivery::Taken => {
                metrics::counter!("holdfast_events_delivered_total", "sink" => self.sink.name.clone())
                    .increment(events as u64);
                let recovered = self.sink.failures > 0;
                self.sink.failures = 0;
                self.sink.last_success = clock::now();
                (self.refusals, self.skips) = (0, 0);
                self.load = None;
                self.advance(through);
                if recovered { self.save().await } else { self.save_if_due().await }
            }
            Delivery::Gone(why) => self.park(format!("the receiver wants no events any more: {why}")).await,
            Delivery::Failed { why, retry_after } => self.failed(&why, retry_after).await,
            Delivery::Rejected(why) if events > 1 => {
                // Which of them is it? Each goes alone, in order.
                self.alone_until = through;
                self.load = None;
                self.failed(&why, Some(Duration::ZERO)).await
            }
            Delivery::Rejected(why) => {
                self.refusals += 1;
                if self.refusals < REFUSALS {
                    return self.failed(&why, None).await;
                }
                match self.on_reject {
                    OnReject::Stop => {
                        self.park(format!("entry {} was refused: {why}", through.saturating_sub(1))).await
                    }
                    OnReject::Skip if self.skips >= SKIPS_IN_A_ROW_MAX => {
                        self.park(format!("{SKIPS_IN_A_ROW_MAX} entries in a row were refused: {why}")).await
                    }
                    OnReject::Skip => self.skip(&why, Actor::Server).await,
                }
            }
        }
    }

    async fn failed(&mut self, why: &str, retry_after: Option<Duration>) -> Result<(), StoreFault> {
        let why: String = why.chars().take(ERROR_CHARS_MAX).collect();
        self.sink.failures = self.sink.failures.saturating_add(1);
        let wait = self.pace.wait(self.sink.failures, retry_after);
        warn!(sink = self.sink.name, failures = self.sink.failures, seconds = wait.as_secs(), why, "events wait");
        metrics::counter!("holdfast_events_failures_total", "sink" => self.sink.name.clone()).increment(1);
        self.sink.last_failure = clock::now();
        self.sink.last_error = why;
        self.rest = Instant::now().checked_add(wait);
        self.unsaved = true;
        self.save_if_due().await
    }

    async fn park(&mut self, why: String) -> Result<(), StoreFault> {
        error!(sink = self.sink.name, why, "events are not sent to this sink any more, until an operator resumes it");
        let parked: String = why.chars().take(ERROR_CHARS_MAX).collect();
        let act = self.operation("events.park", json!({ "next": self.sink.next, "reason": parked }));
        let sink = Sink { parked, last_failure: clock::now(), ..self.sink.clone() };
        self.commit(sink, act, Actor::Server).await?;
        self.refusals = 0;
        Ok(())
    }

    /// Leaves out the event that is under way. The record says so, unless it is itself about the sending of events: then
    /// there would be no end of it.
    async fn skip(&mut self, why: &str, by: Actor) -> Result<(), StoreFault> {
        let Some(load) = &self.load else { return Ok(()) };
        let index = match load.events.first().map(|event| event.place) {
            Some(Place::Entry(index)) => index,
            Some(Place::Test(_)) | None => load.through.saturating_sub(1),
        };
        let quiet = by == Actor::Server && load.events.iter().all(Event::is_about_events);
        let sink = Sink {
            next: load.through,
            skipped: self.sink.skipped.saturating_add(1),
            failures: 0,
            parked: String::new(),
            ..self.sink.clone()
        };
        warn!(sink = self.sink.name, index, why, "an event is left out");
        metrics::counter!("holdfast_events_skipped_total", "sink" => self.sink.name.clone()).increment(1);
        if quiet {
            self.sink = sink;
            self.save().await?;
        } else {
            let why: String = why.chars().take(ERROR_CHARS_MAX).collect();
            let act = self.operation("events.skip", json!({ "index": index, "reason": why }));
            self.commit(sink, act, by).await?;
        }
        (self.load, self.refusals, self.rest) = (None, 0, None);
        self.skips += 1;
        Ok(())
    }

    async fn obey(&mut self, ordered: Ordered) {
        let Ordered { order, by, reply } = ordered;
        let done = match order {
            Order::Test => self.test(by).await,
            Order::Replay { from } => self.replay(from, by).await,
            Order::Resume => self.go_on(self.sink.next, "events.resume", json!({ "next": self.sink.next }), by).await,
            Order::Skip => self.skip_next(by).await,
        };
        self.show();
        // Who asked may have gone.
        let _ = reply.send(done);
    }

    async fn test(&mut self, by: Actor) -> Result<(), OrderRefused> {
        let at = clock::now();
        self.store.record_operation(self.operation("events.test", json!({})), by, at).await?;
        match self.sender.deliver(&[Event::test(&self.sink.name, at)], &self.source).await {
            Delivery::Taken => Ok(()),
            Delivery::Rejected(why) | Delivery::Failed { why, .. } | Delivery::Gone(why) => {
                Err(OrderRefused::Test(why))
            }
        }
    }

    async fn replay(&mut self, from: u64, by: Actor) -> Result<(), OrderRefused> {
        let size = self.store.head().await?.size;
        if from > size {
            return Err(OrderRefused::BeyondHead { from, size });
        }
        self.go_on(from, "events.replay", json!({ "from": from, "was": self.sink.next }), by).await
    }

    async fn skip_next(&mut self, by: Actor) -> Result<(), OrderRefused> {
        let mut at = self.sink.next;
        // The next one that the sink would get; those before it were never for it.
        let event = loop {
            let page = self.store.ledger_entries(at, PAGE).await?;
            let Some(last) = page.last() else { return Err(OrderRefused::NothingToSkip) };
            at = last.index.saturating_add(1);
            let mut events = page.iter().map(|entry| Event::of(entry.index, &entry.leaf));
            if let Some(event) = events.find(|event| self.types.admits(event)) {
                break event;
            }
        };
        let Place::Entry(index) = event.place else { return Err(OrderRefused::NothingToSkip) };
        self.load = Some(Load { events: vec![event], through: index.saturating_add(1) });
        self.skip("an operator said so", by).await?;
        self.skips = 0;
        Ok(())
    }

    /// Begins anew at the entry `next`, once the record says so.
    async fn go_on(
        &mut self,
        next: u64,
        action: &'static str,
        detail: serde_json::Value,
        by: Actor,
    ) -> Result<(), OrderRefused> {
        let sink = Sink { next, parked: String::new(), failures: 0, ..self.sink.clone() };
        self.commit(sink, self.operation(action, detail), by).await?;
        (self.load, self.rest, self.refusals, self.skips, self.alone_until) = (None, None, 0, 0, 0);
        Ok(())
    }

    fn operation(&self, action: &'static str, detail: serde_json::Value) -> Operation {
        Operation { action, subject: self.sink.name.clone(), detail }
    }

    fn advance(&mut self, through: u64) {
        self.unsaved |= self.sink.next != through;
        self.sink.next = through;
    }

    async fn save_if_due(&mut self) -> Result<(), StoreFault> {
        if self.unsaved && self.saved.elapsed() >= self.pace.save { self.save().await } else { Ok(()) }
    }

    async fn save(&mut self) -> Result<(), StoreFault> {
        self.store.save_sink(self.sink.clone(), None, clock::now()).await?;
        (self.unsaved, self.saved) = (false, Instant::now());
        Ok(())
    }

    /// Makes the sink what it is to be, together with the record's entry; where that fails, nothing has changed.
    async fn commit(&mut self, sink: Sink, act: Operation, by: Actor) -> Result<(), StoreFault> {
        info!(sink = sink.name, action = act.action, %by, "sink changes");
        self.store.save_sink(sink.clone(), Some((act, by)), clock::now()).await?;
        self.sink = sink;
        (self.unsaved, self.saved) = (false, Instant::now());
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point; counts and seconds are far below 2^52")]
    fn show(&self) {
        let sink = || self.sink.name.clone();
        let lag = self.heads.borrow().saturating_sub(self.sink.next);
        metrics::gauge!("holdfast_events_lag", "sink" => sink()).set(lag as f64);
        metrics::gauge!("holdfast_events_parked", "sink" => sink()).set(if self.sink.parked.is_empty() {
            0.0
        } else {
            1.0
        });
        metrics::gauge!("holdfast_events_last_success_seconds", "sink" => sink())
            .set(self.sink.last_success.seconds() as f64);
        self.state.send_if_modified(|shown| {
            let changed = *shown != self.sink;
            shown.clone_from(&self.sink);
            changed
        });
    }
}
