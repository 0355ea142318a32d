//! The agent port as strangers and clumsy friends meet it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use holdfast_identity::SpiffeId;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::authority::testing::{Place, leaf_params, sign, svid_for};
use crate::authority::{Bundle, Issuer, KeyId, OwnCertificate, OwnKey, init};
use crate::clock;
use crate::store::{IssuerKeyId, ListValidity, RevocationList, Signer};

struct Port {
    place: Place,
    issuer: Issuer,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    tls: TlsSettings,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn counting(bundle: &Bundle) -> Counting {
    Counting::new(bundle, std::iter::empty())
}

fn limits() -> ListenLimits {
    ListenLimits { handshake_timeout: Duration::from_millis(400), ..ListenLimits::default() }
}

async fn open(limits: ListenLimits) -> Port {
    let place = Place::at(clock::now());
    init(&place.options).unwrap();
    let issuer = place.issuer();
    let own = Arc::new(OwnCertificate::new());
    let key = OwnKey::generate().unwrap();
    let svid = sign(&issuer, issuer.draft_server(&key.spki(), 3600, clock::now()).unwrap());
    own.install(&key, &svid, clock::now()).unwrap();
    let tls = TlsSettings::new(own, issuer.bundle(), counting(issuer.bundle())).unwrap();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), tls.clone(), limits).unwrap();
    let router = Router::new()
        .route(
            "/who",
            get(|connection: axum::Extension<Arc<Connection>>| async move {
                connection.peer().map_or_else(|| "stranger".to_owned(), |peer| peer.spiffe_id.to_string())
            }),
        )
        .route("/hang", get(|| async { std::future::pending::<()>().await }));
    let (address, stop) = (listener.address(), CancellationToken::new());
    let serving = tokio::spawn(listener.serve(router, stop.clone()));
    Port { place, issuer, address, stop, serving, tls }
}

type Identity = (Vec<Vec<u8>>, Vec<u8>);

impl Port {
    fn client(&self, identity: Option<Identity>, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.bundle().authorities()[0].clone())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
        // Clients of the port check the SPIFFE ID; here the path alone is enough.
        let verifier = testing::PathOnly::new(roots, provider);
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            // As a resolver: the other way rustls itself refuses the spoilt ones.
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

    async fn connect(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("holdfast").unwrap(), stream).await
    }

    /// What `/who` answers to a client with this identity; `None` where the connection is refused.
    async fn who(&self, identity: Option<Identity>) -> Option<String> {
        let stream = self.connect(self.client(identity, &rustls::version::TLS13)).await.ok()?;
        request(stream, "/who").await
    }

    fn node(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let svid =
            svid_for(&self.issuer, &id("/holdfast/node/tpm/a"), &key.subject_public_key_info(), (clock::now(), 600));
        (svid.chain, key.serialize_der())
    }

    /// A client certificate that the issuer would never sign.
    fn spoilt(&self, spoil: impl FnOnce(&mut rcgen::CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params(&id("/holdfast/node/tpm/a"), clock::now());
        spoil(&mut params);
        (self.place.sign_anything(&params, &key), key.serialize_der())
    }
}

fn id(path: &str) -> SpiffeId {
    format!("spiffe://example.org{path}").parse().unwrap()
}

async fn request(stream: TlsStream<TcpStream>, path: &str) -> Option<String> {
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = hyper::Request::get(format!("https://holdfast{path}")).body(axum::body::Body::empty()).unwrap();
    let answer = send.send_request(request).await.ok()?;
    let body = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1024).await.ok()?;
    Some(String::from_utf8(body.to_vec()).unwrap())
}

/// Whether the peer ends the connection within `limit`.
async fn ends_within(stream: &mut (impl tokio::io::AsyncRead + Unpin), limit: Duration) -> bool {
    let mut sink = [0; 1024];
    tokio::time::timeout(limit, async { while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {} })
        .await
        .is_ok()
}

#[tokio::test]
async fn a_node_is_known_by_its_certificate_and_a_stranger_is_a_stranger() {
    let port = open(limits()).await;
    assert_eq!(port.who(None).await.as_deref(), Some("stranger"));
    assert_eq!(port.who(Some(port.node())).await.as_deref(), Some("spiffe://example.org/holdfast/node/tpm/a"));
}

#[tokio::test]
async fn a_node_whose_intermediate_was_revoked_is_refused_though_a_root_has_signed_it() {
    let port = open(limits()).await;
    let bundle = port.issuer.bundle().as_ref().clone();
    let (own, other) = (port.issuer.path().key_id.clone(), KeyId::new(&[7; 20]).unwrap());
    let trust = |bundle: Bundle| port.tls.trust(&bundle, counting(&bundle)).unwrap();
    trust(bundle.clone().with_marks(vec![own.clone()], vec![other]));
    assert!(port.who(Some(port.node())).await.is_some(), "tainted is not revoked, and another's is not its");
    trust(bundle.with_marks(Vec::new(), vec![own]));
    assert_eq!(port.who(Some(port.node())).await, None);
    assert_eq!(port.who(None).await.as_deref(), Some("stranger"));
}

/// The root's list of `place`, with its own intermediate on it, as the store would keep it.
fn list_of_root(place: &Place) -> RevocationList {
    let mut options = place.options.clone();
    let issuer = place.issuer();
    let (_, own) = x509_parser::parse_x509_certificate(issuer.intermediate()).unwrap();
    options.revoke_intermediates = vec![own.raw_serial().to_vec()];
    init(&options).unwrap();
    let der: Arc<[u8]> = std::fs::read(place.files().root_list()).unwrap().into();
    let validity = ListValidity { this_update: clock::now(), next_update: clock::now(), issuer_ends: clock::now() };
    RevocationList { issuer: IssuerKeyId([0; 20]), signer: Signer::Above, number: 1, validity, der }
}

#[tokio::test]
async fn connections_below_an_intermediate_that_is_revoked_are_cut_and_no_other() {
    let port = open(limits()).await;
    let bundle = port.issuer.bundle().as_ref().clone();
    let own = port.issuer.path().key_id.clone();
    // By an operator's command, of the intermediate or of the root, and by the root's list.
    let marked = bundle.clone().with_marks(Vec::new(), vec![own]);
    let without_root = bundle.clone().with_marks(Vec::new(), vec![port.issuer.path().root_id.clone()]);
    let ways = [
        (counting(&marked), marked),
        (Counting::new(&bundle, std::iter::once(&list_of_root(&port.place))), bundle.clone()),
        (counting(&without_root), without_root),
    ];
    for (counting_then, bundle_then) in ways {
        port.tls.trust(&bundle, counting(&bundle)).unwrap();
        let mut node = port.connect(port.client(Some(port.node()), &rustls::version::TLS13)).await.unwrap();
        let mut stranger = port.connect(port.client(None, &rustls::version::TLS13)).await.unwrap();
        // Both are served before anything happens.
        assert!(!ends_within(&mut node, Duration::from_millis(300)).await);
        assert_eq!(port.tls.cut(), 0);
        port.tls.trust(&bundle_then, counting_then).unwrap();
        assert_eq!(port.tls.cut(), 1);
        assert!(ends_within(&mut node, Duration::from_secs(20)).await);
        assert!(!ends_within(&mut stranger, Duration::from_millis(300)).await);
    }
}

#[tokio::test]
async fn a_node_whose_intermediate_stands_on_the_roots_list_is_refused() {
    let port = open(limits()).await;
    let bundle = port.issuer.bundle().as_ref().clone();
    let node = port.node();
    let list = list_of_root(&port.place);
    port.tls.trust(&bundle, Counting::new(&bundle, std::iter::once(&list))).unwrap();
    assert_eq!(port.who(Some(node)).await, None);
    assert_eq!(port.who(None).await.as_deref(), Some("stranger"));
}

#[tokio::test]
async fn a_session_is_never_resumed() {
    let port = open(limits()).await;
    let (chain, key) = port.node();
    let config = port.client(Some((chain, key)), &rustls::version::TLS13);
    for _ in 0..3 {
        // The same configuration, so that the client's session cache would be used.
        let mut stream = port.connect(config.clone()).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        // Give tickets, were there any, time to arrive.
        let _ = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut [0; 64])).await;
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let port = open(limits()).await;
    assert!(port.connect(port.client(None, &rustls::version::TLS12)).await.is_err());
}

#[tokio::test]
async fn a_certificate_that_is_no_leaf_of_this_trust_domain_is_refused() {
    let port = open(limits()).await;
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let spoilt: Vec<(&str, Identity)> = vec![
        ("two URI SANs", port.spoilt(|leaf| leaf.subject_alt_names.push(uri("spiffe://example.org/b")))),
        ("no URI SAN", port.spoilt(|leaf| leaf.subject_alt_names = vec![SanType::DnsName("a.b".try_into().unwrap())])),
        ("no SPIFFE ID", port.spoilt(|leaf| leaf.subject_alt_names = vec![uri("https://example.org/a")])),
        ("no path", port.spoilt(|leaf| leaf.subject_alt_names = vec![uri("spiffe://example.org")])),
        ("a workload", port.spoilt(|leaf| leaf.subject_alt_names = vec![uri("spiffe://example.org/web")])),
        ("other trust domain", port.spoilt(|leaf| leaf.subject_alt_names = vec![uri("spiffe://other.org/a")])),
        ("keyCertSign", port.spoilt(|leaf| leaf.key_usages.push(KeyUsagePurpose::KeyCertSign))),
        ("no key usage", port.spoilt(|leaf| leaf.key_usages.clear())),
        ("a signer", port.spoilt(|leaf| leaf.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained))),
        (
            "expired",
            port.spoilt(|leaf| {
                leaf.not_before = time::OffsetDateTime::from_unix_timestamp(clock::now().0 - 7200).unwrap();
                leaf.not_after = time::OffsetDateTime::from_unix_timestamp(clock::now().0 - 1).unwrap();
            }),
        ),
        (
            "server authentication only",
            port.spoilt(|leaf| {
                leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            "unknown critical extension",
            port.spoilt(|leaf| {
                let mut odd = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                odd.set_criticality(true);
                leaf.custom_extensions.push(odd);
            }),
        ),
        ("another root", {
            let other = Place::at(clock::now());
            init(&other.options).unwrap();
            let key = KeyPair::generate().unwrap();
            let spki = key.subject_public_key_info();
            (svid_for(&other.issuer(), &id("/a"), &spki, (clock::now(), 600)).chain, key.serialize_der())
        }),
        ("no intermediate", {
            let (chain, key) = port.node();
            (chain[..1].to_vec(), key)
        }),
    ];
    for (what, identity) in spoilt {
        assert_eq!(port.who(Some(identity)).await, None, "{what}");
    }
    assert!(port.who(Some(port.spoilt(|_| ()))).await.is_some(), "unspoilt it is accepted");
}

#[tokio::test]
async fn a_flipped_byte_in_a_certificate_is_refused() {
    let port = open(limits()).await;
    let (chain, key) = port.node();
    for at in (0..chain[0].len()).step_by(7) {
        let mut flipped = chain.clone();
        flipped[0][at] ^= 1;
        assert_eq!(port.who(Some((flipped, key.clone()))).await, None, "byte {at}");
    }
}

#[tokio::test]
async fn a_connection_that_never_shakes_hands_dies_and_the_port_lives_on() {
    let port = open(limits()).await;
    let mut silent = TcpStream::connect(port.address).await.unwrap();
    assert!(ends_within(&mut silent, Duration::from_secs(2)).await);
    let mut drip = TcpStream::connect(port.address).await.unwrap();
    drip.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap();
    assert!(ends_within(&mut drip, Duration::from_secs(2)).await);
    assert!(port.who(None).await.is_some());
}

#[tokio::test]
async fn whoever_shakes_no_hands_keeps_nobody_elsewhere_from_it() {
    let limits = ListenLimits { handshakes_max: 4, handshake_timeout: Duration::from_secs(60), ..limits() };
    let port = open(limits).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(port.address).await.unwrap());
    }
    assert_eq!(port.who(None).await.as_deref(), Some("stranger"));
    assert!(port.who(Some(port.node())).await.is_some());
}

#[tokio::test]
async fn garbage_on_the_port_harms_nothing() {
    let port = open(limits()).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        &[0x16; 20_000],
        b"\x16\x03\x01\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(port.address).await.unwrap();
        let _ = stream.write_all(garbage).await;
        assert!(ends_within(&mut stream, Duration::from_secs(2)).await);
    }
    let mut inside = port.connect(port.client(None, &rustls::version::TLS13)).await.unwrap();
    let _ = inside.write_all(&[0xff; 9000]).await;
    assert!(ends_within(&mut inside, Duration::from_secs(2)).await, "garbage inside TLS ends the connection");
    assert!(port.who(None).await.is_some());
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let port = open(ListenLimits { idle_timeout: Duration::from_millis(300), ..limits() }).await;
    let mut idle = port.connect(port.client(None, &rustls::version::TLS13)).await.unwrap();
    assert!(ends_within(&mut idle, Duration::from_secs(2)).await);
    let busy = port.connect(port.client(None, &rustls::version::TLS13)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(900), request(busy, "/hang")).await.is_err());
}

#[tokio::test]
async fn strangers_cannot_crowd_out_nodes() {
    let port = open(ListenLimits { anonymous_connections_max: 1, ..limits() }).await;
    let held = port.connect(port.client(None, &rustls::version::TLS13)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(port.who(None).await, None);
    assert!(port.who(Some(port.node())).await.is_some());
    drop(held);
}

#[tokio::test]
async fn the_port_stops_within_its_grace_even_with_a_request_that_hangs() {
    let mut port = open(ListenLimits { shutdown_grace: Duration::from_millis(200), ..limits() }).await;
    let stream = port.connect(port.client(None, &rustls::version::TLS13)).await.unwrap();
    let hanging = tokio::spawn(async move { request(stream, "/hang").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    port.stop.cancel();
    tokio::time::timeout(Duration::from_secs(2), &mut port.serving).await.unwrap().unwrap();
    hanging.abort();
}
