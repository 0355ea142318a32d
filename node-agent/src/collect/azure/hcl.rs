//! Just enough of an HCL report to know what it is made of, and which hardware report is inside. Verifies nothing.

use holdfast_evidence::EvidenceKind;

use crate::collect::CollectFault;

/// Where the hardware report begins.
const HARDWARE_AT: usize = 0x20;
/// Bytes of a TDREPORT.
const TD_REPORT_BYTES: usize = 1024;
/// Where the kind of hardware report stands, four bytes little-endian.
const KIND_AT: usize = 0x4c8;
const SNP: u32 = 2;
const TDX: u32 = 4;

/// A report as the TPM holds it, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HclReport {
    /// With an SNP report inside.
    Snp(Vec<u8>),
    /// With a TDREPORT inside, which a quote must be made of.
    Tdx {
        /// The whole.
        bytes: Vec<u8>,
        /// The TDREPORT.
        td_report: Vec<u8>,
    },
}

impl HclReport {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, CollectFault> {
        let form = || CollectFault::Form { kind: EvidenceKind::Azure, expected: "an HCL report of SNP or TDX" };
        if !bytes.starts_with(b"HCLA") {
            return Err(form());
        }
        let kind = bytes.get(KIND_AT..).and_then(<[u8]>::first_chunk).ok_or_else(form)?;
        match u32::from_le_bytes(*kind) {
            SNP => Ok(Self::Snp(bytes)),
            TDX => {
                let td_report = bytes.get(HARDWARE_AT..HARDWARE_AT + TD_REPORT_BYTES).ok_or_else(form)?.to_vec();
                Ok(Self::Tdx { bytes, td_report })
            }
            _ => Err(form()),
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Snp(bytes) | Self::Tdx { bytes, .. } => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hardware_report_is_told_by_its_number() {
        let mut bytes = vec![0; 2600];
        bytes[..4].copy_from_slice(b"HCLA");
        bytes[HARDWARE_AT] = 7;
        assert!(HclReport::parse(bytes.clone()).is_err());
        bytes[KIND_AT] = 2;
        assert_eq!(HclReport::parse(bytes.clone()).unwrap(), HclReport::Snp(bytes.clone()));
        bytes[KIND_AT] = 4;
        let HclReport::Tdx { td_report, .. } = HclReport::parse(bytes.clone()).unwrap() else { panic!() };
        assert_eq!((td_report.len(), td_report[0]), (1024, 7));
        assert!(HclReport::parse(bytes[..KIND_AT + 3].to_vec()).is_err());
        bytes[0] = b'X';
        assert!(HclReport::parse(bytes).is_err());
    }
}
