//! `holdfast-policy explain`: the same text for a case and for facts, and its JSON; the exit code says the decision.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests read files and fail loudly")]

use std::path::Path;

use clap::Parser;
use holdfast_appraisal::decision::Explanation;
use holdfast_policy::cli::{Cli, run};
use holdfast_policy::exit::Exit;

fn shipped(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shipped").join(name).display().to_string()
}

fn explain(arguments: &[&str]) -> anyhow::Result<(Exit, String)> {
    let cli = Cli::parse_from(["holdfast-policy", "explain"].iter().chain(arguments));
    let mut out = Vec::new();
    let exit = run(&cli, &mut out)?;
    Ok((exit, String::from_utf8(out).unwrap()))
}

#[test]
fn a_case_is_explained_to_a_person_and_to_a_program_alike() {
    let policy = shipped("measured-boot.toml");
    let case = shipped("cases/measured-boot/another-kernel-is-refused.toml");
    let (exit, text) = explain(&[&policy, "--case", &case]).unwrap();
    assert_eq!(exit, Exit::Refused);
    assert!(text.starts_with("refused: policy.no_rule_matched\npolicy measured-boot ("), "{text}");
    assert!(text.contains("(vmlinuz, Debian 6.1.192)") && text.contains("what would have to change:"), "{text}");
    let (_, json) = explain(&[&policy, "--case", &case, "--output", "json"]).unwrap();
    let read: Explanation = serde_json::from_str(&json).unwrap();
    assert_eq!(format!("{read}\n"), text);
    let case = shipped("cases/measured-boot/the-current-kernel-is-admitted.toml");
    assert_eq!(explain(&[&policy, "--case", &case]).unwrap().0, Exit::Yes);
}

#[test]
fn facts_are_judged_by_the_records_that_the_flags_name() {
    let (policy, facts) = (shipped("known-machines.toml"), shipped("cases/machines/debian-12.toml"));
    let at = |more: &[&str]| {
        let flags = [policy.as_str(), "--facts", &facts, "--at", "2026-06-01T00:00:00Z"];
        explain(&flags.iter().chain(more).copied().collect::<Vec<_>>()).unwrap()
    };
    assert!(at(&[]).1.starts_with("awaits-approval: policy.ownership.approval_awaited"));
    assert_eq!(at(&["--ownership", "listed"]).0, Exit::Yes);
    assert_eq!(at(&["--ownership", "approved"]).0, Exit::Yes);
    assert!(at(&["--ownership", "listed,turned-down"]).1.starts_with("refused: policy.ownership.approval_denied"));
}

#[test]
fn what_cannot_be_read_is_no_refusal() {
    let case = shipped("cases/measured-boot/another-kernel-is-refused.toml");
    let error = explain(&[&case, "--case", &case]).unwrap_err().to_string();
    assert!(error.contains("policy does not parse") && error.contains("policy.lint.kind"), "{error}");
    assert!(explain(&[&shipped("measured-boot.toml"), "--facts", &case]).is_err());
}

/// A sample proof, and the policies in it as files.
fn proof(folder: &Path, name: &str) -> (String, String, serde_json::Value) {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/proof/tests/samples").join(format!("{name}.proof"));
    let bundle = holdfast_proof::ProofBundle::parse(&std::fs::read(&file).unwrap()).unwrap();
    // Where evidence did not verify no policy was asked.
    let mut named = String::new();
    for policy in &bundle.policies {
        for document in [&policy.policy].into_iter().chain(&policy.references) {
            std::fs::write(folder.join(&document.name), &document.text).unwrap();
        }
        named = folder.join(&policy.policy.name).display().to_string();
    }
    (file.display().to_string(), named, serde_json::from_str(&bundle.decision.unwrap()).unwrap())
}

#[test]
fn evidence_is_explained_as_the_server_stored_it_and_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, exit) in [("admitted", Exit::Yes), ("renewed", Exit::Yes), ("refused-policy", Exit::Refused)] {
        let (proof, policy, decision) = proof(folder.path(), name);
        // What `attempt show` prints.
        let stored: Explanation = serde_json::from_value(decision["explanation"].clone()).unwrap();
        let (found, text) = explain(&[&policy, "--evidence", &proof]).unwrap();
        assert_eq!((found, text), (exit, format!("{stored}\n")), "{name}");
        let (_, json) = explain(&[&policy, "--evidence", &proof, "--output", "json"]).unwrap();
        assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), stored, "{name}");
    }
}

#[test]
fn evidence_that_does_not_verify_is_explained_by_the_check_that_refused_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _, decision) = proof(folder.path(), "refused-evidence");
    let (exit, text) = explain(&[&shipped("measured-boot.toml"), "--evidence", &file]).unwrap();
    assert_eq!(exit, Exit::Refused);
    let code = decision["code"].as_str().unwrap();
    assert!(text.starts_with(&format!("refused: {code}\nno policy was asked, at 2026-")), "{text}");
    assert!(text.contains(&format!("[NO]  evidence  {code}\n")), "{text}");
    assert!(
        text.contains("evidence of kind tpm that verifies") && text.contains("what would have to change"),
        "{text}"
    );
    let errors: Vec<String> = serde_json::from_value(decision["errors"].clone()).unwrap();
    assert!(text.contains(&errors.join(": ")), "{text}");
}

#[test]
fn another_policy_than_the_one_that_decided_may_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (proof, ..) = proof(folder.path(), "admitted");
    let (exit, text) = explain(&[&shipped("measured-boot.toml"), "--evidence", &proof]).unwrap();
    assert!(exit == Exit::Refused && text.contains("policy measured-boot ("), "{text}");
    assert!(explain(&[&shipped("measured-boot.toml"), "--evidence", &proof, "--ownership", "listed"]).is_err());
}
