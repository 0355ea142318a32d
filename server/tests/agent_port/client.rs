//! An agent in a few lines: one TLS connection, the generated stubs on it, and one attestation.

use std::net::SocketAddr;
use std::sync::Arc;

use holdfast_evidence::tpm::Ask;
use holdfast_protocol::agent as wire;
use holdfast_protocol::agent::complete_request::Part;
use holdfast_protocol::agent::complete_response::Outcome;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::agent_stubs::attestation_client::AttestationClient;
use crate::agent_stubs::node_client::NodeClient;
use crate::virtual_tpm::{Boot, VirtualTpm};

/// One connection. Dropping it closes it.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
}

/// A challenge as it came.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) answer: wire::BeginResponse,
    pub(crate) ask: Ask,
}

impl Begun {
    pub(crate) fn nonce(&self) -> [u8; 32] {
        self.answer.nonce.as_slice().try_into().unwrap()
    }
}

impl Client {
    /// `identity`: certificate chain and PKCS#8 key.
    pub(crate) async fn connect(
        address: SocketAddr,
        root: &[u8],
        identity: Option<(Vec<Vec<u8>>, Vec<u8>)>,
    ) -> Result<Self, tonic::transport::Error> {
        let config = Arc::new(config(root, identity));
        let connector = tower::service_fn(move |_| {
            let config = config.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from("holdfast").unwrap();
                Ok::<_, std::io::Error>(TokioIo::new(TlsConnector::from(config).connect(name, stream).await?))
            }
        });
        let channel = Endpoint::from_static("http://holdfast").connect_with_connector(connector).await?;
        Ok(Self { channel })
    }

    pub(crate) async fn begin(&self, tpm: &VirtualTpm) -> Result<Begun, Status> {
        self.begin_with(tpm.material().encode()).await
    }

    pub(crate) async fn begin_with(&self, material: Vec<u8>) -> Result<Begun, Status> {
        self.begin_all(vec![wire::IdentityMaterial { kind: "tpm".to_owned(), material }]).await
    }

    pub(crate) async fn begin_all(&self, materials: Vec<wire::IdentityMaterial>) -> Result<Begun, Status> {
        let request = wire::BeginRequest { materials, agent_version: "test".to_owned(), has_measured_files: false };
        let answer = AttestationClient::new(self.channel.clone()).begin(request).await?.into_inner();
        let ask = Ask::parse(&answer.asks[0].ask).unwrap();
        Ok(Begun { answer, ask })
    }

    pub(crate) async fn complete(
        &self,
        seal: &[u8],
        node_key_spki: Vec<u8>,
        item: &[u8],
    ) -> Result<wire::CompleteResponse, Status> {
        let header = wire::AnswerHeader {
            seal: seal.to_vec(),
            node_key_spki,
            csr: Vec::new(),
            items: vec![wire::ItemHeader { kind: "tpm".to_owned(), length: item.len() as u32 }],
            measured_files: None,
        };
        let mut parts = vec![Part::Header(header)];
        parts.extend(item.chunks(64 << 10).map(|chunk| Part::Chunk(chunk.to_vec())));
        self.send(parts).await
    }

    pub(crate) async fn send(&self, parts: Vec<Part>) -> Result<wire::CompleteResponse, Status> {
        let parts: Vec<_> = parts.into_iter().map(|part| wire::CompleteRequest { part: Some(part) }).collect();
        let answer = AttestationClient::new(self.channel.clone()).complete(tokio_stream::iter(parts)).await?;
        Ok(answer.into_inner())
    }

    /// Begin and complete; what came of it.
    pub(crate) async fn attest(&self, tpm: &mut VirtualTpm, boot: &Boot) -> Result<wire::Admitted, Status> {
        let begun = self.begin(tpm).await?;
        self.answer(&begun, tpm, boot).await
    }

    /// Begin and complete on the node's own connection, without a word about itself.
    pub(crate) async fn renew(&self, tpm: &mut VirtualTpm, boot: &Boot) -> Result<wire::Admitted, Status> {
        let begun = self.begin_all(Vec::new()).await?;
        self.answer(&begun, tpm, boot).await
    }

    pub(crate) async fn answer(
        &self,
        begun: &Begun,
        tpm: &mut VirtualTpm,
        boot: &Boot,
    ) -> Result<wire::Admitted, Status> {
        let item = tpm.answer(&begun.ask, &begun.nonce(), boot);
        match self.complete(&begun.answer.seal, tpm.node_spki(), &item).await?.outcome.unwrap() {
            Outcome::Admitted(admitted) => Ok(admitted),
            Outcome::NeedMore(more) => panic!("{more:?}"),
        }
    }

    pub(crate) fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }
}

fn config(root: &[u8], identity: Option<(Vec<Vec<u8>>, Vec<u8>)>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root.to_vec())).unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PathOnly(roots)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
            let key = rustls::crypto::ring::sign::any_ecdsa_type(&key).unwrap();
            let chain = chain.into_iter().map(CertificateDer::from).collect();
            let certified = rustls::sign::CertifiedKey::new(chain, key);
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Path validation to our root; the name is tested elsewhere.
#[derive(Debug)]
struct PathOnly(RootCertStore);

impl ServerCertVerifier for PathOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
        let leaf = rustls::server::ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(&leaf, &self.0, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let provider = rustls::crypto::ring::default_provider();
        rustls::crypto::verify_tls13_signature(message, cert, dss, &provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
