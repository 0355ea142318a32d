//! The JWT profile of the Workload API: rows 54, 59, 62 and 67 to 71, on the real agent.

use serde_json::{Value, json};
use tonic::Code;

use crate::court::{Court, ids};
use crate::place::{PATIENCE, Place};
use crate::stranger::{AUDIENCE, Stranger};
use crate::workload::tokens::parts;
use crate::workload::{certificates, with_header};

const A: &str = "spiffe://example.org/a";
const B: &str = "spiffe://example.org/b";

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_054_both_profiles_are_served() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    place.fetch(&[A]).await;
    let mut client = place.client().await;
    let mut authorities = client.fetch_x509_bundles(with_header(Default::default())).await.unwrap().into_inner();
    assert!(!authorities.message().await.unwrap().unwrap().bundles.is_empty());
    let mut court = Court::open(&place).await;
    let token = court.token(&[AUDIENCE]).await;
    assert!(!court.bundles().await.unwrap().is_empty());
    assert_eq!(court.taken(&token).await, A);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_059_a_mandatory_field_that_is_not_set_is_an_invalid_argument() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &[]);
    place.fetch(&[A]).await;
    let mut court = Court::open(&place).await;
    let token = court.token(&[AUDIENCE]).await;
    for audience in [&[][..], &[""], &["a", ""]] {
        assert_eq!(court.fetch(audience, "").await.unwrap_err().code(), Code::InvalidArgument, "{audience:?}");
    }
    assert_eq!(court.validate("", &token).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(court.validate(AUDIENCE, "").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_062_bundles_are_for_their_own_kind_of_svid_alone() {
    let (place, stranger, other) = (Place::shared().await, Stranger::new("kind.test"), Stranger::new("kind.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, A, &[&stranger]).await;
    // A key for certificates with an ID, and one for tokens with a certificate of an authority.
    let for_tokens = other.authority.jwk("jwt-svid", "tokens");
    court.publish(stranger.name, &[stranger.authority.jwk("x509-svid", "certificates"), for_tokens.clone()]);
    court.until_authority(stranger.name, &stranger.authority.der).await;
    court.until_keys(stranger.name, &ids(&[for_tokens])).await;
    let mut client = place.client().await;
    let mut stream = client.fetch_x509_bundles(with_header(Default::default())).await.unwrap().into_inner();
    let authorities = stream.message().await.unwrap().unwrap();
    assert_eq!(certificates(&authorities.bundles["spiffe://kind.test"]), std::slice::from_ref(&stranger.authority.der));
    let keys = court.bundles().await.unwrap();
    assert!(
        keys.values().flat_map(|set| set["keys"].as_array().unwrap()).all(|key| key.get("x5c").is_none()),
        "{keys:?}"
    );
    let (header, claims) = stranger.good();
    let mut named = header.clone();
    named["kid"] = json!("tokens");
    court.taken(&other.authority.sign(&named, &claims)).await;
    named["kid"] = json!("certificates");
    court.refused(&stranger.authority.sign(&named, &claims)).await;
    // The own domain's as well: no key of one kind is one of the other.
    let own = certificates(&authorities.bundles["spiffe://example.org"]);
    let (_, root) = x509_parser::parse_x509_certificate(&own[0]).unwrap();
    let x509_parser::public_key::PublicKey::EC(point) = root.public_key().parsed().unwrap() else {
        panic!("no EC key")
    };
    use base64::Engine as _;
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&point.data()[1..33]);
    assert!(keys["spiffe://example.org"]["keys"].as_array().unwrap().iter().all(|key| key["x"] != x.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_067_without_an_id_every_identity_gets_a_token_and_anothers_id_none() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let entries = [place.enter(A, &[]), place.enter(B, &[])];
    // Somebody else's on this machine.
    let theirs = ["entry", "create", "--spiffe-id", "spiffe://example.org/other", "--selector", "unix:uid:4000000000"];
    place.server.operator(&[&theirs[..], &["--parent-id", &place.node_id()]].concat()).unwrap();
    place.fetch(&[A, B]).await;
    let mut court = Court::open(&place).await;
    let both = court.fetch(&["a"], "").await.unwrap();
    let mut found: Vec<&str> = both.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, [A, B]);
    for svid in &both.svids {
        let (_, claims) = parts(&svid.svid);
        assert_eq!((&claims["sub"], &claims["aud"]), (&json!(svid.spiffe_id), &json!(["a"])));
    }
    let one = court.fetch(&["a"], B).await.unwrap();
    assert_eq!((one.svids.len(), one.svids[0].spiffe_id.as_str()), (1, B));
    for other in ["spiffe://example.org/other", "spiffe://example.org/none", "spiffe://other.test/a"] {
        assert_eq!(court.fetch(&["a"], other).await.unwrap_err().code(), Code::PermissionDenied, "{other}");
    }
    assert_eq!(court.fetch(&["a"], "a").await.unwrap_err().code(), Code::InvalidArgument);
    // Both go, and with them the tokens.
    let mut stream = place.stream().await.unwrap();
    for entry in entries {
        place.server.operator(&["entry", "delete", &entry]).unwrap();
    }
    while stream.message().await.is_ok() {}
    assert_eq!(court.fetch(&["a"], "").await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_068_hints_are_told_and_of_equal_ones_the_oldest_entry_stays() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    place.enter(A, &["--hint", "internal"]);
    // Entries of one second have no older one.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    place.enter(B, &["--hint", "internal"]);
    let c = "spiffe://example.org/c";
    place.enter(c, &["--hint", "external"]);
    place.fetch(&[A, c]).await;
    let answer = Court::open(&place).await.fetch(&["a"], "").await.unwrap();
    let mut hints: Vec<_> = answer.svids.iter().map(|svid| (svid.spiffe_id.as_str(), svid.hint.as_str())).collect();
    hints.sort_unstable();
    assert_eq!(hints, [(A, "internal"), (c, "external")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_069_a_jwt_bundle_is_a_set_of_keys_for_jwt_svids_alone() {
    let (place, stranger) = (Place::shared().await, Stranger::of_all_kinds("set.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, A, &[&stranger]).await;
    let bundles = court.bundles().await.unwrap();
    let names: Vec<_> = bundles.keys().map(String::as_str).collect();
    assert_eq!(names, ["spiffe://example.org", "spiffe://set.test"], "the own one is among them");
    let own: Value =
        serde_json::from_str(&place.server.operator(&["bundle", "show", "--format", "spiffe"]).unwrap()).unwrap();
    let published: Vec<Value> =
        own["keys"].as_array().unwrap().iter().filter(|key| key["use"] == "jwt-svid").cloned().collect();
    for (name, expected) in [("example.org", published), ("set.test", stranger.token_keys())] {
        let set = &bundles[&format!("spiffe://{name}")];
        let keys = set["keys"].as_array().unwrap();
        assert_eq!(keys.len(), expected.len(), "{set:#}");
        for key in keys {
            let same = expected.iter().find(|one| one["kid"] == key["kid"]).unwrap();
            assert!(
                ["kty", "crv", "x", "y", "n", "e"].iter().all(|member| key.get(member) == same.get(member)),
                "{set:#}"
            );
            assert!(key.get("x5c").is_none() && key.get("d").is_none(), "{set:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_070_validation_returns_subject_and_claims() {
    use prost_types::value::Kind;
    let (place, stranger) = (Place::shared().await, Stranger::new("claims.test"));
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, A, &[&stranger]).await;
    let (header, mut claims) = stranger.good();
    claims["more"] = json!({ "n": 1.5, "list": [true, null] });
    let answer = court.validate(AUDIENCE, &stranger.sign(&header, &claims)).await.unwrap();
    assert_eq!(answer.spiffe_id, stranger.id("x"));
    let fields = answer.claims.unwrap().fields;
    assert_eq!(fields.len(), 4);
    assert_eq!(fields["sub"].kind, Some(Kind::StringValue(stranger.id("x"))));
    assert!(matches!(&fields["more"].kind, Some(Kind::StructValue(more)) if more.fields.len() == 2));
    // The server's own token, by any workload of the node.
    let own = court.token(&[AUDIENCE]).await;
    let answer = court.validate(AUDIENCE, &own).await.unwrap();
    assert_eq!(answer.spiffe_id, A);
    assert_eq!(answer.claims.unwrap().fields.len(), parts(&own).1.as_object().unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_validates_no_longer() {
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let entry = place.enter(A, &[]);
    place.enter(B, &[]);
    place.fetch(&[A, B]).await;
    let mut court = Court::open(&place).await;
    let withdrawn = court.fetch(&[AUDIENCE], A).await.unwrap().svids.remove(0).svid;
    let other = court.fetch(&[AUDIENCE], B).await.unwrap().svids.remove(0).svid;
    assert_eq!(court.taken(&withdrawn).await, A);
    place.server.operator(&["entry", "delete", &entry]).unwrap();
    let begun = std::time::Instant::now();
    while court.validate(AUDIENCE, &withdrawn).await.is_ok() {
        assert!(begun.elapsed().as_secs() < PATIENCE, "{}", place.logs());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    court.refused(&withdrawn).await;
    assert_eq!(court.taken(&other).await, B);
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_071_only_the_bundle_of_the_subjects_domain_verifies() {
    let (one, two, third) = (Stranger::new("one.test"), Stranger::new("two.test"), Stranger::new("third.test"));
    let place = Place::shared().await;
    let _turn = place.turn().await;
    let mut court = Court::believing(&place, A, &[&one, &two]).await;
    // The server knows this one's bundle, and no entry of the caller federates with it.
    court.publish(third.name, &third.token_keys());
    let (header, claims) = one.good();
    assert_eq!(court.taken(&one.sign(&header, &claims)).await, one.id("x"));
    let (header_of_two, claims_of_two) = two.good();
    assert_eq!(court.taken(&two.sign(&header_of_two, &claims_of_two)).await, two.id("x"));
    // Each names a subject of the other one, and of ours.
    court.refused(&one.sign(&header, &claims_of_two)).await;
    court.refused(&two.sign(&header_of_two, &claims)).await;
    let mut claims_of_ours = claims.clone();
    claims_of_ours["sub"] = json!(A);
    court.refused(&one.sign(&header, &claims_of_ours)).await;
    let (header_of_third, claims_of_third) = third.good();
    court.refused(&third.sign(&header_of_third, &claims_of_third)).await;
    court.refused(&one.sign(&header, &claims_of_third)).await;
    // It is forgotten again.
    place.server.operator(&["bundle", "delete", "--id", two.name, "--mode", "dissociate"]).unwrap();
    court.until_keys(two.name, &[]).await;
    court.refused(&two.sign(&header_of_two, &claims_of_two)).await;
    court.taken(&one.sign(&header, &claims)).await;
}
