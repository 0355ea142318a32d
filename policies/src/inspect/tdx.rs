//! `inspect tdx`: the checks of a quote one by one, on files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use holdfast_appraisal::Facts;
use holdfast_appraisal::facts::tdx_quote;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tdx::{
    CheckedCollateral, CollateralParts, KnownCollateral, Quote, TdBoot, TdxEndorsements, Unverified, VerifiedPck,
    certificates, checks as tdx_checks, pck_chain, verify_quote,
};
use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;

use super::certificates::trusted;
use super::flags::Flags;
use super::forms;
use super::report::{Checks, Refusal};
use super::told::Told;
use crate::exit::Exit;

/// Every check, in the order in which they are made.
const CHECKS: [&str; 18] = [
    "quote",
    "pck_chain",
    "qe_report",
    "attestation_key",
    "signature",
    "nonce",
    "binding",
    "debug",
    "attributes",
    "seam",
    "service_td",
    "collateral",
    "platform",
    "qe_identity",
    "tcb",
    "verify",
    "ccel",
    "policy",
];
/// Those without which nothing is verified, beside the caller data.
const NEEDED: [&str; 14] = [
    "quote",
    "pck_chain",
    "qe_report",
    "attestation_key",
    "signature",
    "debug",
    "attributes",
    "seam",
    "service_td",
    "collateral",
    "platform",
    "qe_identity",
    "tcb",
    "verify",
];
/// Files of one folder of collateral that are looked at.
const FILES_MAX: usize = 1024;

/// Flags of `inspect tdx`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    holdfast-policy inspect tdx --quote quote.bin --collateral collateral.json --binding 9a9d48e7… --at 2025-07-01T00:00:00Z\n  \
    holdfast-policy inspect tdx --quote quote.bin --collateral pcs-answers/ --ccel /sys/firmware/acpi/tables/data/CCEL \\\n      \
    --nonce 0011… --policy policy.toml\n\n\
    Collateral: the document that dcap-qvl writes, the bundle that pccsadmin writes, or the answers of Intel's service or a\n\
    PCCS one by one (tcb, qe/identity, pckcrl, rootcacrl, their issuer chains): as files, in any order, or a folder of them.\n\
    Of each document the edition counts that is genuine and of the time --at, by the highest evaluation number, then the newest.\n\
    Exit codes: 0 verified, 1 refused, 2 usage or I/O, 3 incomplete.")]
pub(super) struct InspectTdx {
    /// The quote, version 4 or 5, as the machine gives it. Bytes behind its end are counted and not looked at.
    #[arg(long, value_name = "FILE")]
    quote: PathBuf,
    /// What Intel says about the platform: files or folders, may be given several times.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    collateral: Vec<PathBuf>,
    /// The CC event log, as /sys/firmware/acpi/tables/data/CCEL; it must lead to the quoted RTMRs.
    #[arg(long, value_name = "FILE")]
    ccel: Option<PathBuf>,
    /// MRSERVICETD of a service TD that may be bound to the guest; may be given several times.
    #[arg(long, value_name = "HEX", value_parser = measurement)]
    service_td: Vec<[u8; 48]>,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn measurement(text: &str) -> Result<[u8; 48], String> {
    let mut bytes = [0; 48];
    let expected = |_| "expected 96 digits of hex".to_owned();
    hex::decode_to_slice(text.trim_start_matches("0x"), &mut bytes).map_err(expected)?;
    Ok(bytes)
}

impl InspectTdx {
    pub(super) fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        self.flags.require_caller_data(64)?;
        let bytes = forms::read(&self.quote)?;
        let log = self.ccel.as_deref().map(forms::read).transpose()?;
        let files = collateral_files(&self.collateral)?;
        let mut checks = Checks::new(&CHECKS);
        let mut needed = NEEDED.to_vec();
        let facts = self.check(&bytes, log.as_deref(), &files, &mut checks, &mut needed)?;
        self.flags.conclude(checks, &needed, facts.as_ref(), told)
    }

    /// All checks; the facts, if every one of the evidence passed.
    fn check(
        &self,
        bytes: &[u8],
        log: Option<&[u8]>,
        files: &[CollateralFile],
        checks: &mut Checks,
        needed: &mut Vec<&'static str>,
    ) -> anyhow::Result<Option<Facts>> {
        let now = self.flags.now();
        let Some(quote) = checks.note("quote", Quote::parse(bytes).map_err(Unverified::from)) else { return Ok(None) };
        let roots = Arc::new(trusted(&self.flags, EvidenceKind::Tdx, &certificates(&quote))?);
        let pck = checks.note("pck_chain", pck_chain(&quote, &roots, now));
        if let Some(pck) = &pck {
            checks.note("qe_report", tdx_checks::qe_report(&quote, pck));
        }
        checks.note("attestation_key", tdx_checks::attestation_key(&quote));
        checks.note("signature", tdx_checks::quote_signature(&quote));
        let other = Refusal::from(Unverified::ReportData);
        needed.push(self.flags.note_caller_data(checks, &quote.report.report_data, &other));
        checks.note("debug", tdx_checks::debug(&quote));
        checks.note("attributes", tdx_checks::attributes(&quote));
        checks.note("seam", tdx_checks::seam(&quote));
        checks.note("service_td", tdx_checks::service_td(&quote, &self.service_td));
        let boot = log.and_then(|log| checks.note("ccel", TdBoot::derive(log, &quote.report.rt_mr)));
        let (Some(pck), false) = (pck, files.is_empty()) else { return Ok(None) };
        let Some(collateral) = checks.note("collateral", collateral(files, &pck, &roots, now)) else { return Ok(None) };
        checks.note("platform", collateral.admits(&pck));
        checks.note("qe_identity", tdx_checks::qe_identity(&quote, &collateral));
        checks.note("tcb", tdx_checks::tcb(&quote, &pck, &collateral, now));
        let endorsements = TdxEndorsements {
            roots,
            collateral: KnownCollateral::Checked(Arc::new(collateral)),
            service_tds: self.service_td.clone(),
            pck: None,
        };
        // the verifier's own way through all of it: what it does not say is no fact
        let verified = checks.note("verify", verify_quote(bytes, &endorsements, now));
        Ok(verified.map(|quote| tdx_quote(&quote, boot.as_ref(), quote.provenance())))
    }
}

/// A file of collateral and where it came from: one that somebody named, or one of many in a folder.
pub(super) struct CollateralFile {
    bytes: Vec<u8>,
    is_named: bool,
}

/// Reads all files before anything is checked.
pub(super) fn collateral_files(paths: &[PathBuf]) -> anyhow::Result<Vec<CollateralFile>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            for file in folder(path)? {
                files.push(CollateralFile { bytes: forms::read(&file)?, is_named: false });
            }
        } else {
            files.push(CollateralFile { bytes: forms::read(path)?, is_named: true });
        }
    }
    Ok(files)
}

fn folder(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", path.display());
    let entries = std::fs::read_dir(path).with_context(cannot)?.take(FILES_MAX);
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().with_context(cannot)?;
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}

/// What the files say about this platform, checked. A folder may hold other things too; a file that was named must be
/// collateral.
pub(super) fn collateral(
    files: &[CollateralFile],
    pck: &VerifiedPck,
    roots: &Roots,
    now: UnixTime,
) -> Result<CheckedCollateral, Unverified> {
    let mut parts = CollateralParts::new();
    for file in files {
        match parts.add(&file.bytes) {
            Err(malformed) if file.is_named => return Err(malformed.into()),
            Err(_) | Ok(()) => {}
        }
    }
    parts.check_for(pck, roots, now)
}
