//! JWT-SVID: rows 28 to 36, by the real server's tokens and by strangers' before the real agent.

use serde_json::{Value, json};

use crate::court::{Court, ids};
use crate::place::Place;
use crate::stranger::{RsaKey, Stranger, sign_by};
use crate::workload::tokens::{now, parts};

const ME: &str = "spiffe://example.org/me";

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

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_028_only_compact_serialization_is_a_jwt_svid() {
    let (place, stranger) = (Place::shared().await, Stranger::new("jws.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, ME, &[&stranger]).await;
    assert_eq!(court.token(&["a"]).await.split('.').count(), 3);
    let (header, claims) = stranger.good();
    let token = stranger.sign(&header, &claims);
    assert_eq!(court.taken(&token).await, stranger.id("x"));
    let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let general = json!({ "payload": payload, "signatures": [{ "protected": head, "signature": signature }] });
    court.refused(&json!({ "protected": head, "payload": payload, "signature": signature }).to_string()).await;
    court.refused(&general.to_string()).await;
    // Five parts are an encrypted token; no signature, and more behind it.
    court.refused(&format!("{head}.{payload}.{payload}.{payload}.{signature}")).await;
    court.refused(&format!("{head}.{payload}.")).await;
    court.refused(&format!("{head}.{payload}")).await;
    court.refused(&format!("{token}.{signature}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_029_the_header_has_alg_kid_and_typ_alone() {
    let (place, stranger) = (Place::shared().await, Stranger::new("header.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, ME, &[&stranger]).await;
    let (issued, _) = parts(&court.token(&["a"]).await);
    assert_eq!(issued.as_object().unwrap().keys().collect::<Vec<_>>(), ["alg", "kid", "typ"]);
    let (header, claims) = stranger.good();
    court.taken(&stranger.sign(&header, &claims)).await;
    for name in ["jku", "jwk", "x5c", "x5u", "x5t", "cty", "crit", "b64", "zip"] {
        court.refused(&stranger.sign(&with(&header, name, json!("x")), &claims)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_030_other_algorithms_than_those_of_the_list_are_refused() {
    let (place, stranger) = (Place::shared().await, Stranger::of_all_kinds("alg.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, ME, &[&stranger]).await;
    let (header, claims) = stranger.good();
    for alg in ["none", "None", "HS256", "HS512", "EdDSA", "ES256K", "es256", ""] {
        court.refused(&stranger.sign(&with(&header, "alg", json!(alg)), &claims)).await;
    }
    court.refused(&stranger.sign(&without(&header, "alg"), &claims)).await;
    court.taken(&stranger.sign(&header, &claims)).await;
    for (alg, key) in &stranger.others {
        let header = json!({ "alg": alg, "kid": key.id });
        court.taken(&key.sign(&header, &claims)).await;
        // An algorithm of the list that is not the key's.
        court.refused(&key.sign(&with(&header, "alg", json!("ES256")), &claims)).await;
    }
    let rsa = RsaKey::new();
    court.publish(stranger.name, &[rsa.jwk()]);
    court.until_keys(stranger.name, &[RsaKey::ID.to_owned()]).await;
    for (alg, encoding) in RsaKey::ALGORITHMS {
        let header = json!({ "alg": alg, "kid": RsaKey::ID });
        court.taken(&rsa.sign(encoding, &header, &claims)).await;
        let other = RsaKey::ALGORITHMS.iter().find(|(other, _)| *other != alg).unwrap().0;
        court.refused(&rsa.sign(encoding, &with(&header, "alg", json!(other)), &claims)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_031_typ_is_jwt_or_jose_if_it_is_there() {
    let (place, stranger) = (Place::shared().await, Stranger::new("typ.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, ME, &[&stranger]).await;
    let (header, claims) = stranger.good();
    for typ in ["JWT", "JOSE"] {
        court.taken(&stranger.sign(&with(&header, "typ", json!(typ)), &claims)).await;
    }
    court.taken(&stranger.sign(&without(&header, "typ"), &claims)).await;
    for typ in ["at+jwt", "jwt", "wit+jwt", ""] {
        court.refused(&stranger.sign(&with(&header, "typ", json!(typ)), &claims)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_032_sub_is_the_spiffe_id() {
    let (place, stranger) = (Place::shared().await, Stranger::new("sub.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, ME, &[&stranger]).await;
    let svid = court.fetch(&["a"], "").await.unwrap().svids.remove(0);
    assert_eq!((svid.spiffe_id.as_str(), &parts(&svid.svid).1["sub"]), (ME, &json!(ME)));
    let (header, claims) = stranger.good();
    court.taken(&stranger.sign(&header, &claims)).await;
    let strangers = [json!("somebody"), json!("spiffe://"), json!("https://sub.test/x"), json!(1), json!(null)];
    let malformed = ["spiffe://sub.test/", "spiffe://sub.test/x?y", "SPIFFE://sub.test/x"];
    // The trust domain's own ID names no workload: its key signs, and nobody speaks as it.
    court.refused(&stranger.sign(&header, &with(&claims, "sub", json!("spiffe://sub.test")))).await;
    for sub in strangers.into_iter().chain(malformed.map(|text| json!(text))) {
        court.refused(&stranger.sign(&header, &with(&claims, "sub", sub))).await;
    }
    court.refused(&stranger.sign(&header, &without(&claims, "sub"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_033_aud_is_there_and_names_the_audience() {
    let (place, stranger) = (Place::shared().await, Stranger::new("aud.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, ME, &[&stranger]).await;
    let own = court.token(&["a", "b"]).await;
    assert_eq!(parts(&own).1["aud"], json!(["a", "b"]));
    court.refused(&own).await;
    let (header, claims) = stranger.good();
    for aud in [json!("me"), json!(["x", "me"])] {
        court.taken(&stranger.sign(&header, &with(&claims, "aud", aud))).await;
    }
    for aud in [json!("other"), json!([]), json!(["Me"]), json!(["me", 1]), json!({ "me": 1 }), json!(null)] {
        court.refused(&stranger.sign(&header, &with(&claims, "aud", aud))).await;
    }
    court.refused(&stranger.sign(&header, &without(&claims, "aud"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_034_exp_is_there_and_in_the_future() {
    let (place, stranger) = (Place::shared().await, Stranger::new("exp.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, ME, &[&stranger]).await;
    let issued = parts(&court.token(&["a"]).await).1;
    assert!(issued["exp"].as_i64().unwrap() > now().seconds());
    let (header, claims) = stranger.good();
    court.taken(&stranger.sign(&header, &claims)).await;
    for exp in [json!(now().seconds() - 120), json!(0), json!("never"), json!(null)] {
        court.refused(&stranger.sign(&header, &with(&claims, "exp", exp))).await;
    }
    court.refused(&stranger.sign(&header, &without(&claims, "exp"))).await;
    court.refused(&stranger.sign(&header, &with(&claims, "nbf", json!(now().seconds() + 120)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_035_a_key_in_the_bundle_has_the_use_jwt_svid_and_an_id() {
    let place = Place::shared().await;
    let bundle = place.server.operator(&["bundle", "show", "--format", "spiffe"]).unwrap();
    let bundle: Value = serde_json::from_str(&bundle).unwrap();
    let keys = bundle["keys"].as_array().unwrap();
    let of_use = |usage: &str| keys.iter().filter(|key| key["use"] == usage).collect::<Vec<_>>();
    let tokens = of_use("jwt-svid");
    assert_eq!((tokens.len(), of_use("x509-svid").len(), keys.len()), (1, 1, 2), "{bundle:#}");
    assert!(tokens[0]["kid"].as_str().is_some_and(|kid| !kid.is_empty()));
    assert!(tokens[0].get("x5c").is_none() && tokens[0].get("d").is_none());
    let shown = place.server.json(&["authority", "jwt", "show"]).unwrap();
    assert_eq!(shown["authorities"][0]["authority_id"], tokens[0]["kid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_036_only_keys_for_jwt_svids_verify_them() {
    let (place, stranger, unknown) = (Place::shared().await, Stranger::new("use.test"), Stranger::new("use.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, ME, &[&stranger]).await;
    // Keys that stand in the bundle for something else, with an ID.
    let mut keys = stranger.token_keys();
    keys.push(stranger.authority.jwk("x509-svid", "certificates"));
    keys.push(with(&unknown.key.jwk("sig"), "kid", json!("signatures")));
    keys.push(with(&unknown.authority.jwk("JWT-SVID", "upper-case"), "x5c", json!(null)));
    court.publish(stranger.name, &keys);
    court.until_authority(stranger.name, &stranger.authority.der).await;
    court.until_keys(stranger.name, &ids(&stranger.token_keys())).await;
    let (header, claims) = stranger.good();
    let named = |kid: &str| with(&header, "kid", json!(kid));
    court.taken(&stranger.sign(&header, &claims)).await;
    court.refused(&stranger.authority.sign(&named("certificates"), &claims)).await;
    court.refused(&unknown.sign(&named("signatures"), &claims)).await;
    court.refused(&unknown.authority.sign(&named("upper-case"), &claims)).await;
    // Another key under the good one's name, and under a name of its own.
    court.refused(&unknown.sign(&header, &claims)).await;
    court.refused(&unknown.sign(&named(&unknown.key.id), &claims)).await;
    court.refused(&stranger.sign(&without(&header, "kid"), &claims)).await;
    // The key of the caller's own X.509-SVID, which the domain did certify.
    let own = court.token(&["me"]).await;
    let (header, claims) = parts(&own);
    court.taken(&own).await;
    let pkcs8 = place.fetch(&[ME]).await.svids.remove(0).x509_svid_key;
    court.refused(&sign_by(&pkcs8, &header, &claims)).await;
}
