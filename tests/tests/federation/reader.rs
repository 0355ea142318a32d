//! curl as a reader of our bundle endpoint, by both profiles.

use std::path::Path;
use std::process::Command;

use holdfast_tests::{Output, until};
use serde_json::Value;

use crate::domain::{Domain, PATIENCE};
use crate::stranger::{Issuer, address};

fn curl(words: &[&str]) -> Output {
    Output::of(Command::new("curl").args(["--silent", "--show-error", "--max-time", "20"]).args(words)).unwrap()
}

fn believing(ca: &Path, words: &[&str]) -> Output {
    curl(&[&["--cacert", &ca.display().to_string()], words].concat())
}

fn status(domain: &Domain, ca: &Path, words: &[&str]) -> String {
    let shown = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let url = domain.url();
    let words: Vec<&str> =
        shown.iter().chain(words).copied().chain((words.len() < 2).then_some(url.as_str())).collect();
    believing(ca, &words).stdout
}

#[test]
fn spiffe_078_anybody_may_get_the_newest_bundle_and_nothing_else() {
    let web = Issuer::new(&[]);
    let domain = Domain::with_certificate("shown.test", &web);
    let ca = domain.work.path().join("web.pem");
    let url = domain.url();
    let get = |url: &str| believing(&ca, &["--include", url]).success().unwrap().stdout;
    let answer = get(&url);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert!(head.contains("content-type: application/json") && head.contains("cache-control: no-cache"), "{head}");
    let document: Value = serde_json::from_str(body).unwrap();
    let key = &document["keys"][0];
    assert_eq!((key["use"].as_str(), key["x5c"].as_array().unwrap().len()), (Some("x509-svid"), 1));
    assert!(key.get("kid").is_none(), "{key}");
    assert_eq!(document["spiffe_refresh_hint"], 1);
    let before = document["spiffe_sequence"].as_u64().unwrap();

    let codes = |words: &[&str]| status(&domain, &ca, words);
    assert_eq!(codes(&[&format!("{url}other"), "--get"]), "404");
    for method in ["POST", "PUT", "HEAD", "DELETE"] {
        assert_eq!(codes(&["--request", method, &url]), "405", "{method}");
    }
    // Nobody is asked for a certificate or a name: one that is sent all the same changes nothing.
    let named = believing(&ca, &["--user", "a:b", "--include", &url]).success().unwrap().stdout;
    assert!(named.starts_with("HTTP/1.1 200"), "{named}");

    let keys = document["keys"].as_array().unwrap().len();
    domain.server.operator(&["authority", "jwt", "prepare"]).unwrap();
    let after = until("the newest bundle", PATIENCE, || {
        let shown: Value = serde_json::from_str(&believing(&ca, &[&url]).success().unwrap().stdout).unwrap();
        (shown["keys"].as_array().unwrap().len() > keys).then_some(shown)
    });
    assert!(after.unwrap()["spiffe_sequence"].as_u64().unwrap() > before);
}

#[test]
fn spiffe_075_tls_is_1_2_or_1_3_by_both_profiles() {
    let web = Issuer::new(&[]);
    let by_host = Domain::with_certificate("shown.test", &web);
    let by_svid = Domain::with_svid("other.test", &web);
    let weak = ["--ciphers", "DEFAULT@SECLEVEL=0", "--insecure", "--output", "/dev/null"];
    for domain in [&by_host, &by_svid] {
        let url = domain.url();
        let with = |more: &[&str]| curl(&[&weak[..], more, &[&url]].concat());
        with(&["--tlsv1.2", "--tls-max", "1.2"]).success().unwrap();
        with(&["--tlsv1.3"]).success().unwrap();
        let old = with(&["--tlsv1.0", "--tls-max", "1.1"]);
        assert_eq!(old.code, 35, "{}", old.stderr);
        assert!(old.stderr.contains("alert"), "refused by the server: {}", old.stderr);
        // Nothing but what Mozilla's intermediate profile has: no CBC, no RSA key exchange.
        let cbc = with(&["--tls-max", "1.2", "--ciphers", "AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"]);
        assert_eq!(cbc.code, 35, "{}", cbc.stderr);
    }
}

#[test]
fn certificates_in_files_are_taken_up_when_they_change_and_a_broken_pair_is_not() {
    let (web, next) = (Issuer::new(&[]), Issuer::new(&[]));
    let domain = Domain::with_certificate("shown.test", &web);
    let (old, new) = (domain.work.path().join("web.pem"), domain.work.path().join("next.pem"));
    std::fs::write(&new, next.pem()).unwrap();
    let url = domain.url();
    believing(&old, &[&url]).success().unwrap();
    // The key of another certificate: the former pair stays.
    let elsewhere = domain.work.sub("elsewhere").unwrap();
    let (_, key) = next.leaf_files(vec![address("127.0.0.1")], &elsewhere);
    let own_key = domain.work.path().join("endpoint.key");
    let before = std::fs::read(&own_key).unwrap();
    std::fs::copy(key, &own_key).unwrap();
    until("the broken pair is said", PATIENCE, || domain.log().contains("federation.certificate").then_some(()))
        .unwrap();
    believing(&old, &[&url]).success().unwrap();
    std::fs::write(&own_key, before).unwrap();
    next.leaf_files(vec![address("127.0.0.1")], domain.work.path());
    let taken = until("the new certificate", PATIENCE, || (believing(&new, &[&url]).code == 0).then_some(()));
    taken.unwrap_or_else(|why| panic!("{why}\n{}", domain.log()));
    assert_ne!(believing(&old, &[&url]).code, 0, "the former one is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_connections_open_has_so_many_places_and_others_are_answered() {
    use tokio::io::AsyncReadExt as _;
    let web = Issuer::new(&[]);
    let domain = Domain::with_certificate("shown.test", &web);
    let ca = domain.work.path().join("web.pem");
    let at = format!("127.0.0.1:{}", domain.port).parse().unwrap();
    let (told, mut closed) = tokio::sync::mpsc::channel(64);
    for _ in 0..40 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let (mut stream, told) = (socket.connect(at).await.unwrap(), told.clone());
        // Says nothing, and waits for what the other end does.
        tokio::spawn(async move {
            let _ = stream.read(&mut [0]).await;
            told.send(()).await
        });
    }
    for _ in 0..8 {
        closed.recv().await.unwrap();
    }
    assert!(closed.is_empty(), "the others are where they were");
    believing(&ca, &[&domain.url()]).success().unwrap();
}
