//! One stream from its first message to its end.

use std::sync::Arc;
use std::time::Duration;

use holdfast_protocol::agent as wire;
use holdfast_protocol::limits::SYNC_ENTRIES_MAX;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{debug, warn};

use super::foreign::Foreign;
use super::lists::Told;
use super::message::{entry, held, portions, with_foreign};
use super::withdrawn::Heard;
use super::{Interest, Push, Subscriber, Subscribers};
use crate::api::{Word, refused, unavailable};
use crate::authority::{Bundle, CurrentBundle};
use crate::clock;
use crate::federation::CurrentFederations;
use crate::live::{Ending, StandingNode, State};
use crate::revocation::{CurrentLists, Withdrawn};
use crate::store::{NodeTarget, Revision, Store, StoreFault};

/// Messages that wait for a slow agent.
const MESSAGES_MAX: usize = 4;
/// How long an agent may leave them lying.
const SLOWNESS_MAX: Duration = Duration::from_secs(30);

/// What the agent reads.
pub type SyncStream = ReceiverStream<Result<wire::SyncResponse, Status>>;

/// What every stream shows beside entries, each as it is at the moment.
#[derive(Clone)]
pub struct Shown {
    /// The trust bundle.
    pub bundle: CurrentBundle,
    /// The revocation lists.
    pub lists: CurrentLists,
    /// Withdrawn JWT-SVIDs.
    pub withdrawn: watch::Receiver<Arc<Withdrawn>>,
    /// Foreign trust domains.
    pub federations: CurrentFederations,
}

/// Follows the standing of `node` and the changes that concern it, until it ends or the agent leaves.
pub fn follow(
    store: Arc<dyn Store>,
    subscribers: &Arc<Subscribers>,
    Shown { bundle, lists, withdrawn, federations }: Shown,
    node: StandingNode,
    holds: &wire::SyncRequest,
) -> SyncStream {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let interest = Interest { node: node.number(), spiffe_id: node.spiffe_id().clone(), selectors: Arc::default() };
    // Joined before the state is read: whatever changes in between is pushed, and passed over by its revision.
    let subscriber = subscribers.join(interest);
    let (at, told) = (holds.holds.as_ref().and_then(held), Told::new(&holds.holds_lists));
    let foreign = Foreign::new(federations);
    let (heard, told_bundle) = (Heard::default(), None);
    let mut stream = Stream {
        store,
        bundle,
        told_bundle,
        lists,
        told,
        withdrawn,
        heard,
        foreign,
        node,
        subscriber,
        at,
        out: sender,
    };
    tokio::spawn(async move {
        let gauge = metrics::gauge!("holdfast_sync_streams");
        gauge.increment(1.0);
        let end = stream.run().await;
        gauge.decrement(1.0);
        if let Some(status) = end {
            let _ = stream.out.send_timeout(Err(status), SLOWNESS_MAX).await;
        }
    });
    ReceiverStream::new(receiver)
}

struct Stream {
    store: Arc<dyn Store>,
    bundle: CurrentBundle,
    /// Which of it the agent was told on this stream: by it and not by a push, which may be lost where many come.
    told_bundle: Option<Arc<Bundle>>,
    /// What the agent holds of foreign trust domains.
    foreign: Foreign,
    lists: CurrentLists,
    /// Which of them the agent holds.
    told: Told,
    withdrawn: watch::Receiver<Arc<Withdrawn>>,
    /// What the agent has heard of them.
    heard: Heard,
    node: StandingNode,
    subscriber: Subscriber,
    /// What the agent holds.
    at: Option<Revision>,
    out: mpsc::Sender<Result<wire::SyncResponse, Status>>,
}

/// The stream's end: what the agent is told, or nothing if it has left.
type End = Option<Status>;

impl Stream {
    async fn run(&mut self) -> End {
        let mut watch = self.node.watch();
        if let Err(end) = self.synchronise().await {
            return end;
        }
        loop {
            let state = *watch.borrow_and_update();
            let expires = match state {
                State::Stands { evidence_expires } => evidence_expires,
                State::Ended(Ending::AttestAgain) => return Some(refused(Word::Attest, None)),
                State::Ended(Ending::Refused) => return Some(refused(Word::Refused, None)),
                State::Silenced => {
                    // Nothing is pushed, nothing is told: whoever is on the other side is being watched.
                    tokio::select! {
                        changed = watch.changed() => if changed.is_err() { return None } else { continue },
                        () = self.out.closed() => return None,
                    }
                }
            };
            let left = u64::try_from(expires.since(clock::now())).unwrap_or(0);
            if left == 0 {
                return Some(refused(Word::Attest, None));
            }
            let step = tokio::select! {
                biased;
                changed = watch.changed() => if changed.is_err() { return None } else { Ok(()) },
                () = self.out.closed() => return None,
                // The clock may be set meanwhile: look again now and then.
                () = sleep(Duration::from_secs(left.min(15))) => Ok(()),
                // The sender is the server's, and stays.
                Ok(()) = self.withdrawn.changed() => self.withdraw().await,
                push = self.subscriber.next() => self.pushed(push).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    /// Tells what was withdrawn of JWT-SVIDs, whether or not anything else is new.
    async fn withdraw(&mut self) -> Result<(), End> {
        match self.at {
            Some(at) => self.send(at, portions(at, false, Vec::new(), Vec::new(), None)).await,
            None => self.synchronise().await,
        }
    }

    /// Sends one push and all that wait behind it as one change.
    async fn pushed(&mut self, first: Push) -> Result<(), End> {
        let (mut entries, mut removed, mut latest) = (Vec::new(), Vec::new(), self.at);
        let mut lists = false;
        let mut next = Some(first);
        while let Some(push) = next {
            match push {
                Push::Resync => return self.synchronise().await,
                Push::Bundle | Push::Federation => {}
                Push::Lists => lists = true,
                Push::Entry { n, entry: changed } if self.is_news(n) => {
                    self.foreign.entry(&changed);
                    let wire = entry(&changed);
                    removed.retain(|id| *id != wire.id);
                    entries.retain(|known: &wire::Entry| known.id != wire.id);
                    entries.push(wire);
                    latest = latest.map(|at| Revision { n, ..at });
                }
                Push::Removed { n, id } if self.is_news(n) => {
                    entries.retain(|known: &wire::Entry| known.id != id);
                    self.foreign.removed(&id);
                    removed.push(id);
                    latest = latest.map(|at| Revision { n, ..at });
                }
                Push::Entry { .. } | Push::Removed { .. } => {}
            }
            next = if entries.len() + removed.len() < SYNC_ENTRIES_MAX { self.subscriber.try_next() } else { None };
        }
        let behind = self.foreign.is_behind() || (lists && self.told.is_behind(&self.lists.get()));
        let Some(at) = latest else { return self.synchronise().await };
        let bundle = self.bundle_news();
        if entries.is_empty() && removed.is_empty() && bundle.is_none() && !behind {
            return Ok(());
        }
        self.send(at, portions(at, false, entries, removed, bundle)).await?;
        self.at = Some(at);
        Ok(())
    }

    fn is_news(&self, n: u64) -> bool {
        self.at.is_none_or(|at| n > at.n)
    }

    /// The bundle, where the agent was not told of it as it is now.
    fn bundle_news(&mut self) -> Option<wire::Bundle> {
        let now = self.bundle.get();
        if self.told_bundle.as_ref() == Some(&now) {
            return None;
        }
        let message = now.to_message();
        self.told_bundle = Some(now);
        Some(message)
    }

    /// Asks the store for everything since what the agent holds.
    async fn synchronise(&mut self) -> Result<(), End> {
        let number = self.node.number();
        let node = self.store.node(NodeTarget::Number(number)).await.map_err(|fault| self.fault(&fault))?;
        let Some((node, name)) = node.and_then(|node| node.spiffe_id.clone().map(|name| (node, name))) else {
            return Err(Some(refused(Word::Enrol, None)));
        };
        if name != *self.node.spiffe_id() {
            // The certificate on this connection names somebody else now.
            return Err(Some(refused(Word::Attest, None)));
        }
        let selectors = Arc::new(node.selectors);
        self.subscriber.rejoin(Interest { node: number, spiffe_id: name, selectors });
        let changes =
            self.store.entry_changes(number, self.at, clock::now()).await.map_err(|fault| self.fault(&fault))?;
        if changes.full {
            self.foreign.forget();
        } else if self.foreign.is_new() {
            // The agent holds entries that this stream has never seen.
            let (_, held) =
                self.store.entries_for_node(number, clock::now()).await.map_err(|fault| self.fault(&fault))?;
            held.iter().for_each(|entry| self.foreign.entry(entry));
        }
        changes.entries.iter().for_each(|entry| self.foreign.entry(entry));
        changes.removed.iter().for_each(|id| self.foreign.removed(id));
        let entries: Vec<_> = changes.entries.iter().map(entry).collect();
        let behind = self.foreign.is_behind() || self.told.is_behind(&self.lists.get());
        let bundle = self.bundle_news();
        let empty = entries.is_empty() && changes.removed.is_empty() && bundle.is_none() && !behind;
        if empty && !changes.full && self.at == Some(changes.revision) {
            return Ok(());
        }
        let at = changes.revision;
        self.send(at, portions(at, changes.full, entries, changes.removed, bundle)).await?;
        self.at = Some(changes.revision);
        Ok(())
    }

    /// Sends a change: with its first message what was withdrawn of tokens, and before that the lists that the agent does
    /// not hold, so that what is withdrawn comes with the change that withdraws it, or after it.
    async fn send(&mut self, at: Revision, mut messages: Vec<wire::SyncResponse>) -> Result<(), End> {
        if let Some(last) = messages.pop() {
            messages.extend(with_foreign(last, self.foreign.news()));
        }
        let withdrawn = self.withdrawn.borrow_and_update().clone();
        if let Some(first) = messages.first_mut() {
            first.withdrawn_tokens = self.heard.news(&withdrawn);
        }
        let lists = self.told.news(&self.lists.get(), at);
        for message in lists.into_iter().chain(messages) {
            self.out.send_timeout(Ok(message), SLOWNESS_MAX).await.map_err(|_| {
                debug!(node = %self.node.spiffe_id(), "agent does not read its stream");
                None
            })?;
        }
        Ok(())
    }

    fn fault(&self, fault: &StoreFault) -> End {
        warn!(node = %self.node.spiffe_id(), code = fault.code(), %fault, "sync stream ends by a fault");
        Some(unavailable(None))
    }
}
