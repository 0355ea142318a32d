//! Cases over whole evidence, and the JUnit report.

use std::path::Path;

use holdfast_policy::exit::Exit;

use super::{evidence_case, json, machine, policy, read, text};

fn shipped(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shipped").join(name).to_string_lossy().into_owned()
}

/// Runs one case; the report of it.
fn run(case: &str) -> (Exit, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("case.toml"), case).unwrap();
    let (exit, report) = json(&["test", text(folder.path())]);
    (exit, report["cases"][0].clone())
}

const ADMITTED: &str = "decision = \"admitted\"";

#[test]
fn whole_evidence_is_verified_and_decided() {
    let Some(golden) = machine("shim-grub-debian-sb") else { return };
    // software TPMs are admitted by no policy for hardware
    let refused = "decision = \"refused\"\ncode = \"policy.no_rule_matched\"\nbecause = [\"policy.trust_class\"]";
    let case = evidence_case(&shipped("measured-boot.toml"), &golden, refused);
    assert_eq!(run(&case).0, Exit::Yes, "{:#}", run(&case).1);
    let (exit, report) = run(&evidence_case(&shipped("simulated-machines.toml"), &golden, ADMITTED));
    assert_eq!(exit, Exit::Yes, "{report:#}");
}

#[test]
fn evidence_that_does_not_verify_is_refused_under_its_own_code() {
    let Some(golden) = machine("uki-nosb") else { return };
    let nonce = read(&golden.join("nonce.hex"));
    let case = evidence_case(&shipped("simulated-machines.toml"), &golden, "decision = \"refused\"\ncode = \"CODE\"");
    for (from, to, code) in [
        (nonce.trim(), "00112233445566778899aabbccddeeff", "tpm.quote.nonce"),
        ("quote-rsa.sig", "quote-ecc.sig", "tpm.quote.scheme"),
        ("ek-rsa.tpm2b_public", "ek-ecc.tpm2b_public", "tpm.ek.public_mismatch"),
        ("pcr = [\"10=", "pcr = [\"14=", "tpm.quote.pcr_digest"),
    ] {
        assert!(case.contains(from), "{from}");
        let (exit, report) = run(&case.replace(from, to).replace("CODE", code));
        assert_eq!(exit, Exit::Yes, "{from}: {report:#}");
    }
}

#[test]
fn what_was_not_asked_is_an_error_unless_the_case_says_so() {
    let Some(golden) = machine("uki-nosb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let case = evidence_case(&shipped("simulated-machines.toml"), &golden, ADMITTED);
    let without = case.lines().filter(|line| !line.starts_with("nonce")).collect::<Vec<_>>().join("\n");
    let path = folder.path().join("case.toml");
    std::fs::write(&path, &without).unwrap();
    let error = policy(&["test", text(folder.path())]).unwrap_err();
    assert!(error.contains("not asked: nonce") && error.contains("allow_incomplete"), "{error}");
    std::fs::write(&path, without.replace("kind = \"tpm\"", "kind = \"tpm\"\nallow_incomplete = true")).unwrap();
    assert_eq!(policy(&["test", text(folder.path())]).unwrap().0, Exit::Yes);
    for (from, to, words) in [
        ("kind = \"tpm\"", "kind = \"tpn\"", "unknown kind"),
        ("ek_public", "ek_publik", "knows no \"ek_publik\""),
        ("ek_public", "policy", "knows no \"policy\""),
    ] {
        std::fs::write(&path, case.replacen(from, to, 1)).unwrap();
        let error = policy(&["test", text(folder.path())]).unwrap_err();
        assert!(error.contains(words), "{to}: {error}");
    }
}

#[test]
fn junit_counts_what_held_and_what_did_not() {
    let folder = tempfile::tempdir().unwrap();
    let case = |name: &str, expect: &str| {
        let case = format!(
            "api_version = \"holdfast/1\"\nkind = \"case\"\ndescription = \"{name} & <more>\"\npolicy = {:?}\n\
             at = 2026-06-01T00:00:00Z\n[facts]\ntpm.class = \"discrete\"\n[expect]\n{expect}\n",
            shipped("known-machines.toml")
        );
        std::fs::write(folder.path().join(format!("{name}.toml")), case).unwrap();
    };
    case("holds", "decision = \"awaits-approval\"\n");
    case("fails", ADMITTED);
    std::fs::write(folder.path().join("unreadable.toml"), "kind = \"case\"\n").unwrap();
    let junit = folder.path().join("report.xml");
    let (exit, _) = policy(&["test", text(folder.path()), "--junit", text(&junit)]).unwrap();
    assert_eq!(exit, Exit::Refused);
    let xml = read(&junit);
    assert!(xml.contains("tests=\"3\" failures=\"1\" errors=\"1\""), "{xml}");
    assert!(xml.contains("fails &amp; &lt;more&gt;") && xml.contains("<failure type=\"decision\""), "{xml}");
    assert!(xml.contains("decision: expected admitted, found awaits-approval"), "{xml}");
    let only = ["test", text(folder.path()), "--filter", "holds", "--junit", text(&junit)];
    assert_eq!(policy(&only).unwrap().0, Exit::Yes);
    assert!(read(&junit).contains("tests=\"1\" failures=\"0\" errors=\"0\""));
    assert!(policy(&["test", text(folder.path()), "--filter", "nothing is called so"]).is_err());
}

#[test]
fn evidence_is_explained_as_a_case_with_it_is() {
    let Some(golden) = machine("uki-nosb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.toml");
    let case = evidence_case(&shipped("simulated-machines.toml"), &golden, ADMITTED);
    std::fs::write(&file, &case).unwrap();
    let at = super::AT;
    for name in ["simulated-machines.toml", "measured-boot.toml", "uki-pinned.toml"] {
        let (by, file) = (shipped(name), text(&file));
        let by_case = policy(&["explain", &by, "--case", file]).unwrap();
        let by_evidence = policy(&["explain", &by, "--evidence", file, "--ownership", "listed", "--at", at]).unwrap();
        assert_eq!(by_case, by_evidence, "{name}");
    }
    std::fs::write(&file, case.replace("quote-rsa.sig", "quote-ecc.sig")).unwrap();
    let (exit, said) =
        policy(&["explain", &shipped("uki-pinned.toml"), "--evidence", text(&file), "--at", at]).unwrap();
    assert_eq!(exit, Exit::Refused);
    assert!(said.starts_with("refused: tpm.quote.scheme\nno policy was asked") && said.contains("[NO]"), "{said}");
}
