//! Evidence of kind `tdx`: the quote of an Intel TDX guest, by the kernel's report interface, with the event log that
//! the firmware left in an ACPI table. Never run on hardware by us.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tdx::{QUOTE_AREA_BYTES_MAX, TdxItem};

use super::firmware_log::{FirmwareLogFile, ReadLog};
use super::tsm::{Provider, Tsm};
use super::{CollectFault, Collector, Extras, Part, Prepared, Signed, blocking};

/// Gathers it.
pub(super) struct TdxCollector {
    tsm: Tsm,
    event_log: PathBuf,
}

impl TdxCollector {
    pub(super) fn new(tsm: Tsm, event_log: &Path) -> Self {
        Self { tsm, event_log: event_log.to_owned() }
    }
}

impl Collector for TdxCollector {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Tdx
    }

    fn prepare<'a>(&'a self, _: &'a [u8], _: Extras) -> BoxFuture<'a, Result<Box<dyn Prepared + 'a>, CollectFault>> {
        Box::pin(async {
            let log = FirmwareLogFile(self.event_log.clone()).read().await.map_err(CollectFault::FirmwareLog)?;
            Ok(Box::new(Quote { tsm: self.tsm.clone(), log }) as Box<dyn Prepared>)
        })
    }
}

struct Quote {
    tsm: Tsm,
    log: Option<ReadLog>,
}

impl Prepared for Quote {
    fn part(&self) -> Part {
        Part { firmware_log: self.log.as_ref().map(|log| log.digest), ..Part::default() }
    }

    fn finish<'a>(self: Box<Self>, signed: Signed) -> BoxFuture<'a, Result<Vec<u8>, CollectFault>>
    where
        Self: 'a,
    {
        Box::pin(blocking(move || {
            let report = self.tsm.report(Provider::TdxGuest, &signed.report_data())?;
            if report.outblob.is_empty() || report.outblob.len() > QUOTE_AREA_BYTES_MAX {
                return Err(CollectFault::Form { kind: EvidenceKind::Tdx, expected: "a quote of at most 32 KiB" });
            }
            let ccel = self.log.as_ref().map(|log| log.bytes.as_slice());
            Ok(TdxItem { quote: &report.outblob, ccel }.encode())
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tsm::TsmFiles;
    use super::super::tsm::kernel::Kernel;
    use super::*;

    #[tokio::test]
    async fn a_quote_carries_the_binding_and_the_log_stands_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("CCEL");
        for content in [None, Some(b"log".as_slice())] {
            if let Some(content) = content {
                std::fs::write(&log, content).unwrap();
            }
            let files: Arc<dyn TsmFiles> = Arc::new(Kernel::new("tdx_guest", |inblob, _| (inblob.to_vec(), vec![])));
            let collector = TdxCollector::new(Tsm::new(files), &log);
            let prepared = collector.prepare(&[], Extras::default()).await.unwrap();
            assert_eq!(prepared.part().firmware_log.is_some(), content.is_some());
            let signed = Signed { binding: [5; 32], nonce: [6; 32] };
            let item = prepared.finish(signed).await.unwrap();
            let quote = [[5; 32], [0; 32]].concat();
            assert_eq!(TdxItem::parse(&item).unwrap(), TdxItem { quote: &quote, ccel: content });
        }
    }

    #[tokio::test]
    async fn a_quote_that_is_too_large_is_not_sent() {
        let files: Arc<dyn TsmFiles> =
            Arc::new(Kernel::new("tdx_guest", |_, _| (vec![0; QUOTE_AREA_BYTES_MAX + 1], vec![])));
        let collector = TdxCollector::new(Tsm::new(files), Path::new("/nowhere"));
        let prepared = collector.prepare(&[], Extras::default()).await.unwrap();
        let fault = prepared.finish(Signed { binding: [5; 32], nonce: [6; 32] }).await.unwrap_err();
        assert_eq!(fault.code(), "agent.collect.form");
    }
}
