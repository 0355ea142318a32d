//! One connection from a workload: its bytes, who made it, and how it is ended from this side.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::allowance::Place;
use super::notes::Notes;
use crate::attest::Peer;
use crate::transport::Transport;

/// How long a client may take for its first 24 bytes.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(10);

/// Who made a connection. Every request on it comes with this.
#[derive(Debug)]
pub(super) struct Caller {
    /// The process.
    pub(super) peer: Peer,
    /// Its connection's place in the limits.
    pub(super) place: Arc<Place>,
    /// Ends the connection.
    pub(super) hang_up: CancellationToken,
    /// What may still be logged of its user.
    pub(super) notes: Arc<Notes>,
}

impl Caller {
    /// Whether one more line about this caller may be logged, and how many were not since the last.
    pub(super) fn may_note(&self) -> Option<u64> {
        self.notes.may(self.peer.uid(), Instant::now())
    }
}

/// The connection itself.
pub(super) struct Connection {
    io: Transport<UnixStream>,
    caller: Arc<Caller>,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until the client has begun to speak.
    begin: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// `stream`, made by `caller`.
    pub(super) fn new(stream: UnixStream, caller: Arc<Caller>) -> Self {
        Self {
            io: Transport::new(stream),
            hung_up: Box::pin(caller.hang_up.clone().cancelled_owned()),
            caller,
            begin: Some(Box::pin(tokio::time::sleep(BEGIN_TIME_MAX))),
        }
    }

    /// An error once the connection is over: by our side, or because the process that made it has exited, whoever
    /// else holds the socket.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.hung_up.as_mut().poll(cx).is_ready() || self.caller.peer.poll_exited(cx).is_ready() {
            // Ready futures are not to be polled again; from now on the flag alone speaks.
            self.caller.hang_up.cancel();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some(begin) = &mut self.begin {
            if self.io.has_begun() {
                self.begin = None;
            } else if begin.as_mut().poll(cx).is_ready() {
                self.caller.hang_up.cancel();
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    fn guard(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.caller.hang_up.is_cancelled() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.check(cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.guard(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.guard(cx)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.guard(cx)?;
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Caller>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.caller)
    }
}
