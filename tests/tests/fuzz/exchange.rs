//! What reaches the exchange of tokens: requests, tokens of other issuers, their keys, and rules that are asked about claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::json;
use holdfast_identity::UnixTime;
use holdfast_server::exchange::{Claim, Form, Pattern, Rule};
use holdfast_svid::foreign::{IssuerKeys, Unverified};
use holdfast_svid::{Leeway, jwt};

use super::fuzz;

const NOW: UnixTime = UnixTime(1_767_225_600);
const CLAIMS: &str = r#"{"iss":"https://issuer.example","aud":["https://td.example"],"sub":"repo:acme/app:ref:refs/heads/main","exp":1767225700,"nbf":1767225500.5,"jti":"1","kubernetes.io":{"namespace":"ci"},"on":true,"n":12}"#;
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a","use":"sig","alg":"ES256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}"#;

fn token(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#), part(claims), URL_SAFE_NO_PAD.encode([7; 64]))
}

fn rule() -> Rule {
    Rule {
        name: "release".to_owned(),
        issuer: "issuer".to_owned(),
        audience: "https://td.example".to_owned(),
        subject: Pattern::of_subject("repo:acme/app:ref:refs/heads/*").unwrap(),
        claims: ["kubernetes.io/namespace=ci", "on=true", "n=12"].map(|claim| Claim::read(claim).unwrap()).to_vec(),
        spiffe_id: "spiffe://td.example/ci".parse().unwrap(),
        audiences: vec!["x".to_owned()],
        ttl: 300,
        uses: 1,
    }
}

#[test]
fn requests_for_an_exchange() {
    let request = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={}&subject_token_type=\
         urn:ietf:params:oauth:token-type:jwt&audience=a%20b+c&unknown=%C3%A9",
        token(CLAIMS)
    );
    let keys = IssuerKeys::read("https://issuer.example", KEYS.as_bytes()).unwrap();
    assert_eq!(keys.len(), 1);
    let judge = |text: &str| {
        if let Ok(token) = Unverified::parse(text) {
            let _ = (token.claimed_issuer(), token.claimed_key_id());
            // The signature is nobody's: nothing of it is ever believed.
            assert!(token.verify(&keys, &["https://td.example"], NOW, Leeway::seconds(60)).is_err());
        }
        let _ = jwt::Unverified::parse(text);
    };
    let form = Form::parse(request.as_bytes()).unwrap();
    assert!(Unverified::parse(&form.subject_token).is_ok() && form.audiences == ["a b c"]);
    fuzz("exchange", &[request.into_bytes(), token(CLAIMS).into_bytes()], |bytes| {
        if let Ok(form) = Form::parse(bytes) {
            judge(&form.subject_token);
        }
        if let Ok(text) = std::str::from_utf8(bytes) {
            judge(text);
        }
    });
}

#[test]
fn claims_and_keys_of_other_issuers() {
    let (rule, claims) = (rule(), json::object(CLAIMS.as_bytes()).unwrap());
    assert!(rule.differs(&claims).is_empty());
    fuzz("claims", &[CLAIMS.as_bytes().to_vec(), KEYS.as_bytes().to_vec()], |bytes| {
        if let Ok(claims) = json::object(bytes) {
            let pinned = claims.get("aud").is_some() && claims.get("sub").is_some() && claims.get("on").is_some();
            assert!(pinned || !rule.differs(&claims).is_empty(), "a pin that is not there is not met");
        }
        let _ = IssuerKeys::read("https://issuer.example", bytes);
        if let Ok(text) = std::str::from_utf8(bytes) {
            // The same claims in a token.
            let _ = Unverified::parse(&token(text)).map(|token| token.claimed_issuer().is_ok());
            let _ = (Claim::read(text), text.parse::<Pattern>());
        }
    });
}
