//! JWT-SVIDs of the node's workloads: those held, for each identity and audience one, and those that somebody waits for.
//!
//! Kept until half of their life is over, bounded in number, and gone as soon as the entry goes or changes, the node is
//! refused, or the key that signed is tainted. Several who ask for the same get the same, signed once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_svid::Grant;
use holdfast_svid::audience::Audience;
use holdfast_svid::jwt::JwtSvid;
use tokio::sync::{Notify, oneshot};

use super::budget::Budgets;
use super::withdrawn::{Withdrawal, Withdrawn};
use crate::clock::ServerClock;

/// Tokens held in all: a thousand identities with four audiences each.
const HELD_MAX: usize = 4_096;
/// Tokens held of one entry: whoever asks for ever new audiences pushes out his own.
const HELD_OF_ENTRY_MAX: usize = 128;
/// Requests that wait for a signature.
const WAITING_MAX: usize = 1_024;
/// How long a caller waits for one.
const SIGNED_WITHIN: Duration = Duration::from_secs(5);

/// One JWT-SVID.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtToken {
    /// Its subject.
    pub spiffe_id: SpiffeId,
    /// The compact form. A bearer's: whoever has it is its subject.
    pub token: String,
    /// Its end, by the server's clock.
    pub expires: UnixTime,
    /// Of the key that signed it.
    pub authority_id: String,
    /// When it was made.
    pub issued: UnixTime,
    /// By what it was given.
    pub grant: Option<Grant>,
}

impl JwtToken {
    fn is_in(&self, withdrawn: &Withdrawn) -> bool {
        withdrawn.has(&self.spiffe_id, self.grant, Some(self.issued))
    }
}

impl fmt::Debug for JwtToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtToken")
            .field("spiffe_id", &self.spiffe_id)
            .field("expires", &self.expires)
            .field("authority_id", &self.authority_id)
            .finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// The identity is not there any more.
    #[error("no identity issued")]
    Gone,
    /// The server did not sign in time: it is away, or the node is not admitted yet.
    #[error("no JWT-SVID was signed in time")]
    Unsigned,
    /// Too many wait already.
    #[error("too many requests for JWT-SVIDs")]
    Overloaded,
}

/// Whose token, and whom it is for.
pub(super) type Wanted = (String, Audience);

type Answer = Result<Arc<JwtToken>, NoToken>;

/// Every token of the node's workloads.
pub(super) struct Tokens {
    clock: Arc<ServerClock>,
    inner: Mutex<Inner>,
    work: Notify,
}

#[derive(Default)]
struct Inner {
    held: HashMap<Wanted, Held>,
    waiting: BTreeMap<Wanted, Vec<oneshot::Sender<Answer>>>,
    /// Those that are being signed now.
    under_way: HashSet<Wanted>,
    tainted: HashSet<String>,
    withdrawn: Withdrawn,
    budgets: Budgets,
    /// Until then nothing is asked of the server, which has said that it is too much now.
    resting: Option<Instant>,
}

struct Held {
    token: Arc<JwtToken>,
    renew_at: UnixTime,
}

impl Tokens {
    pub(super) fn new(clock: Arc<ServerClock>) -> Self {
        Self { clock, inner: Mutex::default(), work: Notify::new() }
    }

    /// The token of an entry for this audience; signed now if none is held, or if half of its life is over. One that still
    /// counts is given where no new one can be had, and at once where it is known that none can.
    pub(super) async fn fetch(&self, entry_id: &str, audience: Audience) -> Answer {
        let wanted = (entry_id.to_owned(), audience);
        let (answer, held) = {
            let mut inner = self.lock();
            let held = inner.held.get(&wanted).filter(|held| !self.clock.is_over(held.token.expires));
            let held = held.map(|held| (Arc::clone(&held.token), self.clock.is_due(held.renew_at)));
            let is_resting = inner.resting.is_some_and(|until| Instant::now() < until);
            if let Some((token, is_due)) = held.clone()
                && (!is_due || is_resting)
            {
                metrics::counter!("holdfast_agent_jwt_svids_total", "from" => "cache").increment(1);
                return Ok(token);
            }
            inner.waiting.values_mut().for_each(|waiting| waiting.retain(|one| !one.is_closed()));
            let Inner { waiting, under_way, .. } = &mut *inner;
            waiting.retain(|wanted, waiting| !waiting.is_empty() || under_way.contains(wanted));
            if inner.waiting.values().map(Vec::len).sum::<usize>() >= WAITING_MAX {
                return held.map(|(token, _)| token).ok_or(NoToken::Overloaded);
            }
            // Whoever waits with others for the same costs nothing.
            if !inner.waiting.contains_key(&wanted) && !inner.budgets.take(entry_id, Instant::now()) {
                return held.map(|(token, _)| token).ok_or(NoToken::Overloaded);
            }
            let (sender, answer) = oneshot::channel();
            inner.waiting.entry(wanted).or_default().push(sender);
            (answer, held.map(|(token, _)| token))
        };
        self.work.notify_one();
        match (tokio::time::timeout(SIGNED_WITHIN, answer).await, held) {
            (Ok(Ok(answer @ (Ok(_) | Err(NoToken::Gone)))), _) => answer,
            (_, Some(token)) if !self.clock.is_over(token.expires) => Ok(token),
            (Ok(Ok(answer)), _) => answer,
            (Ok(Err(_)) | Err(_), _) => Err(NoToken::Unsigned),
        }
    }

    /// Nothing is asked of the server for so long.
    pub(super) fn rest(&self, pause: Duration) {
        self.lock().resting = Instant::now().checked_add(pause);
    }

    /// At most `limit` that somebody waits for, of each entry one before any has two: they are under way until they are answered
    /// or given back.
    pub(super) fn due(&self, limit: usize) -> Vec<Wanted> {
        let mut inner = self.lock();
        let Inner { waiting, under_way, .. } = &mut *inner;
        waiting.retain(|wanted, waiting| {
            waiting.retain(|one| !one.is_closed());
            !waiting.is_empty() || under_way.contains(wanted)
        });
        let mut turns: HashMap<&str, usize> = HashMap::new();
        let mut open: Vec<(usize, &Wanted)> = waiting
            .keys()
            .filter(|wanted| !under_way.contains(*wanted))
            .map(|wanted| {
                let turn = turns.entry(wanted.0.as_str()).or_default();
                *turn += 1;
                (*turn, wanted)
            })
            .collect();
        open.sort_by_key(|(turn, _)| *turn);
        let due: Vec<Wanted> = open.into_iter().take(limit).map(|(_, wanted)| wanted.clone()).collect();
        under_way.extend(due.iter().cloned());
        due
    }

    /// They were not signed; whoever waits goes on waiting.
    pub(super) fn give_back(&self, wanted: &[Wanted]) {
        let mut inner = self.lock();
        wanted.iter().for_each(|one| _ = inner.under_way.remove(one));
    }

    /// What the server said to one of them. A token of a key that was tainted meanwhile is asked for again, and so is one that
    /// was withdrawn; but where all are that were made until now, whoever waits may ask in a while.
    pub(super) fn answer(&self, wanted: &Wanted, answer: Result<(JwtToken, UnixTime), NoToken>) {
        let mut inner = self.lock();
        inner.under_way.remove(wanted);
        let answer = match answer {
            Ok((token, _)) if inner.withdrawn.has_all_until(&token.spiffe_id, Some(token.issued)) => {
                Err(NoToken::Unsigned)
            }
            Ok((token, _)) if inner.tainted.contains(&token.authority_id) || token.is_in(&inner.withdrawn) => {
                return self.work.notify_one();
            }
            Ok((token, renew_at)) => {
                let token = Arc::new(token);
                self.make_room(&mut inner, &wanted.0);
                inner.held.insert(wanted.clone(), Held { token: Arc::clone(&token), renew_at });
                metrics::counter!("holdfast_agent_jwt_svids_total", "from" => "server").increment(1);
                Ok(token)
            }
            Err(no_token) => {
                if no_token == NoToken::Gone {
                    inner.held.remove(wanted);
                }
                Err(no_token)
            }
        };
        for waiting in inner.waiting.remove(wanted).unwrap_or_default() {
            let _ = waiting.send(answer.clone());
        }
    }

    /// Lets go of what has ended, then of what ends first: of this entry where it has too many, else of all.
    fn make_room(&self, inner: &mut Inner, entry_id: &str) {
        inner.held.retain(|_, held| !self.clock.is_over(held.token.expires));
        let of_entry = |wanted: &Wanted| wanted.0 == entry_id;
        let first = if inner.held.keys().filter(|wanted| of_entry(wanted)).count() >= HELD_OF_ENTRY_MAX {
            let of_entry = inner.held.iter().filter(|(wanted, _)| of_entry(wanted));
            of_entry.min_by_key(|(_, held)| held.token.expires).map(|(wanted, _)| wanted.clone())
        } else if inner.held.len() >= HELD_MAX {
            inner.held.iter().min_by_key(|(_, held)| held.token.expires).map(|(wanted, _)| wanted.clone())
        } else {
            None
        };
        if let Some(first) = first {
            inner.held.remove(&first);
        }
    }

    /// Keeps the tokens of those entries alone; whoever waits for another learns that it is gone.
    pub(super) fn retain(&self, is_same: impl Fn(&str) -> bool) {
        let mut inner = self.lock();
        inner.held.retain(|(entry_id, _), _| is_same(entry_id));
        inner.budgets.retain(is_same);
    }

    /// The node was refused: every token goes, and nobody waits any more.
    pub(super) fn deny(&self) {
        let mut inner = self.lock();
        inner.held.clear();
        for waiting in std::mem::take(&mut inner.waiting).into_values().flatten() {
            let _ = waiting.send(Err(NoToken::Gone));
        }
    }

    /// What is known of the keys now: tokens of those that are tainted, or not there any more, are let go of.
    pub(super) fn learn_authorities(&self, good: &HashSet<String>, tainted: HashSet<String>) {
        let mut inner = self.lock();
        inner.held.retain(|_, held| good.contains(&held.token.authority_id));
        inner.tainted = tainted;
    }

    /// What the server of `trust_domain` says was withdrawn; those that are held are let go of.
    pub(super) fn withdraw(&self, trust_domain: &str, said: &Withdrawal) {
        let mut inner = self.lock();
        let Inner { held, withdrawn, .. } = &mut *inner;
        withdrawn.learn(trust_domain, said, self.clock.now());
        held.retain(|_, held| !held.token.is_in(withdrawn));
    }

    /// Whether a token that verifies was withdrawn.
    pub(super) fn is_withdrawn(&self, svid: &JwtSvid) -> bool {
        self.lock().withdrawn.has(svid.subject(), svid.grant(), svid.issued())
    }

    /// Waits until somebody asks.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
