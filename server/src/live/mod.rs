//! Which nodes stand at this moment: a live connection, a quote on it, a record that says yes, evidence unexpired.
//!
//! [`StandingNode`] is the value that only this module makes and that workload SVIDs are signed against. Here also falls
//! the verdict that two machines speak as one node.
//!
//! **Two live connections.** A node has one connection. When it quotes on a new one, the old one loses its standing at
//! once, silently, and is watched: an honest agent has closed it (or its network is dead), so nothing more comes from
//! it. If within the watch's time bytes still come in on it (an agent answers HTTP/2 pings), or if it quotes again with a
//! challenge drawn after the newer quote, somebody else is alive there: the node is frozen and alarmed. An agent
//! therefore closes its old connection before it quotes on a new one.

mod standing;

#[cfg(test)]
mod tests;

pub use standing::{Ending, StandingNode, StandingWatch, State};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_identity::{SpiffeId, UnixTime};
use tokio::sync::watch;

use crate::listen::{Connection, PeerSvid};
use crate::store::{Node, NodeNumber};

/// Bytes that arrive so soon after the newer quote may have been under way before it.
const LATE_BYTES: Duration = Duration::from_secs(2);

/// All nodes that stand, by number.
#[derive(Debug)]
pub struct LiveNodes {
    nodes: Mutex<HashMap<NodeNumber, Live>>,
    watch: Duration,
}

#[derive(Debug, Default)]
struct Live {
    current: Option<Standing>,
    superseded: Vec<Superseded>,
}

#[derive(Debug)]
struct Standing {
    connection: Arc<Connection>,
    spiffe_id: SpiffeId,
    evidence_expires: UnixTime,
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct Superseded {
    connection: Arc<Connection>,
    at: UnixTime,
    since: Instant,
    /// Kept so that the old connection's stream neither ends nor gets anything.
    state: watch::Sender<State>,
}

/// What a quote on a connection means for the node's standing.
#[derive(Debug)]
#[must_use]
pub enum Arrival {
    /// The node stands on this connection now.
    Stands,
    /// Admitted, but on a connection that is not the node's own: it stands nowhere until it quotes on one.
    Elsewhere,
    /// The node stands here now, and an older connection must be watched: see [`LiveNodes::outcome_of_watch`].
    Supersedes(Arc<Connection>),
    /// Admitted on a foreign connection, and an older one must be watched.
    SupersedesElsewhere(Arc<Connection>),
    /// This older connection was superseded by a newer one: two machines speak as this node.
    TwoAlive,
    /// This older connection was superseded while its quote was under way. It does not stand.
    Late,
}

/// A quote that was admitted and recorded.
#[derive(Debug)]
pub struct Quoted<'a> {
    /// The node as the record has it now.
    pub node: &'a Node,
    /// The connection it came on.
    pub connection: &'a Arc<Connection>,
    /// When its challenge was drawn.
    pub drawn_at: UnixTime,
    /// Whether it was drawn on this very connection. If not, the node does not stand on it.
    pub drawn_here: bool,
    /// Now.
    pub at: UnixTime,
}

impl LiveNodes {
    /// Nobody stands yet. `watch` must be longer than a silent connection can live without an answer to a ping.
    #[must_use]
    pub fn new(watch: Duration) -> Self {
        Self { nodes: Mutex::default(), watch }
    }

    /// Takes note of an admitted quote.
    pub fn quoted(&self, quoted: &Quoted<'_>) -> Arrival {
        let Quoted { node, connection, drawn_at, drawn_here, at } = *quoted;
        let Some(spiffe_id) = node.spiffe_id.clone() else { return Arrival::Elsewhere };
        let is_own = |peer: &PeerSvid| peer.spiffe_id == spiffe_id && peer.spki == node.node_key_spki;
        let own = drawn_here && connection.peer().is_some_and(is_own);
        connection.set_node(node.number);
        let mut nodes = self.lock();
        let live = nodes.entry(node.number).or_default();
        live.superseded.retain(|old| !old.connection.is_ending());
        if let Some(old) = live.superseded.iter().find(|old| old.connection.id() == connection.id()) {
            return if drawn_at > old.at { Arrival::TwoAlive } else { Arrival::Late };
        }
        if let Some(current) = &mut live.current
            && current.connection.id() == connection.id()
            && own
        {
            current.evidence_expires = node.evidence_expires;
            let state = State::Stands { evidence_expires: node.evidence_expires };
            current.state.send_replace(state);
            return Arrival::Stands;
        }
        let old = live.current.take();
        if own {
            let (state, _) = watch::channel(State::Stands { evidence_expires: node.evidence_expires });
            live.current = Some(Standing {
                connection: connection.clone(),
                spiffe_id,
                evidence_expires: node.evidence_expires,
                state,
            });
        }
        let Some(old) = old else { return if own { Arrival::Stands } else { Arrival::Elsewhere } };
        if old.connection.id() == connection.id() {
            // The node has another key or name now: this connection's certificate is not its own any more.
            old.state.send_replace(State::Ended(Ending::AttestAgain));
            return Arrival::Elsewhere;
        }
        if old.connection.is_ending() {
            return if own { Arrival::Stands } else { Arrival::Elsewhere };
        }
        old.state.send_replace(State::Silenced);
        let watched = old.connection.clone();
        live.superseded.push(Superseded { connection: old.connection, at, since: Instant::now(), state: old.state });
        if own { Arrival::Supersedes(watched) } else { Arrival::SupersedesElsewhere(watched) }
    }

    /// Watches a superseded connection to its end; true if somebody is alive on it, so that the node must be frozen.
    /// A connection that stays silent is closed.
    pub async fn outcome_of_watch(&self, node: NodeNumber, old: Arc<Connection>) -> bool {
        let since = self
            .lock()
            .get(&node)
            .and_then(|live| live.superseded.iter().find(|one| one.connection.id() == old.id()).map(|one| one.since));
        let Some(since) = since else { return false };
        tokio::select! {
            () = old.ending() => {}
            () = tokio::time::sleep(self.watch) => {}
        }
        let alive = !old.is_ending() && old.silent_for() + LATE_BYTES < since.elapsed();
        if !alive {
            old.close();
        }
        // Whoever ended the standing meanwhile has said what there is to say.
        self.forget(node, &old) && alive
    }

    /// The node that stands on this connection now.
    #[must_use]
    pub fn standing(&self, connection: &Connection, now: UnixTime) -> Option<StandingNode> {
        let node = connection.node()?;
        let nodes = self.lock();
        let current = nodes.get(&node)?.current.as_ref()?;
        let stands = current.connection.id() == connection.id()
            && !connection.is_ending()
            && current.evidence_expires > now
            && matches!(*current.state.borrow(), State::Stands { .. });
        stands.then(|| StandingNode::new(node, current.spiffe_id.clone(), current.evidence_expires, &current.state))
    }

    /// Ends a node's standing. Only a refusal also ends the watch over its superseded connections: a machine that makes
    /// itself attest again shall not escape from being found to be two.
    pub fn end(&self, node: NodeNumber, ending: Ending) {
        let mut nodes = self.lock();
        let Some(live) = nodes.get_mut(&node) else { return };
        if let Some(current) = live.current.take() {
            current.state.send_replace(State::Ended(ending));
        }
        if ending == Ending::Refused {
            for old in live.superseded.drain(..) {
                old.state.send_replace(State::Ended(ending));
            }
        }
        if live.superseded.is_empty() {
            nodes.remove(&node);
        }
    }

    /// Ends everybody's standing: the policy moved.
    pub fn end_all(&self, ending: Ending) {
        for live in self.lock().values_mut() {
            if let Some(current) = live.current.take() {
                current.state.send_replace(State::Ended(ending));
            }
        }
    }

    /// Forgets connections that have ended, and evidence that has.
    pub fn sweep(&self, now: UnixTime) {
        self.lock().retain(|_, live| {
            live.superseded.retain(|old| !old.connection.is_ending());
            if let Some(current) =
                live.current.take_if(|current| current.connection.is_ending() || current.evidence_expires <= now)
            {
                current.state.send_replace(State::Ended(Ending::AttestAgain));
            }
            live.current.is_some() || !live.superseded.is_empty()
        });
    }

    /// How many nodes stand.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().values().filter(|live| live.current.is_some()).count()
    }

    /// Whether it was remembered.
    fn forget(&self, node: NodeNumber, old: &Connection) -> bool {
        let mut nodes = self.lock();
        let Some(live) = nodes.get_mut(&node) else { return false };
        let before = live.superseded.len();
        live.superseded.retain(|one| one.connection.id() != old.id());
        live.superseded.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeNumber, Live>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
