//! Accepts connections and serves HTTP/2 on them until they, or the server, end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use tracing::{debug, warn};

use super::below::Below;
use super::connection::{RequestGuard, Tapped};
use super::{Connection, ListenLimits, PeerSvid, TlsSettings};
use crate::budget::{Shared, Source, Turns};

/// Accepted sockets that wait for the kernel's queue.
const BACKLOG: u32 = 4096;

/// Why the agent port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenFault {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TLS library does not take our configuration.
    #[error("cannot configure TLS: {0}")]
    Tls(String),
}

impl ListenFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "listen.bind",
            Self::Tls(_) => "listen.tls",
        }
    }
}

/// The bound agent port.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    port: Arc<Port>,
}

struct Port {
    tls: TlsSettings,
    limits: ListenLimits,
    /// A handshake waits for its peer, who may let it wait: of one source never all.
    handshakes: Turns,
    anonymous: Shared,
    connections: Shared,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ListenFault::Bind`].
    pub fn bind(address: SocketAddr, tls: TlsSettings, limits: ListenLimits) -> Result<Self, ListenFault> {
        let fault = |source| ListenFault::Bind { address, source };
        let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
        let socket = socket.map_err(fault)?;
        socket.set_reuseaddr(true).map_err(fault)?;
        socket.bind(address).map_err(fault)?;
        let socket = socket.listen(BACKLOG).map_err(fault)?;
        let address = socket.local_addr().map_err(fault)?;
        let port = Port {
            handshakes: Turns::new(limits.handshakes_max),
            anonymous: Shared::new(limits.anonymous_connections_max),
            connections: Shared::new(limits.connections_max),
            tls,
            limits,
        };
        Ok(Self { socket, address, port: Arc::new(port) })
    }

    /// The address that was bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `stop`, then waits for running requests as long as the limits say.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of files, mostly: give some connection time to end.
                    warn!(%error, "accept failed");
                    sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(place) = self.port.connections.take(Source::of(remote.ip())) else {
                metrics::counter!("holdfast_connections_refused_total", "reason" => "connections_max").increment(1);
                continue;
            };
            let (port, router, stop) = (self.port.clone(), router.clone(), stop.clone());
            tasks.spawn(async move {
                port.connection(stream, remote, router, stop).await;
                drop(place);
            });
        }
        tasks.close();
        let grace = self.port.limits.shutdown_grace;
        if timeout(grace, tasks.wait()).await.is_err() {
            warn!(connections = tasks.len(), "connections were cut at the end of the grace time");
        }
    }
}

impl Port {
    async fn connection(&self, stream: TcpStream, remote: SocketAddr, router: Router, stop: CancellationToken) {
        // Small messages both ways; a delayed one costs a round trip of 40 ms.
        let _ = stream.set_nodelay(true);
        let source = Source::of(remote.ip());
        let shaken = tokio::select! {
            () = stop.cancelled() => return,
            shaken = timeout(self.limits.handshake_timeout, self.handshake(stream, source)) => shaken,
        };
        let (stream, shown) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => {
                metrics::counter!("holdfast_handshakes_failed_total", "reason" => "tls").increment(1);
                debug!(%remote, %error, "handshake failed");
                return;
            }
            Err(_) => {
                metrics::counter!("holdfast_handshakes_failed_total", "reason" => "timeout").increment(1);
                return;
            }
        };
        let anonymous = if shown.is_some() {
            None
        } else {
            match self.anonymous.take(source) {
                Some(place) => Some(place),
                None => {
                    metrics::counter!("holdfast_connections_refused_total", "reason" => "anonymous_max").increment(1);
                    return;
                }
            }
        };
        let (peer, below) = shown.unzip();
        let connection = Connection::shaken(remote, peer, below);
        self.tls.opened(&connection);
        let gauge =
            metrics::gauge!("holdfast_connections", "peer" => if anonymous.is_some() { "anonymous" } else { "node" });
        gauge.increment(1.0);
        self.http2(stream, &connection, router, stop).await;
        connection.mark_closed();
        self.tls.ended(&connection);
        gauge.decrement(1.0);
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        source: Source,
    ) -> io::Result<(tokio_rustls::server::TlsStream<TcpStream>, Option<(PeerSvid, Below)>)> {
        let place = self.handshakes.wait(source).await;
        let config = self.tls.current();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        drop(place);
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        let shown = match chain.first() {
            Some(leaf) => {
                let peer = PeerSvid::from_leaf(leaf, self.tls.trust_domain()).map_err(io::Error::other)?;
                Some((peer, Below::of(chain)))
            }
            None => None,
        };
        Ok((stream, shown))
    }

    async fn http2(
        &self,
        stream: tokio_rustls::server::TlsStream<TcpStream>,
        connection: &Arc<Connection>,
        router: Router,
        stop: CancellationToken,
    ) {
        let limits = &self.limits;
        let io = TokioIo::new(Tapped { stream, connection: connection.clone() });
        let service = {
            let connection = connection.clone();
            hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
                let guard = connection.begin_request();
                request.extensions_mut().insert(connection.clone());
                let answer = router.clone().call(request.map(Body::new));
                async move { answer.await.map(|response| response.map(|body| Guarded::body(body, guard))) }
            })
        };
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(limits.header_bytes_max)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(64)
            .max_send_buf_size(64 << 10)
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20);
        let mut serving = std::pin::pin!(builder.serve_connection(io, service));
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        debug!(connection = %connection.id(), %error, "connection broke");
                    }
                    return;
                }
                () = connection.close_requested() => return,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = sleep(limits.idle_timeout.saturating_sub(connection.idle_for())) => {
                    if connection.idle_for() >= limits.idle_timeout {
                        debug!(connection = %connection.id(), "idle connection closed");
                        return;
                    }
                }
            }
        }
    }
}

/// A response body that keeps its request counted until its last byte is out.
struct Guarded {
    body: Body,
    _guard: RequestGuard,
}

impl Guarded {
    fn body(body: Body, guard: RequestGuard) -> Body {
        Body::new(Self { body, _guard: guard })
    }
}

impl hyper::body::Body for Guarded {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
