//! What the host committed this launch to, as the hardware tells the guest itself: HOST_DATA of SEV-SNP, MRCONFIGID of
//! TDX. For software in the guest that must know it before any server is asked, such as `holdfast-user-data`.
//!
//! The guest believes it without a verifier, so that it may come from nowhere but the processor: an SNP report reaches
//! the guest under a key that it shares with the firmware, a TDREPORT by a call into the TDX module. *Never* from a TDX
//! quote, which a service of the host hands over in shared memory: whoever runs the host may answer with any bytes.

mod device;

use std::io;
use std::sync::Arc;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::snp::REPORT_BYTES;
use serde::Serialize;

pub use device::{TdxGuest, tdx_guest};

use super::CollectFault;
use super::snp::{SevGuestFault, SnpCollector, is_missing, sev_guest};
use super::sources::{Place, Sources};
use super::tsm::{self, Provider, Tsm};

/// HOST_DATA in an SNP report (AMD 56860, ATTESTATION_REPORT).
const HOST_DATA: std::ops::Range<usize> = 0xc0..0xe0;
/// Bytes of a TDREPORT.
const TD_REPORT_BYTES: usize = 1024;
/// REPORTTYPE.TYPE of a TD's, the first byte: another report is an enclave's.
const TD: u8 = 0x81;
/// MRCONFIGID: behind attributes, XFAM and MRTD (8, 8 and 48 bytes) of TDINFO, which is the second half.
const MRCONFIGID: std::ops::Range<usize> = 512 + 64..512 + 64 + 48;

/// The host's value for this launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaunchValue {
    /// The fact that a server would have of it.
    pub fact: &'static str,
    /// In hexadecimal.
    pub value: String,
}

/// Asks the processor. Blocks.
///
/// # Errors
/// [`CollectFault::Nothing`] where the machine is neither an SEV-SNP nor a TDX guest, or its module is not loaded.
pub fn launch_value(sources: &Sources, tdx: &Place) -> Result<LaunchValue, CollectFault> {
    let tsm = Tsm::new(tsm::files(&sources.tsm));
    of(&tsm, &SnpCollector::new(tsm.clone(), sev_guest(&sources.sev_guest)), tdx)
}

/// The kernel says which technology it is; where it has no report interface yet, the device that is there.
fn of(tsm: &Tsm, snp: &SnpCollector, tdx: &Place) -> Result<LaunchValue, CollectFault> {
    match tsm.provider() {
        Ok(Provider::SevGuest) => host_data(snp),
        Ok(Provider::TdxGuest) => mrconfigid(tdx_guest(tdx), tdx),
        Err(fault) if is_missing(&fault) => match mrconfigid(tdx_guest(tdx), tdx) {
            Err(CollectFault::TdxGuest { source, .. }) if source.kind() == io::ErrorKind::NotFound => host_data(snp),
            other => other,
        },
        Err(fault) => Err(fault.into()),
    }
}

fn host_data(snp: &SnpCollector) -> Result<LaunchValue, CollectFault> {
    let report = match snp.report(&[0; 64]) {
        Err(CollectFault::SevGuest(SevGuestFault::Open(source))) if source.kind() == io::ErrorKind::NotFound => {
            return Err(CollectFault::Nothing);
        }
        other => other?.0,
    };
    match report.get(HOST_DATA) {
        Some(value) if report.len() == REPORT_BYTES => {
            Ok(LaunchValue { fact: "snp.host_data", value: hex::encode(value) })
        }
        _ => Err(CollectFault::Form { kind: EvidenceKind::Snp, expected: "a report of 1184 bytes" }),
    }
}

fn mrconfigid(device: Arc<dyn TdxGuest>, place: &Place) -> Result<LaunchValue, CollectFault> {
    let report =
        device.td_report(&[0; 64]).map_err(|source| CollectFault::TdxGuest { place: place.to_string(), source })?;
    match report.get(MRCONFIGID) {
        Some(value) if report.len() == TD_REPORT_BYTES && report.first() == Some(&TD) => {
            Ok(LaunchValue { fact: "tdx.mrconfigid", value: hex::encode(value) })
        }
        _ => Err(CollectFault::Form { kind: EvidenceKind::Tdx, expected: "a TDREPORT of 1024 bytes" }),
    }
}

#[cfg(test)]
mod tests;
