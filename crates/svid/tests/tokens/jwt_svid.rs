//! JWT-SVIDs: what verifies, and what one change makes of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::crypto::KeyKind;
use holdfast_identity::UnixTime;
use holdfast_svid::jws::BadToken;
use holdfast_svid::jwt::{JwtKeys, JwtSvid, Unverified};
use holdfast_svid::{Algorithm, Leeway};
use serde_json::{Value, json};

use super::{Signer, with, without};

const NOW: UnixTime = UnixTime(1_000_000);

struct Stage {
    signer: Signer,
    keys: JwtKeys,
    header: Value,
    claims: Value,
}

fn stage() -> Stage {
    let signer = Signer::new(KeyKind::EcP256);
    Stage {
        keys: JwtKeys::new("td".parse().unwrap(), [signer.jwk("k1")]).unwrap(),
        signer,
        header: json!({ "alg": "ES256", "kid": "k1", "typ": "JWT" }),
        claims: json!({ "sub": "spiffe://td/w", "aud": ["a", "b"], "exp": 1_000_300, "iat": 1_000_000, "extra": { "n": 1.5 } }),
    }
}

fn verify(token: &str, keys: &JwtKeys) -> Result<JwtSvid, BadToken> {
    Unverified::parse(token)?.verify(keys, &["b"], NOW, Leeway::NONE)
}

impl Stage {
    fn refused(&self, header: &Value, claims: &Value) -> &'static str {
        verify(&self.signer.token(header, claims), &self.keys).unwrap_err().code()
    }
}

#[test]
fn a_good_token_gives_its_subject_and_all_claims() {
    let s = stage();
    let svid = verify(&s.signer.token(&s.header, &s.claims), &s.keys).unwrap();
    assert_eq!((svid.subject().as_str(), svid.expires()), ("spiffe://td/w", UnixTime(1_000_300)));
    assert_eq!(Value::Object(svid.claims().clone()), s.claims);
    let plain = without(&s.header, "typ");
    assert!(
        verify(&s.signer.token(&plain, &with(&s.claims, "aud", "b")), &s.keys).is_ok(),
        "typ is optional, aud may be text"
    );
    assert!(verify(&s.signer.token(&with(&s.header, "typ", "JOSE"), &s.claims), &s.keys).is_ok());
}

#[test]
fn a_header_with_another_member_type_or_algorithm_is_refused() {
    let s = stage();
    for (header, code) in [
        (with(&s.header, "jku", "https://x"), "jwt.header.member"),
        (with(&s.header, "cty", "JWT"), "jwt.header.member"),
        (with(&s.header, "crit", json!([])), "jwt.header.crit"),
        (with(&s.header, "typ", "at+jwt"), "jwt.header.typ"),
        (with(&s.header, "typ", "jwt"), "jwt.header.typ"),
        (with(&s.header, "typ", 1), "jwt.header.typ"),
        (with(&s.header, "alg", "none"), "jwt.header.alg"),
        (with(&s.header, "alg", "HS256"), "jwt.header.alg"),
        (with(&s.header, "alg", "EdDSA"), "jwt.header.alg"),
        (with(&s.header, "alg", "es256"), "jwt.header.alg"),
        (without(&s.header, "alg"), "jwt.header.alg"),
        (with(&s.header, "alg", "RS256"), "jwt.key.algorithm"),
        (with(&s.header, "alg", "ES512"), "jwt.key.algorithm"),
        (without(&s.header, "kid"), "jwt.header.kid"),
        (with(&s.header, "kid", ""), "jwt.header.kid"),
        (with(&s.header, "kid", 1), "jwt.header.kid"),
        (with(&s.header, "kid", "k2"), "jwt.key.unknown"),
    ] {
        assert_eq!(s.refused(&header, &s.claims), code, "{header}");
    }
}

#[test]
fn claims_that_are_absent_or_others_are_refused() {
    let s = stage();
    for (claims, code) in [
        (without(&s.claims, "sub"), "jwt.claims.sub"),
        (with(&s.claims, "sub", "somebody"), "jwt.claims.sub"),
        (with(&s.claims, "sub", "spiffe://TD/w"), "jwt.claims.sub"),
        (with(&s.claims, "sub", "spiffe://td"), "jwt.claims.sub_path"),
        (with(&s.claims, "sub", "spiffe://td/"), "jwt.claims.sub"),
        (with(&s.claims, "sub", "spiffe://other/w"), "jwt.trust_domain"),
        (without(&s.claims, "aud"), "jwt.claims.aud"),
        (with(&s.claims, "aud", json!([])), "jwt.claims.aud"),
        (with(&s.claims, "aud", json!(["b", 1])), "jwt.claims.aud"),
        (with(&s.claims, "aud", "c"), "jwt.claims.other_audience"),
        (without(&s.claims, "exp"), "jwt.claims.exp"),
        (with(&s.claims, "exp", "1000300"), "jwt.claims.exp"),
        (with(&s.claims, "exp", 1_000_000), "jwt.expired"),
        (with(&s.claims, "nbf", 1_000_001), "jwt.not_yet"),
        (with(&s.claims, "nbf", json!({})), "jwt.claims.nbf"),
    ] {
        assert_eq!(s.refused(&s.header, &claims), code, "{claims}");
    }
}

#[test]
fn no_audience_of_ours_is_named_by_no_token() {
    let s = stage();
    let token = s.signer.token(&s.header, &s.claims);
    let refused = Unverified::parse(&token).unwrap().verify(&s.keys, &[], NOW, Leeway::NONE);
    assert_eq!(refused, Err(BadToken::Audience));
}

#[test]
fn only_the_compact_form_is_read() {
    let s = stage();
    let token = s.signer.token(&s.header, &s.claims);
    let parts: Vec<&str> = token.split('.').collect();
    let json = json!({ "payload": parts[1], "protected": parts[0], "signature": parts[2] }).to_string();
    let five = format!("{}.{}.{}.{}.{}", parts[0], parts[1], parts[1], parts[1], parts[2]);
    let padded = format!("{token}=");
    let spaced = format!("{token}\n");
    for wrong in ["", ".", "..", "a.b", &json, &five, &padded, &spaced, &token[..token.len() - 3]] {
        assert!(verify(wrong, &s.keys).is_err(), "{wrong}");
    }
    assert_eq!(verify(&five, &s.keys).unwrap_err().code(), "jwt.form");
    assert_eq!(verify(&"a".repeat((64 << 10) + 1), &s.keys).unwrap_err().code(), "jwt.too_long");
}

#[test]
fn a_name_twice_is_refused_in_header_and_claims() {
    let s = stage();
    let header = r#"{"alg":"ES256","kid":"k1","kid":"k1"}"#;
    assert_eq!(
        verify(&s.signer.token_of_text(header, &s.claims.to_string()), &s.keys).unwrap_err().code(),
        "jwt.header.form"
    );
    let claims = r#"{"sub":"spiffe://td/w","sub":"spiffe://td/x","aud":"b","exp":1000300}"#;
    assert_eq!(
        verify(&s.signer.token_of_text(&s.header.to_string(), claims), &s.keys).unwrap_err().code(),
        "jwt.claims.form"
    );
}

#[test]
fn the_signature_is_over_the_very_bytes_and_by_the_very_key() {
    let s = stage();
    let token = s.signer.token(&s.header, &s.claims);
    let parts: Vec<&str> = token.split('.').collect();
    // The same claims, written with another blank.
    let respelled = URL_SAFE_NO_PAD.encode(format!("{} ", s.claims));
    let token = format!("{}.{respelled}.{}", parts[0], parts[2]);
    assert_eq!(verify(&token, &s.keys).unwrap_err().code(), "jwt.signature");
    let other = Signer::new(KeyKind::EcP256).token(&s.header, &s.claims);
    assert_eq!(verify(&other, &s.keys).unwrap_err().code(), "jwt.signature");
    let curve = Signer::new(KeyKind::EcP384).token(&with(&s.header, "alg", "ES384"), &s.claims);
    assert_eq!(verify(&curve, &s.keys).unwrap_err().code(), "jwt.key.algorithm");
}

#[test]
fn a_key_that_names_its_algorithm_signs_by_no_other() {
    let rsa = Signer::new(KeyKind::Rsa2048);
    let mut jwk = rsa.jwk("k1");
    let header = json!({ "alg": "RS256", "kid": "k1" });
    let claims = stage().claims;
    for (said, verifies) in [(None, true), (Some(Algorithm::Rs256), true), (Some(Algorithm::Ps256), false)] {
        jwk.algorithm = said;
        let keys = JwtKeys::new("td".parse().unwrap(), [jwk.clone()]).unwrap();
        assert_eq!(verify(&rsa.token(&header, &claims), &keys).is_ok(), verifies, "{said:?}");
    }
}

#[test]
fn no_bit_of_a_token_can_change() {
    let s = stage();
    let token = s.signer.token(&s.header, &s.claims);
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(verify(&changed, &s.keys).is_err(), "byte {at}");
    }
}
