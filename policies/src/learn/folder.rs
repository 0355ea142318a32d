//! Recognises the evidence files of a machine in a folder by the names that tools and our documentation give them. Verifies
//! nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use toml::{Table, Value};

use crate::files;
use crate::inspect::EVIDENCE_BYTES_MAX;

/// Attestation key, quote and signature, by tool.
const QUOTES: [[&str; 3]; 3] = [
    ["ak.pub", "quote.msg", "quote.sig"],
    ["ak-rsa.tpm2b_public", "quote-rsa.msg", "quote-rsa.sig"],
    ["ak-ecc.tpm2b_public", "quote-ecc.msg", "quote-ecc.sig"],
];
/// EK certificate and public area.
const KEYS: [[&str; 2]; 2] = [["ek.der", "ek.pub"], ["nv-0x1c00002.bin", "ek-rsa.tpm2b_public"]];
const LOGS: [&str; 3] = ["binary_bios_measurements", "eventlog.bin", "ccel.bin"];
const ROOTS: [&str; 3] = ["roots.pem", "roots", "swtpm-localca-rootca-cert.pem"];
const CHAINS: [&str; 2] = ["chain.pem", "issuercert.pem"];
/// Texts that may be the command line which the log holds as a digest.
const COMMAND_LINES: [&str; 3] = ["cmdline", "cmdline.txt", "qemu-append.txt"];

/// What a folder holds.
pub(super) struct Found {
    pub(super) folder: PathBuf,
    /// The flags of `inspect`, where there is a quote.
    pub(super) evidence: Option<Table>,
    pub(super) log: Option<Vec<u8>>,
    /// Texts that may be command lines.
    pub(super) command_lines: Vec<String>,
}

/// Looks into `folder`.
///
/// # Errors
/// It holds neither a file `evidence.toml` nor a quote nor a firmware log, or a file cannot be read.
pub(super) fn recognise(folder: &Path) -> anyhow::Result<Found> {
    let has = |name: &str| folder.join(name).exists();
    let first = |names: &[&'static str]| names.iter().copied().find(|name| has(name));
    let log = first(&LOGS);
    let mut command_lines = Vec::new();
    for name in COMMAND_LINES.into_iter().filter(|name| has(name)) {
        let text = files::text(&folder.join(name))?;
        let line = text.trim_end_matches('\n');
        // what the kernel shows is trimmed; what was measured may end with a space
        command_lines.extend([line.to_owned(), format!("{line} "), line.trim_end().to_owned()]);
    }
    let mut evidence = Table::new();
    if has("evidence.toml") {
        let document: Table = files::text(&folder.join("evidence.toml"))?.parse().context("evidence.toml")?;
        let table = document.get("evidence").and_then(Value::as_table);
        evidence = table.cloned().context("evidence.toml has no [evidence]")?;
    } else if let Some(quote) = QUOTES.iter().find(|names| names.iter().all(|name| has(name))) {
        evidence.insert("kind".to_owned(), "tpm".into());
        for (key, name) in ["ak_public", "attest", "signature"].into_iter().zip(quote) {
            evidence.insert(key.to_owned(), (*name).into());
        }
        if let Some(log) = log {
            evidence.insert("event_log".to_owned(), log.into());
        }
        let keys = KEYS.iter().find(|names| names.iter().all(|name| has(name)));
        if let (Some([certificate, public]), Some(roots)) = (keys, first(&ROOTS)) {
            for (key, name) in [("ek_certificate", *certificate), ("ek_public", *public), ("roots", roots)] {
                evidence.insert(key.to_owned(), name.into());
            }
            if let Some(chain) = first(&CHAINS) {
                evidence.insert("chain".to_owned(), chain.into());
            }
        }
        if has("nonce.hex") {
            let nonce = files::text(&folder.join("nonce.hex"))?;
            evidence.insert("nonce".to_owned(), nonce.trim().into());
        }
        if has("pcrs.txt") {
            evidence.insert("pcr".to_owned(), Value::Array(registers(&files::text(&folder.join("pcrs.txt"))?)));
        }
    }
    let log = log.map(|name| self::log(&folder.join(name))).transpose()?;
    let evidence = Some(evidence).filter(|table| !table.is_empty());
    if evidence.is_none() && log.is_none() {
        bail!(
            "no evidence here: expected evidence.toml, or ak.pub, quote.msg, quote.sig and binary_bios_measurements, or the \
             log alone"
        );
    }
    Ok(Found { folder: folder.to_owned(), evidence, log, command_lines })
}

/// A firmware log.
///
/// # Errors
/// It cannot be read, or is larger than any log.
pub(super) fn log(path: &Path) -> anyhow::Result<Vec<u8>> {
    files::limited(path, EVIDENCE_BYTES_MAX)
}

/// Values of PCR 10 and others that no firmware log covers, as `tpm2_pcrread` prints them: bank `sha256`.
fn registers(text: &str) -> Vec<Value> {
    let bank = text.split("sha256:").nth(1).unwrap_or_default();
    let lines = bank.lines().skip(1).map_while(|line| line.split_once(':'));
    let values = lines.filter_map(|(number, value)| {
        let (number, value) = (number.trim().parse::<u8>().ok()?, value.trim().trim_start_matches("0x"));
        (number == 10 && value.len() == 64).then(|| Value::String(format!("{number}={}", value.to_lowercase())))
    });
    values.collect()
}
