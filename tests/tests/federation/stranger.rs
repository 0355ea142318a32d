//! A foreign trust domain of a test's own: its authorities, and an endpoint that says whatever it should.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A key and what certifies it.
pub(crate) struct Issuer(CertifiedIssuer<'static, KeyPair>);

fn new_key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn address(text: &str) -> SanType {
    SanType::IpAddress(text.parse().unwrap())
}

impl Issuer {
    /// An authority that names these URIs.
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", names.join(" ")));
        params.subject_alt_names = names.iter().map(|name| uri(name)).collect();
        Self(CertifiedIssuer::self_signed(params, new_key()).unwrap())
    }

    pub(crate) fn der(&self) -> &[u8] {
        self.0.der()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A leaf of these names: its certificate and its key, DER.
    pub(crate) fn leaf(&self, names: Vec<SanType>) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.is_ca = IsCa::ExplicitNoCa;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = names;
        let key = new_key();
        (params.signed_by(&key, &self.0).unwrap().der().to_vec(), key.serialize_der())
    }

    /// The same as PEM files below `folder`, the key readable by its owner alone.
    pub(crate) fn leaf_files(&self, names: Vec<SanType>, folder: &Path) -> (PathBuf, PathBuf) {
        use std::os::unix::fs::PermissionsExt as _;
        let (leaf, key) = self.leaf(names);
        let (certificate_file, key_file) = (folder.join("endpoint.pem"), folder.join("endpoint.key"));
        let write = |path: &Path, label: &str, der: &[u8]| {
            let new = path.with_extension("new");
            std::fs::write(&new, pem::encode(&pem::Pem::new(label, der))).unwrap();
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(new, path).unwrap();
        };
        write(&key_file, "PRIVATE KEY", &key);
        write(&certificate_file, "CERTIFICATE", &leaf);
        (certificate_file, key_file)
    }
}

/// A bundle of these authorities.
pub(crate) fn bundle(authorities: &[&Issuer], sequence: u64) -> Value {
    let key = |issuer: &&Issuer| json!({ "use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "x5c": [STANDARD.encode(issuer.der())] });
    let keys: Vec<Value> = authorities.iter().map(key).collect();
    json!({ "keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": 1 })
}

/// An HTTPS server that says what it is told to say.
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    says: Arc<Mutex<Option<String>>>,
}

impl Endpoint {
    /// Shows a leaf of `issuer` with these names.
    pub(crate) async fn start(issuer: &Issuer, names: Vec<SanType>) -> Self {
        let (leaf, key) = issuer.leaf(names);
        let chain = vec![CertificateDer::from(leaf), CertificateDer::from(issuer.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let says = Arc::new(Mutex::new(None));
        let told: Arc<Mutex<Option<String>>> = says.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, answer) = (TlsAcceptor::from(config.clone()), told.lock().unwrap().clone());
                let Some(answer) = answer else { continue };
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { port, says }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    /// Answers with this document.
    pub(crate) fn shows(&self, document: &str) {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", document.len());
        self.answers(&format!("{head}{document}"));
    }

    /// Sends everybody there.
    pub(crate) fn redirects(&self, location: &str) {
        self.answers(&format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
    }

    pub(crate) fn answers(&self, text: &str) {
        *self.says.lock().unwrap() = Some(text.to_owned());
    }

    /// Hangs up on everybody.
    pub(crate) fn falls_silent(&self) {
        *self.says.lock().unwrap() = None;
    }
}
