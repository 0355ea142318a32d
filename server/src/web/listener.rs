//! Accepts, bounds, and hands requests to whoever answers.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Asker, BadCertificate, Certificate, CertificateFiles, Place};
use crate::budget::{Crowd, Guest, Source};

/// Connections at one time; who comes later waits to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// Connections of one address at one time, where no proxy is in front (it would be one address for everybody): who holds them open keeps nobody else out.
const PER_SOURCE_AT_ONCE: usize = 64;
/// How long a TLS handshake, and the headers of a request, may take.
const BEGINNING_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may last: whoever wants more makes another.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of a request's headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Bytes of the header that a proxy names the asker in.
const FORWARDED_BYTES_MAX: usize = 1024;

/// Whoever answers requests.
pub trait Answers: Send + Sync + 'static {
    /// The answer to one.
    fn answer(&self, request: Request<Incoming>, from: Asker) -> impl Future<Output = Response<Body>> + Send;
}

/// Where a site is served, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What it is, for the log.
    pub name: &'static str,
    /// Where.
    pub place: Place,
    /// Its certificate; without one it speaks plain HTTP, to a proxy on this machine.
    pub certificate: Option<CertificateFiles>,
    /// Whether the proxy in front names the asker at the end of `X-Forwarded-For`, as none but a proxy can be trusted to.
    pub forwarded: bool,
}

/// What keeps a site from coming up.
#[derive(Debug, thiserror::Error)]
pub enum WebFault {
    /// The place cannot be bound.
    #[error("cannot listen at {place}")]
    Listen {
        /// Where.
        place: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A certificate that cannot be used.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
    /// Plain HTTP where strangers could read and change it.
    #[error("plain HTTP at {0}, which others than this machine can reach: give it a certificate")]
    Plain(SocketAddr),
}

impl WebFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "web.listen",
            Self::Certificate(_) => "web.certificate",
            Self::Plain(_) => "web.plain",
        }
    }
}

/// A site that is bound.
enum Bound {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

impl Site {
    /// Serves until `stop`; returns the address that was bound, where there is one.
    ///
    /// # Errors
    /// [`WebFault`].
    pub async fn bind<A: Answers>(
        self,
        answers: Arc<A>,
        stop: CancellationToken,
    ) -> Result<Option<SocketAddr>, WebFault> {
        let acceptor = match &self.certificate {
            Some(files) => {
                let certificate = Arc::new(Certificate::open(files.clone(), "web.certificate")?);
                tokio::spawn(certificate.clone().keep(stop.clone()));
                Some(TlsAcceptor::from(tls(certificate, files)?))
            }
            None => None,
        };
        let (bound, address) = match &self.place {
            Place::Address(address) => {
                if acceptor.is_none() && !self.place.is_local() {
                    return Err(WebFault::Plain(*address));
                }
                let fault = |source| WebFault::Listen { place: address.to_string(), source };
                let listener = TcpListener::bind(address).await.map_err(fault)?;
                let address = listener.local_addr().map_err(fault)?;
                info!(site = self.name, %address, "site is up");
                (Bound::Tcp(listener, acceptor), Some(address))
            }
            Place::Socket(path) => {
                let fault = |source| WebFault::Listen { place: path.display().to_string(), source };
                let listener = bind_socket(path).map_err(fault)?;
                info!(site = self.name, socket = %path.display(), "site is up");
                (Bound::Unix(listener), None)
            }
        };
        tokio::spawn(self.serve(bound, answers, stop));
        Ok(address)
    }

    async fn serve<A: Answers>(self, bound: Bound, answers: Arc<A>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (forwarded, crowd) = (self.forwarded, Crowd::new(PER_SOURCE_AT_ONCE));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = bound.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (socket, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(site = self.name, %error, "the site cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let source = from.filter(|_| self.certificate.is_some() && !forwarded).map(Source::of);
            let guest = source.and_then(|source| crowd.enter(source));
            if source.is_some() && guest.is_none() {
                metrics::counter!("holdfast_connections_refused_total", "reason" => "site").increment(1);
                continue;
            }
            let place: Held = (place, guest);
            let (answers, stop) = (answers.clone(), stop.clone());
            let who = move |headers: &HeaderMap| asker(from, forwarded, headers);
            match (socket, &bound) {
                (Socket::Tcp(socket), Bound::Tcp(_, Some(acceptor))) => {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        match timeout(BEGINNING_WITHIN, acceptor.accept(socket)).await {
                            Ok(Ok(stream)) => connection(stream, answers, who, stop, place).await,
                            Ok(Err(error)) => debug!(%error, "no TLS"),
                            Err(_) => debug!("no TLS in time"),
                        }
                    });
                }
                (Socket::Tcp(socket), _) => drop(tokio::spawn(connection(socket, answers, who, stop, place))),
                (Socket::Unix(socket), _) => drop(tokio::spawn(connection(socket, answers, who, stop, place))),
            }
        }
    }
}

/// What a connection takes up while it lasts.
type Held = (OwnedSemaphorePermit, Option<Guest>);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Bound {
    async fn accept(&self) -> std::io::Result<(Socket, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener, _) => {
                let (socket, from) = listener.accept().await?;
                Ok((Socket::Tcp(socket), Some(from.ip())))
            }
            Self::Unix(listener) => Ok((Socket::Unix(listener.accept().await?.0), None)),
        }
    }
}

async fn connection<S, A>(
    stream: S,
    answers: Arc<A>,
    who: impl Fn(&HeaderMap) -> Asker + Clone + Send + Sync + 'static,
    stop: CancellationToken,
    place: Held,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Answers,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (answers, from) = (answers.clone(), who(request.headers()));
        async move { Ok::<_, Infallible>(answers.answer(request, from).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(BEGINNING_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = timeout(CONNECTION_TIME_MAX, connection) => debug!(ok = ended.is_ok(), "asker left"),
        () = stop.cancelled() => {}
    }
    drop(place);
}

/// Who asks: the other end, or whom the proxy there names last. What stands before that is anybody's word.
fn asker(from: Option<IpAddr>, forwarded: bool, headers: &HeaderMap) -> Asker {
    if !forwarded {
        return from.map_or(Asker::Proxied, Asker::Address);
    }
    let last = headers.get_all("x-forwarded-for").iter().next_back();
    let text = last.filter(|value| value.len() <= FORWARDED_BYTES_MAX).and_then(|value| value.to_str().ok());
    let named = text.and_then(|text| text.rsplit(',').next()).and_then(|name| name.trim().parse().ok());
    named.map_or(Asker::Proxied, Asker::Address)
}

fn tls(certificate: Arc<Certificate>, files: &CertificateFiles) -> Result<Arc<ServerConfig>, WebFault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BadCertificate { file: files.chain.clone(), problem: error.to_string() })?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Binds a socket in place of what a former server left there; who may use it is up to the directory's mode.
fn bind_socket(path: &std::path::Path) -> std::io::Result<UnixListener> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o666))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asker_is_the_other_end_or_whom_the_proxy_names_last() {
        let end: IpAddr = "192.0.2.1".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "203.0.113.9, 198.51.100.7".parse().unwrap());
        assert_eq!(asker(Some(end), false, &headers), Asker::Address(end), "a stranger's word");
        assert_eq!(asker(None, true, &headers), Asker::Address("198.51.100.7".parse().unwrap()));
        headers.append("x-forwarded-for", "2001:db8::1".parse().unwrap());
        assert_eq!(asker(None, true, &headers), Asker::Address("2001:db8::1".parse().unwrap()));
        headers.append("x-forwarded-for", "nobody".parse().unwrap());
        assert_eq!(asker(Some(end), true, &headers), Asker::Proxied);
        assert_eq!(asker(None, true, &HeaderMap::new()), Asker::Proxied);
        assert_eq!(asker(None, false, &HeaderMap::new()), Asker::Proxied);
    }
}
