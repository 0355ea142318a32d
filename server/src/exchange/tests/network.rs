//! Exchanges over the network: keys that come and go, and what strangers are told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use holdfast_evidence::crypto::KeyKind;
use holdfast_svid::jwk::write_set;
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::Exchange;
use super::super::issuers::{Ages, KeySource, KnownIssuer, WAITING_MAX};
use super::{Ci, claims, house, house_with, settings};
use crate::budget::Rate;
use crate::http::Http;
use crate::web::{Answers, Asker, Site};

/// A site that shows keys, and stops when it is told to.
struct Keys {
    document: Mutex<Vec<u8>>,
    is_away: AtomicBool,
    asked: AtomicUsize,
}

impl Answers for Keys {
    async fn answer(&self, _: Request<Incoming>, _: Asker) -> Response<Body> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(Body::from(self.document.lock().unwrap().clone()));
        if self.is_away.load(Ordering::SeqCst) {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        response
    }
}

fn plain(name: &'static str) -> Site {
    Site { name, place: "127.0.0.1:0".parse().unwrap(), certificate: None, forwarded: false }
}

#[tokio::test]
async fn an_outage_of_the_keys_keeps_the_last_good_ones_for_a_time_and_a_new_key_is_fetched() {
    let mut house = house().await;
    let stop = CancellationToken::new();
    let document = Mutex::new(write_set([&house.ci.jwk()]));
    let keys = Arc::new(Keys { document, is_away: AtomicBool::new(false), asked: AtomicUsize::new(0) });
    let address = plain("keys").bind(keys.clone(), stop.clone()).await.unwrap().unwrap();
    let source = KeySource::Url(format!("http://{address}/keys"));
    let known = |kept_for: Duration, apart: Duration| {
        let ages = Ages { fetched_again_after: Duration::ZERO, fetches_apart: apart, kept_for };
        KnownIssuer::with_ages(settings(source.clone()), ages)
    };
    house.exchange.insert_issuer(known(Duration::from_secs(3600), Duration::ZERO));
    house.ask(house.ci.token(&claims()), &["shop"]).await.unwrap();
    keys.is_away.store(true, Ordering::SeqCst);
    house.ask(house.ci.token(&claims()), &["shop"]).await.unwrap();
    *keys.document.lock().unwrap() = b"not keys".to_vec();
    keys.is_away.store(false, Ordering::SeqCst);
    house.ask(house.ci.token(&claims()), &["shop"]).await.unwrap();

    // Another key: found as soon as the set has it.
    let next = Ci::new(KeyKind::EcP384, "ci-2");
    *keys.document.lock().unwrap() = write_set([&next.jwk()]);
    house.ask(next.token(&claims()), &["shop"]).await.unwrap();
    assert_eq!(house.code(&claims()).await, "jwt.key.unknown", "the former key is gone");

    // It takes its own keys back, and that is its word.
    *keys.document.lock().unwrap() = br#"{"keys":[]}"#.to_vec();
    assert_eq!(house.ask(next.token(&claims()), &["shop"]).await.unwrap_err().code(), "jwt.key.unknown");
    *keys.document.lock().unwrap() = write_set([&next.jwk()]);
    house.ask(next.token(&claims()), &["shop"]).await.unwrap();

    // Too old, or never there.
    keys.is_away.store(true, Ordering::SeqCst);
    house.exchange.insert_issuer(known(Duration::ZERO, Duration::ZERO));
    let refused = house.ask(next.token(&claims()), &["shop"]).await.unwrap_err();
    assert_eq!((refused.code(), refused.told().status), ("exchange.keys", StatusCode::SERVICE_UNAVAILABLE));

    // Whatever keys strangers name, the issuer is asked once in a while.
    keys.is_away.store(false, Ordering::SeqCst);
    house.exchange.insert_issuer(known(Duration::from_secs(3600), Duration::from_secs(3600)));
    let before = keys.asked.load(Ordering::SeqCst);
    for n in 0..5 {
        let named = house.ci.named(&format!("made-up-{n}"), &claims());
        assert_eq!(house.ask(named, &["shop"]).await.unwrap_err().code(), "jwt.key.unknown");
    }
    assert_eq!(keys.asked.load(Ordering::SeqCst), before + 1);
    stop.cancel();
}

#[tokio::test]
async fn whoever_sends_slowly_keeps_nobody_else_from_his_place() {
    use tokio::io::AsyncWriteExt as _;
    let house = house().await;
    let token = house.ci.token(&claims());
    let stop = CancellationToken::new();
    let address = plain("door").bind(Arc::new(Door(house.exchange)), stop.clone()).await.unwrap().unwrap();
    let mut slow = Vec::new();
    for _ in 0..80 {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "POST /token HTTP/1.1\r\nHost: door\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                    Content-Length: 100\r\n\r\ngrant_type=";
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    let http = Http::new(std::path::Path::new("/nonexistent"), Duration::from_secs(60));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}\
         &subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=shop"
    );
    let given = http.post(&format!("http://{address}/token"), headers, form.into_bytes(), 8192).await.unwrap();
    assert_eq!(given.status, StatusCode::OK);
    stop.cancel();
}

/// An issuer that answers when it is told to.
struct Slow {
    document: Vec<u8>,
    go: tokio::sync::Notify,
    asked: AtomicUsize,
}

impl Answers for Slow {
    async fn answer(&self, _: Request<Incoming>, _: Asker) -> Response<Body> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.go.notified().await;
        Response::new(Body::from(self.document.clone()))
    }
}

#[tokio::test]
async fn whoever_names_keys_that_a_slow_issuer_is_asked_for_keeps_nobody_else_from_his_place() {
    let mut house = house().await;
    let stop = CancellationToken::new();
    let slow = Arc::new(Slow {
        document: write_set([&house.ci.jwk()]),
        go: tokio::sync::Notify::new(),
        asked: AtomicUsize::new(0),
    });
    let address = plain("slow").bind(slow.clone(), stop.clone()).await.unwrap().unwrap();
    let other = "https://slow.example.org";
    let mut settings = settings(KeySource::Url(format!("http://{address}/keys")));
    (settings.issuer, settings.name) = (other.to_owned(), "slow".to_owned());
    house.exchange.insert_issuer(KnownIssuer::new(settings));
    let mut of_slow = claims();
    of_slow["iss"] = json!(other);
    let ask = |house: &Arc<super::House>, token: String| {
        let house = house.clone();
        tokio::spawn(async move { house.ask(token, &["shop"]).await.map_err(|refused| refused.code()) })
    };
    let house = Arc::new(house);
    // The first one hangs up while the issuer is asked, which goes on.
    let first = ask(&house, house.ci.token(&of_slow));
    while slow.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    let waiting: Vec<_> = (0..80).map(|n| ask(&house, house.ci.named(&format!("made-up-{n}"), &of_slow))).collect();
    let mut turned_away = 0;
    while turned_away + WAITING_MAX < waiting.len() {
        turned_away = waiting.iter().filter(|one| one.is_finished()).count();
        tokio::task::yield_now().await;
    }
    house.ask(house.ci.token(&claims()), &["shop"]).await.unwrap();
    slow.go.notify_one();
    let mut codes = Vec::new();
    for one in waiting {
        codes.push(one.await.unwrap().unwrap_err());
    }
    let count = |code: &str| codes.iter().filter(|found| **found == code).count();
    assert!(count("exchange.keys") >= 80 - WAITING_MAX && count("exchange.keys") + count("jwt.key.unknown") == 80);
    // Once, for all of them and for whoever hung up.
    assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
    stop.cancel();
}

/// The token endpoint alone.
struct Door(Exchange);

impl Answers for Door {
    async fn answer(&self, request: Request<Incoming>, from: Asker) -> Response<Body> {
        self.0.answer(request, from).await
    }
}

#[tokio::test]
async fn a_stranger_is_told_a_word_and_a_number_and_no_more() {
    let house = house_with(|settings| settings.per_source = Rate { per_second: 0.001, burst: 4.0 }).await;
    let (good, mut wrong) = (house.ci.token(&claims()), claims());
    wrong["sub"] = json!("repo:acme/app:pull_request");
    let wrong = house.ci.token(&wrong);
    let stop = CancellationToken::new();
    let address = plain("door").bind(Arc::new(Door(house.exchange)), stop.clone()).await.unwrap().unwrap();
    let http = Http::new(std::path::Path::new("/nonexistent"), Duration::from_secs(20));
    let post = async |token: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}\
             &subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=shop"
        );
        http.post(&format!("http://{address}/token"), headers, form.into_bytes(), 8192).await.unwrap()
    };
    let given = post(&good).await;
    let answer: Value = serde_json::from_slice(&given.body).unwrap();
    assert_eq!(
        (given.status, &answer["token_type"], &answer["expires_in"]),
        (StatusCode::OK, &json!("N_A"), &json!(120))
    );
    assert_eq!(given.headers["cache-control"], "no-store");
    for token in [wrong.as_str(), &good, "a.b.c"] {
        let refused = post(token).await;
        let answer: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!((refused.status, &answer["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
        let said = answer["error_description"].as_str().unwrap();
        assert!(said.starts_with("exchange ") && said.len() == 25, "{answer}");
        assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    }
    let over = post(&good).await;
    assert_eq!(over.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(over.headers.contains_key("retry-after"));
    let get = http.get(&format!("http://{address}/token"), 1024).await.unwrap();
    assert_eq!((get.status, get.headers["allow"].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    stop.cancel();
}
