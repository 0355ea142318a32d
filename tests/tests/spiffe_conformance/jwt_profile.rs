//! JWT-SVID, and the JWT profile of the Workload API: rows 28 to 36, 54, 59, 62 and 67 to 71.

use holdfast_evidence::crypto::KeyKind;
use holdfast_protocol::workload::{
    JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use holdfast_tests::{Programs, Server, WorkDir};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::workload::tokens::{JwtAuthority, now, parts};
use crate::workload::{Agent, DOMAIN, soon, with_header};

const ME: &str = "spiffe://example.org/me";

async fn fetch(agent: &Agent, audience: &[&str], spiffe_id: &str) -> Result<JwtsvidResponse, Status> {
    let audience = audience.iter().map(ToString::to_string).collect();
    let request = JwtsvidRequest { audience, spiffe_id: spiffe_id.to_owned() };
    agent.client().await.fetch_jwtsvid(with_header(request)).await.map(tonic::Response::into_inner)
}

async fn validate(agent: &Agent, audience: &str, svid: &str) -> Result<ValidateJwtsvidResponse, Status> {
    let request = ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() };
    agent.client().await.validate_jwtsvid(with_header(request)).await.map(tonic::Response::into_inner)
}

async fn bundles(agent: &Agent) -> JwtBundlesResponse {
    let stream = agent.client().await.fetch_jwt_bundles(with_header(Default::default())).await.unwrap();
    soon(stream.into_inner().message()).await.unwrap().unwrap()
}

/// Header and claims of a token that would verify.
fn good(agent: &Agent) -> (Value, Value) {
    let header = json!({ "alg": "ES256", "kid": agent.registry.jwt.id, "typ": "JWT" });
    (header, json!({ "sub": "spiffe://example.org/other", "aud": ["me"], "exp": now().seconds() + 300 }))
}

fn with(value: &Value, name: &str, member: Value) -> Value {
    let mut changed = value.clone();
    changed[name] = member;
    changed
}

fn without(value: &Value, name: &str) -> Value {
    let mut changed = value.clone();
    changed.as_object_mut().unwrap().remove(name);
    changed
}

/// The token must be refused, and said to be invalid.
async fn refused(agent: &Agent, token: &str) {
    let status = validate(agent, "me", token).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{token}: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_028_only_compact_serialization_is_a_jwt_svid() {
    let agent = Agent::with_me().await;
    let (header, claims) = good(&agent);
    let token = agent.registry.jwt.sign(&header, &claims);
    validate(&agent, "me", &token).await.unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    refused(&agent, &json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string()).await;
    refused(&agent, &format!("{}.{}.{}.{}.{}", parts[0], parts[1], parts[1], parts[1], parts[2])).await;
    refused(&agent, &format!("{}.{}.", parts[0], parts[1])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_029_the_header_has_alg_kid_and_typ_alone() {
    let agent = Agent::with_me().await;
    let issued = fetch(&agent, &["a"], "").await.unwrap().svids.remove(0).svid;
    let (issued, _) = parts(&issued);
    assert_eq!(issued.as_object().unwrap().keys().collect::<Vec<_>>(), ["alg", "kid", "typ"]);
    let (header, claims) = good(&agent);
    for name in ["jku", "jwk", "x5c", "x5u", "cty", "crit", "b64"] {
        refused(&agent, &agent.registry.jwt.sign(&with(&header, name, json!("x")), &claims)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_030_other_algorithms_than_those_of_the_list_are_refused() {
    let agent = Agent::with_me().await;
    let (header, claims) = good(&agent);
    for alg in ["none", "None", "HS256", "HS512", "EdDSA", "ES256K", "es256", ""] {
        refused(&agent, &agent.registry.jwt.sign(&with(&header, "alg", json!(alg)), &claims)).await;
    }
    refused(&agent, &agent.registry.jwt.sign(&without(&header, "alg"), &claims)).await;
    for kind in [KeyKind::EcP256, KeyKind::EcP384, KeyKind::Rsa2048] {
        let other = JwtAuthority::new(kind);
        agent.registry.trust_jwt("other.org", Some(other.keys("other.org")));
        let alg = match kind {
            KeyKind::EcP256 => "ES256",
            KeyKind::EcP384 => "ES384",
            KeyKind::Rsa2048 => "RS256",
        };
        let header = json!({ "alg": alg, "kid": other.id });
        let claims = with(&claims, "sub", json!("spiffe://other.org/x"));
        validate(&agent, "me", &other.sign(&header, &claims)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_031_typ_is_jwt_or_jose_if_it_is_there() {
    let agent = Agent::with_me().await;
    let (header, claims) = good(&agent);
    for typ in ["JWT", "JOSE"] {
        validate(&agent, "me", &agent.registry.jwt.sign(&with(&header, "typ", json!(typ)), &claims)).await.unwrap();
    }
    validate(&agent, "me", &agent.registry.jwt.sign(&without(&header, "typ"), &claims)).await.unwrap();
    for typ in ["at+jwt", "jwt", "wit+jwt", ""] {
        refused(&agent, &agent.registry.jwt.sign(&with(&header, "typ", json!(typ)), &claims)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_032_sub_is_the_spiffe_id() {
    let agent = Agent::with_me().await;
    let svid = fetch(&agent, &["a"], "").await.unwrap().svids.remove(0);
    assert_eq!((svid.spiffe_id.as_str(), &parts(&svid.svid).1["sub"]), (ME, &json!(ME)));
    let (header, claims) = good(&agent);
    for sub in [json!("somebody"), json!("spiffe://"), json!("https://example.org/x"), json!(1), json!(null)] {
        refused(&agent, &agent.registry.jwt.sign(&header, &with(&claims, "sub", sub))).await;
    }
    refused(&agent, &agent.registry.jwt.sign(&header, &without(&claims, "sub"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_033_aud_is_there_and_names_the_audience() {
    let agent = Agent::with_me().await;
    let svid = fetch(&agent, &["a", "b"], "").await.unwrap().svids.remove(0).svid;
    assert_eq!(parts(&svid).1["aud"], json!(["a", "b"]));
    let (header, claims) = good(&agent);
    for aud in [json!("me"), json!(["x", "me"])] {
        validate(&agent, "me", &agent.registry.jwt.sign(&header, &with(&claims, "aud", aud))).await.unwrap();
    }
    for aud in [json!("other"), json!([]), json!(["Me"]), json!(["me", 1]), json!({ "me": 1 })] {
        refused(&agent, &agent.registry.jwt.sign(&header, &with(&claims, "aud", aud))).await;
    }
    refused(&agent, &agent.registry.jwt.sign(&header, &without(&claims, "aud"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_034_exp_is_there_and_in_the_future() {
    let agent = Agent::with_me().await;
    let svid = fetch(&agent, &["a"], "").await.unwrap().svids.remove(0).svid;
    assert!(parts(&svid).1["exp"].as_i64().unwrap() > now().seconds());
    let (header, claims) = good(&agent);
    for exp in [json!(now().seconds() - 120), json!("never"), json!(null)] {
        refused(&agent, &agent.registry.jwt.sign(&header, &with(&claims, "exp", exp))).await;
    }
    refused(&agent, &agent.registry.jwt.sign(&header, &without(&claims, "exp"))).await;
}

#[test]
fn spiffe_035_a_key_in_the_bundle_has_the_use_jwt_svid_and_an_id() {
    let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
    let server = Server::init(&programs, &work, "lanes.test").unwrap();
    let server = server.start(&work.path().join("server.log")).unwrap();
    let bundle = server.operator(&["bundle", "show", "--format", "spiffe"]).unwrap();
    let bundle: Value = serde_json::from_str(&bundle).unwrap();
    let keys = bundle["keys"].as_array().unwrap();
    let of_use = |usage: &str| keys.iter().filter(|key| key["use"] == usage).collect::<Vec<_>>();
    let tokens = of_use("jwt-svid");
    assert_eq!((tokens.len(), of_use("x509-svid").len(), keys.len()), (1, 1, 2), "{bundle:#}");
    assert!(tokens[0]["kid"].as_str().is_some_and(|kid| !kid.is_empty()));
    assert!(tokens[0].get("x5c").is_none() && tokens[0].get("d").is_none());
    let shown = server.json(&["authority", "jwt", "show"]).unwrap();
    assert_eq!(shown["authorities"][0]["authority_id"], tokens[0]["kid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_036_only_keys_for_jwt_svids_verify_them() {
    let agent = Agent::with_me().await;
    let (header, claims) = good(&agent);
    // Another key under the good one's name, and under a name of its own.
    let other = JwtAuthority::new(KeyKind::EcP256);
    refused(&agent, &other.sign(&header, &claims)).await;
    refused(&agent, &other.sign(&with(&header, "kid", json!(other.id)), &claims)).await;
    refused(&agent, &agent.registry.jwt.sign(&without(&header, "kid"), &claims)).await;
    // The key of the caller's own X.509-SVID, which the domain did sign.
    use base64::Engine as _;
    let encode = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&header), encode(&claims));
    let pkcs8 = agent.fetch().await.unwrap().svids.remove(0).x509_svid_key;
    let rng = ring::rand::SystemRandom::new();
    let key = holdfast_evidence::crypto::PrivateKey::from_pkcs8(&pkcs8, &rng).unwrap();
    let signature = key.sign(text.as_bytes(), &rng).unwrap();
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature);
    refused(&agent, &format!("{text}.{signature}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_054_both_profiles_are_served() {
    let agent = Agent::with_me().await;
    let mut client = agent.client().await;
    let mut svids = client.fetch_x509svid(with_header(Default::default())).await.unwrap().into_inner();
    soon(svids.message()).await.unwrap().unwrap();
    let mut certificates = client.fetch_x509_bundles(with_header(Default::default())).await.unwrap().into_inner();
    soon(certificates.message()).await.unwrap().unwrap();
    let token = fetch(&agent, &["me"], "").await.unwrap().svids.remove(0).svid;
    assert!(!bundles(&agent).await.bundles.is_empty());
    assert_eq!(validate(&agent, "me", &token).await.unwrap().spiffe_id, ME);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_059_a_mandatory_field_that_is_not_set_is_an_invalid_argument() {
    let agent = Agent::with_me().await;
    let token = fetch(&agent, &["me"], "").await.unwrap().svids.remove(0).svid;
    for audience in [&[][..], &[""], &["a", ""]] {
        assert_eq!(fetch(&agent, audience, "").await.unwrap_err().code(), Code::InvalidArgument, "{audience:?}");
    }
    assert_eq!(validate(&agent, "", &token).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(validate(&agent, "me", "").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_062_bundles_are_for_their_own_kind_of_svid_alone() {
    let agent = Agent::with_me().await;
    let keys: Value = serde_json::from_slice(&bundles(&agent).await.bundles["spiffe://example.org"]).unwrap();
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key.get("x5c").is_none()), "{keys}");
    // The root's key is no key for tokens, and the key for tokens is in no certificate.
    let root = x509_parser::parse_x509_certificate(&agent.authority.bundle()[0]).unwrap().1.public_key().raw.to_vec();
    let published = agent.registry.jwt.keys(DOMAIN);
    assert!(published.keys().all(|key| key.key.spki() != root));
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_067_without_an_id_every_identity_gets_a_token_and_anothers_id_none() {
    let agent = Agent::with_me().await;
    agent.enter("/second", "", "second");
    let both = fetch(&agent, &["a"], "").await.unwrap();
    let ids: Vec<&str> = both.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(ids, [ME, "spiffe://example.org/second"]);
    for svid in &both.svids {
        let (_, claims) = parts(&svid.svid);
        assert_eq!((&claims["sub"], &claims["aud"]), (&json!(svid.spiffe_id), &json!(["a"])));
    }
    let one = fetch(&agent, &["a"], "spiffe://example.org/second").await.unwrap();
    assert_eq!((one.svids.len(), one.svids[0].spiffe_id.as_str()), (1, "spiffe://example.org/second"));
    for other in ["spiffe://example.org/other", "spiffe://other.org/me"] {
        assert_eq!(fetch(&agent, &["a"], other).await.unwrap_err().code(), Code::PermissionDenied, "{other}");
    }
    assert_eq!(fetch(&agent, &["a"], "me").await.unwrap_err().code(), Code::InvalidArgument);
    agent.registry.remove("me");
    agent.registry.remove("second");
    assert_eq!(fetch(&agent, &["a"], "").await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_068_hints_are_told_and_of_equal_ones_the_oldest_entry_stays() {
    let agent = Agent::with_me().await;
    agent.enter("/oldest", "internal", "1");
    agent.enter("/younger", "internal", "2");
    agent.enter("/other", "external", "3");
    let answer = fetch(&agent, &["a"], "").await.unwrap();
    let hints: Vec<_> = answer.svids.iter().map(|svid| (svid.spiffe_id.as_str(), svid.hint.as_str())).collect();
    let expected = [(ME, ""), ("spiffe://example.org/oldest", "internal"), ("spiffe://example.org/other", "external")];
    assert_eq!(hints, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_069_a_jwt_bundle_is_a_set_of_keys_for_jwt_svids_alone() {
    let agent = Agent::with_me().await;
    let other = JwtAuthority::new(KeyKind::Rsa2048);
    agent.registry.trust_jwt("other.org", Some(other.keys("other.org")));
    let answer = bundles(&agent).await;
    let mut names: Vec<_> = answer.bundles.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["spiffe://example.org", "spiffe://other.org"], "the own one is among them");
    for (name, kty, id) in [("example.org", "EC", &agent.registry.jwt.id), ("other.org", "RSA", &other.id)] {
        let set: Value = serde_json::from_slice(&answer.bundles[&format!("spiffe://{name}")]).unwrap();
        let keys = set["keys"].as_array().unwrap();
        assert_eq!((keys.len(), &keys[0]["kty"], &keys[0]["kid"]), (1, &json!(kty), &json!(id)));
        assert!(keys[0].get("x5c").is_none() && keys[0].get("d").is_none(), "{set}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_070_validation_returns_subject_and_claims() {
    use prost_types::value::Kind;
    let agent = Agent::with_me().await;
    let (header, claims) = good(&agent);
    let claims = with(&claims, "more", json!({ "n": 1.5, "list": [true, null] }));
    let answer = validate(&agent, "me", &agent.registry.jwt.sign(&header, &claims)).await.unwrap();
    assert_eq!(answer.spiffe_id, "spiffe://example.org/other");
    let fields = answer.claims.unwrap().fields;
    assert_eq!(fields.len(), 4);
    assert_eq!(fields["sub"].kind, Some(Kind::StringValue("spiffe://example.org/other".to_owned())));
    assert!(matches!(&fields["more"].kind, Some(Kind::StructValue(more)) if more.fields.len() == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_validates_no_longer() {
    let agent = Agent::with_me().await;
    let (header, claims) = good(&agent);
    let withdrawn = agent.registry.jwt.sign(&header, &claims);
    let other = agent.registry.jwt.sign(&header, &with(&claims, "sub", json!("spiffe://example.org/third")));
    validate(&agent, "me", &withdrawn).await.unwrap();
    agent.registry.withdraw_jwt("spiffe://example.org/other");
    refused(&agent, &withdrawn).await;
    validate(&agent, "me", &other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_071_only_the_bundle_of_the_subjects_domain_verifies() {
    let agent = Agent::with_me().await;
    let (header, claims) = good(&agent);
    let other = with(&claims, "sub", json!("spiffe://other.org/x"));
    // Nothing is known of that domain.
    refused(&agent, &agent.registry.jwt.sign(&header, &other)).await;
    // Its own key signs for it, and ours does not.
    let authority = JwtAuthority::new(KeyKind::EcP256);
    agent.registry.trust_jwt("other.org", Some(authority.keys("other.org")));
    let header_of_other = with(&header, "kid", json!(authority.id));
    validate(&agent, "me", &authority.sign(&header_of_other, &other)).await.unwrap();
    refused(&agent, &agent.registry.jwt.sign(&header, &other)).await;
    refused(&agent, &authority.sign(&header_of_other, &claims)).await;
    // It is forgotten again.
    agent.registry.trust_jwt("other.org", None);
    refused(&agent, &authority.sign(&header_of_other, &other)).await;
}
