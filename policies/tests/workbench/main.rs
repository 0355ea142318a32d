//! The offline workbench on the command line: `learn`, `reference`, `diff`, `test`. Reads `shared/vectors` where they are.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[path = "../../../crates/measurement/tests/image/mod.rs"]
mod image;
#[path = "../../../crates/evidence/tests/log/mod.rs"]
mod log;
#[path = "../../../crates/evidence/tests/vectors/mod.rs"]
mod vectors;

mod diff;
mod hostile;
mod learn;
mod reference;
mod signed;
mod test;
mod uki;

use std::path::{Path, PathBuf};

use clap::Parser as _;
use holdfast_policy::cli::{Cli, run};
use holdfast_policy::exit::Exit;
use serde_json::Value;

/// The moment of every run.
const AT: &str = "2026-11-22T12:00:00Z";

/// Runs the program; an error is its text.
fn policy(arguments: &[&str]) -> Result<(Exit, String), String> {
    let cli = Cli::try_parse_from([&["holdfast-policy"], arguments].concat()).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    let exit = run(&cli, &mut out).map_err(|error| format!("{error:#}"))?;
    Ok((exit, String::from_utf8(out).unwrap()))
}

fn json(arguments: &[&str]) -> (Exit, Value) {
    let (exit, out) = policy(&[arguments, &["--output", "json"]].concat()).unwrap();
    (exit, serde_json::from_str(&out).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A machine of the vectors.
fn machine(name: &str) -> Option<PathBuf> {
    Some(vectors::folder()?.join("vm").join(name))
}

/// A case over whole evidence of a machine, the policy beside it.
fn evidence_case(policy: &str, machine: &Path, expect: &str) -> String {
    let pcrs = read(&machine.join("pcrs.txt"));
    let ten = pcrs.split("sha256:").nth(1).unwrap().lines().find_map(|line| line.trim().strip_prefix("10:")).unwrap();
    let ten = ten.trim().trim_start_matches("0x").to_owned();
    let nonce = read(&machine.join("nonce.hex"));
    let file = |name: &str| format!("{:?}", machine.join(name));
    format!(
        "api_version = \"holdfast/1\"\nkind = \"case\"\ndescription = \"evidence\"\npolicy = {policy:?}\nat = {AT}\n\
         [evidence]\nkind = \"tpm\"\nak_public = {}\nattest = {}\nsignature = {}\nevent_log = {}\nek_certificate = {}\n\
         ek_public = {}\nroots = {}\nchain = {}\npcr = [\"10={ten}\"]\nnonce = \"{}\"\n\
         [ownership]\ninventory = \"listed\"\n[expect]\n{expect}\n",
        file("ak-rsa.tpm2b_public"),
        file("quote-rsa.msg"),
        file("quote-rsa.sig"),
        file("binary_bios_measurements"),
        file("nv-0x1c00002.bin"),
        file("ek-rsa.tpm2b_public"),
        file("swtpm-localca-rootca-cert.pem"),
        file("issuercert.pem"),
        nonce.trim()
    )
}
