//! Proofs as a compliance person makes and checks them: the server's command line writes one, the offline tool checks it.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{Output, Programs, Server};

/// Writes the proof of `attempt` below `folder`.
///
/// # Errors
/// If the server does not give it.
pub fn prove(server: &Server, folder: &Path, attempt: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join(format!("{attempt}.proof"));
    // A proof is never written over another file.
    let _ = std::fs::remove_file(&file);
    server.operator(&["audit", "prove", attempt, "--out", &file.display().to_string()])?;
    Ok(file)
}

/// Proves every decision of `attempts` from what the record keeps, without the server and its endorsements.
///
/// # Errors
/// If one is not proven, or proven to be another.
pub fn prove_each(server: &Server, programs: &Programs, folder: &Path, attempts: &[Value]) -> anyhow::Result<()> {
    let vkey = server.operator(&["record", "vkey"])?;
    for attempt in attempts {
        let file = prove(server, folder, attempt["id"].as_str().context("attempt without an ID")?)?;
        let (code, report) = verify(programs, &file, vkey.trim(), &[])?;
        let same = report.get("verdict") == attempt.get("outcome");
        ensure!(code == 0 && report.get("conclusion").is_some_and(|word| word == "proven") && same, "{report:#}");
    }
    Ok(())
}

/// Checks a proof offline with the log's key, and whatever else is given; the exit code and the report.
///
/// # Errors
/// If the tool does not run, or prints no JSON.
pub fn verify(programs: &Programs, proof: &Path, vkey: &str, more: &[&str]) -> anyhow::Result<(i32, Value)> {
    let mut command = programs.command("holdfast-policy");
    command.args(["--output", "json", "proof", "verify"]).arg(proof).args(["--vkey", vkey]).args(more);
    let output = Output::of(&mut command)?;
    let report = serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))?;
    Ok((output.code, report))
}
