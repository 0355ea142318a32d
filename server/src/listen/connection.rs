//! One connection of the agent port: who is on it, whether it lives, and the way to end it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::PeerSvid;
use super::below::Below;
use crate::store::NodeNumber;

/// Tells connections apart for as long as this process lives; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Challenges drawn on a connection that may be under way at once.
const CHALLENGES_KEPT: usize = 4;

/// A connection after its handshake. Every request on it carries this as an extension.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    remote: SocketAddr,
    peer: Option<PeerSvid>,
    /// By whom its certificate was signed.
    below: Option<Below>,
    opened: Instant,
    /// Milliseconds after `opened` at which bytes last came from the peer.
    last_read: AtomicU64,
    requests: AtomicUsize,
    /// Milliseconds after `opened` at which the last request ended.
    last_request: AtomicU64,
    /// The node that was admitted on it, as the store numbers it; 0 for none.
    node: AtomicU64,
    close: CancellationToken,
    closed: CancellationToken,
    /// Ids of the latest challenges that were drawn here.
    drawn: Mutex<[[u8; 16]; CHALLENGES_KEPT]>,
}

impl Connection {
    /// Of a peer whose certificate nobody has signed.
    #[cfg(test)]
    pub(crate) fn new(remote: SocketAddr, peer: Option<PeerSvid>) -> Arc<Self> {
        Self::shaken(remote, peer, None)
    }

    pub(super) fn shaken(remote: SocketAddr, peer: Option<PeerSvid>, below: Option<Below>) -> Arc<Self> {
        Arc::new(Self {
            id: ConnectionId::next(),
            remote,
            peer,
            below,
            opened: Instant::now(),
            last_read: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            last_request: AtomicU64::new(0),
            node: AtomicU64::new(0),
            close: CancellationToken::new(),
            closed: CancellationToken::new(),
            drawn: Mutex::default(),
        })
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Where it comes from.
    #[must_use]
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The peer's certificate, where it brought one.
    #[must_use]
    pub const fn peer(&self) -> Option<&PeerSvid> {
        self.peer.as_ref()
    }

    /// By whom that was signed.
    pub(super) const fn below(&self) -> Option<&Below> {
        self.below.as_ref()
    }

    /// The node that was last admitted on this connection. It may stand no more.
    #[must_use]
    pub fn node(&self) -> Option<NodeNumber> {
        match self.node.load(Ordering::Acquire) {
            0 => None,
            number => Some(NodeNumber(number)),
        }
    }

    /// Notes that `node` was admitted on this connection.
    pub(crate) fn set_node(&self, node: NodeNumber) {
        self.node.store(node.0, Ordering::Release);
    }

    /// Notes that the challenge `id` was drawn on this connection.
    pub(crate) fn note_drawn(&self, id: [u8; 16]) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.rotate_right(1);
        if let Some(latest) = drawn.first_mut() {
            *latest = id;
        }
    }

    /// Whether the challenge `id` was drawn on this connection: a quote for one drawn elsewhere may show the state before
    /// a reboot, and earns nothing here.
    pub(crate) fn has_drawn(&self, id: &[u8; 16]) -> bool {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Asks the connection to end: no new requests, running ones are cut.
    pub fn close(&self) {
        self.close.cancel();
    }

    /// Resolves when the connection has been asked to end or has ended.
    pub async fn ending(&self) {
        tokio::select! {
            () = self.close.cancelled() => {}
            () = self.closed.cancelled() => {}
        }
    }

    /// Whether the connection has ended, or was asked to.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.closed.is_cancelled() || self.close.is_cancelled()
    }

    /// Resolves when the connection has ended.
    pub async fn ended(&self) {
        self.closed.cancelled().await;
    }

    /// Time since bytes last came from the peer.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.last_read.load(Ordering::Relaxed)))
    }

    /// Time since a request was last under way; zero while one is.
    #[must_use]
    pub fn idle_for(&self) -> Duration {
        if self.requests.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.last_request.load(Ordering::Relaxed)))
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> RequestGuard {
        self.requests.fetch_add(1, Ordering::AcqRel);
        RequestGuard(self.clone())
    }

    pub(super) async fn close_requested(&self) {
        self.close.cancelled().await;
    }

    pub(crate) fn mark_closed(&self) {
        self.closed.cancel();
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn note_read(&self) {
        self.last_read.store(self.now(), Ordering::Relaxed);
    }
}

/// One request under way.
pub(super) struct RequestGuard(Arc<Connection>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.last_request.store(self.0.now(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream that notes on its connection when bytes come in.
pub(super) struct Tapped<S> {
    pub(super) stream: S,
    pub(super) connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.connection.note_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
