//! What one open call is entitled to, followed over time: the caller is looked at again at every change and from time
//! to time, so that an answer only ever goes to the process whose selectors earned it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_identity::Selector;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::refusal::Refusal;
use crate::attest::{Attestors, Reading, for_log};
use crate::svids::{SvidSource, SvidState, WorkloadUpdate};

/// How long a first answer is waited for while SVIDs are being signed, before the caller is asked to come again.
const STARTING_TIME_MAX: Duration = Duration::from_secs(3);
/// How long something is waited for in place of all that a caller was given and that was taken back; then it is told that
/// it has nothing. Less than the second within which a withdrawal arrives.
const SUCCESSOR_TIME_MAX: Duration = Duration::from_millis(700);
/// How soon after a look that failed.
const LOOK_AFTER_FAULT: Duration = Duration::from_secs(5);
/// Failed looks in a row after which a stream ends.
const FAULTS_MAX: u32 = 3;

/// Where answers come from.
pub(super) struct Sources {
    /// SVIDs by selectors.
    pub(super) svids: Arc<dyn SvidSource>,
    /// Selectors by process.
    pub(super) attestors: Arc<Attestors>,
    /// How often a caller is looked at again on an open stream when nothing changes.
    pub(super) look_again: Duration,
    /// The agent ends.
    pub(super) stop: CancellationToken,
}

/// One open call.
pub(super) struct Subscription {
    sources: Arc<Sources>,
    caller: Arc<Caller>,
    selectors: BTreeSet<Selector>,
    /// How the caller was looked at.
    reading: Reading,
    state: watch::Receiver<SvidState>,
    /// When the caller is looked at again.
    look: tokio::time::Instant,
    /// The source has said something since the last answer.
    owed: bool,
    /// The last answer.
    given: Option<Arc<WorkloadUpdate>>,
    /// Looks that failed since the last one that did not.
    faults: u32,
}

impl Subscription {
    /// Finds out who calls, and what there is for them.
    ///
    /// # Errors
    /// Any [`Refusal`] but those of the request's form.
    pub(super) async fn open(
        sources: Arc<Sources>,
        caller: Arc<Caller>,
    ) -> Result<(Self, Arc<WorkloadUpdate>), Refusal> {
        let reading = sources.svids.reading();
        let selectors = match sources.attestors.attest(&caller.peer, reading).await {
            Ok(selectors) => selectors,
            Err(fault) => {
                if let Some(unlogged) = caller.may_note() {
                    tracing::warn!(pid = caller.peer.pid(), uid = caller.peer.uid(), code = fault.code(),
                        error = %fault, unlogged, "workload not attested");
                }
                if fault.ends_connection() {
                    caller.hang_up.cancel();
                }
                return Err(Refusal::Unattested);
            }
        };
        let state = sources.svids.subscribe(selectors.clone());
        let look = tokio::time::Instant::now() + sources.look_again;
        let (owed, given, faults) = (false, None, 0);
        let mut opened = Self { sources, caller, selectors, reading, state, look, owed, given, faults };
        let first = opened.settle().await?;
        Ok((opened, first))
    }

    /// The state that is in force, once it is known.
    async fn settle(&mut self) -> Result<Arc<WorkloadUpdate>, Refusal> {
        let mut settled = self.settled().await;
        if self.is_read_from_now_on() {
            match self.look().await? {
                Look::Same | Look::Other => settled = self.settled().await,
                // What was settled is the caller's in any case, and what more there may be is found at the next look.
                Look::Failed if settled.is_ok() => {}
                Look::Failed => settled = Err(Refusal::Unattested),
            }
        }
        self.owed = false;
        self.given = settled.as_ref().ok().cloned();
        if matches!(settled, Err(Refusal::NoIdentity))
            && let Some(unlogged) = self.caller.may_note()
        {
            let selectors = for_log(&self.selectors);
            tracing::info!(
                pid = self.caller.peer.pid(),
                uid = self.caller.peer.uid(),
                ?selectors,
                unlogged,
                "workload has no identity"
            );
        }
        settled
    }

    async fn settled(&mut self) -> Result<Arc<WorkloadUpdate>, Refusal> {
        let stop = self.sources.stop.clone();
        let state = &mut self.state;
        let known = async {
            loop {
                if let Some(answer) = answer(&state.borrow_and_update()) {
                    return answer;
                }
                if state.changed().await.is_err() {
                    return Err(Refusal::Stopping);
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Refusal::Stopping),
            known = tokio::time::timeout(STARTING_TIME_MAX, known) => known.unwrap_or(Err(Refusal::Starting)),
        }
    }

    /// Counts one more request of the caller, who says something on an open stream.
    ///
    /// # Errors
    /// The [`Refusal`] that ends the stream: they were too many.
    pub(super) fn asked(&self) -> Result<(), Refusal> {
        self.caller.place.request(Instant::now())
    }

    /// As [`Caller::may_note`].
    pub(super) fn may_note(&self) -> Option<u64> {
        self.caller.may_note()
    }

    /// The state of now, for a caller who asks again on an open stream.
    ///
    /// # Errors
    /// The [`Refusal`] that ends the stream: it could not be seen who asks.
    pub(super) async fn again(&mut self) -> Result<Arc<WorkloadUpdate>, Refusal> {
        match self.look().await? {
            Look::Same | Look::Other => self.settle().await,
            Look::Failed => Err(Refusal::Unattested),
        }
    }

    /// The next state that differs from the last one, whenever that is. May be dropped and called again.
    ///
    /// # Errors
    /// The [`Refusal`] that ends the stream.
    pub(super) async fn next(&mut self) -> Result<Arc<WorkloadUpdate>, Refusal> {
        // A change that was seen by a call that was dropped is not waited for again.
        let mut seen = self.owed;
        loop {
            tokio::select! {
                biased;
                () = self.sources.stop.cancelled() => return Err(Refusal::Stopping),
                () = std::future::ready(()), if std::mem::take(&mut seen) => {}
                changed = self.state.changed() => {
                    changed.map_err(|_| Refusal::Stopping)?;
                    self.owed = true;
                }
                () = tokio::time::sleep_until(self.look) => {}
            }
            // What is withdrawn is withdrawn from whoever holds it.
            if matches!(*self.state.borrow(), SvidState::Denied) {
                return self.settle().await;
            }
            // So is all that he holds where nothing is known in its place, unless that is there in a moment.
            if self.owed && self.lost_all() {
                let Ok(changed) = tokio::time::timeout(SUCCESSOR_TIME_MAX, self.state.changed()).await else {
                    return Err(Refusal::NoIdentity);
                };
                changed.map_err(|_| Refusal::Stopping)?;
                seen = true;
                continue;
            }
            // So is one identity among several, an authority, and what stands on a list: nothing that the caller does not
            // hold goes out, so that it need not be looked at first.
            if self.owed && self.gives_no_more() {
                return self.settle().await;
            }
            match self.look().await? {
                Look::Same if self.owed => {
                    // A source that does not know any more takes nothing back.
                    let current = answer(&self.state.borrow_and_update());
                    if self.is_read_from_now_on() {
                        seen = true;
                        continue;
                    }
                    self.owed = false;
                    if let Some(answer) = current {
                        self.given = answer.as_ref().ok().cloned();
                        return answer;
                    }
                }
                Look::Other => return self.settle().await,
                // A change keeps until it is known whom it would go to.
                Look::Same | Look::Failed => {}
            }
        }
    }

    /// Whether an entry that came since the last look names a digest: it may be this caller's.
    fn is_read_from_now_on(&self) -> bool {
        self.reading == Reading::Unread && self.sources.svids.reading() == Reading::Whole
    }

    /// Whether every SVID of the state in force is one that the caller was given.
    fn gives_no_more(&self) -> bool {
        let (SvidState::Ready(now), Some(given)) = (&*self.state.borrow(), &self.given) else { return false };
        now.svids.iter().all(|svid| given.svids.iter().any(|held| Arc::ptr_eq(held, svid)))
    }

    /// Whether all that the caller was given was taken back before its end, and nothing is known in its place.
    fn lost_all(&mut self) -> bool {
        let (SvidState::Starting, Some(given)) = (&*self.state.borrow_and_update(), &self.given) else { return false };
        let now = self.sources.svids.now();
        given.svids.iter().any(|svid| svid.not_after > now)
    }

    /// Looks at the caller again, and follows other SVIDs if it has other selectors by now.
    async fn look(&mut self) -> Result<Look, Refusal> {
        let reading = self.sources.svids.reading();
        match self.sources.attestors.attest(&self.caller.peer, reading).await {
            Ok(selectors) => {
                (self.faults, self.reading) = (0, reading);
                self.look = tokio::time::Instant::now() + self.sources.look_again;
                if selectors == self.selectors {
                    return Ok(Look::Same);
                }
                let before = self.state.borrow().clone();
                self.state = self.sources.svids.subscribe_after(selectors.clone(), &before);
                self.selectors = selectors;
                Ok(Look::Other)
            }
            Err(fault) => {
                if let Some(unlogged) = self.caller.may_note() {
                    tracing::warn!(pid = self.caller.peer.pid(), uid = self.caller.peer.uid(), code = fault.code(),
                        error = %fault, unlogged, "workload not attested again");
                }
                if fault.ends_connection() {
                    self.caller.hang_up.cancel();
                    return Err(Refusal::Unattested);
                }
                // Whoever was known without his program's digest is not turned out while that is read.
                self.faults += u32::from(self.reading == reading);
                if self.faults >= FAULTS_MAX {
                    return Err(Refusal::Unattested);
                }
                self.look = tokio::time::Instant::now() + LOOK_AFTER_FAULT;
                Ok(Look::Failed)
            }
        }
    }
}

/// What looking again showed.
enum Look {
    Same,
    Other,
    Failed,
}

/// What `state` means for a caller; nothing while it is not known.
fn answer(state: &SvidState) -> Option<Result<Arc<WorkloadUpdate>, Refusal>> {
    match state {
        SvidState::Starting => None,
        SvidState::Denied => Some(Err(Refusal::NoIdentity)),
        SvidState::Ready(update) if update.svids.is_empty() => Some(Err(Refusal::NoIdentity)),
        SvidState::Ready(update) => Some(Ok(Arc::clone(update))),
    }
}
