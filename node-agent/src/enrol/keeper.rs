//! Keeps the node's identity for as long as the program runs: connects, attests, serves, and comes back after whatever
//! ended that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

use super::exchange::{Admission, Exchanger};
use super::node_svid::NodeSvid;
use super::verdict::Setback;
use crate::backoff::Backoff;
use crate::clock::ServerClock;
use crate::connection::{Connection, ConnectionFault, Credentials, Opener};
use crate::state::StateDir;
use crate::status::{Problem, Standing, Status};
use crate::svids::SvidCache;
use crate::sync::Book;
use crate::trust::Trust;

/// Pauses after a setback: soon at first, a server restarts in seconds.
const SETBACK: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Pauses after a refusal: an operator may approve, or correct a policy.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// Handshakes with the node's SVID that may fail in a row before it is left aside: perhaps the server no longer takes
/// it, and only an enrolment helps.
const OWN_FAILURES_MAX: u32 = 3;

/// What the keeper works with.
pub struct Parts {
    /// Opens connections to the server.
    pub opener: Opener,
    /// Attests on them.
    pub exchanger: Exchanger,
    /// The server's authorities.
    pub trust: Arc<Trust>,
    /// The server's time.
    pub clock: Arc<ServerClock>,
    /// The workloads' SVIDs.
    pub cache: Arc<SvidCache>,
    /// Remembers the node SVID.
    pub state: StateDir,
    /// Told what is going on.
    pub status: watch::Sender<Arc<Status>>,
}

/// Keeps the node's identity.
pub struct Keeper {
    pub(super) parts: Parts,
    pub(super) book: Arc<Mutex<Book>>,
    pub(super) svid: Option<NodeSvid>,
    own_failures: u32,
}

/// What to do after a session.
pub(super) enum Next {
    /// At once.
    Now,
    /// After a pause, because of this.
    Later(Setback),
}

impl Keeper {
    /// A keeper that has not begun.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, book: Arc::default(), svid: None, own_failures: 0 }
    }

    /// Runs until `stop` is cancelled. `again` makes it attest at once, on a new connection: after a resume, after the
    /// TPM was reset, or when an operator will not wait for the next try.
    pub async fn run(mut self, again: Arc<Notify>, stop: CancellationToken) {
        self.publish_bundle();
        let mut setbacks = Backoff::new(SETBACK.0, SETBACK.1);
        let mut refusals = Backoff::new(REFUSED.0, REFUSED.1);
        loop {
            let next = tokio::select! {
                next = self.session(&mut setbacks, &mut refusals) => next,
                () = again.notified() => {
                    tracing::info!("attesting anew, as asked");
                    self.report(|status| status.connected = false);
                    Next::Now
                }
                () = stop.cancelled() => return,
            };
            let Next::Later(setback) = next else { continue };
            let pause = match (&setback, setback.retry_after()) {
                (_, Some(pause)) => pause,
                (Setback::Refused(_), None) => refusals.pause(),
                (_, None) => setbacks.pause(),
            };
            tracing::info!(
                code = setback.code(),
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "next try after a pause"
            );
            tokio::select! {
                () = self.wait(pause) => {}
                () = again.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Waits, and lets go of what ends meanwhile.
    async fn wait(&self, pause: Duration) {
        let mut left = pause;
        while !left.is_zero() {
            self.parts.cache.tick();
            let step = left.min(crate::clock::CHECK_EVERY);
            tokio::time::sleep(step).await;
            left -= step;
        }
    }

    /// One connection from its opening to its end.
    async fn session(&mut self, setbacks: &mut Backoff, refusals: &mut Backoff) -> Next {
        let credentials = match self.credentials().await {
            Ok(credentials) => credentials,
            Err(setback) => return self.set_back(setback),
        };
        let own = matches!(credentials, Credentials::Node { .. });
        let shown = self.svid.as_ref().filter(|_| own).map(|svid| svid.spiffe_id.clone());
        let connection = match self.parts.opener.open(credentials).await {
            Ok(connection) => connection,
            Err(fault) => {
                self.own_failures += u32::from(own && matches!(fault, ConnectionFault::Handshake { .. }));
                return self.set_back(fault.into());
            }
        };
        // Before anything else on a new connection: a fresh quote.
        let admission = match self.parts.exchanger.attest(&connection).await {
            Ok(admission) => admission,
            Err(setback) => {
                connection.close().await;
                // In TLS 1.3 a client learns only now that its certificate was not taken.
                self.own_failures += u32::from(own && matches!(setback, Setback::Broken { .. }));
                if own && connection.is_refused() {
                    return self.enrol_anew(setback, setbacks);
                }
                return self.set_back(setback);
            }
        };
        if let Err(setback) = self.admitted(&admission) {
            connection.close().await;
            return self.set_back(setback);
        }
        refusals.reset();
        if !own {
            // Only a connection opened with the node's certificate carries its workloads' requests. The old one is gone
            // before the new one quotes: two that quote would be two machines.
            connection.close().await;
            self.own_failures = 0;
            return Next::Now;
        }
        self.own_failures = 0;
        setbacks.reset();
        if shown.is_some_and(|shown| shown != admission.spiffe_id) {
            // The certificate that opened this connection names what the node was called before.
            connection.close().await;
            return Next::Now;
        }
        self.serve(connection, &admission).await
    }

    /// The server says that it does not take the node's certificate: only an enrolment helps, and not a second try, nor time.
    /// But where it goes on saying so to what it has just given, the pauses grow as after everything else.
    fn enrol_anew(&mut self, setback: Setback, setbacks: &mut Backoff) -> Next {
        self.own_failures = OWN_FAILURES_MAX;
        let next = self.set_back(setback);
        if setbacks.is_fresh() {
            let _ = setbacks.pause();
            return Next::Now;
        }
        next
    }

    /// The node's SVID if there is one that has not ended.
    async fn credentials(&mut self) -> Result<Credentials, Setback> {
        let key = self.parts.exchanger.node_key().await?;
        let spki = key.spki().await?;
        // The chip may have another key than before: it was cleared. A key in memory is new at each start.
        self.svid.take_if(|svid| !svid.is_for(&spki));
        if self.svid.is_none() {
            self.svid = NodeSvid::load(&self.parts.state, &spki);
        }
        let trust = &self.parts.trust;
        let revoked = trust.revoked().borrow().clone();
        let counts = |chain: &[Vec<u8>]| trust.vouches_for(chain) && !revoked.covers(chain.iter().map(Vec::as_slice));
        let usable = self.svid.as_ref().filter(|svid| !self.parts.clock.is_over(svid.not_after) && counts(&svid.chain));
        Ok(match usable {
            Some(svid) if self.own_failures < OWN_FAILURES_MAX => {
                Credentials::Node { chain: svid.chain.clone(), spki, key }
            }
            _ => Credentials::None,
        })
    }

    /// Takes an admission into memory, state directory and status.
    pub(super) fn admitted(&mut self, admission: &Admission) -> Result<(), Setback> {
        if !admission.chain.is_empty() {
            let svid = NodeSvid {
                spiffe_id: admission.spiffe_id.clone(),
                chain: admission.chain.clone(),
                not_after: admission.svid_not_after,
            };
            svid.keep(&self.parts.state)?;
            self.svid = Some(svid);
        }
        if self.svid.as_ref().is_none_or(|svid| svid.spiffe_id != admission.spiffe_id) {
            return Err(Setback::Answer("admitted without a certificate for its name"));
        }
        self.publish_bundle();
        tracing::info!(node = %admission.spiffe_id, attempt = %admission.attempt.escape_debug(), "node admitted");
        metrics::gauge!("holdfast_agent_first_expiry_seconds", "svid" => "node")
            .set(crate::svids::gauge(admission.svid_not_after.since(self.parts.clock.now())));
        self.report(|status| {
            status.standing = Standing::Admitted;
            status.spiffe_id = Some(admission.spiffe_id.to_string());
            status.svid_not_after = Some(admission.svid_not_after.seconds());
            status.evidence_expires_at = Some(admission.evidence_expires_at.seconds());
            status.attempt = Some(admission.attempt.clone());
            status.evidence = admission.evidence.iter().map(|kind| kind.as_str().to_owned()).collect();
            status.problem = None;
        });
        Ok(())
    }

    /// Takes note of a setback. A refusal ends the node's identity and its workloads'; nothing else does.
    pub(super) fn set_back(&mut self, setback: Setback) -> Next {
        tracing::warn!(code = setback.code(), error = %chain(&setback), "attestation set back");
        let problem = Problem { code: setback.code().to_owned(), message: chain(&setback) };
        self.report(|status| {
            status.connected = false;
            status.problem = Some(problem);
        });
        match &setback {
            Setback::Refused(refusal) => {
                self.parts.cache.deny();
                self.forget();
                self.report(|status| {
                    status.standing =
                        if refusal.awaits_approval { Standing::AwaitsApproval } else { Standing::Refused };
                    status.attempt.clone_from(&refusal.attempt);
                    (status.spiffe_id, status.svid_not_after, status.evidence_expires_at) = (None, None, None);
                    status.evidence.clear();
                });
                Next::Later(setback)
            }
            Setback::Unknown => {
                let had_one = self.svid.is_some();
                self.forget();
                // The enrolment decides; if even that finds no way in, it comes back here without an SVID.
                if had_one { Next::Now } else { Next::Later(setback) }
            }
            _ => Next::Later(setback),
        }
    }

    fn forget(&mut self) {
        self.svid = None;
        self.own_failures = 0;
        if let Err(fault) = NodeSvid::forget(&self.parts.state) {
            tracing::warn!(code = fault.code(), error = %fault, "node SVID not removed");
        }
        // Another enrolment may be another node: it begins with all entries.
        self.book = Arc::default();
    }

    pub(super) fn publish_bundle(&self) {
        let authorities: Vec<Vec<u8>> = self.parts.trust.authorities().iter().map(|der| der.to_vec()).collect();
        if !authorities.is_empty() {
            let name = self.parts.trust.trust_domain().to_string();
            self.parts.cache.learn_bundles([(name, authorities)].into());
        }
        if let Some(bundle) = self.parts.trust.jwt_bundle() {
            self.parts.cache.learn_jwt_bundle(&bundle);
        }
    }

    pub(super) fn report(&self, change: impl FnOnce(&mut Status)) {
        self.parts.status.send_modify(|status| {
            change(Arc::make_mut(status));
        });
    }
}

/// The error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Closes a connection when the session that served on it is dropped.
pub(super) struct Served(pub(super) Arc<Connection>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.stop();
    }
}
