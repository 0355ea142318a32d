//! Exchanges as their askers and operators meet them: one thing changed in each refusal.

mod network;

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::crypto::{KeyKind, PrivateKey, PublicKey};
use holdfast_identity::UnixTime;
use holdfast_svid::jwk::{Jwk, write_set};
use holdfast_svid::jws::Prepared;
use holdfast_svid::jwt::{JwtKeys, Unverified};
use holdfast_svid::{Algorithm, Leeway};
use hyper::StatusCode;
use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::desk::draw_id;
use super::form::Form;
use super::*;
use crate::authority::{AuthorityFiles, TokenAuthority, TokenSettings};
use crate::budget::Rate;
use crate::clock;
use crate::store::Store;
use crate::web::Asker;

const ISSUER: &str = "https://ci.example.org";
const AUDIENCE: &str = "https://oidc.td";
const HERE: Asker = Asker::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

/// The key of a CI system.
struct Ci {
    key: PrivateKey,
    kid: &'static str,
}

impl Ci {
    fn new(kind: KeyKind, kid: &'static str) -> Self {
        let rng = SystemRandom::new();
        Self { key: PrivateKey::from_pkcs8(&PrivateKey::draw(kind, &rng).unwrap(), &rng).unwrap(), kid }
    }

    fn public(&self) -> &PublicKey {
        self.key.public()
    }

    fn jwk(&self) -> Jwk {
        let key_id = Some(self.kid.to_owned());
        Jwk { key: self.public().clone(), key_id, usage: Some("sig".to_owned()), algorithm: None }
    }

    fn token(&self, claims: &Value) -> String {
        self.named(self.kid, claims)
    }

    fn named(&self, kid: &str, claims: &Value) -> String {
        let prepared = Prepared::new(Algorithm::of(self.public()), kid, claims.as_object().unwrap());
        prepared.sign(&self.key, &SystemRandom::new()).unwrap()
    }
}

fn claims() -> Value {
    let now = clock::now().seconds();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "repo:acme/app:ref:refs/heads/main", "owner_id": "12",
        "jti": draw_id(), "iat": now, "nbf": now, "exp": now + 300,
    })
}

fn rule() -> Rule {
    Rule {
        name: "release".to_owned(),
        issuer: "ci".to_owned(),
        audience: AUDIENCE.to_owned(),
        subject: Pattern::of_subject("repo:acme/app:ref:refs/heads/*").unwrap(),
        claims: vec![Claim::read("owner_id=12").unwrap()],
        spiffe_id: "spiffe://td/ci/release".parse().unwrap(),
        audiences: vec!["shop".to_owned(), "bank".to_owned()],
        ttl: 120,
        uses: 1,
    }
}

struct House {
    ci: Ci,
    store: Arc<dyn Store>,
    exchange: Exchange,
    directory: tempfile::TempDir,
}

async fn house() -> House {
    house_with(|_| {}).await
}

async fn house_with(change: impl FnOnce(&mut ExchangeSettings)) -> House {
    let ci = Ci::new(KeyKind::EcP256, "ci-1");
    let (directory, store) = crate::store::conformance::open().await;
    let file = directory.path().join("jwks.json");
    std::fs::write(&file, write_set([&ci.jwk()])).unwrap();
    let authority = authority(directory.path().join("state"), store.as_ref()).await;
    let issuer = settings(KeySource::File(file));
    let mut settings = ExchangeSettings {
        issuers: vec![issuer],
        rules: vec![rule()],
        leeway: 30,
        per_source: Rate { per_second: 1000.0, burst: 1000.0 },
    };
    change(&mut settings);
    let exchange = Exchange::new(store.clone(), authority, settings);
    House { ci, store, exchange, directory }
}

async fn authority(state: PathBuf, store: &dyn Store) -> Arc<TokenAuthority> {
    let settings = TokenSettings { issuer: Some("https://oidc.td".to_owned()), ..TokenSettings::default() };
    Arc::new(TokenAuthority::open(AuthorityFiles::below(&state), settings, store, clock::now()).await.unwrap())
}

fn settings(keys: KeySource) -> IssuerSettings {
    let ca_file = PathBuf::from("/nonexistent");
    IssuerSettings { name: "ci".to_owned(), issuer: ISSUER.to_owned(), keys, ca_file }
}

impl House {
    async fn ask(&self, token: String, audiences: &[&str]) -> Result<String, Refused> {
        let audiences = audiences.iter().map(|name| (*name).to_owned()).collect();
        let form = Form { subject_token: token, audiences };
        let done = self.exchange.exchange(&draw_id(), Ok(form), HERE, clock::now()).await;
        done.map(|given| given.token.token)
    }

    /// The code that refuses a token with these claims, for `shop`.
    async fn code(&self, claims: &Value) -> &'static str {
        self.ask(self.ci.token(claims), &["shop"]).await.unwrap_err().code()
    }

    async fn entries(&self) -> u64 {
        self.store.head().await.unwrap().size
    }
}

#[tokio::test]
async fn a_token_that_fits_a_rule_becomes_a_jwt_svid_and_stands_in_the_record() {
    let house = house().await;
    let before = house.entries().await;
    let mut asked = claims();
    asked["jti"] = json!("job-7");
    let token = house.ask(house.ci.token(&asked), &["bank"]).await.unwrap();
    let keys = house.store.jwt_authorities().await.unwrap().into_iter().map(|one| Jwk::named(one.key));
    let keys = JwtKeys::new("td".parse().unwrap(), keys).unwrap();
    let svid = Unverified::parse(&token).unwrap().verify(&keys, &["bank"], clock::now(), Leeway::NONE).unwrap();
    assert_eq!(svid.subject().as_str(), "spiffe://td/ci/release");
    let claim = |name: &str| svid.claims().get(name).cloned();
    assert_eq!((claim("iss"), claim("aud")), (Some(json!("https://oidc.td")), Some(json!(["bank"]))));
    assert_eq!(claim("exp").unwrap().as_i64().unwrap() - claim("iat").unwrap().as_i64().unwrap(), 120);
    let leaf = house.store.ledger_entries(before, 10).await.unwrap().remove(0).leaf;
    let text = String::from_utf8_lossy(&leaf).into_owned();
    for word in
        ["token.exchange", "release", ISSUER, "repo:acme/app:ref:refs/heads/main", "job-7", "spiffe://td/ci/release"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(house.entries().await, before + 1);
    assert_eq!((house.exchange.seen(9)[0].code, house.exchange.seen(9)[0].rule.as_str()), ("", "release"));
}

#[tokio::test]
async fn each_claim_that_differs_is_refused_and_nothing_is_recorded() {
    let house = house().await;
    let now = clock::now().seconds();
    let before = house.entries().await;
    for (claim, value, code) in [
        ("iss", json!("https://ci.example.org/"), "exchange.issuer"),
        ("iss", json!(7), "jwt.claims.iss"),
        ("aud", json!("https://oidc.td/"), "jwt.claims.other_audience"),
        ("aud", json!([]), "jwt.claims.aud"),
        ("sub", json!("repo:acme/app:pull_request"), "exchange.no_rule"),
        ("sub", json!("repo:evil/app:ref:refs/heads/main"), "exchange.no_rule"),
        ("sub", json!(null), "exchange.no_rule"),
        ("owner_id", json!("13"), "exchange.no_rule"),
        ("owner_id", json!(["12"]), "exchange.no_rule"),
        ("exp", json!(now - 31), "jwt.expired"),
        ("exp", json!("soon"), "jwt.claims.exp"),
        ("exp", json!(now + 2 * TOKEN_LIFETIME_MAX), "exchange.lifetime"),
        ("nbf", json!(now + 300), "jwt.not_yet"),
    ] {
        let mut changed = claims();
        changed[claim] = value;
        assert_eq!(house.code(&changed).await, code, "{changed}");
    }
    for claim in ["iss", "aud", "sub", "owner_id", "exp"] {
        let mut changed = claims();
        changed.as_object_mut().unwrap().remove(claim);
        assert!(house.ask(house.ci.token(&changed), &["shop"]).await.is_err(), "without {claim}");
    }
    assert_eq!(house.entries().await, before);
    let nearest = house.exchange.seen(100).into_iter().find(|seen| seen.subject.contains("evil")).unwrap();
    assert_eq!((nearest.rule.as_str(), nearest.differs[0].claim.as_str()), ("release", "sub"));
}

#[tokio::test]
async fn a_leeway_of_half_a_minute_is_all_that_clocks_get() {
    let house = house().await;
    let now = clock::now().seconds();
    let mut late = claims();
    late["exp"] = json!(now - 10);
    house.ask(house.ci.token(&late), &["shop"]).await.unwrap();
    let strict = house_with(|settings| settings.leeway = 0).await;
    late["jti"] = json!("other");
    assert_eq!(strict.code(&late).await, "jwt.expired");
}

#[tokio::test]
async fn no_signature_a_shared_secret_another_key_and_another_algorithm_are_refused() {
    let house = house().await;
    let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
    let headed = |header: Value, signature: &str| {
        format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    let code = async |token: String| house.ask(token, &["shop"]).await.unwrap_err().code();
    for alg in ["none", "None", "HS256", "HS512", "EdDSA"] {
        assert_eq!(code(headed(json!({ "alg": alg, "kid": "ci-1" }), "AAAA")).await, "jwt.header.alg", "{alg}");
    }
    // The public key as a shared secret, under an algorithm that it cannot have signed by.
    let signed = headed(json!({ "alg": "HS256", "kid": "ci-1" }), "");
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &house.ci.public().spki());
    let tag = ring::hmac::sign(&secret, signed.trim_end_matches('.').as_bytes());
    assert_eq!(code(format!("{signed}{}", URL_SAFE_NO_PAD.encode(tag))).await, "jwt.header.alg");
    for alg in ["RS256", "ES384", "PS256"] {
        assert_eq!(code(headed(json!({ "alg": alg, "kid": "ci-1" }), "AAAA")).await, "jwt.key.algorithm", "{alg}");
    }
    let other = Ci::new(KeyKind::EcP256, "ci-1");
    assert_eq!(code(other.token(&claims())).await, "jwt.signature");
    assert_eq!(code(house.ci.named("ci-2", &claims())).await, "jwt.key.unknown");
    let whole = house.ci.token(&claims());
    let (signed, signature) = whole.rsplit_once('.').unwrap();
    let (head, payload) = signed.split_once('.').unwrap();
    let mut changed = URL_SAFE_NO_PAD.decode(payload).unwrap();
    changed[1] ^= 1;
    assert!(house.ask(format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(changed)), &["shop"]).await.is_err());
    for broken in ["", "a", "a.b", "a.b.c.d.e", &"a".repeat(70_000)] {
        assert!(house.ask(broken.to_owned(), &["shop"]).await.is_err());
    }
}

#[tokio::test]
async fn a_token_is_exchanged_as_often_as_its_rule_says() {
    let house = house().await;
    let token = house.ci.token(&claims());
    house.ask(token.clone(), &["shop"]).await.unwrap();
    assert_eq!(house.ask(token.clone(), &["bank"]).await.unwrap_err().code(), "exchange.replayed");
    // The same ID in another token is the same token.
    let mut again = claims();
    again["jti"] = json!("fixed");
    house.ask(house.ci.token(&again), &["shop"]).await.unwrap();
    again["exp"] = json!(clock::now().seconds() + 200);
    assert_eq!(house.code(&again).await, "exchange.replayed");
    // Without an ID it is the token itself.
    let mut nameless = claims();
    nameless.as_object_mut().unwrap().remove("jti");
    let token = house.ci.token(&nameless);
    house.ask(token.clone(), &["shop"]).await.unwrap();
    assert_eq!(house.ask(token, &["shop"]).await.unwrap_err().code(), "exchange.replayed");
    // And so it is with the other signature that anybody makes of an ECDSA one.
    nameless["run"] = json!(2);
    let token = house.ci.token(&nameless);
    let other = other_signature(&token);
    assert_ne!(token, other);
    house.ask(token, &["shop"]).await.unwrap();
    assert_eq!(house.ask(other, &["shop"]).await.unwrap_err().code(), "exchange.replayed");
    let twice = house_with(|settings| settings.rules[0].uses = 2).await;
    let token = twice.ci.token(&claims());
    for _ in 0..2 {
        twice.ask(token.clone(), &["shop"]).await.unwrap();
    }
    assert_eq!(twice.ask(token, &["shop"]).await.unwrap_err().code(), "exchange.replayed");
    assert!(twice.directory.path().exists());
}

/// The same token with another signature that verifies as well: (r, n - s) for (r, s).
fn other_signature(token: &str) -> String {
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (place, digit) in order.iter().enumerate().rev() {
        let difference = i16::from(*digit) - i16::from(signature[32 + place]) - borrow;
        borrow = i16::from(difference < 0);
        signature[32 + place] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_token_that_is_not_about_who_somebody_is_is_refused_by_its_type() {
    let house = house().await;
    let typed = |kind: &str| {
        let header = json!({ "alg": "ES256", "kid": "ci-1", "typ": kind });
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims().to_string()));
        let signature = house.ci.key.sign(signed.as_bytes(), &SystemRandom::new()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    for kind in ["logout+jwt", "secevent+jwt", "application/dpop+jwt", ""] {
        assert_eq!(house.ask(typed(kind), &["shop"]).await.unwrap_err().code(), "jwt.header.typ", "{kind}");
    }
    for kind in ["JWT", "jwt", "application/jwt", "JOSE", "at+jwt"] {
        house.ask(typed(kind), &["shop"]).await.unwrap();
    }
}

#[tokio::test]
async fn the_audience_is_one_that_the_rule_names() {
    let house = house_with(|settings| settings.rules[0].uses = 100).await;
    let token = house.ci.token(&claims());
    let code = async |audiences: &[&str]| house.ask(token.clone(), audiences).await.unwrap_err().code();
    assert_eq!(code(&["elsewhere"]).await, "exchange.target");
    assert_eq!(code(&["shop", "elsewhere"]).await, "exchange.target");
    assert_eq!(code(&[]).await, "exchange.target", "the rule names two");
    assert!(house.ask(token.clone(), &["shop", "bank"]).await.is_ok());
    let one = house_with(|settings| settings.rules[0].audiences.truncate(1)).await;
    assert!(one.ask(one.ci.token(&claims()), &[]).await.is_ok());
    let refused = house.ask(token, &["elsewhere"]).await.unwrap_err();
    assert_eq!(refused.told(), Told { status: StatusCode::BAD_REQUEST, error: "invalid_target" });
}

#[tokio::test]
async fn what_is_remembered_of_exchanged_tokens_goes_when_they_end() {
    let house = house().await;
    let mut brief = claims();
    brief["jti"] = json!("brief");
    brief["exp"] = json!(clock::now().seconds() + 100);
    house.ask(house.ci.token(&brief), &["shop"]).await.unwrap();
    house.store.prune(clock::now().plus(3_700)).await.unwrap();
    assert_eq!(house.code(&brief).await, "exchange.replayed", "a clock that is set back gives it no second life");
    house.store.prune(UnixTime(clock::now().seconds() + 4_000)).await.unwrap();
    house.ask(house.ci.token(&brief), &["shop"]).await.unwrap();
    // Where one ID stands in two tokens, when the later one does.
    let twice = house_with(|settings| settings.rules[0].uses = 2).await;
    twice.ask(twice.ci.token(&brief), &["shop"]).await.unwrap();
    brief["exp"] = json!(clock::now().seconds() + 3_000);
    twice.ask(twice.ci.token(&brief), &["shop"]).await.unwrap();
    twice.store.prune(clock::now().plus(4_000)).await.unwrap();
    assert_eq!(twice.code(&brief).await, "exchange.replayed");
}
