//! Shows the log over plain HTTP, as `c2sp.org/tlog-tiles` lays it out, for witnesses, monitors and mirrors. Shows
//! nothing that no signed checkpoint covers; takes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use holdfast_record::tile::{self, TILE_WIDTH};
use holdfast_record::{Resource, Tile};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Signer;
use crate::store::Store;

/// Connections at one time; who comes later waits to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long the headers of a request may take to arrive.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may last: a monitor that reads on makes another.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// Bytes of a request's headers.
const HEAD_BYTES_MAX: usize = 16 << 10;

const OF_NOW: &str = "no-cache";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// What the listener shows.
#[derive(Clone)]
pub struct Shown {
    /// Entries and tiles.
    pub store: Arc<dyn Store>,
    /// Checkpoints.
    pub signer: Arc<Signer>,
}

impl Shown {
    /// Serves on `address` until `stop`.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(self, address: SocketAddr, stop: CancellationToken) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        info!(%address, "record listener is up");
        tokio::spawn(self.serve(listener, stop));
        Ok(address)
    }

    async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    warn!(%error, "the record listener cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (shown, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let shown = shown.clone();
                    async move { Ok::<_, std::convert::Infallible>(shown.answer(&request).await) }
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
                drop(place);
            });
        }
    }

    /// The answer to one request.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let resource = request.uri().path().strip_prefix('/').and_then(Resource::parse);
        let Some(resource) = resource else { return plain(StatusCode::NOT_FOUND) };
        let checkpoint = match self.signer.latest().await {
            Ok(checkpoint) => checkpoint,
            Err(fault) => {
                warn!(code = fault.code(), %fault, "the record cannot be shown");
                return plain(StatusCode::SERVICE_UNAVAILABLE);
            }
        };
        let signed = checkpoint.claimed().size;
        match resource {
            Resource::Checkpoint => found(checkpoint.to_string().into(), "text/plain; charset=utf-8", OF_NOW),
            Resource::Tile(tile) | Resource::Entries(tile) if !is_covered(tile, signed) => plain(StatusCode::NOT_FOUND),
            Resource::Tile(tile) => bytes(self.tile(tile).await),
            Resource::Entries(tile) => bytes(self.entries(tile).await),
        }
    }

    async fn tile(&self, tile: Tile) -> Option<Vec<u8>> {
        let (_, hashes) = self.store.tiles(vec![tile]).await.ok()?.pop()?;
        (hashes.len() == usize::from(tile.width)).then(|| tile::encode_tile(&hashes))
    }

    async fn entries(&self, tile: Tile) -> Option<Vec<u8>> {
        let entries = self.store.ledger_entries(tile.start(), u32::from(tile.width)).await.ok()?;
        let whole = entries.len() == usize::from(tile.width);
        whole.then(|| tile::encode_bundle(entries.iter().map(|entry| entry.leaf.as_slice()))).flatten()
    }
}

/// Whether the tree of `size` entries has these hashes.
fn is_covered(tile: Tile, size: u64) -> bool {
    Tile::of_tree(tile.level, tile.index, size).is_some_and(|there| there.width >= tile.width)
        && tile.index < u64::MAX / TILE_WIDTH
}

fn bytes(bytes: Option<Vec<u8>>) -> Response<Body> {
    match bytes {
        Some(bytes) => found(bytes.into(), "application/octet-stream", FOR_EVER),
        None => plain(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn found(body: Body, kind: &'static str, cache: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(OF_NOW));
    response
}
