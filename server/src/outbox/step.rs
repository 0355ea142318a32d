//! One step of a courier: wait, read, or deliver. Moves no cursor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::event::{Event, Source, TypeFilter};
use super::sender::{Delivery, Sender};
use crate::store::{Sink, Store, StoreFault};

/// Entries that are read at once.
pub(super) const PAGE: u32 = 500;
/// Longest wait for the store to come back, or with a cursor that is not saved.
pub(super) const STORE_WAIT: Duration = Duration::from_secs(1);

/// What is being delivered.
pub(super) struct Load {
    pub(super) events: Vec<Event>,
    /// Index behind the last entry that it covers.
    pub(super) through: u64,
}

/// What one step came to.
pub(super) enum Step {
    /// Nothing to do but to look again.
    Looked,
    /// Entries that are not for this sink.
    Nothing { through: u64 },
    /// A delivery.
    Delivered(Delivery),
}

/// How a step is to be done.
pub(super) struct Turn {
    pub(super) batch: usize,
    pub(super) alone_until: u64,
    pub(super) rest: Option<Instant>,
    pub(super) unsaved: bool,
}

/// One step: waits, reads, or delivers. May be given up at any point; nothing counts that it did not return.
#[expect(clippy::too_many_arguments, reason = "the courier's parts, borrowed one by one, so that orders can be heard")]
pub(super) async fn step(
    sender: &mut Sender,
    store: &Arc<dyn Store>,
    source: &Source,
    heads: &mut watch::Receiver<u64>,
    types: &TypeFilter,
    sink: &Sink,
    load: &mut Option<Load>,
    turn: Turn,
) -> Result<Step, StoreFault> {
    if !sink.parked.is_empty() {
        return std::future::pending().await;
    }
    if let Some(until) = turn.rest {
        tokio::time::sleep_until(until.into()).await;
        return Ok(Step::Looked);
    }
    if let Some(load) = load {
        return Ok(Step::Delivered(sender.deliver(&load.events, source).await));
    }
    if sink.next >= *heads.borrow_and_update() {
        // With a cursor to save, not for ever.
        let wait = if turn.unsaved { STORE_WAIT } else { Duration::from_secs(60) };
        let _ = tokio::time::timeout(wait, heads.changed()).await;
        return Ok(Step::Looked);
    }
    let page = store.ledger_entries(sink.next, PAGE).await?;
    let mut through = sink.next;
    let mut events = Vec::new();
    for entry in page {
        through = entry.index.saturating_add(1);
        let event = Event::of(entry.index, &entry.leaf);
        if types.admits(&event) {
            events.push(event);
            if events.len() >= turn.batch || through <= turn.alone_until {
                break;
            }
        }
    }
    if events.is_empty() {
        return Ok(Step::Nothing { through });
    }
    *load = Some(Load { events, through });
    Ok(Step::Looked)
}
