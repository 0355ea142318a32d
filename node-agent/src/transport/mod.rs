//! Lets gRPC C-core clients in (Python, C++, Ruby, PHP). Changes one header's value; judges and decides nothing.
//!
//! Over a Unix socket they send the socket's path as `:authority`, percent-encoded: `tmp%2Fx%2Fagent.sock`. The `http`
//! crate takes no `%` in a host, so `h2` resets the stream before any handler sees it. [`Transport`] walks the bytes
//! that come in and rewrites such a value in place, length for length, before `h2` reads it. Nothing in the agent reads
//! `:authority`: who a caller is, the kernel says.

mod frames;
mod hpack;
mod huffman;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Bytes asked of the socket at once. A workload's whole request is some 500.
const READ_BYTES: usize = 2 << 10;

/// A stream from a client, with every `:authority` on it made legal.
#[derive(Debug)]
pub struct Transport<S> {
    inner: S,
    walk: frames::Walk,
    /// Bytes read; those before `settled` are ready for the reader, those after wait for the rest of a header block.
    held: Vec<u8>,
    settled: usize,
}

impl<S> Transport<S> {
    /// Wraps the accepted stream `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, walk: frames::Walk::new(), held: Vec::new(), settled: 0 }
    }

    /// The stream within.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Whether the client's first 24 bytes have come: it speaks HTTP/2, or something that is refused at once.
    pub fn has_begun(&self) -> bool {
        self.walk.has_begun()
    }

    /// Gives what is settled to the reader.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let given = self.settled.min(buf.remaining());
        buf.put_slice(self.held.get(..given).unwrap_or_default());
        self.held.drain(..given);
        self.settled -= given;
        if self.held.is_empty() {
            // An idle connection holds no buffer.
            self.held = Vec::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Transport<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while this.settled == 0 {
            let mut chunk = [0; READ_BYTES];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                // The end: what waits for more will get no more.
                this.settled = this.held.len();
                break;
            }
            this.held.extend_from_slice(chunk.filled());
            this.settled = this.walk.settle(&mut this.held);
        }
        this.hand_out(buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: Connected> Connected for Transport<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests;
