//! Shows revocation lists over plain HTTP: `GET /crl/<issuer>.crl`. Shows what was signed, takes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::CurrentLists;
use crate::budget::{Buckets, Crowd, Rate, Source};
use crate::store::{IssuerKeyId, RevocationList};

/// Connections at one time; who comes later waits to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Connections of one source at one time: who holds them open keeps nobody else out. A proxy in front is one source, and needs
/// no more of them for what it is answered.
const PER_SOURCE_AT_ONCE: usize = 64;
/// How long the headers of a request may take to arrive.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may last; who reads a list of 1.5 MiB at 64 kbit/s needs less.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(240);
/// Bytes of a request's headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Answers to one source: a proxy asks for a few lists each half minute.
const ANSWERS: Rate = Rate { per_second: 10.0, burst: 100.0 };
/// Sources that are told apart.
const SOURCES_MAX: usize = 10_000;
/// How long whoever stands between may keep a list: a withdrawal is to be seen within that.
const CACHE: &str = "public, max-age=30, must-revalidate";
const OF_NOW: &str = "no-cache";
/// RFC 2585, 4.2.
const TYPE: &str = "application/pkix-crl";

/// What the listener shows.
#[derive(Clone)]
pub struct ListListener {
    lists: CurrentLists,
    answers: Arc<Buckets<Source>>,
}

impl ListListener {
    /// Shows `lists`.
    #[must_use]
    pub fn new(lists: CurrentLists) -> Self {
        Self { lists, answers: Arc::new(Buckets::new(ANSWERS, SOURCES_MAX)) }
    }

    /// Serves on `address` until `stop`.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(self, address: SocketAddr, stop: CancellationToken) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        info!(%address, "listener of revocation lists is up");
        tokio::spawn(self.serve(listener, stop));
        Ok(address)
    }

    async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let crowd = Crowd::new(PER_SOURCE_AT_ONCE);
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (socket, source) = match accepted {
                Ok((socket, address)) => (socket, Source::of(address.ip())),
                Err(error) => {
                    warn!(%error, "the listener of revocation lists cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(guest) = crowd.enter(source) else {
                metrics::counter!("holdfast_connections_refused_total", "reason" => "revocation_lists").increment(1);
                continue;
            };
            let (shown, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = shown.answer(&request, source);
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_WITHIN)
                    .max_buf_size(HEAD_BYTES_MAX)
                    .serve_connection(TokioIo::new(socket), service);
                tokio::select! {
                    ended = timeout(CONNECTION_TIME_MAX, connection) => debug!(ok = ended.is_ok(), "reader left"),
                    () = stop.cancelled() => {}
                }
                drop((place, guest));
            });
        }
    }

    /// The answer to one request.
    pub(super) fn answer<B>(&self, request: &Request<B>, source: Source) -> Response<Body> {
        if let Err(over) = self.answers.take(source, Instant::now()) {
            let mut refused = plain(StatusCode::TOO_MANY_REQUESTS);
            refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from(over.retry_after.as_secs()));
            return refused;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let name = request.uri().path().strip_prefix("/crl/").and_then(|name| name.strip_suffix(".crl"));
        let list = name.and_then(IssuerKeyId::from_hex).and_then(|issuer| self.lists.of(issuer));
        let Some(list) = list else { return plain(StatusCode::NOT_FOUND) };
        let Some(tag) = tag(&list) else { return plain(StatusCode::SERVICE_UNAVAILABLE) };
        let known = request.headers().get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let is_known = known.flat_map(|value| value.split(',')).any(|one| {
            let one = one.trim();
            one == "*" || one.strip_prefix("W/").unwrap_or(one).as_bytes() == tag.as_bytes()
        });
        let mut response = Response::new(Body::empty());
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Body::from(list.der.to_vec());
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE));
        headers.insert(ETAG, tag);
        response
    }
}

/// An issuer's number is of one list alone.
fn tag(list: &RevocationList) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{}\"", list.number)).ok()
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(OF_NOW));
    response
}
