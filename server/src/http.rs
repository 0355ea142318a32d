//! One request at a time, over TLS or plain, HTTP/1.1: a bounded answer within a bounded time. Follows no redirect, keeps
//! no connection, and believes nothing of what it brings.

mod near;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::warn;

pub(crate) use near::Near;

/// Longest wait that a service is believed to want.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Bytes of an answer's headers. Intel's carry a chain of certificates, percent-encoded.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of the file of certificates.
const CA_FILE_BYTES_MAX: u64 = 8 << 20;

/// How long the beginning of a body is waited for.
const BEGINNING_TIME_MAX: Duration = Duration::from_secs(1);

/// How much of an answer's body.
#[derive(Clone, Copy)]
enum Wanted {
    /// All of it; no answer if it is longer.
    Whole(usize),
    /// All of it where the status is 200, and nothing of it else.
    OfSuccess(usize),
    /// So much.
    Beginning(usize),
}

/// Sends requests.
#[derive(Clone)]
pub(crate) struct Http {
    /// `None` where TLS cannot be spoken: then no https is.
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Where it came from.
    pub(crate) near: Near,
}

impl Answer {
    /// How long the service wants to be left alone, if it says so in seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
    }
}

/// Why nothing came back; words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(pub(crate) String);

impl Http {
    /// Believes hosts that the certificates of `ca_file` speak for. Without the file no host is believed over TLS.
    pub(crate) fn new(ca_file: &Path, timeout: Duration) -> Self {
        Self { tls: tls(ca_file), timeout }
    }

    /// Believes whom `tls` believes.
    pub(crate) const fn over(tls: Arc<ClientConfig>, timeout: Duration) -> Self {
        Self { tls: Some(tls), timeout }
    }

    /// Asks for `url`; the body has at most `limit` bytes.
    pub(crate) async fn get(&self, url: &str, limit: usize) -> Result<Answer, NoAnswer> {
        let request = Request::get("/").header(ACCEPT, "*/*").body(Body::empty());
        self.send(request, url, Wanted::Whole(limit), Near::Machine).await
    }

    /// The same of which only the body of a success is read: what stands in a redirect or a refusal says nothing. Nobody
    /// is asked who is nearer than `nearest`.
    pub(crate) async fn get_success(&self, url: &str, limit: usize, nearest: Near) -> Result<Answer, NoAnswer> {
        let request = Request::get("/").header(ACCEPT, "*/*").body(Body::empty());
        self.send(request, url, Wanted::OfSuccess(limit), nearest).await
    }

    /// Posts `body` with `headers` to `url`. The status is the answer: of its body at most `limit` bytes are read, for a
    /// moment, and whatever comes of that changes nothing.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<Answer, NoAnswer> {
        let mut request = Request::post("/").body(Body::from(body));
        if let Ok(request) = &mut request {
            *request.headers_mut() = headers;
        }
        self.send(request, url, Wanted::Beginning(limit), Near::Machine).await
    }

    async fn send(
        &self,
        request: Result<Request<Body>, hyper::http::Error>,
        url: &str,
        wanted: Wanted,
        nearest: Near,
    ) -> Result<Answer, NoAnswer> {
        let request = request.map_err(|error| NoAnswer(format!("no request: {error}")))?;
        match timeout(self.timeout, self.exchange(request, url, wanted, nearest)).await {
            Ok(answer) => answer,
            Err(_) => Err(NoAnswer(format!("no answer within {} s", self.timeout.as_secs_f32()))),
        }
    }

    async fn exchange(
        &self,
        request: Request<Body>,
        url: &str,
        wanted: Wanted,
        nearest: Near,
    ) -> Result<Answer, NoAnswer> {
        let failed = |what: &'static str| move |error: &dyn std::fmt::Display| NoAnswer(format!("{what}: {error}"));
        let uri: Uri = url.parse().map_err(|error| failed("not a URL")(&error))?;
        let host = uri.host().ok_or_else(|| NoAnswer("URL without a host".to_owned()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let socket = connect(&host, port, nearest).await?;
        let near = Near::of(socket.peer_addr().map_err(|e| failed("cannot connect")(&e))?.ip());
        if !secure {
            return send(socket, request, &uri, wanted, near).await;
        }
        let name = ServerName::try_from(host).map_err(|error| failed("not a host's name")(&error))?;
        let tls = self.tls.clone().ok_or_else(|| NoAnswer("TLS is not available".to_owned()))?;
        let connector = TlsConnector::from(tls);
        let stream = connector.connect(name, socket).await.map_err(|error| failed("TLS")(&in_words(&error)))?;
        send(stream, request, &uri, wanted, near).await
    }
}

/// A connection to the first address of the host that takes one, of those that are no nearer than `nearest`.
async fn connect(host: &str, port: u16, nearest: Near) -> Result<TcpStream, NoAnswer> {
    let failed = |error: &std::io::Error| NoAnswer(format!("cannot connect: {error}"));
    let mut last = NoAnswer(format!("{host} has no address"));
    for address in lookup_host((host, port)).await.map_err(|error| failed(&error))? {
        let near = Near::of(address.ip());
        if near > nearest {
            let (is, from) = (near.as_str(), nearest.as_str());
            last = NoAnswer(format!("{} is {is}: nobody {from} leads there", address.ip()));
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = failed(&error),
        }
    }
    Err(last)
}

/// Why there was no handshake; of a certificate that a verifier of ours refused, in its words.
fn in_words(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(why))) => why.0.to_string(),
        _ => error.to_string(),
    }
}

/// TLS that believes hosts that the certificates of `ca_file` speak for; without the file, none.
pub(crate) fn tls(ca_file: &Path) -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    match std::fs::metadata(ca_file) {
        Ok(found) if found.len() <= CA_FILE_BYTES_MAX => match CertificateDer::pem_file_iter(ca_file) {
            Ok(found) => {
                roots.add_parsable_certificates(found.flatten());
            }
            Err(error) => warn!(file = %ca_file.display(), %error, "certificates of public TLS cannot be read"),
        },
        _ => {
            warn!(file = %ca_file.display(), "no certificates of public TLS: services over https are not believed")
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.map(|builder| Arc::new(builder.with_root_certificates(roots).with_no_client_auth())).ok()
}

/// One request on a connection of its own.
async fn send<S>(
    stream: S,
    mut request: Request<Body>,
    uri: &Uri,
    wanted: Wanted,
    near: Near,
) -> Result<Answer, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: &dyn std::fmt::Display| NoAnswer(format!("HTTP: {error}"));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake::<_, Body>(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    // Ends with the connection: with the answer's last byte, or when the time is up and both halves are dropped.
    let driver = tokio::spawn(connection);
    let guard = AbortOnDrop(driver);
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().map_err(|error| failed(&error))?;
    let host = HeaderValue::from_str(authority).map_err(|error| failed(&error))?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let agent = concat!("holdfast-server/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let (head, body) = answer.into_parts();
    let body = match wanted {
        Wanted::OfSuccess(_) if head.status != StatusCode::OK => Vec::new(),
        Wanted::Whole(limit) | Wanted::OfSuccess(limit) => axum::body::to_bytes(Body::new(body), limit)
            .await
            .map_err(|error| NoAnswer(format!("body cannot be read, limit {limit} bytes: {error}")))?
            .to_vec(),
        Wanted::Beginning(limit) => beginning(Body::new(body), limit).await,
    };
    drop(guard);
    Ok(Answer { status: head.status, headers: head.headers, body, near })
}

/// At most so many bytes of a body, and what comes of it within a moment.
async fn beginning(body: Body, limit: usize) -> Vec<u8> {
    let (mut pieces, mut read) = (body.into_data_stream(), Vec::new());
    let reading = async {
        while let Some(Ok(piece)) = pieces.next().await {
            read.extend(piece.iter().take(limit.saturating_sub(read.len())));
            if read.len() >= limit {
                return;
            }
        }
    };
    // Who does not end his answer keeps nobody waiting.
    let _ = timeout(BEGINNING_TIME_MAX, reading).await;
    read
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
