//! Fetching from real TLS servers: what is taken, and each thing that is refused with exactly one input changed.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_identity::{SpiffeId, TrustDomain};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::fetch::{Fetched, KnownBy, fetch, follow};
use super::{FederationSettings, FetchFault};
use crate::authority::pem;
use crate::http::{Http, Near};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn authority(names: &[&str]) -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "authority of tests");
    params.subject_alt_names = names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect();
    CertifiedIssuer::self_signed(params, key()).unwrap()
}

/// TLS with a leaf of these names.
fn tls(issuer: &Issuer, names: Vec<SanType>) -> Arc<ServerConfig> {
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = names;
    let key = key();
    let leaf = params.signed_by(&key, issuer).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![leaf.der().clone(), CertificateDer::from(issuer.der().to_vec())];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, private).unwrap())
}

fn ip(text: &str) -> SanType {
    SanType::IpAddress(text.parse().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// What a server answers, byte for byte, and what it does then.
#[derive(Clone)]
enum Says {
    Text(String),
    /// This, and then nothing for ever.
    AndWaits(String),
    /// A body without end.
    Endless,
}

fn ok(body: &str) -> Says {
    Says::Text(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn redirect(location: &str) -> Says {
    Says::Text(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"))
}

/// A server that answers each connection the same; its address.
async fn serve(config: Arc<ServerConfig>, says: Says) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, says) = (TlsAcceptor::from(config.clone()), says.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                match says {
                    Says::Text(text) => {
                        let _ = stream.write_all(text.as_bytes()).await;
                        let _ = stream.shutdown().await;
                    }
                    Says::AndWaits(text) => {
                        let _ = stream.write_all(text.as_bytes()).await;
                        std::future::pending::<()>().await;
                    }
                    Says::Endless => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                        while stream.write_all(&[b' '; 16 << 10]).await.is_ok() {}
                    }
                }
            });
        }
    });
    address
}

const BUNDLE: &str = r#"{"keys":[],"spiffe_sequence":3,"spiffe_refresh_hint":60}"#;

fn domain() -> TrustDomain {
    "other.org".parse().unwrap()
}

/// Settings that believe `issuer` for hosts.
fn believing(issuer: &Issuer) -> (tempfile::NamedTempFile, FederationSettings) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem("CERTIFICATE", issuer.der()).as_bytes()).unwrap();
    let ca_file = file.path().to_owned();
    (file, FederationSettings { ca_file, timeout: Duration::from_secs(20), refresh_min: 1 })
}

async fn by_host(issuer: &Issuer, url: &str) -> Result<Fetched, FetchFault> {
    let (_file, settings) = believing(issuer);
    fetch(&domain(), &url.parse().unwrap(), KnownBy::Host, &settings).await
}

const ENDPOINT: &str = "spiffe://other.org/holdfast/server";

async fn by_svid(issuer: &Issuer, url: &str) -> Result<Fetched, FetchFault> {
    let id: SpiffeId = ENDPOINT.parse().unwrap();
    let settings = FederationSettings { timeout: Duration::from_secs(20), ..FederationSettings::default() };
    fetch(&domain(), &url.parse().unwrap(), KnownBy::Svid(id, vec![issuer.der().to_vec()]), &settings).await
}

fn says(result: Result<Fetched, FetchFault>, code: &str, words: &str) {
    let fault = result.map(|_| ()).unwrap_err();
    assert_eq!(fault.code(), code, "{fault}");
    assert!(fault.to_string().contains(words), "{fault} has no {words:?}");
}

#[tokio::test]
async fn by_its_hosts_certificate_an_endpoint_is_known_by_name_or_address() {
    let issuer = authority(&[]);
    let at = serve(tls(&issuer, vec![ip("127.0.0.1"), dns("localhost")]), ok(BUNDLE)).await;
    for host in ["127.0.0.1", "localhost"] {
        let fetched = by_host(&issuer, &format!("https://{host}:{}/", at.port())).await.unwrap();
        assert_eq!((fetched.bundle.sequence, fetched.document.bytes), (Some(3), BUNDLE.as_bytes().to_vec()));
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_or_of_nobody_is_refused() {
    let issuer = authority(&[]);
    let at = serve(tls(&issuer, vec![ip("127.0.0.2"), dns("other.example")]), ok(BUNDLE)).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}/", at.port());
        says(by_host(&issuer, &url).await, "federation.fetch.no_answer", "TLS");
    }
    let at = serve(tls(&authority(&[]), vec![ip("127.0.0.1")]), ok(BUNDLE)).await;
    says(by_host(&issuer, &format!("https://{at}/")).await, "federation.fetch.no_answer", "TLS");
}

#[tokio::test]
async fn by_its_svid_an_endpoint_is_known_whatever_its_host() {
    let issuer = authority(&["spiffe://other.org"]);
    let at = serve(tls(&issuer, vec![uri(ENDPOINT)]), ok(BUNDLE)).await;
    by_svid(&issuer, &format!("https://localhost:{}/", at.port())).await.unwrap();
    by_svid(&issuer, &format!("https://{at}/")).await.unwrap();
}

#[tokio::test]
async fn an_svid_with_another_id_or_under_another_authority_is_refused() {
    let issuer = authority(&["spiffe://other.org"]);
    let wrong = "spiffe://other.org/holdfast/servers";
    let at = serve(tls(&issuer, vec![uri(wrong)]), ok(BUNDLE)).await;
    let refused = by_svid(&issuer, &format!("https://{at}/")).await;
    says(refused, "federation.fetch.no_answer", &format!("names {wrong}, expected {ENDPOINT}"));
    let at = serve(tls(&issuer, vec![uri("spiffe://third.org/holdfast/server")]), ok(BUNDLE)).await;
    says(by_svid(&issuer, &format!("https://{at}/")).await, "federation.fetch.no_answer", "no X.509-SVID");
    let at = serve(tls(&issuer, vec![ip("127.0.0.1")]), ok(BUNDLE)).await;
    says(by_svid(&issuer, &format!("https://{at}/")).await, "federation.fetch.no_answer", "no X.509-SVID");
    let stranger = authority(&["spiffe://other.org"]);
    let at = serve(tls(&stranger, vec![uri(ENDPOINT)]), ok(BUNDLE)).await;
    says(by_svid(&issuer, &format!("https://{at}/")).await, "federation.fetch.no_answer", "TLS");
    let nobody = KnownBy::Svid(ENDPOINT.parse().unwrap(), Vec::new());
    let (url, settings) = (format!("https://{at}/").parse().unwrap(), FederationSettings::default());
    let none = fetch(&domain(), &url, nobody, &settings).await;
    says(none, "federation.fetch.no_authority", "other.org");
}

#[tokio::test]
async fn a_redirect_is_followed_under_the_same_rules() {
    let issuer = authority(&[]);
    let good = tls(&issuer, vec![ip("127.0.0.1")]);
    let last = serve(good.clone(), ok(BUNDLE)).await;
    let at = serve(good.clone(), redirect(&format!("https://{last}/there"))).await;
    by_host(&issuer, &format!("https://{at}/")).await.unwrap();
    for (location, words) in [
        (format!("http://{last}/"), "its scheme is not https"),
        (format!("https://user@{last}/"), "it names a user"),
        ("file:///etc/passwd".to_owned(), "it is no URL"),
        (String::new(), "it is no URL"),
    ] {
        let at = serve(good.clone(), redirect(&location)).await;
        says(by_host(&issuer, &format!("https://{at}/")).await, "federation.fetch.redirect", words);
    }
    let elsewhere = serve(tls(&issuer, vec![ip("127.0.0.2")]), ok(BUNDLE)).await;
    let at = serve(good.clone(), redirect(&format!("https://{elsewhere}/"))).await;
    says(by_host(&issuer, &format!("https://{at}/")).await, "federation.fetch.no_answer", "TLS");
    let at = serve(good, redirect("/again")).await;
    says(by_host(&issuer, &format!("https://{at}/")).await, "federation.fetch.redirects", "more than 3 times");
}

#[tokio::test]
async fn nobody_far_away_leads_to_what_is_near() {
    let issuer = authority(&[]);
    let at = serve(tls(&issuer, vec![ip("127.0.0.1"), dns("localhost")]), ok(BUNDLE)).await;
    let (_file, settings) = believing(&issuer);
    let http = Http::new(&settings.ca_file, settings.timeout);
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}/", at.port()).parse().unwrap();
        follow(&http, &url, Near::Machine).await.unwrap();
        for nearest in [Near::Internet, Near::Network] {
            let fault = follow(&http, &url, nearest).await.unwrap_err();
            assert!(fault.to_string().contains("is on this machine or its link: nobody"), "{fault}");
        }
    }
    // The metadata of clouds: not even asked for.
    let metadata = "https://169.254.169.254/latest/meta-data/".parse().unwrap();
    let fault = follow(&http, &metadata, Near::Network).await.unwrap_err();
    assert!(fault.to_string().contains("169.254.169.254 is on this machine or its link"), "{fault}");
}

#[tokio::test]
async fn a_redirect_to_another_id_is_refused() {
    let issuer = authority(&["spiffe://other.org"]);
    let same = serve(tls(&issuer, vec![uri(ENDPOINT)]), ok(BUNDLE)).await;
    let at = serve(tls(&issuer, vec![uri(ENDPOINT)]), redirect(&format!("https://{same}/"))).await;
    by_svid(&issuer, &format!("https://{at}/")).await.unwrap();
    let other = serve(tls(&issuer, vec![uri("spiffe://other.org/another")]), ok(BUNDLE)).await;
    let at = serve(tls(&issuer, vec![uri(ENDPOINT)]), redirect(&format!("https://{other}/"))).await;
    let words = "names spiffe://other.org/another";
    says(by_svid(&issuer, &format!("https://{at}/")).await, "federation.fetch.no_answer", words);
}

#[tokio::test]
async fn what_is_too_long_or_takes_too_long_is_refused() {
    let issuer = authority(&[]);
    let good = tls(&issuer, vec![ip("127.0.0.1")]);
    let at = serve(good.clone(), Says::Endless).await;
    says(by_host(&issuer, &format!("https://{at}/")).await, "federation.fetch.no_answer", "limit 1048576 bytes");
    let (_file, settings) = believing(&issuer);
    let settings = FederationSettings { timeout: Duration::from_millis(300), ..settings };
    for start in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let at = serve(good.clone(), Says::AndWaits(start.to_owned())).await;
        let slow = fetch(&domain(), &format!("https://{at}/").parse().unwrap(), KnownBy::Host, &settings).await;
        says(slow, "federation.fetch.no_answer", "no answer within");
    }
}

#[tokio::test]
async fn what_is_no_bundle_is_refused() {
    let issuer = authority(&[]);
    let good = tls(&issuer, vec![ip("127.0.0.1")]);
    for (answer, code) in [
        (ok("{\"keys\":[],\"keys\":[]}"), "federation.fetch.document"),
        (ok("{}"), "federation.fetch.document"),
        (ok("<html>"), "federation.fetch.document"),
        (Says::Text("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()), "federation.fetch.status"),
        (Says::Text("nonsense".to_owned()), "federation.fetch.no_answer"),
    ] {
        let at = serve(good.clone(), answer).await;
        says(by_host(&issuer, &format!("https://{at}/")).await, code, "");
    }
}
