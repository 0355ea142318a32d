//! Evidence of kind `snp`: the report of an AMD SEV-SNP guest with the host's certificate table. By the kernel's report
//! interface, or by `/dev/sev-guest` where a kernel has only that. Never run on hardware by us.

mod device;

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::snp::{REPORT_BYTES, SnpItem, TABLE_BYTES_MAX};

pub use device::{ExtendedReport, SevGuest, SevGuestFault, sev_guest};

use super::tsm::{Provider, Tsm, TsmFault};
use super::{CollectFault, Collector, Extras, Part, Prepared, Signed, blocking};

/// ENXIO: the interface is there, and nobody who makes reports.
pub(super) const NO_PROVIDER: i32 = 6;

/// Gathers it.
#[derive(Clone)]
pub(super) struct SnpCollector {
    tsm: Tsm,
    device: Arc<dyn SevGuest>,
}

impl SnpCollector {
    pub(super) fn new(tsm: Tsm, device: Arc<dyn SevGuest>) -> Self {
        Self { tsm, device }
    }

    /// The report, and the certificate table; empty where the host gives none.
    pub(super) fn report(&self, report_data: &[u8; 64]) -> Result<(Vec<u8>, Vec<u8>), CollectFault> {
        match self.tsm.report(Provider::SevGuest, report_data) {
            Ok(report) => Ok((report.outblob, report.auxblob)),
            Err(fault) if is_missing(&fault) => Ok(device::report(self.device.as_ref(), report_data)?),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// Whether the kernel has no report interface, or nobody behind it.
pub(super) fn is_missing(fault: &TsmFault) -> bool {
    matches!(fault, TsmFault::Io { action: "create", source, .. }
        if source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(NO_PROVIDER))
}

impl Collector for SnpCollector {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Snp
    }

    fn prepare<'a>(&'a self, _: &'a [u8], _: Extras) -> BoxFuture<'a, Result<Box<dyn Prepared + 'a>, CollectFault>> {
        Box::pin(async { Ok(Box::new(self.clone()) as Box<dyn Prepared>) })
    }
}

impl Prepared for SnpCollector {
    fn part(&self) -> Part {
        Part::default()
    }

    fn finish<'a>(self: Box<Self>, signed: Signed) -> BoxFuture<'a, Result<Vec<u8>, CollectFault>>
    where
        Self: 'a,
    {
        Box::pin(blocking(move || {
            let (report, certificates) = self.report(&signed.report_data())?;
            if report.len() != REPORT_BYTES {
                return Err(CollectFault::Form { kind: EvidenceKind::Snp, expected: "a report of 1184 bytes" });
            }
            // Certificates are a courtesy of the host: the server may have them from elsewhere.
            let certificates = if certificates.len() > TABLE_BYTES_MAX { &[] } else { certificates.as_slice() };
            Ok(SnpItem { report: &report, certificates }.encode())
        }))
    }
}

#[cfg(test)]
mod tests;
