//! A service over TLS: believed only if a CA of the operator's file speaks for its host.

use std::path::Path;
use std::sync::Arc;

use holdfast_server::endorse::Asker;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::chips::{CHAIN, ark, ask, find, outcome, path, pem, vcek};
use crate::place::Place;

/// A CA, and a service for `localhost` that it speaks for; returns the CA's certificate and the service's URL.
async fn service() -> (Vec<u8>, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_der = ca.self_signed(&ca_key).unwrap().der().to_vec();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (key_of_chip, chain) = (vcek(1), pem(&[ask(), ark()]));
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            let asked = String::from_utf8(asked).unwrap();
            let (status, body) = match asked.split(' ').nth(1).unwrap() {
                found if found == path(1) => ("200 OK", key_of_chip.as_slice()),
                CHAIN => ("200 OK", chain.as_slice()),
                _ => ("404 Not Found", &[][..]),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (ca_der, url)
}

async fn asked(url: &str, ca_file: &Path) -> Result<usize, &'static str> {
    let place = Place::with(|settings| {
        settings.amd_url = Some(url.to_owned());
        settings.ca_file = ca_file.to_owned();
    })
    .await;
    place.trust.root(&ark());
    outcome(find(&place, 1, Asker::Ours).await)
}

#[tokio::test]
async fn only_a_host_that_a_ca_of_the_file_speaks_for_is_believed() {
    let directory = tempfile::tempdir().unwrap();
    let ((ca, url), (other_ca, _)) = (service().await, service().await);
    let (right, wrong) = (directory.path().join("right.pem"), directory.path().join("wrong.pem"));
    std::fs::write(&right, pem(&[other_ca.clone(), ca])).unwrap();
    std::fs::write(&wrong, pem(&[other_ca])).unwrap();
    assert_eq!(asked(&url, &right).await, Ok(1));
    assert_eq!(asked(&url, &wrong).await, Err("endorse.unreachable"));
    assert_eq!(asked(&url, &directory.path().join("none.pem")).await, Err("endorse.unreachable"));
    let by_address = url.replace("localhost", "127.0.0.1");
    assert_eq!(asked(&by_address, &right).await, Err("endorse.unreachable"), "the certificate names another host");
}
