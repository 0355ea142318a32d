//! What goes on while the node stands on a connection: changes come in, SVIDs are made, and the node attests again
//! before its evidence is old.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_identity::UnixTime;
use tokio::task::{AbortHandle, JoinSet};
use tonic::{Code, Status};

use super::exchange::Admission;
use super::keeper::{Keeper, Next, Served};
use super::verdict::Setback;
use crate::backoff::{Backoff, fraction};
use crate::clock::CHECK_EVERY;
use crate::connection::Connection;
use crate::svids::{self, Tainted};
use crate::sync::{self, SyncEnd};

/// The part of its life after which the evidence is renewed: a third, and a little before.
const RENEW_AT: (f64, f64) = (0.28, 0.33);
/// Pauses between failed renewals, and between streams that broke off, on a connection that stays open.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Streams that may break off, or renewals that may fail, in a row before the connection is taken for broken.
const BROKEN_MAX: u32 = 3;

/// How long the rest of a stream is read, of which all is here if its connection is gone. Twice the time in which a server ends
/// one that rests on what was revoked.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// A standing that lasted less than this.
const SHORT: Duration = Duration::from_secs(1);

/// What one of the tasks on a connection came back with.
enum Ended {
    /// The push stream.
    Sync(SyncEnd),
    /// The signing of SVIDs.
    Svids(Box<Status>),
}

/// The tasks that use a connection. Dropping it ends them.
struct Tasks {
    running: JoinSet<Ended>,
    sync: Option<AbortHandle>,
    svids: Option<AbortHandle>,
}

impl Keeper {
    /// Serves on a connection that has just passed a quote, until it ends or the node is refused.
    pub(super) async fn serve(&mut self, connection: Connection, admission: &Admission) -> Next {
        let connection = Arc::new(connection);
        let _served = Served(Arc::clone(&connection));
        let gone = connection.gone();
        self.parts.cache.admit();
        self.report(|status| status.connected = true);

        let mut tasks = Tasks { running: JoinSet::new(), sync: None, svids: None };
        self.start(&mut tasks, &connection);
        let mut renew_at = self.renewal(admission);
        let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
        let (mut broken, mut admitted_at) = (0, Instant::now());
        let mut tainted = self.parts.cache.tainted();
        renew_at = self.below_tainted(&tainted.borrow_and_update(), renew_at);
        let mut revoked = self.parts.trust.revoked();
        let end = loop {
            if connection.rests_on(&revoked.borrow_and_update()) {
                tracing::warn!(
                    "whoever signed the server's certificate, or the node's, counts no more; connecting anew"
                );
                self.last_words(&mut tasks).await;
                break Next::Now;
            }
            let ended = tokio::select! {
                () = gone.cancelled() => {
                    self.last_words(&mut tasks).await;
                    if connection.rests_on(&revoked.borrow()) {
                        break Next::Now;
                    }
                    break Next::Later(Setback::Server { code: Code::Unavailable, retry_after: None });
                }
                Some(ended) = tasks.running.join_next() => Some(ended),
                () = tokio::time::sleep(self.until(renew_at)) => None,
                Ok(()) = revoked.changed() => continue,
                Ok(()) = tainted.changed() => {
                    renew_at = self.below_tainted(&tainted.borrow_and_update(), renew_at);
                    None
                }
            };
            self.parts.cache.tick();
            let attest = match ended {
                None => self.parts.clock.is_due(renew_at),
                Some(Ok(Ended::Svids(status))) => {
                    tasks.svids = None;
                    self.withdraw(&status);
                    says_no(&status)
                }
                Some(Ok(Ended::Sync(SyncEnd::Status(status)))) if says_no(&status) => {
                    tasks.sync = None;
                    self.withdraw(&status);
                    true
                }
                Some(Ok(Ended::Sync(_)) | Err(_)) => {
                    tasks.sync = None;
                    broken += 1;
                    if broken >= BROKEN_MAX {
                        break Next::Later(Setback::Server { code: Code::Unavailable, retry_after: None });
                    }
                    // A stream that broke off with its connection is not waited for.
                    if tokio::time::timeout(pauses.pause(), gone.cancelled()).await.is_ok() {
                        continue;
                    }
                    false
                }
            };
            if attest {
                match self.parts.exchanger.attest(&connection).await {
                    Ok(renewed) => {
                        if let Err(setback) = self.admitted(&renewed) {
                            break self.set_back(setback);
                        }
                        if renewed.spiffe_id != admission.spiffe_id {
                            // The certificate that opened this connection names what the node was called before.
                            break Next::Now;
                        }
                        // A standing that is over as soon as it is won is none.
                        broken = if admitted_at.elapsed() < SHORT { broken + 1 } else { 0 };
                        if broken >= BROKEN_MAX {
                            break Next::Later(Setback::Again);
                        }
                        self.parts.cache.admit();
                        renew_at = self.renewal(&renewed);
                        admitted_at = Instant::now();
                        pauses.reset();
                    }
                    Err(setback @ (Setback::Refused(_) | Setback::Unknown)) => break self.set_back(setback),
                    // It failed with its connection.
                    Err(_) if gone.is_cancelled() => continue,
                    Err(setback) => {
                        tracing::warn!(code = setback.code(), error = %setback, "renewal failed; the identity stays");
                        let pause = setback.retry_after().unwrap_or_else(|| pauses.pause());
                        renew_at = self.parts.clock.now().plus(i64::try_from(pause.as_secs()).unwrap_or(i64::MAX));
                        broken += 1;
                        if tasks.sync.is_none() || tasks.svids.is_none() || broken >= BROKEN_MAX {
                            // Nothing goes on here: a new connection is the next try.
                            break Next::Later(setback);
                        }
                    }
                }
            }
            self.start(&mut tasks, &connection);
        };
        tasks.running.shutdown().await;
        connection.close().await;
        self.report(|status| status.connected = false);
        end
    }

    /// Reads what the server says at last on a connection that is gone, or that it is about to end: why, which lists there are
    /// since, and perhaps SVIDs that it signs still.
    async fn last_words(&mut self, tasks: &mut Tasks) {
        let stream_ended = async {
            while tasks.sync.is_some() {
                match tasks.running.join_next().await {
                    Some(Ok(Ended::Sync(SyncEnd::Status(status)))) => {
                        tasks.sync = None;
                        self.withdraw(&status);
                    }
                    Some(Ok(Ended::Svids(status))) => {
                        tasks.svids = None;
                        self.withdraw(&status);
                    }
                    Some(Ok(Ended::Sync(SyncEnd::Closed)) | Err(_)) | None => tasks.sync = None,
                }
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, stream_ended).await;
    }

    /// Takes the workloads' identities back at once where the server refuses the node, as after a ban: a quote takes a
    /// while, and says the same or lets them be made anew.
    fn withdraw(&mut self, status: &Status) {
        if !matches!(Setback::from(status), Setback::Refused(_)) {
            return;
        }
        tracing::warn!("server refuses this node; its workloads' identities end");
        self.parts.cache.deny();
        // Whatever comes after this comes whole.
        self.book = Arc::default();
    }

    /// Starts what is not running.
    fn start(&self, tasks: &mut Tasks, connection: &Arc<Connection>) {
        if tasks.sync.is_none() {
            let (connection, book, cache, trust) = (
                Arc::clone(connection),
                Arc::clone(&self.book),
                Arc::clone(&self.parts.cache),
                Arc::clone(&self.parts.trust),
            );
            tasks.sync = Some(tasks.running.spawn(async move {
                let end = sync::follow(&connection, &book, |book, change| {
                    if let Some(bundle) = &change.bundle {
                        cache.taint(Tainted::new(&bundle.tainted_key_ids, &bundle.revoked_key_ids));
                        match trust.learn(bundle) {
                            Ok(_) => {
                                cache.learn_bundles(
                                    [(bundle.trust_domain.clone(), bundle.x509_authorities.clone())].into(),
                                );
                                if let Some(bundle) = trust.jwt_bundle() {
                                    cache.learn_jwt_bundle(&bundle);
                                }
                            }
                            Err(fault) => {
                                tracing::warn!(code = fault.code(), error = %fault, "pushed bundle passed over");
                            }
                        }
                    }
                    // Before the entries that name them, so that no update lacks what its entry promises.
                    if let Some(foreign) = change.foreign {
                        cache.learn_foreign(foreign);
                    }
                    if let Some(said) = &change.withdrawn {
                        cache.learn_withdrawn(trust.trust_domain().as_str(), said);
                    }
                    if change.lists {
                        if let Err(fault) = trust.learn_lists(book.lists_above(), book.lists()) {
                            tracing::warn!(code = fault.code(), error = %fault, "revoked intermediates not written down");
                        }
                        cache.learn_lists(trust.trust_domain().as_str(), book.lists());
                    }
                    if change.entries {
                        tracing::debug!(entries = book.entries().len(), "entries changed");
                        cache.entries(book.entries());
                    }
                })
                .await;
                Ended::Sync(end)
            }));
        }
        if tasks.svids.is_none() {
            let (connection, cache, clock) =
                (Arc::clone(connection), Arc::clone(&self.parts.cache), Arc::clone(&self.parts.clock));
            tasks.svids =
                Some(tasks.running.spawn(async move { Ended::Svids(svids::make(&connection, &cache, &clock).await) }));
        }
    }

    /// When to attest again on this connection.
    fn renewal(&self, admission: &Admission) -> UnixTime {
        let now = self.parts.clock.now();
        let end = admission.svid_not_after.min(admission.evidence_expires_at);
        now.plus(fraction(end.since(now).max(0), RENEW_AT).max(1))
    }

    /// When to attest again where the node's own SVID is to be replaced for its authority's sake.
    fn below_tainted(&self, tainted: &Tainted, renew_at: UnixTime) -> UnixTime {
        match self.svid.as_ref().filter(|svid| tainted.covers(&svid.chain)) {
            Some(svid) => renew_at.min(svids::soon(self.parts.clock.now(), svid.not_after)),
            None => renew_at,
        }
    }

    /// How long to sleep before `deadline`: never past the next look at the clocks.
    fn until(&self, deadline: UnixTime) -> Duration {
        let left = deadline.since(self.parts.clock.now()).max(0);
        Duration::from_secs(u64::try_from(left).unwrap_or_default()).min(CHECK_EVERY).max(Duration::from_millis(50))
    }
}

/// The server says that the node does not stand here: only a new quote can tell what that means.
fn says_no(status: &Status) -> bool {
    status.code() == Code::PermissionDenied
}
