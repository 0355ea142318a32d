//! SPIFFE bundles as documents: rows 25 to 27, and 37 to 43 as far as they concern what is written and read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_tests::{Output, Programs, Server, WorkDir};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
use serde_json::{Value, json};

struct House {
    server: Server,
    work: WorkDir,
}

impl House {
    fn open() -> Self {
        let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
        let server = Server::init(&programs, &work, "here.test").unwrap();
        let server = server.start(&work.path().join("server.log")).unwrap();
        Self { server, work }
    }

    fn own(&self) -> Value {
        serde_json::from_str(&self.server.operator(&["bundle", "show", "--format", "spiffe"]).unwrap()).unwrap()
    }

    fn set(&self, words: &[&str], document: &str) -> Output {
        let file = self.work.path().join("foreign.json");
        std::fs::write(&file, document).unwrap();
        let file = file.display().to_string();
        self.server.cli(&[&["bundle", "set", "--path", &file], words].concat()).unwrap()
    }

    /// What is held of `other.test` after it was given `document`.
    fn held(&self, document: &Value) -> Value {
        self.set(&["--id", "other.test"], &document.to_string()).success().unwrap();
        self.server.json(&["federation", "show", "--trust-domain", "other.test"]).unwrap()["bundle"].clone()
    }
}

fn authority() -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.subject_alt_names = vec![SanType::URI("spiffe://other.test".try_into().unwrap())];
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn key(chain: &[Vec<u8>]) -> Value {
    let chain: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
    json!({ "use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "x5c": chain })
}

#[test]
fn spiffe_025_the_keys_of_x509_svids_have_their_use_and_no_kid() {
    let keys = House::open().own()["keys"].as_array().unwrap().clone();
    assert!(!keys.is_empty());
    let x509: Vec<_> = keys.iter().filter(|key| key.get("x5c").is_some()).collect();
    assert!(!x509.is_empty());
    assert!(x509.iter().all(|key| key["use"] == "x509-svid" && key.get("kid").is_none()), "{keys:?}");
}

#[test]
fn spiffe_026_each_key_has_exactly_one_certificate() {
    let keys = House::open().own()["keys"].as_array().unwrap().clone();
    let x509: Vec<_> = keys.iter().filter(|key| key["use"] == "x509-svid").collect();
    assert!(!x509.is_empty() && x509.iter().all(|key| key["x5c"].as_array().unwrap().len() == 1), "{keys:?}");
}

#[test]
fn spiffe_027_keys_without_a_certificate_and_all_but_the_first_one_count_for_nothing() {
    let house = House::open();
    let (first, second) = (authority(), authority());
    let mut without = key(&[]);
    without.as_object_mut().unwrap().remove("x5c");
    let held = house.held(&json!({ "keys": [without, key(&[first.clone(), second])] }));
    assert_eq!(held["x509_authorities"], 1);
    let listed = house.server.json(&["bundle", "list", "--id", "other.test"]).unwrap();
    let pem = listed["bundles"][0]["x509_authorities"][0].as_str().unwrap();
    assert_eq!(pem::parse(pem).unwrap().contents(), first);
}

#[test]
fn spiffe_037_keys_alone_are_a_bundle() {
    assert_eq!(House::open().held(&json!({ "keys": [key(&[authority()])] }))["x509_authorities"], 1);
}

#[test]
fn spiffe_038_the_sequence_rises_with_each_change_and_lives_through_a_restart() {
    let mut house = House::open();
    let before = house.own()["spiffe_sequence"].as_u64().unwrap();
    let restart = |house: &mut House| {
        let log = house.work.path().join("server.log");
        house.server.daemon().unwrap().stop();
        log
    };
    let log = restart(&mut house);
    house.server.start_again(&log).unwrap();
    assert_eq!(house.own()["spiffe_sequence"].as_u64().unwrap(), before, "nothing changed");
    house.server.operator(&["authority", "jwt", "prepare"]).unwrap();
    let after = house.own()["spiffe_sequence"].as_u64().unwrap();
    assert!(after > before);
    let log = restart(&mut house);
    house.server.start_again(&log).unwrap();
    assert_eq!(house.own()["spiffe_sequence"].as_u64().unwrap(), after, "it lives through a restart");
}

#[test]
fn spiffe_039_the_refresh_hint_is_whole_seconds() {
    let house = House::open();
    assert!(house.own()["spiffe_refresh_hint"].is_u64());
    for wrong in [json!(1.5), json!("60"), json!(-1)] {
        let said = house.set(&["--id", "other.test"], &json!({ "keys": [], "spiffe_refresh_hint": wrong }).to_string());
        assert!(said.code == 2 && said.stderr.contains("bundle.number"), "{}", said.stderr);
    }
}

#[test]
fn spiffe_040_unknown_types_and_uses_are_passed_over_and_keys_must_be_there() {
    let house = House::open();
    let with = |member: &str, value: Value| {
        let mut key = key(&[authority()]);
        key[member] = value;
        key
    };
    let keys = json!([
        with("use", json!("X509-SVID")),
        with("use", json!("wit-svid")),
        with("use", json!(null)),
        with("kty", json!("unknown")),
        key(&[authority()]),
    ]);
    assert_eq!(house.held(&json!({ "keys": keys }))["x509_authorities"], 1);
    let none = house.set(&["--id", "other.test"], "{\"spiffe_sequence\":1}");
    assert!(none.code == 2 && none.stderr.contains("bundle.no_keys"), "{}", none.stderr);
}

#[test]
fn spiffe_042_a_map_names_each_trust_domain_once() {
    let house = House::open();
    let twice = "{\"trust_domains\":{\"other.test\":{\"keys\":[]},\"other.test\":{\"keys\":[]}}}";
    let said = house.set(&["--map"], twice);
    assert!(said.code == 2 && said.stderr.contains("bundle.name_twice"), "{}", said.stderr);
    let none = house.set(&["--map"], "{\"keys\":[]}");
    assert!(none.code == 2 && none.stderr.contains("bundle.domains"), "{}", none.stderr);
    let map =
        json!({ "trust_domains": { "other.test": { "keys": [key(&[authority()])] }, "third.test": { "keys": [] } } });
    house.set(&["--map"], &map.to_string()).success().unwrap();
    let listed = house.server.json(&["bundle", "list"]).unwrap();
    let names: Vec<_> = listed["bundles"].as_array().unwrap().iter().map(|one| one["trust_domain"].as_str()).collect();
    assert_eq!(names, [Some("other.test"), Some("third.test")]);
}

#[test]
fn spiffe_043_hints_of_bundles_in_a_map_count_for_nothing() {
    let house = House::open();
    let map = json!({ "trust_domains": { "other.test": { "keys": [], "spiffe_refresh_hint": 86_400 } } });
    house.set(&["--map"], &map.to_string()).success().unwrap();
    let kept = house.server.operator(&["bundle", "list", "--id", "other.test", "--format", "spiffe"]).unwrap();
    assert!(!kept.contains("spiffe_refresh_hint"), "{kept}");
}
