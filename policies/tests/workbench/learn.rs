//! What is learned from golden machines.

use std::path::Path;

use holdfast_policy::exit::Exit;

use super::{AT, evidence_case, json, machine, policy, read, text, vectors};

#[test]
fn what_one_boot_teaches_admits_it_and_refuses_another_command_line() {
    let Some(golden) = machine("uki-nosb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path());
    let (exit, _) = policy(&["learn", "--name", "web", text(&golden), "--out", out, "--at", AT]).unwrap();
    assert_eq!(exit, Exit::Yes);
    let learned = read(&folder.path().join("web.toml"));
    assert!(learned.contains("tpm.boot.command_lines = { exactly = \"@web-values\" }"), "{learned}");
    assert!(!learned.contains("ek.spki_sha256 ="), "no condition names a machine");
    assert!(!learned.contains("tpm.pcr."), "digests of registers are no readable policy");
    let values = read(&folder.path().join("web-values.toml"));
    assert!(values.contains("console=ttyS0 quiet") && values.contains("\\\\EFI\\\\BOOT\\\\BOOTX64.EFI"), "{values}");
    let changed = golden.parent().unwrap().join("uki-nosb-cmdline-changed");
    let refused = "decision = \"refused\"\ncode = \"policy.no_rule_matched\"";
    for (name, machine, expect) in [("same", &golden, "decision = \"admitted\""), ("changed", &changed, refused)] {
        std::fs::write(folder.path().join(format!("{name}.toml")), evidence_case("web.toml", machine, expect)).unwrap();
    }
    let (exit, report) = json(&["test", out]);
    assert_eq!((exit, &report["failed"]), (Exit::Yes, &0.into()), "{report}");
    assert_eq!(report["passed"], 4, "two cases of ours, two that learning wrote");
    let (exit, report) = json(&["lint", text(&folder.path().join("web.toml")), "--at", AT]);
    assert_eq!((exit, &report["errors"]), (Exit::Yes, &0.into()), "{report}");
}

#[test]
fn what_varies_becomes_alternatives_and_sets_and_is_said() {
    let Some(golden) = machine("uki-nosb") else { return };
    let all = golden.parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path());
    let (shim, uki) = (all.join("shim-grub-debian-sb"), all.join("uki-sb-snakeoil"));
    let (_, report) = json(&["learn", "--name", "both", text(&shim), text(&uki), "--out", out, "--at", AT]);
    assert_eq!(report["alternatives"], serde_json::json!(["shim-grub-debian-sb", "uki-sb-snakeoil"]));
    let learned = read(&folder.path().join("both.toml"));
    for line in [
        "tpm.secure_boot.enabled = true",
        "# varies: all 3 values of 2 samples\ntpm.secure_boot.db = { subset_of = \"@both-values\" }",
        "# at least these; a longer list is no outage\ntpm.secure_boot.dbx = { superset_of = \"@both-values\" }",
        "tpm.boot.uki_sections = { sequence = \"@both-uki-sb-snakeoil\" }",
        "tpm.machine: names one machine",
    ] {
        assert!(learned.contains(line), "{line} is not in\n{learned}");
    }
    let values = read(&folder.path().join("both-values.toml"));
    assert!(values.contains("note = \"Microsoft Corporation UEFI CA 2011\""), "{values}");
    let (exit, report) = json(&["test", out]);
    assert_eq!((exit, &report["passed"]), (Exit::Yes, &3.into()), "{report}");
}

#[test]
fn the_same_samples_give_the_same_files() {
    let Some(golden) = machine("direct-kernel") else { return };
    let again = golden.parent().unwrap().join("direct-kernel-again");
    let written = || {
        let folder = tempfile::tempdir().unwrap();
        let flags = ["learn", "--name", "x", text(&golden), text(&again), "--at", AT, "--out"];
        policy(&[&flags[..], &[text(folder.path())]].concat()).unwrap();
        vectors::files_below(folder.path()).iter().map(|path| read(path)).collect::<Vec<_>>()
    };
    let first = written();
    assert_eq!(first, written());
    assert!(first.iter().any(|file| file.contains("kind = \"policy\"") && !file.contains("[[rule.alternative]]")));
}

#[test]
fn a_machine_that_would_be_refused_teaches_nothing() {
    let Some(golden) = machine("uki-nosb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let spoiled = folder.path().join("spoiled");
    std::fs::create_dir(&spoiled).unwrap();
    for entry in std::fs::read_dir(&golden).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, spoiled.join(path.file_name().unwrap())).unwrap();
    }
    let log = spoiled.join("binary_bios_measurements");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.truncate(bytes.len() - 3);
    std::fs::write(&log, bytes).unwrap();
    let out = folder.path().join("out");
    let error = policy(&["learn", "--name", "x", text(&spoiled), "--out", text(&out), "--at", AT]).unwrap_err();
    assert!(error.contains("the evidence is refused: tpm.event_log."), "{error}");
    assert!(!out.exists());
    std::fs::write(&log, []).unwrap();
    assert!(policy(&["learn", "--name", "x", "--out", text(&out)]).is_err(), "nothing to learn from");
}

/// Every real log either is refused or gives a policy that passes lint and its own cases.
#[test]
fn every_real_log_gives_a_policy_or_a_reason() {
    let Some(vectors) = vectors::folder() else { return };
    let folder = tempfile::tempdir().unwrap();
    let logs = vectors::files_below(&vectors.join("tpm"));
    let logs: Vec<_> = logs.iter().filter(|path| path.parent().is_some_and(|p| p.ends_with("eventlogs"))).collect();
    let mut learned = 0;
    for (at, log) in logs.iter().filter(|path| path.extension().is_none_or(|ending| ending != "json")).enumerate() {
        let out = folder.path().join(at.to_string());
        match policy(&["learn", "--name", "x", text(log), "--out", text(&out), "--at", AT]) {
            Ok(_) => {
                learned += 1;
                assert_eq!(json(&["test", text(&out)]).0, Exit::Yes, "{}", log.display());
                assert_eq!(json(&["lint", text(&out.join("x.toml"))]).1["errors"], 0, "{}", log.display());
            }
            Err(error) => assert!(error.contains("the log is refused: tpm.event_log."), "{}: {error}", log.display()),
        }
    }
    assert!(learned >= 15, "only {learned} logs");
}

#[test]
fn files_that_exist_are_not_overwritten_and_kinds_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let facts = |name: &str, facts: &str| {
        let path = folder.path().join(name);
        let head = "api_version = \"holdfast/1\"\nkind = \"facts\"\n[facts]\n";
        std::fs::write(&path, format!("{head}{facts}")).unwrap();
        path
    };
    let guest = facts(
        "guest.toml",
        &format!(
            "snp.class = \"discrete\"\nsnp.report_id = \"{}\"\nsnp.chip_id = \"{}\"\nsnp.measurement = \"{}\"\n\
             snp.tcb.reported.snp = 14\n",
            "ab".repeat(32),
            "cd".repeat(64),
            "ef".repeat(48)
        ),
    );
    let newer = facts(
        "newer.toml",
        &format!(
            "snp.class = \"discrete\"\nsnp.report_id = \"{}\"\nsnp.chip_id = \"{}\"\nsnp.measurement = \"{}\"\n\
             snp.tcb.reported.snp = 22\n",
            "ac".repeat(32),
            "ce".repeat(64),
            "ef".repeat(48)
        ),
    );
    let enclave = facts("enclave.toml", &format!("nitro.class = \"cloud\"\nnitro.image = \"{}\"\n", "ab".repeat(48)));
    let out = folder.path().join("out");
    let flags = ["learn", "--name", "guests", text(&guest), text(&newer), "--out", text(&out), "--at", AT];
    policy(&flags).unwrap();
    let learned = read(&out.join("guests.toml"));
    assert!(learned.contains("# the lowest of 2 samples\nsnp.tcb.reported.snp = { at_least = 14 }"), "{learned}");
    assert!(learned.contains("snp.report_id}") && learned.contains("snp.chip_id: names one chip"), "{learned}");
    assert!(policy(&flags).unwrap_err().contains("--force replaces it"));
    policy(&[&flags[..], &["--force"]].concat()).unwrap();
    let mixed = ["learn", "--name", "x", text(&guest), text(&enclave), "--out", text(&out)];
    assert!(policy(&mixed).unwrap_err().contains("several kinds of evidence"));
}

#[test]
fn a_folder_that_teaches_is_explained_as_it_is() {
    let Some(golden) = machine("uki-nosb") else { return };
    let folder = tempfile::tempdir().unwrap();
    policy(&["learn", "--name", "web", text(&golden), "--out", text(folder.path()), "--at", AT]).unwrap();
    let learned = folder.path().join("web.toml");
    let explain = |machine: &Path| {
        let flags = ["explain", text(&learned), "--evidence", text(machine), "--ownership", "listed", "--at", AT];
        let (exit, report) = json(&flags);
        (exit, report["decision"].as_str().unwrap().to_owned())
    };
    assert_eq!(explain(&golden), (Exit::Yes, "admitted".to_owned()));
    let changed = golden.parent().unwrap().join("uki-nosb-cmdline-changed");
    assert_eq!(explain(&changed), (Exit::Refused, "refused".to_owned()));
    let bare = tempfile::tempdir().unwrap();
    let log = "binary_bios_measurements";
    std::fs::copy(golden.join(log), bare.path().join(log)).unwrap();
    let error = policy(&["explain", text(&learned), "--evidence", text(bare.path())]).unwrap_err();
    assert!(error.contains("there is no quote beside it"), "{error}");
}

#[test]
fn a_tdx_guest_teaches_and_is_judged_under_the_name_of_its_launch() {
    let cvm = vectors::folder().map(|all| all.join("cvm/tdx/qvl-v4-uptodate"));
    let Some(cvm) = cvm.filter(|folder| folder.is_dir()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let evidence = folder.path().join("guest.toml");
    let data = "9a9d48e7f6799642d3d1b34e1e5e1742d4bb02dd6ddd551862c1211d35c304f9\
                eca3efdbb481601c163cf52493d6e44aed55d51ec39b7e518fadb92c2b523f20";
    let (quote, collateral) = (cvm.join("quote.bin"), cvm.join("collateral.json"));
    let document = format!(
        "api_version = \"holdfast/1\"\nkind = \"evidence\"\n[evidence]\nkind = \"tdx\"\nquote = {quote:?}\n\
         collateral = {collateral:?}\nbinding = \"{data}\"\n"
    );
    std::fs::write(&evidence, document).unwrap();
    let at = ["--at", "2025-07-01T00:00:00Z"];
    let out = text(folder.path());
    let (exit, _) = policy(&[&["learn", "--name", "td", text(&evidence), "--out", out], &at[..]].concat()).unwrap();
    assert_eq!(exit, Exit::Yes);
    let learned = folder.path().join("td.toml");
    let explain = ["explain", text(&learned), "--evidence", text(&evidence), "--ownership", "listed"];
    let (exit, report) = json(&[&explain[..], &at[..]].concat());
    assert_eq!((exit, &report["decision"]), (Exit::Yes, &"admitted".into()), "{report}");
}
