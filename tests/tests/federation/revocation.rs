//! What workloads hold of a foreign trust domain, over outages, revocation and impostors.

use std::sync::Arc;

use holdfast_tests::{WorkDir, until};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::domain::{Domain, PATIENCE, machines};
use crate::stranger::{Endpoint, Issuer, address, bundle, uri};

const OTHER: &str = "other.test";

fn metric(domain: &Domain, name: &str) -> Option<String> {
    let url = format!("http://127.0.0.1:{}/metrics", domain.server.metrics_port());
    let text = std::process::Command::new("curl").args(["--silent", &url]).output().ok()?.stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().find(|line| line.starts_with(name)).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_041_empty_keys_revoke_a_domain_and_an_outage_does_not() {
    let web = Issuer::new(&[]);
    let domain = Domain::with_svid("here.test", &web);
    let work = WorkDir::new().unwrap();
    let machines = machines(1, &work);
    let workloads = domain.enrol(&machines, 0);
    let (root, next) = (Issuer::new(&["spiffe://other.test"]), Issuer::new(&["spiffe://other.test"]));
    let endpoint = Endpoint::start(&web, vec![address("127.0.0.1")]).await;
    endpoint.shows(&bundle(&[&root], 1).to_string());
    domain.federate_by_host(OTHER, &endpoint.url()).success().unwrap();
    workloads.enter(&domain, "web", &[OTHER]);
    workloads.until_foreign(OTHER, 1);

    endpoint.falls_silent();
    let found = domain.until_federation(OTHER, "the outage", |found| found["failures"].as_u64().unwrap() >= 2);
    assert_eq!((&found["bundle"]["x509_authorities"], &found["bundle"]["revoked"]), (&1.into(), &false.into()));
    assert_eq!(workloads.foreign(OTHER).unwrap().len(), 1, "the last good bundle stays");
    let alarm = metric(&domain, "holdfast_alarms_total{alarm=\"federation.unreachable\"}").unwrap();
    assert!(!alarm.ends_with(" 0"), "{alarm}");
    assert!(metric(&domain, "holdfast_federation_failures{trust_domain=\"other.test\"}").is_some());
    let list = domain.server.cli(&["federation", "list"]).unwrap();
    assert_eq!(list.code, 1, "{}", list.stdout);

    endpoint.shows(&bundle(&[&root, &next], 2).to_string());
    workloads.until_foreign(OTHER, 2);
    endpoint.shows("{\"keys\":[],\"spiffe_sequence\":3,\"spiffe_refresh_hint\":1}");
    workloads.until_foreign(OTHER, 0);
    let found = domain.federation(OTHER);
    assert_eq!((&found["bundle"]["revoked"], &found["failures"]), (&true.into(), &0.into()));
    endpoint.shows(&bundle(&[&next], 4).to_string());
    workloads.until_foreign(OTHER, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_074_an_authority_of_another_domain_vouches_for_nobody_of_ours() {
    let web = Issuer::new(&[]);
    let domain = Domain::with_svid("here.test", &web);
    let work = WorkDir::new().unwrap();
    let machines = machines(1, &work);
    let workloads = domain.enrol(&machines, 0);
    let root = Issuer::new(&["spiffe://other.test"]);
    let file = domain.work.path().join("other.json");
    std::fs::write(&file, bundle(&[&root], 1).to_string()).unwrap();
    domain.server.operator(&["bundle", "set", "--id", OTHER, "--path", &file.display().to_string()]).unwrap();
    workloads.enter(&domain, "web", &[OTHER]);
    workloads.until_foreign(OTHER, 1);
    for (claimed, admitted) in [("spiffe://other.test/client", true), ("spiffe://here.test/client", false)] {
        let log = domain.work.path().join(format!("web-{admitted}.log"));
        let (server, at) = workloads.serve(claimed, &log);
        let ended = until("the server has decided", PATIENCE, || {
            let rt = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| rt.block_on(knock(&root, claimed, &at)));
            let log = server.log();
            (log.contains("heard") || log.contains("refused a peer")).then_some(log)
        });
        let log = ended.unwrap();
        assert_eq!(log.contains("heard"), admitted, "{claimed}: {log}");
    }
}

/// Calls as `claimed`, with a certificate of `issuer`.
async fn knock(issuer: &Issuer, claimed: &str, at: &str) {
    use tokio::io::AsyncWriteExt as _;
    let (leaf, key) = issuer.leaf(vec![uri(claimed)]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(vec![CertificateDer::from(leaf)], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))
        .unwrap();
    let Ok(socket) = tokio::net::TcpStream::connect(at).await else { return };
    let name = "here.test".try_into().unwrap();
    let Ok(mut stream) = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await else { return };
    let _ = stream.write_all(b"hello").await;
    let _ = stream.shutdown().await;
}

/// The one who knocks believes everybody: whom he is let in by is the question.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
