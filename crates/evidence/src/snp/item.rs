//! `SnpItem`: the evidence that an agent sends, and its wire form. Parsed, it is still all claims.

use super::report::REPORT_BYTES;
use super::table::TABLE_BYTES_MAX;
use crate::error::{Defect, Malformed, Structure};
use crate::reader::{Reader, Writer};

const VERSION: u8 = 1;

/// The evidence item of kind `snp`, borrowed. Agents build one and [`encode`](Self::encode) it; servers
/// [`parse`](Self::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnpItem<'a> {
    /// The attestation report, 1184 bytes, whose report data begins with the binding.
    pub report: &'a [u8],
    /// The GHCB certificate table as the machine has it; empty where it has none.
    pub certificates: &'a [u8],
}

impl<'a> SnpItem<'a> {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new().u8(VERSION).sized16(self.report).sized32(self.certificates).finish()
    }

    /// Reads an item, exactly.
    ///
    /// # Errors
    /// [`Malformed`] at the first field that does not parse, for a report of another length, and for trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::SnpItem, bytes);
        match reader.u8("version")? {
            VERSION => {}
            other => return Err(reader.value("version", other.into())),
        }
        let report = reader.sized16(REPORT_BYTES, "report")?;
        if report.len() != REPORT_BYTES {
            return Err(reader.malformed("report", Defect::Length { expected: REPORT_BYTES, found: report.len() }));
        }
        let certificates = reader.sized32(TABLE_BYTES_MAX, "certificates")?;
        reader.finish()?;
        Ok(Self { report, certificates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_read_back_as_written() {
        for certificates in [&[][..], &[7; 300]] {
            let item = SnpItem { report: &[3; REPORT_BYTES], certificates };
            assert_eq!(SnpItem::parse(&item.encode()), Ok(item));
        }
    }

    #[test]
    fn other_lengths_versions_and_trailing_bytes_are_refused() {
        let refused = |bytes: &[u8]| SnpItem::parse(bytes).unwrap_err().field;
        for length in [0, REPORT_BYTES - 1, REPORT_BYTES + 1] {
            let report = vec![0; length];
            assert_eq!(refused(&SnpItem { report: &report, certificates: &[] }.encode()), "report");
        }
        let large = vec![0; TABLE_BYTES_MAX + 1];
        assert_eq!(refused(&SnpItem { report: &[0; REPORT_BYTES], certificates: &large }.encode()), "certificates");
        let mut good = SnpItem { report: &[0; REPORT_BYTES], certificates: &[] }.encode();
        good.push(0);
        assert_eq!(refused(&good), "end");
        good[0] = 2;
        assert_eq!(refused(&good), "version");
        assert_eq!(refused(&[]), "version");
    }
}
