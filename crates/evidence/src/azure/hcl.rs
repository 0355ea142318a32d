//! The report of Azure's paravisor (HCL, the host compatibility layer) as it stands in the virtual TPM's NV memory: a
//! header, a hardware report, and runtime data whose digest the hardware report carries. Verifies nothing.
//!
//! Neither the header nor what stands before the runtime data is signed by anybody, so that each of their bytes must be
//! the one that it always is, and no number in them chooses how much is checked.

use crate::error::{Defect, Malformed, Structure};
use crate::reader::Reader;
use crate::snp::REPORT_BYTES;

/// Bytes of an HCL report that are read, padding of its NV index included. The index has 2600.
pub const HCL_BYTES_MAX: usize = 8 << 10;
/// Bytes of runtime data. The largest seen has 1202.
pub const RUNTIME_DATA_BYTES_MAX: usize = 4 << 10;
/// Bytes of a TDREPORT.
pub const TD_REPORT_BYTES: usize = 1024;
/// `HCLA`
const MAGIC: [u8; 4] = *b"HCLA";
const HEADER_BYTES: u32 = 32;
/// Bytes before the runtime data, in what the header calls the attestation data.
const REQUEST_BYTES: u32 = 20;
/// "Attestation report", in the header.
const REQUEST_TYPE: u32 = 2;
const SNP: u32 = 2;
const TDX: u32 = 4;
const SHA256: u32 = 1;
/// Where `REPORTDATA` stands in a TDREPORT: Intel TDX module specification, `REPORTMACSTRUCT`.
const TD_REPORT_DATA_AT: usize = 128;

/// An HCL report that parsed exactly; borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HclReport<'a> {
    /// What the hardware says.
    pub hardware: HardwareReport<'a>,
    /// The runtime data, JSON, byte for byte as it was hashed.
    pub runtime_data: &'a [u8],
}

/// The hardware report inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardwareReport<'a> {
    /// An attestation report of SEV-SNP, whole.
    Snp(&'a [u8; REPORT_BYTES]),
    /// A TDREPORT, which only the platform that made it can check: a quote must be made of it.
    Tdx(&'a [u8; TD_REPORT_BYTES]),
}

impl HardwareReport<'_> {
    /// The `REPORTDATA` of a TDREPORT; `None` for an SNP report, which is read as one.
    #[must_use]
    pub fn td_report_data(&self) -> Option<&[u8; 64]> {
        match self {
            Self::Snp(_) => None,
            Self::Tdx(report) => report.get(TD_REPORT_DATA_AT..).and_then(<[u8]>::first_chunk),
        }
    }
}

impl<'a> HclReport<'a> {
    /// Reads a report, with or without the zeros that fill up its NV index.
    ///
    /// # Errors
    /// [`Malformed`] for another magic, version, type or hash, for sizes that do not fit each other, and for anything but
    /// zeros where nothing stands.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::AzureReport, bytes);
        if bytes.len() > HCL_BYTES_MAX {
            let defect = Defect::TooLarge { found: bytes.len(), limit: HCL_BYTES_MAX };
            return Err(reader.malformed("report", defect));
        }
        if reader.array("header.signature")? != MAGIC {
            return Err(reader.malformed("header.signature", Defect::Encoding));
        }
        one_of(&mut reader, "header.version", &[1, 2])?;
        let report_size = reader.u32_le("header.report_size")?;
        one_of(&mut reader, "header.request_type", &[REQUEST_TYPE])?;
        one_of(&mut reader, "header.status", &[0])?;
        zeros(&mut reader, 12, "header.reserved")?;
        let report = reader.take(REPORT_BYTES, "hardware_report")?;
        let data_size = reader.u32_le("data_size")?;
        one_of(&mut reader, "version", &[1])?;
        let report_type = one_of(&mut reader, "report_type", &[SNP, TDX])?;
        one_of(&mut reader, "hash_type", &[SHA256])?;
        let length = reader.u32_le("runtime_data_size")?;
        let runtime_data = bounded(&mut reader, length)?;
        let above = HEADER_BYTES + u32::try_from(REPORT_BYTES).unwrap_or(u32::MAX);
        if data_size != REQUEST_BYTES.saturating_add(length) {
            return Err(reader.value("data_size", data_size.into()));
        }
        if report_size != above.saturating_add(data_size) {
            return Err(reader.value("header.report_size", report_size.into()));
        }
        let padding = reader.rest().len();
        zeros(&mut reader, padding, "padding")?;
        reader.finish()?;
        let hardware = hardware(report, report_type);
        Ok(Self { hardware: hardware.ok_or(encoding("hardware_report"))?, runtime_data })
    }
}

/// The hardware report of that type in the room for one.
fn hardware(room: &[u8], report_type: u32) -> Option<HardwareReport<'_>> {
    if report_type == SNP {
        return room.first_chunk().map(HardwareReport::Snp);
    }
    let (report, padding) = room.split_first_chunk()?;
    padding.iter().all(|byte| *byte == 0).then_some(HardwareReport::Tdx(report))
}

fn bounded<'a>(reader: &mut Reader<'a>, length: u32) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > RUNTIME_DATA_BYTES_MAX {
        let defect = Defect::TooLarge { found: length, limit: RUNTIME_DATA_BYTES_MAX };
        return Err(reader.malformed("runtime_data_size", defect));
    }
    reader.take(length, "runtime_data")
}

fn one_of(reader: &mut Reader<'_>, field: &'static str, accepted: &[u32]) -> Result<u32, Malformed> {
    let found = reader.u32_le(field)?;
    if accepted.contains(&found) { Ok(found) } else { Err(reader.value(field, found.into())) }
}

fn zeros(reader: &mut Reader<'_>, length: usize, field: &'static str) -> Result<(), Malformed> {
    let bytes = reader.take(length, field)?;
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(reader.malformed(field, Defect::Encoding)) }
}

const fn encoding(field: &'static str) -> Malformed {
    Malformed { structure: Structure::AzureReport, field, defect: Defect::Encoding }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kind: u32, runtime_data: &[u8], padding: usize) -> Vec<u8> {
        let length = u32::try_from(runtime_data.len()).unwrap();
        let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let mut hardware = vec![7; REPORT_BYTES];
        if kind == TDX {
            hardware[TD_REPORT_BYTES..].fill(0);
        }
        let header = numbers(&[1, 32 + 1184 + 20 + length, 2, 0, 0, 0, 0]);
        let request = numbers(&[20 + length, 1, kind, 1, length]);
        [&MAGIC[..], &header, &hardware, &request, runtime_data, &vec![0; padding]].concat()
    }

    #[test]
    fn both_kinds_are_read_with_and_without_padding() {
        for padding in [0, 254] {
            let bytes = report(SNP, b"{}", padding);
            let read = HclReport::parse(&bytes).unwrap();
            assert_eq!((read.hardware, read.runtime_data), (HardwareReport::Snp(&[7; REPORT_BYTES]), &b"{}"[..]));
            assert_eq!(read.hardware.td_report_data(), None);
            let bytes = report(TDX, b"{}", padding);
            let read = HclReport::parse(&bytes).unwrap();
            assert_eq!(read.hardware, HardwareReport::Tdx(&[7; TD_REPORT_BYTES]));
            assert_eq!(read.hardware.td_report_data(), Some(&[7; 64]));
        }
    }

    /// Every byte outside the hardware report and the runtime data is fixed, but for the version, which is 1 or 2.
    #[test]
    fn no_unsigned_byte_has_a_second_value() {
        for kind in [SNP, TDX] {
            let good = report(kind, b"{\"a\":1}", 9);
            let signed = |at: usize| {
                let hardware = if kind == SNP { 32..32 + REPORT_BYTES } else { 32..32 + TD_REPORT_BYTES };
                let runtime_data = 32 + REPORT_BYTES + 20;
                hardware.contains(&at) || (runtime_data..runtime_data + 7).contains(&at)
            };
            for at in (0..good.len()).filter(|at| !signed(*at)) {
                for bit in 0..8 {
                    let mut bad = good.clone();
                    bad[at] ^= 1 << bit;
                    assert!(HclReport::parse(&bad).is_err(), "{kind} {at} {bit}");
                }
            }
        }
    }

    #[test]
    fn what_is_cut_short_or_too_large_is_refused() {
        let good = report(SNP, b"{}", 0);
        for length in 0..good.len() {
            assert!(HclReport::parse(&good[..length]).is_err(), "{length}");
        }
        assert_eq!(HclReport::parse(&report(SNP, b"{}", HCL_BYTES_MAX)).unwrap_err().field, "report");
        let large = report(SNP, &[b' '; RUNTIME_DATA_BYTES_MAX + 1], 0);
        assert_eq!(HclReport::parse(&large).unwrap_err().field, "runtime_data_size");
        let mut endless = good;
        endless[32 + REPORT_BYTES + 16..][..4].fill(0xff);
        assert_eq!(HclReport::parse(&endless).unwrap_err().field, "runtime_data_size");
    }
}
