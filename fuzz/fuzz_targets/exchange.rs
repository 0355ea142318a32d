//! What reaches the exchange of tokens before a signature is verified, and rules that are asked about claims. Nothing may
//! panic, and no signature is believed.
#![no_main]

use holdfast_evidence::json;
use holdfast_identity::UnixTime;
use holdfast_server::exchange::{Claim, Form, Pattern, Rule};
use holdfast_svid::Leeway;
use holdfast_svid::foreign::{IssuerKeys, Unverified};
use libfuzzer_sys::fuzz_target;

const KEYS: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a","use":"sig","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}"#;

fuzz_target!(|bytes: &[u8]| {
    let keys = IssuerKeys::read("https://issuer.example", KEYS).expect("a set of keys");
    let judge = |text: &str| {
        if let Ok(token) = Unverified::parse(text) {
            let _ = (token.claimed_issuer(), token.claimed_key_id());
            let judged = token.verify(&keys, &["a"], UnixTime(1_767_225_600), Leeway::seconds(60));
            assert!(judged.is_err(), "the key has signed nothing");
        }
    };
    if let Ok(form) = Form::parse(bytes) {
        judge(&form.subject_token);
    }
    let rule = Rule {
        name: "release".to_owned(),
        issuer: "issuer".to_owned(),
        audience: "a".to_owned(),
        subject: Pattern::of_subject("repo:acme/app:ref:refs/heads/*").expect("a pattern"),
        claims: vec![Claim::read("kubernetes.io/namespace=ci").expect("a claim")],
        spiffe_id: "spiffe://td.example/ci".parse().expect("an ID"),
        audiences: vec!["x".to_owned()],
        ttl: 300,
        uses: 1,
    };
    if let Ok(claims) = json::object(bytes) {
        assert!(claims.contains_key("sub") || !rule.differs(&claims).is_empty());
    }
    let _ = IssuerKeys::read("https://issuer.example", bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        judge(text);
        let _ = (Claim::read(text), text.parse::<Pattern>());
    }
});
