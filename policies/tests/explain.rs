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
