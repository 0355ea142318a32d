//! What counts in a bundle, what is passed over, and what makes it none.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};

use super::*;

fn domain(name: &str) -> TrustDomain {
    name.parse().unwrap()
}

fn signed(names: &[&str], is_ca: bool) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    params.subject_alt_names = names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// An authority with a key of this kind.
fn root_of(kind: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate_for(kind).unwrap()).unwrap().der().to_vec()
}

/// A public key of RSA with so many bits, which signs nonsense.
struct Rsa(Vec<u8>);

impl Rsa {
    fn of(bits: usize) -> Self {
        let tagged = |tag: u8, content: &[u8]| {
            let length = match u16::try_from(content.len()).unwrap().to_be_bytes() {
                [0, short] if short < 0x80 => vec![short],
                [0, byte] => vec![0x81, byte],
                [high, low] => vec![0x82, high, low],
            };
            [&[tag], &length[..], content].concat()
        };
        let modulus = [&[0][..], &vec![0xff; bits / 8]].concat();
        Self(tagged(0x30, &[tagged(2, &modulus), tagged(2, &[1, 0, 1])].concat()))
    }
}

impl rcgen::PublicKeyData for Rsa {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for Rsa {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![1; 256])
    }
}

fn root_of_rsa(bits: usize) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&Rsa::of(bits)).unwrap().der().to_vec()
}

fn root() -> Vec<u8> {
    signed(&["spiffe://other.org"], true)
}

fn x509_key(chain: &[Vec<u8>]) -> Value {
    let chain: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
    json!({ "use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "", "y": "", "x5c": chain })
}

fn jwt_key(kid: &str) -> Value {
    // The generator of P-256.
    let x = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";
    let y = "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";
    json!({ "use": "jwt-svid", "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "d": "secret" })
}

fn read(document: &Value) -> Result<Bundle, BadBundle> {
    Bundle::read(&domain("other.org"), document.to_string().as_bytes())
}

#[test]
fn keys_alone_are_a_bundle_and_none_are_one_too() {
    assert_eq!(read(&json!({ "keys": [] })).unwrap(), Bundle::default());
    assert!(read(&json!({ "keys": [], "more": { "of": ["anything"] } })).unwrap().is_empty());
    for none in [json!({}), json!({ "keys": {} }), json!({ "keys": null })] {
        assert_eq!(read(&none), Err(BadBundle::NoKeys), "{none}");
    }
}

#[test]
fn unknown_types_uses_and_keys_without_a_certificate_are_passed_over() {
    let known = root();
    let with = |member: &str, value: Value| {
        let mut key = x509_key(&[root()]);
        key[member] = value;
        key
    };
    let without = |member: &str| {
        let mut key = x509_key(&[root()]);
        key.as_object_mut().unwrap().remove(member);
        key
    };
    let keys = json!([
        with("use", json!("X509-SVID")), with("use", json!("sig")), with("use", json!(null)), without("use"),
        with("kty", json!("XYZ")), without("kty"), without("x5c"), with("x5c", json!([])), with("x5c", json!("x")),
        "text", 7, null, { "use": "jwt-svid", "kty": "oct", "kid": "a", "k": "AAAA" },
        { "use": "jwt-svid", "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "broken" },
        { "use": "jwt-svid", "kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA", "kid": "b" },
        x509_key(std::slice::from_ref(&known)),
    ]);
    let bundle = read(&json!({ "keys": keys })).unwrap();
    assert_eq!((bundle.x509_authorities, bundle.jwt_authorities.len()), (vec![known], 0));
}

#[test]
fn only_the_first_certificate_of_a_key_counts() {
    let (first, second) = (root(), root());
    let bundle = read(&json!({ "keys": [x509_key(&[first.clone(), second])] })).unwrap();
    assert_eq!(bundle.x509_authorities, [first]);
    let mut garbage_behind = x509_key(&[root()]);
    garbage_behind["x5c"].as_array_mut().unwrap().push(json!("not base64"));
    assert_eq!(read(&json!({ "keys": [garbage_behind] })).unwrap().x509_authorities.len(), 1);
}

#[test]
fn a_certificate_that_signs_for_nobody_or_for_another_domain_is_no_authority() {
    let bad = |der: Vec<u8>| read(&json!({ "keys": [x509_key(&[der])] })).unwrap_err();
    for (der, problem) in [
        (signed(&["spiffe://other.org"], false), "is no signing certificate"),
        (signed(&["spiffe://third.org"], true), "names spiffe://third.org, expected spiffe://other.org"),
        (signed(&["SPIFFE://third.org"], true), "names SPIFFE://third.org, expected spiffe://other.org"),
        (signed(&["spiffe://other.org/a"], true), "names spiffe://other.org/a, expected spiffe://other.org"),
        (
            signed(&["spiffe://other.org", "spiffe://third.org"], true),
            "names spiffe://third.org, expected spiffe://other.org",
        ),
        (b"nothing".to_vec(), "is no X.509 certificate"),
        ([root(), vec![0]].concat(), "has bytes behind it"),
    ] {
        assert_eq!(bad(der), BadBundle::Certificate { number: 1, problem: problem.to_owned() });
    }
    // A root above several domains need not name any.
    read(&json!({ "keys": [x509_key(&[signed(&[], true)]), x509_key(&[signed(&["https://x"], true)])] })).unwrap();
}

#[test]
fn an_authority_has_no_key_that_is_weak_or_that_nobody_verifies_with() {
    for (bits, refused) in [(1024, true), (2048, false), (8192, false), (16_384, true)] {
        let found = read(&json!({ "keys": [x509_key(&[root_of_rsa(bits)])] }));
        let problem = format!("has an RSA key of {bits} bits, expected 2048 to 8192");
        assert_eq!(found.err(), refused.then_some(BadBundle::Certificate { number: 1, problem }), "{bits}");
    }
}

#[test]
fn certificates_are_bounded_in_bytes_together() {
    let names: Vec<String> = (0..500).map(|n| format!("https://{n}.example/")).collect();
    let large = || signed(&names.iter().map(String::as_str).collect::<Vec<_>>(), true);
    let keys: Vec<Value> = (0..AUTHORITIES_MAX / 4).map(|_| x509_key(&[large()])).collect();
    let found = read(&json!({ "keys": keys })).unwrap_err();
    assert_eq!(found.code(), "bundle.certificates_too_long", "{found}");
    assert_eq!(read(&json!({ "keys": [keys[0]] })).unwrap().x509_authorities.len(), 1);
}

#[test]
fn authorities_of_each_kind_of_key_are_written_as_the_standard_names_it() {
    for (kind, names) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, ("EC", "P-256")),
        (&rcgen::PKCS_ECDSA_P384_SHA384, ("EC", "P-384")),
        (&rcgen::PKCS_ED25519, ("OKP", "Ed25519")),
    ] {
        let bundle = Bundle { x509_authorities: vec![root_of(kind)], ..Bundle::default() };
        let text = bundle.to_json();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&document["keys"][0]["kty"], &document["keys"][0]["crv"]), (&json!(names.0), &json!(names.1)));
        assert_eq!(Bundle::read(&domain("other.org"), text.as_bytes()).unwrap(), bundle);
    }
}

#[test]
fn a_key_for_tokens_keeps_its_public_members_alone() {
    let bundle = read(&json!({ "keys": [jwt_key("a"), jwt_key("b")] })).unwrap();
    assert_eq!(bundle.jwt_authorities[0].key_id.as_deref(), Some("a"));
    assert!(!bundle.to_json().contains("secret"));
    assert_eq!(read(&json!({ "keys": [jwt_key("a"), jwt_key("a")] })), Err(BadBundle::KeyIdTwice("a".to_owned())));
}

#[test]
fn numbers_are_whole_and_not_negative() {
    let with = |member: &str, value: Value| {
        let mut document = json!({ "keys": [] });
        document[member] = value;
        read(&document)
    };
    assert_eq!(with("spiffe_sequence", json!(u64::MAX)).unwrap().sequence, Some(u64::MAX));
    assert_eq!(with("spiffe_refresh_hint", json!(300)).unwrap().refresh_hint, Some(300));
    for wrong in [json!(-1), json!(1.5), json!("1"), json!(null), json!(1e300)] {
        for member in ["spiffe_sequence", "spiffe_refresh_hint"] {
            assert_eq!(with(member, wrong.clone()), Err(BadBundle::Number { member }), "{wrong}");
        }
    }
}

#[test]
fn bounds_hold_before_anything_is_parsed() {
    let long = vec![b' '; DOCUMENT_BYTES_MAX + 1];
    assert_eq!(Bundle::read(&domain("a"), &long).unwrap_err().code(), "bundle.too_long");
    let many: Vec<Value> = (0..=AUTHORITIES_MAX).map(|n| jwt_key(&n.to_string())).collect();
    assert_eq!(read(&json!({ "keys": many })).unwrap_err().code(), "bundle.too_many");
    let unknown = vec![json!(1); KEYS_MAX + 1];
    assert_eq!(read(&json!({ "keys": unknown })).unwrap_err().code(), "bundle.too_many");
    assert_eq!(Bundle::read(&domain("a"), b"[]").unwrap_err().code(), "bundle.json");
    assert_eq!(Bundle::read(&domain("a"), b"{\"keys\":[],\"keys\":[]}").unwrap_err().code(), "bundle.name_twice");
}

#[test]
fn what_is_written_reads_as_it_was() {
    let bundle = Bundle {
        x509_authorities: vec![root(), root()],
        sequence: Some(7),
        refresh_hint: Some(60),
        ..read(&json!({ "keys": [jwt_key("a")] })).unwrap()
    };
    let text = bundle.to_json();
    assert_eq!(Bundle::read(&domain("other.org"), text.as_bytes()).unwrap(), bundle);
    let document: Value = serde_json::from_str(&text).unwrap();
    let first = &document["keys"][0];
    assert_eq!((&first["use"], first["x5c"].as_array().unwrap().len()), (&json!("x509-svid"), 1));
    assert!(first.get("kid").is_none() && document["keys"][2]["kid"] == "a");
}

#[test]
fn a_map_names_each_domain_once_and_its_hints_count_for_nothing() {
    let map =
        br#"{"trust_domains":{"a.org":{"keys":[],"spiffe_refresh_hint":1,"spiffe_sequence":3},"b.org":{"keys":[]}}}"#;
    let read = read_map(map).unwrap();
    assert_eq!(read.keys().map(TrustDomain::as_str).collect::<Vec<_>>(), ["a.org", "b.org"]);
    assert_eq!((read[&domain("a.org")].sequence, read[&domain("a.org")].refresh_hint), (Some(3), None));
    let twice = br#"{"trust_domains":{"a.org":{"keys":[]},"a.org":{"keys":[]}}}"#;
    assert_eq!(read_map(twice).unwrap_err().code(), "bundle.name_twice");
    for (none, code) in [
        (&br#"{"keys":[]}"#[..], "bundle.domains"),
        (br#"{"trust_domains":[]}"#, "bundle.domains"),
        (br#"{"trust_domains":{"A.org":{"keys":[]}}}"#, "bundle.domains"),
        (br#"{"trust_domains":{"a.org":[]}}"#, "bundle.json"),
        (br#"{"trust_domains":{"a.org":{}}}"#, "bundle.no_keys"),
    ] {
        assert_eq!(read_map(none).unwrap_err().code(), code);
    }
}
