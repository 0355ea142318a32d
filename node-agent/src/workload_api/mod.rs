//! The SPIFFE Workload API on a Unix socket: X.509-SVIDs and bundles, for whoever the attestors say they are for; and
//! Envoy's secret discovery service beside it, for the same callers.
//!
//! Makes no SVID and decides nothing about entries: see [`crate::svids`]. Serves no TCP: only a Unix socket says by
//! the kernel's word who calls.

mod admission;
mod allowance;
mod caller;
mod codec;
mod descriptors;
mod message;
mod notes;
mod refusal;
mod sds;
mod security_header;
mod service;
mod socket;
mod subscription;
mod tokens;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, stream};
use holdfast_svid::jws::TOKEN_BYTES_MAX;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::attest::{AttestorSettings, Attestors, Peer};
use crate::config;
use crate::sds_server_stubs::secret_discovery_service_server::SecretDiscoveryServiceServer;
use crate::svids::SvidSource;
use crate::workload_server_stubs::spiffe_workload_api_server::{SERVICE_NAME, SpiffeWorkloadApiServer};
use admission::Admission;
use allowance::Ledger;
use caller::{Caller, Connection};
use notes::Notes;
use service::Service;
use socket::Socket;
use subscription::Sources;

pub use allowance::{Allowance, Limits};
pub use codec::Codec;
pub use sds::Names;
pub use socket::SocketFault;

/// The standard's service, for reflection.
const DESCRIPTORS: &[u8] = include_bytes!("../generated/workload.fds");
/// Bytes of one request: the largest carries a JWT-SVID to be validated, and its audience.
const REQUEST_BYTES_MAX: usize = TOKEN_BYTES_MAX + (4 << 10);
/// Bytes of all headers of one request; the standard's one and a gRPC client's own are some 400.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Bytes of requests that may wait unread on one connection, and on one stream of it: HTTP/2's own first windows, in which
/// an Envoy's request fits. What a client sends beyond that waits at its end.
const WINDOW_BYTES: u32 = 65_535;
/// How long open streams have to end with a status after `stop`; then their connections are closed.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);
/// How long nobody is let in after the system had no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The Workload API of one agent.
pub struct Endpoint {
    source: Arc<dyn SvidSource>,
    attestors: Arc<Attestors>,
    look_again: Duration,
    limits: Limits,
    names: Names,
}

/// Serves the Workload API until `stop` is cancelled.
///
/// # Errors
/// Where the socket cannot be opened.
pub async fn serve(
    config: &config::WorkloadApi,
    source: Arc<dyn SvidSource>,
    attestors: Arc<Attestors>,
    look_again: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    Endpoint::new(source)
        .with_secrets_named(config.secrets.clone())
        .attested_by(attestors)
        .looking_again_every(look_again)
        .serve(&config.socket, stop)
        .await
}

impl Endpoint {
    /// Hands out what `source` has, with the Unix attestor and the usual limits.
    #[must_use]
    pub fn new(source: Arc<dyn SvidSource>) -> Self {
        let attestors = Arc::new(Attestors::default());
        let look_again = AttestorSettings::default().look_again;
        Self { source, attestors, look_again, limits: Limits::default(), names: Names::default() }
    }

    /// With these attestors.
    #[must_use]
    pub fn attested_by(self, attestors: impl Into<Arc<Attestors>>) -> Self {
        Self { attestors: attestors.into(), ..self }
    }

    /// Looking at the callers of open streams so often, when nothing else changes.
    #[must_use]
    pub fn looking_again_every(self, look_again: Duration) -> Self {
        Self { look_again, ..self }
    }

    /// With these limits.
    #[must_use]
    pub fn limited_to(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// With these names of secrets.
    #[must_use]
    pub fn with_secrets_named(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// Serves at `path` until `stop` is cancelled; then open streams end with `UNAVAILABLE`.
    ///
    /// # Errors
    /// [`SocketFault`] where the socket cannot be opened.
    pub async fn serve(self, path: &std::path::Path, stop: CancellationToken) -> anyhow::Result<()> {
        let socket = Socket::open(path).await?;
        tracing::info!(socket = %path.display(), "workload api listening");
        let hang_up = CancellationToken::new();
        let limits = Limits { connections: descriptors::allow(self.limits.connections), ..self.limits };
        let callers =
            Callers { ledger: Arc::new(Ledger::new(limits)), hang_up: hang_up.clone(), notes: Arc::default() };
        let (health, health_service) = tonic_health::server::health_reporter();
        let bundles = self.source.bundles();
        let Self { source: svids, attestors, look_again, .. } = self;
        let sources = Arc::new(Sources { svids, attestors, look_again, stop: stop.clone() });
        let secrets = sds::Service { sources: Arc::clone(&sources), names: Arc::new(self.names) };
        let secrets = SecretDiscoveryServiceServer::new(secrets).max_decoding_message_size(sds::REQUEST_BYTES_MAX);
        let api = SpiffeWorkloadApiServer::new(Service(sources)).max_decoding_message_size(REQUEST_BYTES_MAX);
        let served = Server::builder()
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_concurrent_streams(u32::try_from(self.limits.process.streams)?)
            .layer(Admission)
            .add_service(InterceptedService::new(api, security_header::check))
            .add_service(secrets)
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .serve_with_incoming_shutdown(callers.incoming(&socket.listener), stop.clone().cancelled_owned());
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_TIME_MAX).await;
        };
        tokio::select! {
            served = served => served?,
            () = report_health(&health, bundles) => {}
            () = overdue => {}
        }
        hang_up.cancel();
        Ok(())
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(sds::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

type Bundles = tokio::sync::watch::Receiver<Arc<std::collections::BTreeMap<String, Vec<Vec<u8>>>>>;

/// Says `SERVING` from the moment on when the agent has a bundle. Never ends.
async fn report_health(health: &HealthReporter, mut bundles: Bundles) {
    loop {
        let ready = !bundles.borrow_and_update().is_empty();
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", SERVICE_NAME, sds::SERVICE_NAME] {
            health.set_service_status(service, status).await;
        }
        if bundles.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Lets workloads in.
struct Callers {
    ledger: Arc<Ledger>,
    hang_up: CancellationToken,
    notes: Arc<Notes>,
}

impl Callers {
    /// Connections of known processes within the limits; nothing else is heard.
    fn incoming(&self, listener: &UnixListener) -> impl Stream<Item = Result<Connection, Infallible>> {
        stream::unfold((), move |()| async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        if let Some(connection) = self.admit(stream) {
                            return Some((Ok(connection), ()));
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "workload connection not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        })
    }

    fn admit(&self, stream: tokio::net::UnixStream) -> Option<Connection> {
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(fault) => {
                tracing::warn!(code = fault.code(), error = %fault, "workload connection dropped");
                return None;
            }
        };
        match self.ledger.connect(peer.pid(), peer.uid(), Instant::now()) {
            Ok(place) => {
                let caller = Caller {
                    peer,
                    place: Arc::new(place),
                    hang_up: self.hang_up.child_token(),
                    notes: Arc::clone(&self.notes),
                };
                Some(Connection::new(stream, Arc::new(caller)))
            }
            Err(refusal) => {
                if let Some(unlogged) = self.notes.may(peer.uid(), Instant::now()) {
                    tracing::warn!(
                        pid = peer.pid(),
                        uid = peer.uid(),
                        code = refusal.code(),
                        unlogged,
                        "workload connection dropped"
                    );
                }
                None
            }
        }
    }
}
