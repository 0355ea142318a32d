//! Cases whose facts come from a firmware log: real logs against the shipped policies.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests read files and fail loudly")]

use std::path::{Path, PathBuf};

use holdfast_policy::test::{CaseReport, CaseResult, run_folder};

fn logs() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("HOLDFAST_VECTORS").map_or(beside, PathBuf::from).join("vm");
    if !folder.is_dir() {
        println!("skipped: no real evidence here; set HOLDFAST_VECTORS to its folder");
        return None;
    }
    Some(folder)
}

/// Runs one case of `policy` with that log; `more` are further keys under `[evidence]`.
fn run(policy: &str, log: &[u8], more: &str, expect: &str) -> CaseReport {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log.bin"), log).unwrap();
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("shipped").join(policy);
    let ek = "e1".repeat(32);
    let case = format!(
        "api_version = \"holdfast/1\"\nkind = \"case\"\npolicy = {policy:?}\nat = 2026-06-01T00:00:00Z\n\
         [evidence]\nevent_log = \"log.bin\"\n{more}\n[ownership]\ninventory = \"listed\"\n\
         [facts]\ntpm.machine = \"{ek}\"\ntpm.ek.spki_sha256 = \"{ek}\"\ntpm.class = \"discrete\"\n[expect]\n{expect}\n"
    );
    std::fs::write(folder.path().join("case.toml"), case).unwrap();
    run_folder(folder.path()).unwrap().remove(0)
}

#[track_caller]
fn check(policy: &str, log: &[u8], more: &str, expect: &str) {
    let report = run(policy, log, more, expect);
    assert_eq!(report.result, CaseResult::Passed, "{report:#?}");
}

const ADMITTED: &str = "decision = \"admitted\"";

fn refused(code: &str) -> String {
    format!("decision = \"refused\"\ncode = {code:?}")
}

#[test]
fn a_real_log_decides_as_its_boot_deserves() {
    let Some(logs) = logs() else { return };
    let log = |name: &str| std::fs::read(logs.join(name).join("binary_bios_measurements")).unwrap();
    let signed = log("shim-grub-debian-sb");
    check("measured-boot.toml", &signed, "", ADMITTED);
    check("secure-boot.toml", &signed, "", ADMITTED);
    check("secure-boot.toml", &signed, "pcr_bank = \"sha384\"", ADMITTED);
    for (policy, name) in [
        ("secure-boot.toml", "uki-nosb"),
        ("measured-boot.toml", "uki-sb-snakeoil"),
        ("measured-boot.toml", "direct-kernel"),
    ] {
        check(policy, &log(name), "", &refused("policy.no_rule_matched"));
    }
}

#[test]
fn a_refusal_shows_the_events_of_the_log() {
    let Some(logs) = logs() else { return };
    let log = std::fs::read(logs.join("uki-sb-snakeoil/binary_bios_measurements")).unwrap();
    let report = run("measured-boot.toml", &log, "", ADMITTED);
    assert_eq!(report.result, CaseResult::Failed);
    let decision = serde_json::to_value(report.decision).unwrap();
    let differences = decision["differences"].as_array().unwrap();
    let kernel = differences.iter().find(|one| one["fact"] == "tpm.boot.applications").unwrap();
    assert_eq!(kernel["values"][0]["event"]["type"], "EV_EFI_BOOT_SERVICES_APPLICATION");
    assert_eq!(kernel["values"][0]["expected_note"], "shimx64.efi");
}

#[test]
fn a_log_that_does_not_verify_is_refused_under_its_own_code() {
    let Some(logs) = logs() else { return };
    let mut log = std::fs::read(logs.join("shim-grub-debian-sb/binary_bios_measurements")).unwrap();
    log.truncate(log.len() - 3);
    let report = run("known-machines.toml", &log, "", ADMITTED);
    let decision = serde_json::to_value(report.decision).unwrap();
    let code = decision["code"].as_str().unwrap();
    assert!(code.starts_with("tpm.event_log."), "{code}");
    check("known-machines.toml", &log, "", &refused(code));
}

#[test]
fn a_folder_without_cases_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run_folder(folder.path()).is_err());
    let main = |arguments: &[&str]| holdfast_policy::cli::main(arguments.iter().map(Into::into));
    let path = folder.path().to_str().unwrap();
    assert_eq!(main(&["holdfast-policy", "test", path]), holdfast_policy::exit::Exit::Usage);
}

#[test]
fn a_case_that_does_not_hold_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("shipped/known-machines.toml");
    let case = format!(
        "api_version = \"holdfast/1\"\nkind = \"case\"\npolicy = {shipped:?}\nat = 2026-06-01T00:00:00Z\n\
         [facts]\ntpm.class = \"discrete\"\n[expect]\n{ADMITTED}\n"
    );
    std::fs::write(folder.path().join("case.toml"), case).unwrap();
    let arguments = ["holdfast-policy", "test", folder.path().to_str().unwrap()];
    assert_eq!(holdfast_policy::cli::main(arguments.iter().map(Into::into)), holdfast_policy::exit::Exit::Refused);
}
