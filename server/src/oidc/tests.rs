//! The site as its readers meet it.

use std::sync::Arc;
use std::time::Duration;

use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::authority::life::Command;
use crate::authority::{AuthorityFiles, TokenAuthority, TokenSettings};
use crate::clock;
use crate::http::{Answer, Http};
use crate::store::{Actor, Store};
use crate::web::Site;

const ISSUER: &str = "https://td.example/oidc";

async fn serve(store: Arc<dyn Store>, stop: &CancellationToken) -> impl AsyncFn(&str) -> Answer {
    let site = OidcSite::new(store, ISSUER.parse().unwrap(), None, None);
    let place = Site { name: "oidc", place: "127.0.0.1:0".parse().unwrap(), certificate: None, forwarded: false };
    let address = place.bind(Arc::new(site), stop.clone()).await.unwrap().unwrap();
    let http = Http::new(std::path::Path::new("/nonexistent"), Duration::from_secs(20));
    async move |path: &str| http.get(&format!("http://{address}{path}"), 1 << 20).await.unwrap()
}

fn document(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn an_ordinary_reader_finds_the_issuer_and_keys_that_say_what_they_are_for() {
    let (directory, store) = crate::store::conformance::open().await;
    let files = AuthorityFiles::below(&directory.path().join("state"));
    let authority = TokenAuthority::open(files, TokenSettings::default(), store.as_ref(), clock::now()).await.unwrap();
    let stop = CancellationToken::new();
    let get = serve(store.clone(), &stop).await;
    // With the issuer's path, and without it, as a proxy may hand it on.
    for path in ["/oidc/.well-known/openid-configuration", "/.well-known/openid-configuration"] {
        let found = get(path).await;
        let said = document(&found);
        assert_eq!((found.status, &said["issuer"]), (StatusCode::OK, &json!(ISSUER)));
        assert_eq!(said["jwks_uri"], json!("https://td.example/oidc/keys"));
        assert_eq!(said["id_token_signing_alg_values_supported"], json!(["ES256"]));
        assert_eq!((said["response_types_supported"].clone(), said.get("token_endpoint")), (json!(["id_token"]), None));
        assert_eq!(found.headers["content-type"], "application/json");
        assert_eq!(found.headers["cache-control"], "public, max-age=300");
    }
    let found = get("/oidc/keys").await;
    let keys = document(&found)["keys"].clone();
    let key = &keys[0];
    let id = authority.signing().unwrap().authority_id().to_owned();
    assert_eq!((&key["use"], &key["alg"], &key["kid"]), (&json!("sig"), &json!("ES256"), &json!(id)));
    assert_eq!(found.headers["cache-control"], "public, max-age=60");
    assert!(found.headers.contains_key("etag"));
    assert_eq!(get("/ready").await.status, StatusCode::OK);
    assert_eq!(get("/live").await.status, StatusCode::OK);
    for nothing in ["/", "/oidc", "/oidc/token", "/keys/", "/oidcx/keys", "/../keys"] {
        assert_eq!(get(nothing).await.status, StatusCode::NOT_FOUND, "{nothing}");
    }

    // A key that is published is there before it signs, at once, and one that is old stays.
    let next = authority.prepare(store.as_ref(), Actor::Server, clock::now()).await.unwrap();
    let kids = async || {
        let found = document(&get("/keys").await);
        found["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kids().await, [id.clone(), next.clone()]);
    authority.act(store.as_ref(), &next, Command::Activate, Actor::Server, clock::now()).await.unwrap();
    assert_eq!(kids().await, [id, next]);
    stop.cancel();
}

#[tokio::test]
async fn an_issuer_without_a_key_shows_no_empty_set_and_is_not_ready() {
    let (_directory, store) = crate::store::conformance::open().await;
    let stop = CancellationToken::new();
    let get = serve(store, &stop).await;
    for path in ["/keys", "/ready"] {
        let found = get(path).await;
        assert_eq!((found.status, found.body.len()), (StatusCode::SERVICE_UNAVAILABLE, 0), "{path}");
        assert_eq!(found.headers["cache-control"], "no-store");
    }
    assert_eq!(get("/live").await.status, StatusCode::OK);
    stop.cancel();
}

#[tokio::test]
async fn nothing_is_taken_where_documents_are() {
    let (_directory, store) = crate::store::conformance::open().await;
    let stop = CancellationToken::new();
    let site = OidcSite::new(store, ISSUER.parse().unwrap(), Some("https://cdn.td/keys".to_owned()), None);
    assert!(String::from_utf8_lossy(&site.published().await.unwrap().discovery).contains("https://cdn.td/keys"));
    let place = Site { name: "oidc", place: "127.0.0.1:0".parse().unwrap(), certificate: None, forwarded: false };
    let address = place.bind(Arc::new(site), stop.clone()).await.unwrap().unwrap();
    let http = Http::new(std::path::Path::new("/nonexistent"), Duration::from_secs(20));
    let answer = http.post(&format!("http://{address}/keys"), HeaderMap::new(), Vec::new(), 100).await.unwrap();
    assert_eq!(
        (answer.status, answer.headers["allow"].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
    );
    let answer = http.post(&format!("http://{address}/token"), HeaderMap::new(), Vec::new(), 100).await.unwrap();
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "no rules, no exchange");
    stop.cancel();
}
