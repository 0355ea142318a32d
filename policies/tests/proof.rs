//! `holdfast-policy proof`: what a stranger is told of files that are proofs, that are none, and that say what is not so.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests read files and fail loudly")]

use std::path::{Path, PathBuf};

use base64::Engine as _;
use clap::Parser;
use holdfast_evidence::crypto::Zeroizing;
use holdfast_policy::cli::{Cli, run};
use holdfast_policy::exit::Exit;
use holdfast_proof::{PROOF_BYTES_MAX, ProofBundle};
use holdfast_record::SigningKey;
use serde_json::Value;

/// The samples of the crate that checks proofs.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/proof/tests/samples").join(format!("{name}.proof"))
}

fn key(seed: u8) -> String {
    SigningKey::from_seed("example.org/record", Zeroizing::new([seed; 32])).unwrap().verifier().to_string()
}

fn proof(arguments: &[&str]) -> anyhow::Result<(Exit, String)> {
    let cli = Cli::parse_from(["holdfast-policy", "proof"].iter().chain(arguments));
    let mut out = Vec::new();
    let exit = run(&cli, &mut out)?;
    Ok((exit, String::from_utf8(out).unwrap()))
}

fn verify(file: &Path, more: &[&str]) -> anyhow::Result<(Exit, String)> {
    let file = file.display().to_string();
    proof(&[&["verify", file.as_str(), "--vkey", &key(7)], more].concat())
}

/// The sample with its JSON changed.
fn changed(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut document: Value = serde_json::from_slice(&std::fs::read(sample(name)).unwrap()).unwrap();
    change(&mut document);
    let file = folder.join(name);
    // Written as a server writes it.
    std::fs::write(&file, serde_json::from_value::<ProofBundle>(document).unwrap().encode()).unwrap();
    file
}

#[test]
fn admissions_and_refusals_are_proven_alike() {
    for (name, word) in [
        ("admitted", "admitted as spiffe://"),
        ("renewed", "admitted as spiffe://"),
        ("refused-policy", "tpm.secure_boot.enabled"),
        ("refused-evidence", "tpm.quote.signature"),
    ] {
        let (exit, text) = verify(&sample(name), &[]).unwrap();
        assert_eq!(exit, Exit::Yes, "{text}");
        assert!(text.contains(word) && text.trim_end().ends_with("follows from what was recorded"), "{text}");
        assert!(!text.contains("FAILS"), "{text}");
        let (exit, text) = verify(&sample(name), &["--output", "json"]).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((exit, report["conclusion"].as_str()), (Exit::Yes, Some("proven")));
    }
}

#[test]
fn another_key_or_no_key_proves_nothing() {
    let file = sample("admitted").display().to_string();
    let (exit, text) = proof(&["verify", &file, "--vkey", &key(8)]).unwrap();
    assert_eq!(exit, Exit::Refused);
    assert!(text.contains("FAILS") && text.contains("[record.checkpoint.signature]"), "{text}");
    assert!(text.contains("  -      verdict           unverified: not looked at"), "{text}");
    assert!(!text.contains("admitted") && !text.contains("holds "), "nothing of it is repeated: {text}");
    assert!(proof(&["verify", &file, "--vkey", "example.org/record"]).is_err());
}

#[test]
fn roots_that_the_reader_brings_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let folder_name = folder.path().display().to_string();
    assert!(verify(&sample("admitted"), &["--roots", &folder_name]).is_err(), "no certificate in it");
    // The sample's own root, which is the only self-signed certificate among its bodies.
    let document: Value = serde_json::from_slice(&std::fs::read(sample("admitted")).unwrap()).unwrap();
    let bodies = document["bodies"].as_array().unwrap().iter().map(|body| body["content"].as_str().unwrap());
    let ders = bodies.map(|text| base64::engine::general_purpose::STANDARD.decode(text).unwrap());
    let root = ders.into_iter().find(|der| der.first() == Some(&0x30)).unwrap();
    std::fs::write(folder.path().join("root.der"), &root).unwrap();
    let (exit, text) = verify(&sample("admitted"), &["--roots", &folder_name]).unwrap();
    assert_eq!(exit, Exit::Yes, "{text}");
    assert!(text.contains("yours)"), "{text}");
    let (one, digest) = (format!("{folder_name}/root.der"), holdfast_proof::Digest::of(&root).to_string());
    for given in [&one, &digest] {
        let (exit, text) = verify(&sample("admitted"), &["--trusted-root", given]).unwrap();
        assert_eq!(exit, Exit::Yes, "{text}");
        assert!(text.contains("  holds  roots") && text.contains("yours)"), "{text}");
        // A renewal does not hold the certificates that lead there.
        let (exit, text) = verify(&sample("renewed"), &["--trusted-root", given]).unwrap();
        assert_eq!(exit, Exit::Yes, "{text}");
        assert!(!text.contains("  holds  roots") && text.contains("yours, by the server's word)"), "{text}");
    }
    let (exit, text) = verify(&sample("admitted"), &["--trusted-root", &"7".repeat(64)]).unwrap();
    assert_eq!(exit, Exit::Refused);
    assert!(text.contains("NOT YOURS") && text.contains("  -      evidence          unverified: "), "{text}");
    for given in ["7777", "/nowhere", &file_without_a_certificate(folder.path())] {
        assert!(verify(&sample("admitted"), &["--trusted-root", given]).is_err(), "{given}");
    }
}

fn file_without_a_certificate(folder: &Path) -> String {
    let file = folder.join("nothing.pem");
    std::fs::write(&file, "nothing").unwrap();
    file.display().to_string()
}

#[test]
fn what_is_no_proof_is_refused_by_its_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    for bytes in [Vec::new(), b"nothing".to_vec(), "[".repeat(1 << 20).into_bytes(), b"{}".to_vec(), vec![0xff; 4096]] {
        std::fs::write(&file, bytes).unwrap();
        let (exit, text) = verify(&file, &[]).unwrap();
        assert_eq!(exit, Exit::Refused);
        assert!(text.starts_with("NOT PROVEN  proof.form"), "{text}");
    }
    let large = std::fs::File::create(&file).unwrap();
    large.set_len(PROOF_BYTES_MAX as u64 + 1).unwrap();
    assert!(verify(&file, &[]).is_err(), "larger than any proof: not read at all");
    assert!(verify(&folder.path().join("absent"), &[]).is_err());
}

#[test]
fn what_was_changed_is_named_by_its_code_and_what_is_gone_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let lie = changed(folder.path(), "refused-policy", |document| {
        let decision = document["decision"].as_str().unwrap();
        document["decision"] = decision.replacen("\"verdict\":\"refused\"", "\"verdict\":\"admitted\"", 1).into();
    });
    let (exit, text) = verify(&lie, &[]).unwrap();
    assert_eq!(exit, Exit::Refused);
    assert!(
        text.contains("[proof.decision_digest]") && text.contains("  -      verdict           unverified: "),
        "{text}"
    );
    assert!(
        !text.contains("  holds  verdict") && text.contains("what evidence and policy give, unverified:"),
        "{text}"
    );

    let dropped = changed(folder.path(), "admitted", |document| {
        let document = document.as_object_mut().unwrap();
        document.remove("manifest");
        document["bodies"] = serde_json::json!([]);
    });
    let (exit, text) = verify(&dropped, &[]).unwrap();
    assert_eq!(exit, Exit::Incomplete);
    assert!(text.contains("gone by retention") && text.contains("INCOMPLETE"), "{text}");
}

#[test]
fn a_files_own_words_reach_the_terminal_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let file = changed(folder.path(), "admitted", |document| {
        document["policies"][0]["policy"]["name"] = "\u{1b}[2J".into();
        document["policies"][0]["policy"]["text"] = "name = \"\u{1b}[31m\u{202e}\"".into();
    });
    for command in ["verify", "show"] {
        let name = file.display().to_string();
        let arguments: &[&str] = if command == "verify" { &["--vkey", &key(7)] } else { &[] };
        let (_, text) = proof(&[&[command, name.as_str()], arguments].concat()).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    }
}
