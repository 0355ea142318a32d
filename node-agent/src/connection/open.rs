//! Opens connections: a byte stream, TLS 1.3 without resumption, HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::dial::{Stream, dial};
use super::heard::{Heard, Verdict};
use super::signer::NodeCertificate;
use super::verifier::ServerVerifier;
use super::{Channel, Connection, ConnectionFault};
use crate::clock;
use crate::config::ServerAddress;
use crate::node_key::NodeKey;
use crate::trust::Trust;

/// How long TLS may take, the TPM's signature included.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// How often a silent connection is asked whether it lives, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// What requests and handshakes call the server, whatever its address.
const NAME: &str = "holdfast-server";

/// What a connection is opened with, beside the address.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing: only the server shows who it is.
    None,
    /// The node's SVID (DER, leaf first) for the node key.
    Node {
        /// DER, leaf first.
        chain: Vec<Vec<u8>>,
        /// The key's SubjectPublicKeyInfo, DER.
        spki: Vec<u8>,
        /// The key.
        key: NodeKey,
    },
}

/// Opens connections to one server.
#[derive(Debug, Clone)]
pub struct Opener {
    server: ServerAddress,
    trust: Arc<Trust>,
}

impl Opener {
    /// An opener for `server`, which must show a certificate under `trust`.
    #[must_use]
    pub const fn new(server: ServerAddress, trust: Arc<Trust>) -> Self {
        Self { server, trust }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`ConnectionFault`]. An insecure first connection pins what it saw before it is handed out.
    pub async fn open(&self, credentials: Credentials) -> Result<Connection, ConnectionFault> {
        let own = match &credentials {
            Credentials::None => None,
            Credentials::Node { chain, .. } => Some(chain.clone()),
        };
        let config = self.config(credentials)?;
        let stream = dial(&self.server).await?;
        let tls = self.handshake(config, stream).await?;
        if self.trust.authorities().is_empty() {
            // The verifier took the topmost certificate as anchor.
            let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::last);
            if let Some(seen) = shown {
                self.trust.pin(seen).map_err(ConnectionFault::Pin)?;
                tracing::warn!("server believed without a trust bundle, and pinned");
            }
        }
        self.http(tls, own).await
    }

    async fn handshake(&self, config: ClientConfig, stream: Stream) -> Result<TlsStream<Stream>, ConnectionFault> {
        let server = || self.server.to_string();
        // Nothing is checked against this name and it is not sent; the library wants one.
        let name = ServerName::try_from(NAME).map_err(|error| ConnectionFault::Configuration(error.to_string()))?;
        match timeout(HANDSHAKE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(ConnectionFault::Handshake { server: server(), source }),
            Err(_) => Err(ConnectionFault::Timeout { server: server(), seconds: HANDSHAKE.as_secs() }),
        }
    }

    /// `own` is the certificate that the connection was opened with.
    async fn http(&self, tls: TlsStream<Stream>, own: Option<Vec<Vec<u8>>>) -> Result<Connection, ConnectionFault> {
        let server = self.server.to_string();
        let shown = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let (is_own, verdict) = (own.is_some(), Verdict::default());
        let shown = [shown.iter().map(|der| der.to_vec()).collect(), own.unwrap_or_default()];
        let origin = tonic::codegen::http::Uri::builder()
            .scheme("https")
            .authority(NAME)
            .path_and_query("/")
            .build()
            .map_err(|error| ConnectionFault::Configuration(error.to_string()))?;
        let (requests, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(Heard::new(tls, verdict.clone())))
            .await
            .map_err(|source| ConnectionFault::Http { server, source })?;
        let (stop, gone) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, ended) = (stop.clone(), gone.clone().drop_guard());
        tokio::spawn(async move {
            let _ended = ended;
            tokio::select! {
                // An error here ends every request on the connection with an error of its own.
                _ = connection => {}
                // Dropping the connection closes the socket: the server sees that at once.
                () = stopped.cancelled() => {}
            }
        });
        Ok(Connection { channel: Channel { requests }, origin, stop, gone, own: is_own, shown, verdict })
    }

    fn config(&self, credentials: Credentials) -> Result<ClientConfig, ConnectionFault> {
        let unusable = |error: String| ConnectionFault::Configuration(error);
        let expected =
            self.trust.trust_domain().with_path("/holdfast/server").map_err(|error| unusable(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = ServerVerifier {
            expected,
            authorities: self.trust.authorities(),
            revoked: self.trust.revoked().borrow().clone(),
            not_before: clock::BUILD_TIME.max(self.trust.time()),
            provider: Arc::clone(&provider),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match credentials {
            Credentials::None => builder.with_no_client_auth(),
            Credentials::Node { chain, spki, key } => {
                let chain = chain.into_iter().map(CertificateDer::from).collect();
                builder.with_client_cert_resolver(Arc::new(NodeCertificate::new(chain, spki, key)))
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.enable_sni = false;
        // A resumed session would be a connection whose node never showed that it still has its key.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
