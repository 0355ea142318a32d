//! Tokens of other issuers.

use holdfast_evidence::crypto::KeyKind;
use holdfast_identity::UnixTime;
use holdfast_svid::Leeway;
use holdfast_svid::foreign::{Claims, IssuerKeys, Unverified};
use holdfast_svid::jwk::{Jwk, write_set};
use holdfast_svid::jws::BadToken;
use serde_json::{Value, json};

use super::{Signer, with, without};

const ISSUER: &str = "https://issuer.example";

fn verify(token: &str, keys: &IssuerKeys) -> Result<Claims, BadToken> {
    Unverified::parse(token)?.verify(keys, &["https://holdfast.example"], UnixTime(1000), Leeway::NONE)
}

fn keys_of(keys: &[Jwk]) -> IssuerKeys {
    IssuerKeys::read(ISSUER, &write_set(keys)).unwrap()
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "repo:org/name:ref:refs/heads/main", "aud": "https://holdfast.example", "exp": 1300, "nbf": 900, "run": 7 })
}

#[test]
fn headers_and_subjects_of_any_form_verify() {
    let signer = Signer::new(KeyKind::Rsa2048);
    let header = json!({ "alg": "RS256", "kid": "k1", "typ": "at+jwt", "x5t": "abc", "jku": "https://nobody.asks" });
    let token = signer.token(&header, &claims());
    let keys = keys_of(&[signer.jwk("k1"), Signer::new(KeyKind::EcP256).jwk("k2")]);
    let unverified = Unverified::parse(&token).unwrap();
    assert_eq!(unverified.claimed_issuer(), Ok(ISSUER));
    assert_eq!(unverified.claimed_key_id(), Ok(Some("k1")));
    assert_eq!(unverified.claimed_type(), Some("at+jwt"));
    let verified = verify(&token, &keys).unwrap();
    assert_eq!(Value::Object(verified.members().clone()), claims());
    assert_eq!(verified.expires(), UnixTime(1300));
}

#[test]
fn each_check_refuses_what_it_looks_at() {
    let signer = Signer::new(KeyKind::EcP256);
    let keys = keys_of(&[signer.jwk("k1")]);
    let header = json!({ "alg": "ES256", "kid": "k1" });
    let good = claims();
    for (header, claims, code) in [
        (with(&header, "crit", json!(["b64"])), good.clone(), "jwt.header.crit"),
        (with(&header, "alg", "none"), good.clone(), "jwt.header.alg"),
        (with(&header, "alg", "HS256"), good.clone(), "jwt.header.alg"),
        (with(&header, "alg", "RS256"), good.clone(), "jwt.key.algorithm"),
        (with(&header, "kid", "k2"), good.clone(), "jwt.key.unknown"),
        (header.clone(), without(&good, "iss"), "jwt.claims.iss"),
        (header.clone(), with(&good, "iss", "https://issuer.example/"), "jwt.claims.iss"),
        (header.clone(), without(&good, "aud"), "jwt.claims.aud"),
        (header.clone(), with(&good, "aud", "other"), "jwt.claims.other_audience"),
        (header.clone(), without(&good, "exp"), "jwt.claims.exp"),
        (header.clone(), with(&good, "exp", 1000), "jwt.expired"),
        (header.clone(), with(&good, "nbf", 1001), "jwt.not_yet"),
    ] {
        assert_eq!(verify(&signer.token(&header, &claims), &keys).unwrap_err().code(), code, "{header} {claims}");
    }
    let other = Signer::new(KeyKind::EcP256).token(&header, &good);
    assert_eq!(verify(&other, &keys).unwrap_err().code(), "jwt.signature");
}

#[test]
fn a_token_without_an_id_means_the_only_key_of_its_kind() {
    let (ec, rsa) = (Signer::new(KeyKind::EcP256), Signer::new(KeyKind::Rsa2048));
    let token = ec.token(&json!({ "alg": "ES256" }), &claims());
    assert!(verify(&token, &keys_of(&[ec.jwk("k1"), rsa.jwk("k2")])).is_ok());
    let two = keys_of(&[ec.jwk("k1"), Signer::new(KeyKind::EcP256).jwk("k2")]);
    assert_eq!(verify(&token, &two), Err(BadToken::KeyUnknown));
    assert_eq!(verify(&token, &keys_of(&[])), Err(BadToken::KeyUnknown));
}

#[test]
fn two_keys_with_one_id_verify_nothing() {
    let ec = Signer::new(KeyKind::EcP256);
    let keys = keys_of(&[ec.jwk("k1"), Signer::new(KeyKind::EcP256).jwk("k1")]);
    assert_eq!(verify(&ec.token(&json!({ "alg": "ES256", "kid": "k1" }), &claims()), &keys), Err(BadToken::KeyUnknown));
}

#[test]
fn keys_for_encryption_and_broken_keys_are_passed_over() {
    let ec = Signer::new(KeyKind::EcP256);
    let mut objects = Vec::new();
    for (name, value) in
        [("use", json!("enc")), ("key_ops", json!(["sign"])), ("x", json!("AA")), ("kty", json!("oct"))]
    {
        let mut members = ec.jwk(name).to_members();
        members.insert(name.to_owned(), value);
        objects.push(members);
    }
    let keys = IssuerKeys::read(ISSUER, json!({ "keys": objects }).to_string().as_bytes()).unwrap();
    assert!(keys.is_empty());
    let signing = Jwk { usage: Some("sig".to_owned()), ..ec.jwk("k1") };
    let keys = keys_of(&[signing]);
    assert!(keys.has("k1") && !keys.has("k2") && keys.len() == 1 && keys.issuer() == ISSUER);
}
