//! `holdfast-policy inspect tdx` on real quotes: the verdicts that their provenance gives, and what is asked of whom.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[allow(dead_code, reason = "the inspection of TPMs uses all of it")]
mod machine;

use std::path::PathBuf;

use clap::Parser as _;
use holdfast_policy::cli::{self, Cli};
use holdfast_policy::exit::Exit;
use machine::{inspect, result_of, vectors};
use serde_json::Value;

/// The report data of a quote that answers nobody, written out.
const ZEROS: &str = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";

/// Quote, collateral, a moment of its window, first 32 bytes of the report data.
const GOOD: [(&str, &str, &str, &str); 4] = [
    (
        "tdx/qvl-v4-uptodate/quote.bin",
        "tdx/qvl-v4-uptodate/collateral.json",
        "2025-07-01T00:00:00Z",
        "9a9d48e7f6799642d3d1b34e1e5e1742d4bb02dd6ddd551862c1211d35c304f9eca3efdbb481601c163cf52493d6e44aed55d51ec39b7e518fadb92c2b523f20",
    ),
    (
        "tdx-gcp/v4-2026-06-uptodate/quote.bin",
        "tdx-gcp/v4-2026-06-uptodate/collateral.json",
        "2026-07-10T00:00:00Z",
        ZEROS,
    ),
    (
        "tdx-gcp/v4-2025-12-uptodate/quote.bin",
        "tdx-gcp/v4-2025-12-uptodate/collateral.json",
        "2026-02-10T00:00:00Z",
        "74276a648f1fd491f474a2d52c72d850e3768157b43ec297a9917482bd77278ba1882588391d1956b6f6466ad8b8dccd55f57221ad81b420f746fa8db0f8637d",
    ),
    (
        "azure-tdx-vtpm/full-2026-06-ak-cert/td-quote.bin",
        "azure-tdx-vtpm/full-2026-06-ak-cert/collateral.json",
        "2026-06-20T00:00:00Z",
        "48bd099b6e029bd4f96b14266444f1453d2f9e7a177c346dc339f5d16bcad7df",
    ),
];

fn cvm() -> Option<PathBuf> {
    vectors().map(|folder| folder.join("cvm"))
}

/// Runs `inspect tdx`; an argument that begins with `@` is a path among the vectors.
fn run(arguments: &[&str]) -> (Exit, Value) {
    let folder = cvm().unwrap();
    let path = |argument: &&str| match argument.strip_prefix('@') {
        Some(path) => folder.join(path).to_string_lossy().into_owned(),
        None => (*argument).to_owned(),
    };
    inspect(&std::iter::once("tdx".to_owned()).chain(arguments.iter().map(path)).collect::<Vec<_>>())
}

#[track_caller]
fn refused(arguments: &[&str], code: &str) -> Value {
    let (exit, report) = run(arguments);
    let found = (exit, report["code"].as_str(), report["verdict"].as_str());
    assert_eq!(found, (Exit::Refused, Some(code), Some("refused")), "{report:#}");
    assert!(report["facts"].as_object().unwrap().is_empty(), "nothing is a fact after a refusal");
    report
}

#[test]
fn good_quotes_verify_in_their_time_and_are_refused_today() {
    if cvm().is_none() {
        return;
    }
    for (quote, collateral, at, data) in GOOD {
        let (quote, collateral) = (format!("@{quote}"), format!("@{collateral}"));
        let arguments = ["--quote", &quote, "--collateral", &collateral, "--binding", data, "--at", at];
        let (exit, report) = run(&arguments);
        assert_eq!((exit, report["verdict"].as_str()), (Exit::Yes, Some("verified")), "{report:#}");
        let facts = &report["facts"];
        assert_eq!(facts["tdx.tcb.status"]["value"], "UpToDate");
        assert_eq!(facts["tdx.class"]["value"], "firmware");
        assert_eq!(facts["tdx.mrtd"]["provenance"], "hardware");
        assert_eq!(result_of(&report, "ccel"), "not_asked");
        refused(&arguments[..6], "tdx.collateral.expired");
    }
}

#[test]
fn roots_may_be_named_and_others_are_not_trusted() {
    if cvm().is_none() {
        return;
    }
    let (quote, collateral, at, data) = GOOD[0];
    let (quote, collateral) = (format!("@{quote}"), format!("@{collateral}"));
    let arguments = ["--quote", &quote, "--collateral", &collateral, "--nonce", data, "--at", at];
    for roots in ["@roots", "@roots/intel-sgx-root-ca.der"] {
        let (exit, report) = run(&[&arguments[..], &["--roots", roots]].concat());
        assert_eq!((exit, &report["facts"]["tdx.class"]["value"]), (Exit::Yes, &"firmware".into()), "{report:#}");
    }
    refused(&[&arguments[..], &["--roots", "@roots/amd-milan-ark.der"]].concat(), "tdx.pck.untrusted");
}

#[test]
fn what_was_not_asked_makes_it_incomplete() {
    if cvm().is_none() {
        return;
    }
    let (quote, collateral, at, data) = GOOD[0];
    let (quote, collateral) = (format!("@{quote}"), format!("@{collateral}"));
    let incomplete = |arguments: &[&str], missing: &str| {
        let (exit, report) = run(arguments);
        assert_eq!((exit, report["verdict"].as_str()), (Exit::Incomplete, Some("incomplete")), "{report:#}");
        assert_eq!(report["detail"].as_str(), Some(format!("not asked: {missing}").as_str()));
        assert_eq!(run(&[arguments, &["--allow-incomplete"]].concat()).0, Exit::Yes);
    };
    incomplete(&["--quote", &quote, "--collateral", &collateral, "--at", at], "nonce");
    let missing = "collateral, platform, qe_identity, tcb, verify";
    incomplete(&["--quote", &quote, "--binding", data, "--at", at], missing);
}

#[test]
fn caller_data_must_match_whichever_way_it_is_asked() {
    if cvm().is_none() {
        return;
    }
    let (quote, collateral, at, data) = GOOD[3];
    let (quote, collateral) = (format!("@{quote}"), format!("@{collateral}"));
    let base = ["--quote", &quote, "--collateral", &collateral, "--at", at];
    assert_eq!(run(&[&base[..], &["--nonce", data, "--binding", data]].concat()).0, Exit::Yes);
    for wrong in [&data[..62], &"5a".repeat(16), &format!("{data}01")] {
        refused(&[&base[..], &["--binding", wrong]].concat(), "tdx.quote.report_data");
        refused(&[&base[..], &["--nonce", wrong, "--binding", data]].concat(), "tdx.quote.report_data");
    }
}

#[test]
fn bad_quotes_and_logs_are_refused() {
    if cvm().is_none() {
        return;
    }
    let negative = "@tdx/NEG-qvl-v5-no-tcb-level";
    let (quote, collateral) = (format!("{negative}/quote.bin"), format!("{negative}/collateral.json"));
    let data = "d2142b643598eb5fae2bc8529dd79a558b29f868ccbb6531cb28dab9dce47728";
    let at = "2026-03-01T00:00:00Z";
    refused(&["--quote", &quote, "--collateral", &collateral, "--binding", data, "--at", at], "tdx.tcb.no_level");

    let old = "@tdx/goguest-v4-2022-trailing-nonzero";
    let files = ["quote.bin", "sample_tcbInfo_response", "sample_qeIdentity_response", "pckcrl", "rootcrl.der"];
    let files = files.map(|file| format!("{old}/{file}"));
    let [quote, more @ ..] = &files;
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let report = run(&[&["--quote", quote, "--collateral"], &more[..], &["--nonce", ZEROS]].concat()).1;
    assert_eq!((report["verdict"].as_str(), result_of(&report, "attributes")), (Some("refused"), "failed"));
    assert_eq!(result_of(&report, "collateral"), "failed");

    let log = |quote: &str, log: &str| {
        let at = "2026-04-15T00:00:00Z";
        run(&["--quote", quote, "--ccel", log, "--nonce", ZEROS, "--at", at])
    };
    let bare = "@tdx/baremetal-v4-ccel";
    let (quote, good) = (format!("{bare}/quote.bin"), format!("{bare}/ccel.bin"));
    assert_eq!(result_of(&log(&quote, &good).1, "ccel"), "passed");
    let (exit, report) = log(&quote, &format!("{bare}/NEG-ccel-other-boot.bin"));
    assert_eq!((exit, report["code"].as_str()), (Exit::Refused, Some("tdx.ccel.replay")));
    let cos = "@tdx-gcp/cos113-v4-ccel";
    let (exit, report) = log(&format!("{cos}/quote.bin"), &format!("{cos}/ccel.bin"));
    assert_eq!((exit, result_of(&report, "ccel")), (Exit::Incomplete, "passed"));
}

/// Collateral of its own later date: the platform fell behind, which is a fact, and for a policy to judge.
#[test]
fn a_policy_judges_what_intel_says() {
    if cvm().is_none() {
        return;
    }
    let cos = "@tdx-gcp/cos113-v4-ccel";
    let (quote, log) = (format!("{cos}/quote.bin"), format!("{cos}/ccel.bin"));
    let policy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("shipped/tdx-guests.toml");
    let collateral = "@tdx-gcp/v4-2026-06-uptodate/collateral.json";
    let at = "2026-07-15T00:00:00Z";
    let base = ["--quote", &quote, "--ccel", &log, "--collateral", collateral, "--nonce", ZEROS, "--at", at];
    let (exit, report) = run(&base);
    assert_eq!((exit, &report["facts"]["tdx.tcb.status"]["value"]), (Exit::Yes, &"OutOfDate".into()), "{report:#}");
    assert_eq!(report["facts"]["tdx.boot.applications"]["value"].as_array().unwrap().len(), 2);
    let (exit, report) = run(&[&base[..], &["--policy", &policy.to_string_lossy()]].concat());
    assert_eq!((exit, result_of(&report, "policy")), (Exit::Refused, "failed"));
    assert_eq!(report["code"], "policy.no_rule_matched");
    assert_eq!(report["decision"]["ownership_assumed"], true);
}

#[test]
fn a_file_that_is_not_there_is_usage_and_a_file_that_is_none_is_a_refusal() {
    if cvm().is_none() {
        return;
    }
    let (quote, collateral, at, data) = GOOD[0];
    let (quote, collateral) = (format!("@{quote}"), format!("@{collateral}"));
    let named = ["--quote", &quote, "--collateral", "@tdx/PROVENANCE.md", "--nonce", data, "--at", at];
    refused(&named, "tdx.collateral.malformed");
    refused(&["--quote", &collateral, "--nonce", data, "--at", at], "tdx.quote.malformed");
    // a folder may hold other things
    let folder = ["--quote", &quote, "--collateral", "@tdx/qvl-v4-uptodate", "--nonce", data, "--at", at];
    assert_eq!(run(&folder).0, Exit::Yes);
    let missing = ["holdfast-policy", "inspect", "tdx", "--quote", "/nowhere/quote.bin"];
    let cli = Cli::try_parse_from(missing).unwrap();
    assert!(cli::run(&cli, &mut Vec::new()).is_err());
}
