//! One TLS connection to the server, with HTTP/2 on it. Opened once and never silently opened again: what was attested
//! on a connection holds for that connection alone.

mod address;
mod dial;
mod fault;
mod heard;
mod open;
mod signer;
mod verifier;

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use holdfast_protocol::limits;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use crate::agent_stubs::attestation_client::AttestationClient;
use crate::agent_stubs::node_client::NodeClient;
use crate::trust::Revoked;
use heard::Verdict;

pub use address::ServerAddress;
pub use fault::ConnectionFault;
pub use open::{Credentials, Opener};

/// Bytes of the largest answer: entries and foreign bundles of 2 MiB each, and what else is new.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    channel: Channel,
    origin: tonic::codegen::http::Uri,
    stop: CancellationToken,
    gone: CancellationToken,
    own: bool,
    /// What either side showed, DER, leaf first: the server, and we, if anything.
    shown: [Vec<Vec<u8>>; 2],
    /// What the server said to our certificate.
    verdict: Verdict,
}

/// Sends requests on one connection; the service under the generated clients.
#[derive(Debug, Clone)]
pub struct Channel {
    requests: SendRequest<Body>,
}

impl tower::Service<hyper::Request<Body>> for Channel {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

impl Connection {
    /// Whether it was opened with the node's own certificate, so that it can carry what only a node may ask.
    #[must_use]
    pub const fn is_nodes_own(&self) -> bool {
        self.own
    }

    /// Whether it rests on an authority that counts no more: one above the server's certificate, or one above the one that we
    /// opened it with, for which the server ends it.
    #[must_use]
    pub fn rests_on(&self, revoked: &Revoked) -> bool {
        self.shown.iter().any(|chain| revoked.covers(chain.iter().map(Vec::as_slice)))
    }

    /// Whether the server has refused the certificate that we opened it with. In TLS 1.3 a client learns that after its
    /// handshake, as its first request fails.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.verdict.is_no()
    }

    /// The client of the attestation service on this connection.
    #[must_use]
    pub fn attestation(&self) -> AttestationClient<Channel> {
        AttestationClient::with_origin(self.channel.clone(), self.origin.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(limits::BEGIN_BYTES_MAX.max(limits::COMPLETE_MESSAGE_BYTES_MAX))
    }

    /// The client of the node service on this connection.
    #[must_use]
    pub fn node(&self) -> NodeClient<Channel> {
        NodeClient::with_origin(self.channel.clone(), self.origin.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Cancelled when the connection has ended, whoever ended it.
    #[must_use]
    pub fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Begins to close it, and waits for nothing.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Closes it and waits until its socket is closed.
    pub async fn close(&self) {
        self.stop.cancel();
        self.gone.cancelled().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
