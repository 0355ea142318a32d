//! Shows our own bundle to whoever asks, on a listener of its own: TLS 1.2 and 1.3, GET of one path, no client
//! authentication. Takes nothing, and shows nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::settings::{BundleEndpointSettings, EndpointIdentity};
use crate::authority::{CurrentBundle, OwnCertificate};
use crate::budget::{Buckets, Crowd, Rate, Source};
use crate::web::{BadCertificate, Certificate, CertificateFiles};

/// Connections at one time; who comes later waits to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Connections of one source: some domains behind one address poll every few seconds.
const PER_SOURCE: Rate = Rate { per_second: 10.0, burst: 100.0 };
/// Connections of one source at one time: who holds them open keeps nobody else out.
const PER_SOURCE_AT_ONCE: usize = 32;
/// Sources that are told apart.
const SOURCES_MAX: usize = 65_536;
/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long the headers of a request may take to arrive.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may last: a reader asks once in minutes.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request's headers.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Our bundle endpoint, bound.
pub struct BundleEndpoint {
    shown: Arc<Shown>,
    listener: TcpListener,
    tls: TlsAcceptor,
    files: Option<Arc<Certificate>>,
    address: SocketAddr,
}

struct Shown {
    bundle: CurrentBundle,
    path: String,
    refresh_hint: u64,
}

/// Why the bundle endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum EndpointFault {
    /// The address.
    #[error("bundle endpoint cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or its key.
    #[error("bundle endpoint has no certificate")]
    Certificate(#[from] BadCertificate),
    /// The TLS library.
    #[error("bundle endpoint cannot configure TLS: {0}")]
    Tls(String),
}

impl EndpointFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "federation.endpoint.bind",
            Self::Certificate(_) => "federation.endpoint.certificate",
            Self::Tls(_) => "federation.endpoint.tls",
        }
    }
}

impl BundleEndpoint {
    /// Reads certificates and binds the address. Nothing is accepted yet.
    ///
    /// # Errors
    /// [`EndpointFault`].
    pub async fn bind(
        settings: BundleEndpointSettings,
        bundle: CurrentBundle,
        own: Arc<OwnCertificate>,
    ) -> Result<Self, EndpointFault> {
        let (files, resolver): (_, Arc<dyn ResolvesServerCert>) = match settings.identity {
            EndpointIdentity::Spiffe => (None, own),
            EndpointIdentity::Web { certificate, key } => {
                let files = CertificateFiles { chain: certificate, key };
                let files = Arc::new(Certificate::open(files, "federation.certificate")?);
                (Some(files.clone()), files)
            }
        };
        let tls = TlsAcceptor::from(server_config(resolver)?);
        let address = settings.listen;
        let fault = |source| EndpointFault::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        let shown = Arc::new(Shown { bundle, path: settings.path, refresh_hint: settings.refresh_hint });
        Ok(Self { shown, listener, tls, files, address })
    }

    /// The address that was bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`.
    pub async fn serve(self, stop: CancellationToken) {
        info!(address = %self.address, "bundle endpoint is up");
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (sources, crowd) = (Buckets::new(PER_SOURCE, SOURCES_MAX), Crowd::new(PER_SOURCE_AT_ONCE));
        if let Some(files) = self.files.clone() {
            tokio::spawn(files.keep(stop.clone()));
        }
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (socket, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "the bundle endpoint cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let source = Source::of(from.ip());
            let guest = sources.take(source, Instant::now()).ok().and_then(|()| crowd.enter(source));
            let Some(guest) = guest else {
                metrics::counter!("holdfast_connections_refused_total", "reason" => "bundle_endpoint").increment(1);
                continue;
            };
            let (shown, tls, stop) = (self.shown.clone(), self.tls.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    ended = timeout(CONNECTION_TIME_MAX, shown.connection(socket, tls)) => {
                        debug!(%from, ok = ended.is_ok(), "reader of the bundle left");
                    }
                    () = stop.cancelled() => {}
                }
                drop((place, guest));
            });
        }
    }
}

impl Shown {
    async fn connection(self: Arc<Self>, socket: TcpStream, tls: TlsAcceptor) {
        let Ok(Ok(stream)) = timeout(HANDSHAKE_WITHIN, tls.accept(socket)).await else {
            metrics::counter!("holdfast_handshakes_failed_total", "reason" => "bundle_endpoint").increment(1);
            return;
        };
        let service = service_fn(move |request| {
            let answer = self.answer(&request);
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = serving.await {
            debug!(%error, "a reader of the bundle broke off");
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if request.uri().path() != self.path {
            return plain(StatusCode::NOT_FOUND);
        }
        if *request.method() != Method::GET {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return refused;
        }
        metrics::counter!("holdfast_bundle_endpoint_requests_total").increment(1);
        let mut answer = plain(StatusCode::OK);
        *answer.body_mut() = self.bundle.get().document(Some(self.refresh_hint)).into();
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }
}

/// Nothing, not to be kept by anybody on the way: a bundle that was newest is none.
fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The suites and versions of Mozilla's intermediate profile as far as ring has them: TLS 1.3, and TLS 1.2 with ECDHE and
/// AEAD alone.
fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, EndpointFault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| EndpointFault::Tls(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
