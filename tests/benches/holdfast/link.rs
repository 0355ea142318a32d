//! An agent's connection as the load generator needs it: TLS 1.3, HTTP/2, begin and complete.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use holdfast_protocol::agent as wire;
use holdfast_protocol::agent::complete_request::Part;
use holdfast_protocol::agent::complete_response::Outcome;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::agent_stubs::attestation_client::AttestationClient;
use crate::agent_stubs::node_client::NodeClient;

/// Bytes of one message of an answer.
const CHUNK_BYTES: usize = 64 << 10;

/// What is asked of a machine.
pub struct Begun {
    /// In the words of its kind.
    pub ask: Vec<u8>,
    pub nonce: [u8; 32],
}

/// What a machine says.
pub struct Answer {
    pub node_key_spki: Vec<u8>,
    /// Empty where the key is proven otherwise.
    pub csr: Vec<u8>,
    pub item: Vec<u8>,
}

/// One connection. Dropping it closes it.
pub struct Link {
    channel: Channel,
}

impl Link {
    /// Connects; with the chain that the server gave and the node's key in PKCS#8, if it has them.
    pub async fn open(address: SocketAddr, identity: Option<(&[Vec<u8>], &[u8])>) -> anyhow::Result<Self> {
        let config = Arc::new(config(identity)?);
        let connector = tower::service_fn(move |_| {
            let config = Arc::clone(&config);
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from("holdfast").map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(TlsConnector::from(config).connect(name, stream).await?))
            }
        });
        let channel = Endpoint::from_static("http://holdfast").connect_with_connector(connector).await?;
        Ok(Self { channel })
    }

    /// Begin and complete, with one item of evidence. `material` is what the machine says about itself; nothing on its own
    /// connection.
    pub async fn attest(
        &self,
        kind: &str,
        material: Option<Vec<u8>>,
        answer: impl FnOnce(&Begun) -> anyhow::Result<Answer>,
    ) -> anyhow::Result<wire::Admitted> {
        let materials = material.map(|material| wire::IdentityMaterial { kind: kind.to_owned(), material });
        let request = wire::BeginRequest {
            materials: materials.into_iter().collect(),
            agent_version: "bench".to_owned(),
            has_measured_files: false,
        };
        let mut client = AttestationClient::new(self.channel.clone());
        let begun = client.begin(request).await?.into_inner();
        let ask = begun.asks.into_iter().next().context("nothing is asked")?.ask;
        let nonce = begun.nonce.as_slice().try_into().context("the nonce is not 32 bytes")?;
        let Answer { node_key_spki, csr, item } = answer(&Begun { ask, nonce })?;
        let header = wire::AnswerHeader {
            seal: begun.seal,
            node_key_spki,
            csr,
            items: vec![wire::ItemHeader { kind: kind.to_owned(), length: u32::try_from(item.len())? }],
            measured_files: None,
        };
        let mut parts = vec![Part::Header(header)];
        parts.extend(item.chunks(CHUNK_BYTES).map(|chunk| Part::Chunk(chunk.to_vec())));
        let parts = parts.into_iter().map(|part| wire::CompleteRequest { part: Some(part) });
        let answer = client.complete(futures_util::stream::iter(parts.collect::<Vec<_>>())).await?.into_inner();
        match answer.outcome.context("no outcome")? {
            Outcome::Admitted(admitted) => Ok(admitted),
            Outcome::NeedMore(more) => bail!("the server wants more: {more:?}"),
        }
    }

    /// Opens the stream that every connected agent holds, and reads all that it begins with.
    pub async fn sync(&self) -> anyhow::Result<tonic::Streaming<wire::SyncResponse>> {
        let answer = NodeClient::new(self.channel.clone()).sync(wire::SyncRequest::default()).await?;
        let mut stream = answer.into_inner();
        while stream.message().await?.context("the stream ended")?.more {}
        Ok(stream)
    }

    /// Has one workload's SVID signed.
    pub async fn sign(&self, entry_id: &str, csr: &[u8]) -> anyhow::Result<wire::SvidResult> {
        let request = wire::SvidRequest { entry_id: entry_id.to_owned(), csr: csr.to_vec() };
        let request = wire::SignX509SvidsRequest { requests: vec![request] };
        let answer = NodeClient::new(self.channel.clone()).sign_x509_svids(request).await?.into_inner();
        answer.results.into_iter().next().context("nothing was answered")
    }
}

fn config(identity: Option<(&[Vec<u8>], &[u8])>) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OurOwnServer));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = rustls::crypto::ring::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))?;
            let chain = chain.iter().cloned().map(CertificateDer::from).collect();
            let certified = rustls::sign::CertifiedKey::new(chain, key);
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Checks nothing: the generator started this server itself on loopback, and its time is not what is measured.
#[derive(Debug)]
struct OurOwnServer;

impl ServerCertVerifier for OurOwnServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
