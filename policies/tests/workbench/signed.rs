//! Signing reference values and policies, and what `lint` says of what is not signed.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_evidence::crypto::{Ed25519Key, Zeroizing};
use holdfast_policy::exit::Exit;

use super::{json, policy, read, text};

const VALUES: &str = "api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = \"chips\"\n\
    source = \"a test\"\n[values]\ntpm.manufacturer = [\"id:49465800\"]\n";
const POLICY: &str = "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"rack\"\n\
    reference_values = [\"chips.toml\"]\nreference_keys = [\"vendor.pem\"]\n\
    [issue]\nnode_id = \"/holdfast/node/tpm/{tpm.machine}\"\n\
    [[rule]]\nname = \"rack\"\nownership = \"inventory\"\ntrust_classes = [\"discrete\"]\n\
    [rule.require]\ntpm.manufacturer = { subset_of = \"@chips\" }\n";

/// Writes a key pair with this seed: PKCS#8 (RFC 8410) and SubjectPublicKeyInfo.
fn keys(folder: &Path, seed: u8) -> (PathBuf, PathBuf) {
    let key = Ed25519Key::from_seed(Zeroizing::new([seed; 32])).unwrap();
    let pem = |label: &str, prefix: &str, bytes: &[u8]| {
        let der = [hex::decode(prefix).unwrap(), bytes.to_vec()].concat();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    };
    let (private, public) = (folder.join(format!("{seed}.pem")), folder.join(format!("{seed}-public.pem")));
    let pkcs8 = pem("PRIVATE KEY", "302e020100300506032b657004220420", key.seed());
    std::fs::write(&private, pkcs8).unwrap();
    std::fs::write(&public, pem("PUBLIC KEY", "302a300506032b6570032100", key.public())).unwrap();
    (private, public)
}

struct Folder {
    folder: tempfile::TempDir,
    values: PathBuf,
    policy: PathBuf,
    private: PathBuf,
    public: PathBuf,
}

fn folder() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (private, public) = keys(folder.path(), 7);
    std::fs::write(at("chips.toml"), VALUES).unwrap();
    std::fs::write(at("rack.toml"), POLICY).unwrap();
    std::fs::copy(&public, at("vendor.pem")).unwrap();
    Folder { values: at("chips.toml"), policy: at("rack.toml"), private, public, folder }
}

fn lint(policy: &Path) -> (Exit, Vec<String>) {
    let (exit, report) = json(&["lint", text(policy)]);
    let findings = report["findings"].as_array().unwrap();
    (exit, findings.iter().map(|one| format!("{}:{} {}", one["line"], one["column"], one["code"])).collect())
}

/// The first finding; that nothing is known of the file's values comes after it.
fn first(policy: &Path) -> (Exit, String) {
    let (exit, findings) = lint(policy);
    (exit, findings.into_iter().next().unwrap_or_default())
}

#[test]
fn a_file_is_signed_verified_and_then_used() {
    let Folder { values, policy: rack, private, public, folder } = folder();
    let refused = |code: &str| (Exit::Refused, format!("4:21 \"policy.lint.{code}\""));
    assert_eq!(first(&rack), refused("reference_unsigned"));
    let (exit, out) = json(&["reference", "sign", text(&values), "--key", text(&private)]);
    assert_eq!((exit, out["signed"].as_bool()), (Exit::Yes, Some(true)));
    assert_eq!(lint(&rack), (Exit::Yes, Vec::new()));
    let verify = |key: &Path| json(&["reference", "verify", text(&values), "--key", text(key)]);
    assert_eq!(verify(&public).1["key"], out["key"]);
    let (other, other_public) = keys(folder.path(), 8);
    assert_eq!(verify(&other_public).0, Exit::Refused);
    assert!(policy(&["reference", "sign", text(&values), "--key", text(&other)]).unwrap_err().contains("exists"));
    let forced = ["reference", "sign", text(&values), "--key", text(&other), "--force"];
    assert_eq!(policy(&forced).unwrap().0, Exit::Yes);
    assert_eq!(first(&rack), refused("reference_signature"));
    std::fs::write(&values, VALUES.replace("a test", "a pest")).unwrap();
    assert_eq!(verify(&other_public).0, Exit::Refused);
}

#[test]
fn only_files_of_reference_values_and_only_private_keys_sign() {
    let Folder { values, policy: rack, private, public, folder: _kept } = folder();
    let sign = |file: &Path, key: &Path| policy(&["reference", "sign", text(file), "--key", text(key)]).unwrap_err();
    let refused = sign(&rack, &private);
    assert!(refused.contains("[policy.lint.kind]"), "{refused}");
    assert!(sign(&values, &public).contains("PRIVATE KEY"));
    assert!(sign(&values, &values).contains("PRIVATE KEY"));
    std::fs::write(&private, "A".repeat(20_000)).unwrap();
    assert!(sign(&values, &private).contains("larger"));
}

#[test]
fn a_policy_is_signed_with_the_files_that_it_names() {
    let Folder { values, policy: rack, private, folder, public: _ } = folder();
    let signature = folder.path().join("rack.sig");
    let flags = ["sign", text(&rack), "--key", text(&private), "--write", text(&signature)];
    assert!(policy(&flags).unwrap_err().contains("policy.lint.reference_unsigned"));
    policy(&["reference", "sign", text(&values), "--key", text(&private)]).unwrap();
    let (exit, report) = json(&flags);
    assert_eq!(exit, Exit::Yes);
    let key = Ed25519Key::from_seed(Zeroizing::new([7; 32])).unwrap();
    let message = format!("holdfast/policy-signature/1\n{}\n", report["digest"].as_str().unwrap());
    let bytes = std::fs::read(&signature).unwrap();
    holdfast_evidence::crypto::verify_ed25519(key.public(), message.as_bytes(), &bytes).unwrap();
    assert!(policy(&flags).unwrap_err().contains("cannot write"), "a signature is not overwritten");
    assert!(read(&rack).contains("reference_keys"));
}
