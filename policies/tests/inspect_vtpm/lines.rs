//! Command lines of whole evidence, and what becomes of one that is changed.

use holdfast_policy::exit::Exit;
use serde_json::Value;

use crate::machine::{inspect, vectors};

pub(crate) const TODAY: &str = "2026-11-21T00:00:00Z";
pub(crate) const JUNE: &str = "2026-06-20T00:00:00Z";
/// "challenge"
pub(crate) const CHALLENGE: &str = "6368616c6c656e6765";
pub(crate) const FULL: &str = "@cvm/azure-tdx-vtpm/full-2026-06-ak-cert";

/// Command lines of whole evidence.
pub(crate) fn good() -> Vec<Vec<String>> {
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

pub(crate) fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

/// Runs one; an argument that begins with `@` is a path among the vectors.
pub(crate) fn run(arguments: &[String]) -> (Exit, Value) {
    let folder = vectors().unwrap();
    let path = |argument: &String| match argument.strip_prefix('@') {
        Some(path) => folder.join(path).to_string_lossy().into_owned(),
        None => argument.clone(),
    };
    inspect(&arguments.iter().map(path).collect::<Vec<_>>())
}

pub(crate) fn with(arguments: &[String], flag: &str, value: &str) -> Vec<String> {
    let at = arguments.iter().position(|argument| argument == flag).unwrap();
    let mut changed = arguments.to_vec();
    changed[at + 1] = value.to_owned();
    changed
}

pub(crate) fn without(arguments: &[String], flag: &str) -> Vec<String> {
    let at = arguments.iter().position(|argument| argument == flag).unwrap();
    let mut changed = arguments.to_vec();
    changed.drain(at..at + 2);
    changed
}

pub(crate) fn more(arguments: &[String], flags: &[&str]) -> Vec<String> {
    [arguments, &owned(flags)].concat()
}

pub(crate) fn vectors_are_here() -> bool {
    vectors().is_some()
}

#[track_caller]
pub(crate) fn code(arguments: &[String]) -> (Exit, String) {
    let (exit, report) = run(arguments);
    (exit, report["code"].as_str().unwrap_or_default().to_owned())
}

pub(crate) fn refused(code: &str) -> (Exit, String) {
    (Exit::Refused, code.to_owned())
}
