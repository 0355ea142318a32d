//! A site as its askers meet it: over TLS with files that change, on a Unix socket, and not in the clear.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::Http;

struct Echo;

impl Answers for Echo {
    async fn answer(&self, request: Request<Incoming>, from: Asker) -> Response<Body> {
        Response::new(Body::from(format!("{} {from:?}", request.uri().path())))
    }
}

/// Writes a self-signed certificate for `localhost` and its key.
fn write(directory: &Path) -> CertificateFiles {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let files = CertificateFiles { chain: directory.join("chain.pem"), key: directory.join("key.pem") };
    std::fs::write(&files.chain, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    mode(&files.key, 0o600);
    files
}

fn mode(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn site(place: &str, certificate: Option<CertificateFiles>) -> Site {
    Site { name: "test", place: place.parse().unwrap(), certificate, forwarded: false }
}

#[tokio::test]
async fn a_site_speaks_tls_with_the_certificate_of_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let files = write(directory.path());
    let stop = CancellationToken::new();
    let bound = site("127.0.0.1:0", Some(files.clone())).bind(Arc::new(Echo), stop.clone()).await.unwrap().unwrap();
    let ask = async || {
        let http = Http::new(&files.chain, Duration::from_secs(20));
        http.get(&format!("https://localhost:{}/path", bound.port()), 100).await
    };
    let answer = ask().await.unwrap();
    assert_eq!(answer.body, b"/path Address(127.0.0.1)");
    // Another certificate under the same name: whoever trusts the new file alone is answered, as soon as it was looked at.
    write(directory.path());
    let mut answered = false;
    for _ in 0..600 {
        answered = ask().await.is_ok();
        if answered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(answered, "the new certificate is in use");
    stop.cancel();
}

#[test]
fn a_certificate_that_cannot_be_used_leaves_the_former_one() {
    let directory = tempfile::tempdir().unwrap();
    let files = write(directory.path());
    let certificate = Certificate::open(files.clone(), "web.certificate").unwrap();
    let before = certificate.current().cert.clone();
    let other = tempfile::tempdir().unwrap();
    // The key of another certificate.
    std::fs::copy(write(other.path()).key, &files.key).unwrap();
    certificate.refresh();
    assert_eq!(certificate.current().cert, before);
    for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&files.chain, broken).unwrap();
        certificate.refresh();
        assert_eq!(certificate.current().cert, before, "{broken:?}");
    }
    write(directory.path());
    certificate.refresh();
    assert_ne!(certificate.current().cert, before);
}

#[test]
fn a_key_that_others_may_read_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let files = write(directory.path());
    let opened = |permitted: u32| {
        mode(&files.key, permitted);
        Certificate::open(files.clone(), "web.certificate").map(|_| ())
    };
    for (permitted, taken) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false), (0o604, false)] {
        assert_eq!(opened(permitted).is_ok(), taken, "{permitted:o}");
    }
    assert!(opened(0o644).unwrap_err().to_string().contains("expected 0600"), "and it is said");
    assert_eq!(WebFault::from(opened(0o644).unwrap_err()).code(), "web.certificate");
}

#[tokio::test]
async fn who_holds_connections_open_keeps_nobody_else_out() {
    let directory = tempfile::tempdir().unwrap();
    let files = write(directory.path());
    let stop = CancellationToken::new();
    let bound = site("127.0.0.1:0", Some(files.clone())).bind(Arc::new(Echo), stop.clone()).await.unwrap().unwrap();
    let from = async |address: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let roots = crate::http::tls(&files.chain).unwrap();
        let stream = socket.connect(bound).await.unwrap();
        tokio_rustls::TlsConnector::from(roots).connect("localhost".try_into().unwrap(), stream).await
    };
    let mut open = Vec::new();
    while let Ok(stream) = from("127.0.0.2").await {
        open.push(stream);
        assert!(open.len() < 200, "there is an end to it");
    }
    assert!(from("127.0.0.3").await.is_ok());
    drop(open);
    while from("127.0.0.2").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
}

#[tokio::test]
async fn plain_http_is_for_this_machine_alone() {
    let stop = CancellationToken::new();
    let refused = site("0.0.0.0:0", None).bind(Arc::new(Echo), stop.clone()).await.unwrap_err();
    assert_eq!(refused.code(), "web.plain");
    let bound = site("127.0.0.1:0", None).bind(Arc::new(Echo), stop.clone()).await.unwrap().unwrap();
    let http = Http::new(Path::new("/nonexistent"), Duration::from_secs(20));
    let answer = http.get(&format!("http://{bound}/a"), 100).await.unwrap();
    assert_eq!(answer.body, b"/a Address(127.0.0.1)");
    stop.cancel();
}

#[tokio::test]
async fn a_unix_socket_replaces_a_stale_one_and_knows_nobody_without_a_proxys_word() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.sock");
    let stop = CancellationToken::new();
    for _ in 0..2 {
        site(&format!("unix:{}", path.display()), None).bind(Arc::new(Echo), stop.clone()).await.unwrap();
    }
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("/b Proxied"), "{answer}");
    stop.cancel();
}
