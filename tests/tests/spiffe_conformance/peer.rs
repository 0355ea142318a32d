//! TLS peers of our programs that show what they are told to: a client of the agent port, and a server to an agent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use crate::forge::Shown;

/// HTTP/2's preface and empty settings, to which every server answers.
pub(crate) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The chain and key as TLS shows them, whether or not they belong together.
pub(crate) fn certified(shown: &Shown) -> Arc<SingleCertAndKey> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(shown.key_pkcs8.as_slice()));
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&key).unwrap();
    let chain = shown.chain.iter().cloned().map(CertificateDer::from).collect();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// Connects to the agent port as a client that shows this, or nothing.
fn connect(address: &str, shown: Option<&Shown>) -> StreamOwned<ClientConnection, TcpStream> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(certified(shown)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("holdfast-server").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

/// Whether the agent port lets in who shows this: in TLS 1.3 a client learns it with the first answer.
pub(crate) fn is_let_in(address: &str, shown: Option<&Shown>) -> bool {
    let mut stream = connect(address, shown);
    stream
        .write_all(HELLO)
        .and_then(|()| stream.flush())
        .and_then(|()| stream.read(&mut [0; 64]))
        .is_ok_and(|bytes| bytes > 0)
}

/// What the server shows of itself, leaf first.
pub(crate) fn shown(address: &str) -> Vec<Vec<u8>> {
    let mut stream = connect(address, None);
    stream.write_all(HELLO).and_then(|()| stream.flush()).and_then(|()| stream.read(&mut [0; 64])).unwrap();
    stream.conn.peer_certificates().unwrap().iter().map(|der| der.to_vec()).collect()
}

/// Checks nothing: it is we who are checked.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
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
