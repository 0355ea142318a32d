//! `holdfast-policy inspect azure` and `inspect gcp` on real evidence: the verdicts that their provenance gives, and every
//! input spoiled alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[allow(dead_code, reason = "the inspection of TPMs uses all of it")]
mod machine;

use clap::Parser as _;
use holdfast_policy::cli::{self, Cli};
use holdfast_policy::exit::Exit;
use machine::{inspect, result_of, vectors};
use serde_json::{Value, json};

const TODAY: &str = "2026-11-21T00:00:00Z";
const JUNE: &str = "2026-06-20T00:00:00Z";
/// "challenge"
const CHALLENGE: &str = "6368616c6c656e6765";
const FULL: &str = "@cvm/azure-tdx-vtpm/full-2026-06-ak-cert";

/// Command lines of whole evidence.
fn good() -> Vec<Vec<String>> {
    fn azure<'a>(flags: &[&'a str]) -> Vec<&'a str> {
        [&["azure", "--roots", "@cvm/roots"], flags].concat()
    }
    let snp = |file: &str, nonce: &str| {
        let evidence = format!("@cvm/azure-snp-vtpm/{file}");
        azure(&["--evidence", &evidence, "--nonce", nonce, "--at", TODAY]).into_iter().map(str::to_owned).collect()
    };
    let user_data = "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef";
    let full = |file: &str| format!("{FULL}/{file}");
    vec![
        snp("evidence-v0.json", CHALLENGE),
        snp("evidence-v1.json", CHALLENGE),
        snp("evidence-v2.json", user_data),
        // the same quote as bincode, with report and chain beside it
        owned(&[
            "azure",
            "--hcl",
            "@cvm/azure-snp-vtpm/old-v2-report/hcl-report.bin",
            "--quote",
            "@cvm/azure-snp-vtpm/old-v2-report/quote.bincode",
            "--vek",
            "@cvm/azure-snp-vtpm/old-v2-report/vcek-and-chain.pem",
            "--nonce",
            CHALLENGE,
            "--at",
            TODAY,
        ]),
        owned(&[
            "azure",
            "--hcl",
            &full("hcl-report.bin"),
            "--quote",
            &full("tpm-quote-message.bin"),
            "--signature",
            &full("tpm-quote-signature.bin"),
            "--pcrs",
            &full("pcrs-sha256-24x32.bin"),
            "--td-quote",
            &full("td-quote.bin"),
            "--collateral",
            &full("collateral.json"),
            "--binding",
            &"00".repeat(32),
            "--at",
            JUNE,
        ]),
        owned(&[
            "gcp",
            "--evidence",
            "@cvm/gcp-vtpm/sev-guest-ak-quote.json",
            "--nonce",
            "8a543108a653b4a1162232744cc9b945017a449dea4fbb0ca62f42d3ef145562",
            "--at",
            TODAY,
        ]),
    ]
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

/// Runs one; an argument that begins with `@` is a path among the vectors.
fn run(arguments: &[String]) -> (Exit, Value) {
    let folder = vectors().unwrap();
    let path = |argument: &String| match argument.strip_prefix('@') {
        Some(path) => folder.join(path).to_string_lossy().into_owned(),
        None => argument.clone(),
    };
    inspect(&arguments.iter().map(path).collect::<Vec<_>>())
}

fn with(arguments: &[String], flag: &str, value: &str) -> Vec<String> {
    let at = arguments.iter().position(|argument| argument == flag).unwrap();
    let mut changed = arguments.to_vec();
    changed[at + 1] = value.to_owned();
    changed
}

fn without(arguments: &[String], flag: &str) -> Vec<String> {
    let at = arguments.iter().position(|argument| argument == flag).unwrap();
    let mut changed = arguments.to_vec();
    changed.drain(at..at + 2);
    changed
}

fn more(arguments: &[String], flags: &[&str]) -> Vec<String> {
    [arguments, &owned(flags)].concat()
}

fn vectors_are_here() -> bool {
    vectors().is_some()
}

#[track_caller]
fn code(arguments: &[String]) -> (Exit, String) {
    let (exit, report) = run(arguments);
    (exit, report["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(code: &str) -> (Exit, String) {
    (Exit::Refused, code.to_owned())
}

#[test]
fn whole_evidence_of_every_kind_verifies() {
    if !vectors_are_here() {
        return;
    }
    for arguments in good() {
        let (exit, report) = run(&arguments);
        assert_eq!((exit, &report["verdict"]), (Exit::Yes, &"verified".into()), "{arguments:?}\n{report:#}");
        let facts = &report["facts"];
        assert_eq!(facts["tpm.pcr.16"]["value"], "00".repeat(32));
        let by = if arguments[0] == "gcp" { "provider" } else { "paravisor" };
        assert_eq!(facts["tpm.pcr.0"]["provenance"], by);
    }
}

#[test]
fn facts_are_those_of_the_provenance() {
    if !vectors_are_here() {
        return;
    }
    let facts = |at: usize| run(&good()[at]).1["facts"].clone();
    let value = |facts: &Value, name: &str| facts[name]["value"].clone();
    let snp = facts(1);
    assert_eq!(value(&snp, "azure.vm_unique_id"), "26f8bc30-774e-4290-8e7a-535f3b672aee");
    assert_eq!(value(&snp, "azure.class"), "firmware");
    assert_eq!(value(&snp, "snp.guest_svn"), 10);
    assert_eq!(snp["snp.measurement"]["provenance"], "hardware");
    assert!(snp.get("snp.class").is_none() && snp.get("tpm.class").is_none());
    let with_user_data = facts(2);
    assert_eq!(with_user_data["azure.user_data"]["provenance"], "unauthenticated");
    let tdx = facts(4);
    assert_eq!(value(&tdx, "tdx.tcb.status"), "UpToDate");
    assert_eq!(value(&tdx, "tdx.rtmr0"), "00".repeat(48));
    assert_eq!(value(&tdx, "azure.hardware"), "tdx");
    let gcp = facts(5);
    assert_eq!(value(&gcp, "gcp.instance_name"), "instance-20260202-065609");
    assert_eq!(value(&gcp, "gcp.project_id"), "lockboot");
    assert_eq!(value(&gcp, "gcp.class"), "cloud");
}

#[test]
fn the_certificate_of_june_proves_azure_too() {
    if !vectors_are_here() {
        return;
    }
    let (cert, chain) = (format!("{FULL}/ak-cert.pem"), format!("{FULL}/ak-intermediates.pem"));
    let tdx = more(&good()[4], &["--ak-cert", &cert, "--chain", &chain, "--roots", "@cvm/roots"]);
    let (exit, report) = run(&tdx);
    assert_eq!((exit, result_of(&report, "ak_certificate")), (Exit::Yes, "passed"), "{report:#}");
    let facts = &report["facts"];
    assert_eq!(facts["azure.ak.subject"]["value"], "2ede2d532aaf.ConfidentialVM.Azure.windows.net");
    assert_eq!(facts["azure.ak.root.name"]["provenance"], "provider");
    // without the report the same machine is what its certificate says, today too
    let mut alone = ["--hcl", "--td-quote", "--collateral"].iter().fold(tdx, |all, flag| without(&all, flag));
    let at = alone.iter().position(|argument| argument == "--at").unwrap();
    alone[at + 1] = TODAY.to_owned();
    let (exit, report) = run(&alone);
    assert_eq!((exit, &report["facts"]["azure.class"]["value"]), (Exit::Yes, &"cloud".into()), "{report:#}");
    assert_eq!(report["facts"]["tpm.pcr.7"]["provenance"], "provider");
    assert_eq!(code(&without(&alone, "--roots")).0, Exit::Incomplete);
    let mut expired = alone;
    expired[at + 1] = "2027-07-01T00:00:00Z".to_owned();
    assert_eq!(code(&expired), refused("azure.ak.expired"));
}

#[test]
fn a_nonce_or_a_binding_that_is_not_the_quotes_is_refused_and_without_either_it_is_incomplete() {
    if !vectors_are_here() {
        return;
    }
    for arguments in good() {
        let flag = if arguments.contains(&"--nonce".to_owned()) { "--nonce" } else { "--binding" };
        for wrong in ["00112233", &format!("{}00", "ff".repeat(40)), "ff"] {
            assert_eq!(code(&with(&arguments, flag, wrong)), refused("tpm.quote.nonce"), "{arguments:?} {wrong}");
        }
        let at = arguments.iter().position(|argument| argument == flag).unwrap() + 1;
        let longer = format!("{}00", arguments[at]);
        assert_eq!(code(&with(&arguments, flag, &longer)), refused("tpm.quote.nonce"));
        let unasked = without(&arguments, flag);
        let (exit, report) = run(&unasked);
        assert_eq!((exit, &report["verdict"]), (Exit::Incomplete, &"incomplete".into()), "{report:#}");
        assert_eq!(run(&more(&unasked, &["--allow-incomplete"])).0, Exit::Yes);
        // both are asked where both are given
        let other = if flag == "--nonce" { "--binding" } else { "--nonce" };
        assert_eq!(code(&more(&arguments, &[other, "ab"])), refused("tpm.quote.nonce"));
        let same = arguments[at].clone();
        assert_eq!(run(&more(&arguments, &[other, &same])).0, Exit::Yes);
    }
}

#[test]
fn without_roots_key_or_collateral_it_is_incomplete() {
    if !vectors_are_here() {
        return;
    }
    let all = good();
    assert_eq!(code(&without(&all[1], "--roots")).0, Exit::Incomplete);
    assert_eq!(code(&without(&all[3], "--vek")).0, Exit::Incomplete);
    assert_eq!(code(&without(&all[4], "--collateral")).0, Exit::Incomplete);
    assert_eq!(code(&without(&all[4], "--td-quote")).0, Exit::Incomplete);
    assert_eq!(code(&without(&all[4], "--pcrs")).0, Exit::Incomplete);
    // the certificate of the report's key is judged even where nobody says who issued it
    let strange = with(&all[3], "--vek", "@cvm/snp-milan/azure-aci-v3/vcek.pem");
    assert_eq!(code(&strange), refused("snp.tcb.certificate_mismatch"));
}

#[test]
fn collateral_and_certificates_count_in_their_time_alone() {
    if !vectors_are_here() {
        return;
    }
    let all = good();
    assert_eq!(code(&with(&all[4], "--at", TODAY)), refused("tdx.collateral.expired"));
    assert_eq!(code(&with(&all[1], "--at", "2032-06-01T00:00:00Z")), refused("snp.chain.expired"));
    assert_eq!(code(&with(&all[5], "--at", "2026-02-01T00:00:00Z")), refused("gcp.ak.expired"));
}

/// One document, written anew with one thing changed.
fn spoiled(file: &str, arguments: &[String], change: impl FnOnce(&mut Value)) -> (Exit, String) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(vectors().unwrap().join(file)).unwrap();
    let mut value: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut value);
    let path = folder.path().join("evidence.json");
    std::fs::write(&path, value.to_string()).unwrap();
    code(&with(arguments, "--evidence", &path.to_string_lossy()))
}

#[test]
fn registers_of_an_instance_are_named_once_and_by_what_was_signed() {
    if !vectors_are_here() {
        return;
    }
    let arguments = good().remove(5);
    let spoil = |change: &dyn Fn(&mut Value)| {
        spoiled("cvm/gcp-vtpm/sev-guest-ak-quote.json", &arguments, |value| change(value))
    };
    assert_eq!(spoil(&|_| {}).0, Exit::Yes);
    let relabelled = |value: &mut Value| {
        let registers = &mut value["pcrs"]["sha256"];
        let eight = registers["8"].take();
        registers["8"] = registers["9"].take();
        registers["9"] = eight;
    };
    assert_eq!(spoil(&relabelled), refused("tpm.quote.pcr_digest"));
    assert_eq!(spoil(&|value| value["pcrs"]["sha256"]["24"] = json!("00")), refused("gcp.item.malformed"));
    assert_eq!(spoil(&|value| value["pcrs"] = json!({})), refused("gcp.item.malformed"));
    let other_key = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
    assert_eq!(spoil(&|value| value["ak_pubkeys"]["ecc_p256"]["x"] = json!(other_key)), refused("gcp.ak.key_mismatch"));
    // a name twice, which no JSON value can hold
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(vectors().unwrap().join("cvm/gcp-vtpm/sev-guest-ak-quote.json")).unwrap();
    let twice = text.replacen("\"16\":", "\"8\":", 1);
    let path = folder.path().join("evidence.json");
    std::fs::write(&path, twice).unwrap();
    assert_eq!(code(&with(&arguments, "--evidence", &path.to_string_lossy())), refused("gcp.item.malformed"));
}

/// The quote, report and registers of other tools' test sets: real ones, without what vouches for the hardware.
#[test]
fn quotes_of_other_test_sets_are_read_as_far_as_they_go() {
    if !vectors_are_here() {
        return;
    }
    let trustee = owned(&[
        "azure",
        "--evidence",
        "@tpm/trustee/quotes/az-tpm-quote-v1.json",
        "--hcl",
        "@tpm/trustee/quotes/az-snp-hcl-report.bin",
        "--nonce",
        CHALLENGE,
        "--at",
        TODAY,
    ]);
    let (exit, report) = run(&trustee);
    assert_eq!((exit, result_of(&report, "signature")), (Exit::Incomplete, "passed"), "{report:#}");
    assert_eq!(result_of(&report, "pcr_digest"), "passed");
    assert_eq!(result_of(&report, "runtime_digest"), "passed");
    let vek = more(&trustee, &["--vek", "@cvm/azure-snp-vtpm/old-v2-report/vcek-and-chain.pem"]);
    assert_eq!(run(&vek).0, Exit::Yes);
    // reports and a quote of different machines
    for hcl in ["hcl-report-snp.bin", "hcl-report-tdx.bin"] {
        let hcl = format!("@tpm/azure-cvm-tooling/quotes/{hcl}");
        let quote = "@tpm/azure-cvm-tooling/quotes/quote.bin";
        let mixed = owned(&["azure", "--hcl", &hcl, "--quote", quote, "--nonce", CHALLENGE]);
        assert_eq!(code(&mixed), refused("tpm.quote.signature"), "{hcl}");
    }
}

#[test]
fn what_no_file_can_answer_is_usage() {
    let usage = |arguments: &[&str]| {
        let all = ["holdfast-policy", "inspect"].into_iter().chain(arguments.iter().copied());
        match Cli::try_parse_from(all) {
            Err(_) => Exit::Usage,
            Ok(cli) => cli::run(&cli, &mut Vec::new()).unwrap_or(Exit::Usage),
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, [0; 40]).unwrap();
    let file = file.to_string_lossy().into_owned();
    for arguments in [
        &["azure"][..],
        &["azure", "--evidence", "/nonexistent"],
        &["azure", "--hcl", &file],
        &["azure", "--quote", &file, "--signature", &file],
        &["azure", "--quote", &file, "--hcl", &file],
        &["azure", "--quote", &file, "--signature", &file, "--hcl", &file, "--pcrs", &file],
        &["azure", "--signature", &file, "--hcl", &file],
        &["gcp"],
        &["gcp", "--quote", &file, "--signature", &file],
        &["gcp", "--ak-cert", &file],
        &["gcp", "--evidence", "/nonexistent"],
    ] {
        assert_eq!(usage(arguments), Exit::Usage, "{arguments:?}");
    }
    for kind in ["azure", "gcp"] {
        let (exit, report) = inspect(&owned(&[kind, "--evidence", &file]));
        assert_eq!((exit, report["code"].as_str()), (Exit::Refused, Some(&*format!("{kind}.item.malformed"))));
    }
}
