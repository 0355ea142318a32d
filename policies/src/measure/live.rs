//! What live evidence says it was measured to. Read from the raw files, by the parsers of `holdfast-evidence`; nothing is
//! verified here.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use holdfast_evidence::nitro::{Document, DocumentKind};
use holdfast_evidence::snp::Report;
use holdfast_evidence::tdx::{Quote, TdReport};
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::tpm::event_log::EventLog;

use super::input;

/// Bytes of evidence that are read: a little more than the largest event log.
const EVIDENCE_BYTES_MAX: u64 = 2 << 20;

/// Fields of a SEV-SNP attestation report.
pub(super) struct SnpReport {
    pub(super) measurement: [u8; 48],
    pub(super) host_data: [u8; 32],
    pub(super) id_key_digest: [u8; 48],
    pub(super) author_key_digest: [u8; 48],
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    input::read(path, EVIDENCE_BYTES_MAX)
}

/// Digests that extended each register, by register, in the order of the log.
pub(super) type Events = BTreeMap<u32, Vec<Vec<u8>>>;

/// The events of a firmware log.
pub(super) fn events(path: &Path, bank: Bank) -> anyhow::Result<Events> {
    let bytes = read(path)?;
    let log = EventLog::parse(&bytes).with_context(|| path.display().to_string())?;
    let mut events = Events::new();
    // an event without action extends nothing, whatever digest stands in it
    for view in log.views(bank).filter(|view| view.kind != "EV_NO_ACTION") {
        if let Some(digest) = view.digest {
            events.entry(view.pcr).or_default().push(digest.as_bytes().to_vec());
        }
    }
    if events.is_empty() {
        bail!("{} has no events in the bank {bank}", path.display());
    }
    Ok(events)
}

/// Registers by number.
pub(super) type Pcrs = BTreeMap<u8, Vec<u8>>;

/// The registers in an enclave's document.
pub(super) fn enclave_pcrs(path: &Path) -> anyhow::Result<Pcrs> {
    pcrs(DocumentKind::Enclave, path)
}

/// The registers in a NitroTPM document.
pub(super) fn nitrotpm_pcrs(path: &Path) -> anyhow::Result<Pcrs> {
    pcrs(DocumentKind::Tpm, path)
}

fn pcrs(kind: DocumentKind, path: &Path) -> anyhow::Result<Pcrs> {
    let bytes = read(path)?;
    let document = Document::parse(kind, &bytes).with_context(|| path.display().to_string())?;
    Ok(document.pcrs.iter().map(|(number, value)| (number, value.to_vec())).collect())
}

/// The body of a TDX quote.
pub(super) fn tdx_quote(path: &Path) -> anyhow::Result<TdReport> {
    let bytes = read(path)?;
    Ok(Quote::parse(&bytes).with_context(|| path.display().to_string())?.report)
}

/// A SEV-SNP attestation report.
pub(super) fn snp_report(path: &Path) -> anyhow::Result<SnpReport> {
    let bytes = read(path)?;
    let report = Report::parse(&bytes).with_context(|| path.display().to_string())?;
    Ok(SnpReport {
        measurement: report.measurement(),
        host_data: report.host_data(),
        id_key_digest: report.id_key_digest(),
        author_key_digest: report.author_key_digest(),
    })
}
