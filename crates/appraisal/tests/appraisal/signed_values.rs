//! Reference-value files that must be signed: by whom, over what, and what becomes of one that is not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_appraisal::finding::Finding;
use holdfast_appraisal::policy::{referenced_files, signed_reference_values};
use holdfast_appraisal::{Appraiser, Document, Policy};
use holdfast_evidence::crypto::DetachedKey;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SigningKey as _};

use crate::machine::{NOW, codes, hex, judge, listed, policy_text, with};

const UNSIGNED: (&str, usize, usize) = ("policy.lint.reference_unsigned", 4, 21);
const SIGNATURE: (&str, usize, usize) = ("policy.lint.reference_signature", 4, 21);

/// A policy with one file of reference values, its signature and one key.
struct Scene {
    policy: String,
    files: Vec<(String, String)>,
}

fn values(byte: u8) -> String {
    format!(
        "api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = \"kernel\"\n[values]\n\
         tpm.boot.applications = [{:?}]\n",
        hex(byte)
    )
}

fn signature(key: &KeyPair, message: &[u8]) -> String {
    STANDARD.encode(key.sign(message).unwrap())
}

impl Scene {
    fn new(key: &KeyPair) -> Self {
        let rule = "[rule.require]\ntpm.boot.applications = { sequence = \"@kernel\" }";
        let names = "name = \"test\"\nreference_values = [\"k.toml\"]\nreference_keys = [\"keys/vendor.pem\"]";
        let text = values(0xa1);
        let signed = signature(key, &signed_reference_values(&text));
        let files = [("k.toml", text), ("k.toml.sig", signed), ("keys/vendor.pem", key.public_key_pem())];
        let files = files.map(|(name, text)| (name.to_owned(), text)).to_vec();
        Self { policy: policy_text(rule).replace("name = \"test\"", names), files }
    }

    fn file(&mut self, name: &str) -> &mut String {
        &mut self.files.iter_mut().find(|(other, _)| other == name).unwrap().1
    }

    fn parse(&self) -> Result<Policy, Vec<Finding>> {
        let documents: Vec<_> = self.files.iter().map(|(name, text)| Document { name, text }).collect();
        Policy::parse(Document { name: "p.toml", text: &self.policy }, &documents)
    }

    fn finding(&self) -> (&'static str, usize, usize) {
        let findings = self.parse().unwrap_err();
        assert_eq!(findings[0].file, "p.toml");
        (findings[0].code, findings[0].line, findings[0].column)
    }
}

fn keys() -> [KeyPair; 2] {
    [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256].map(|algorithm| KeyPair::generate_for(algorithm).unwrap())
}

#[test]
fn a_signed_file_is_used_and_the_explanation_says_by_which_key() {
    for key in keys() {
        let scene = Scene::new(&key);
        let policy = scene.parse().unwrap();
        let refused = with("tpm.boot.applications", &[&hex(0xa3)]);
        let verdict = judge(&policy, &refused, &listed());
        let explanation = Appraiser::explain(&policy, &refused, &listed(), NOW, &verdict);
        let id = hex::encode(DetachedKey::from_pem(&key.public_key_pem()).unwrap().spki_sha256());
        assert_eq!(explanation.origins[0].signed_by, id);
        assert!(explanation.to_string().contains(&format!("@kernel: k.toml, signed by key {id}")), "{explanation}");
        let admitted = judge(&policy, &with("tpm.boot.applications", &[&hex(0xa1)]), &listed());
        assert_eq!(codes(&admitted).0, "admitted");
    }
}

#[test]
fn whatever_is_not_signed_by_a_named_key_as_it_is_is_an_error_where_it_is_named() {
    for key in keys() {
        let other = KeyPair::generate_for(key.algorithm()).unwrap();
        let changed = |name: &str, text: String| {
            let mut scene = Scene::new(&key);
            *scene.file(name) = text;
            scene.finding()
        };
        let mut unsigned = Scene::new(&key);
        unsigned.files.retain(|(name, _)| name != "k.toml.sig");
        assert_eq!(unsigned.finding(), UNSIGNED);
        let message = signed_reference_values(&values(0xa1));
        assert_eq!(changed("k.toml.sig", signature(&other, &message)), SIGNATURE, "another key");
        let of_another = signature(&key, &signed_reference_values(&values(0xa2)));
        assert_eq!(changed("k.toml.sig", of_another), SIGNATURE, "another file");
        assert_eq!(changed("k.toml.sig", signature(&key, values(0xa1).as_bytes())), SIGNATURE, "another domain");
        assert_eq!(changed("k.toml", format!("{}\n", values(0xa1))), SIGNATURE, "one byte more");
        assert_eq!(changed("keys/vendor.pem", other.public_key_pem()), SIGNATURE, "another key in the policy's file");
        for broken in ["", "!", "AAAA", &"A".repeat(10_000)] {
            assert_eq!(changed("k.toml.sig", broken.to_owned()), SIGNATURE, "{broken:.10}");
        }
    }
}

#[test]
fn a_file_that_is_not_signed_is_not_even_read() {
    let [key, _] = keys();
    let mut scene = Scene::new(&key);
    *scene.file("k.toml") = "this is no TOML".to_owned();
    let codes: Vec<_> = scene.parse().unwrap_err().iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&"policy.lint.reference_signature") && !codes.contains(&"policy.lint.syntax"), "{codes:?}");
}

#[test]
fn one_of_several_keys_is_enough_and_lines_of_a_signature_may_be_broken() {
    let [ed25519, p256] = keys();
    let mut scene = Scene::new(&ed25519);
    scene.policy = scene.policy.replace("[\"keys/vendor.pem\"]", "[\"second.pem\", \"keys/vendor.pem\"]");
    scene.files.push(("second.pem".to_owned(), p256.public_key_pem()));
    let signed = scene.file("k.toml.sig");
    signed.insert(64, '\n');
    signed.push('\n');
    assert!(scene.parse().is_ok());
}

#[test]
fn keys_that_cannot_be_read_and_keys_without_files_are_errors() {
    let [key, _] = keys();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
    for bad in [p384, key.serialize_pem(), String::new(), key.public_key_pem().repeat(2)] {
        let mut scene = Scene::new(&key);
        *scene.file("keys/vendor.pem") = bad;
        assert!(scene.parse().unwrap_err().iter().any(|finding| finding.code == "policy.lint.reference_keys"));
    }
    let mut scene = Scene::new(&key);
    scene.files.retain(|(name, _)| name != "keys/vendor.pem");
    assert!(scene.parse().unwrap_err().iter().any(|finding| finding.code == "policy.lint.reference_file_missing"));
    scene.policy = scene.policy.replace("[\"keys/vendor.pem\"]", "[]");
    assert!(scene.parse().unwrap_err().iter().any(|finding| finding.code == "policy.lint.empty_set"));
    let text = policy_text("").replace("name = \"test\"", "name = \"test\"\nreference_keys = \"v.pem\"");
    let document = Document { name: "v.pem", text: &key.public_key_pem() };
    let findings = Policy::parse(Document { name: "p.toml", text: &text }, &[document]).unwrap_err();
    assert_eq!((findings[0].code, findings[0].line), ("policy.lint.reference_keys", 4));
}

#[test]
fn signatures_and_keys_are_files_of_the_policy_and_of_its_digest() {
    let [key, p256] = keys();
    let mut scene = Scene::new(&p256);
    let named = referenced_files(Document { name: "p.toml", text: &scene.policy }).unwrap();
    assert_eq!(named, ["k.toml", "k.toml.sig", "keys/vendor.pem"]);
    let digest = scene.parse().unwrap().version().digest.clone();
    scene.file("k.toml.sig").push('\n');
    assert_ne!(scene.parse().unwrap().version().digest, digest);
    let unsigned = Scene::new(&key).policy.replace("reference_keys = [\"keys/vendor.pem\"]", "");
    assert_eq!(referenced_files(Document { name: "p.toml", text: &unsigned }).unwrap(), ["k.toml"]);
}
