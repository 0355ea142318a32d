//! `AzureItem`: the evidence that an agent sends, and its wire form. Parsed, it is still all claims.

use super::hcl::HCL_BYTES_MAX;
use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};
use crate::snp::TABLE_BYTES_MAX;
use crate::tdx::QUOTE_AREA_BYTES_MAX;
use crate::tpm::event_log::EVENT_LOG_BYTES_MAX;
use crate::tpm::{PUBLIC_BYTES_MAX, PcrIndex, Signed, read_claims};

const VERSION: u8 = 1;
/// Certificates that come along: the leaf and what Microsoft put above it.
pub const AK_CERTIFICATES_MAX: usize = 4;
/// Bytes of one of them. Those seen have some 1,900.
const CERTIFICATE_BYTES_MAX: usize = 4 << 10;

/// The evidence item of kind `azure`, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureItem<'a> {
    /// The HCL report, with or without its NV index's padding; empty on a machine that is no confidential one.
    pub report: &'a [u8],
    /// What vouches for the hardware report inside.
    pub hardware: AzureHardware<'a>,
    /// Certificates of the attestation key, DER, its own first; may be none where there is a report.
    pub ak_certificates: Vec<&'a [u8]>,
    /// `TPMT_PUBLIC` of the attestation key; may be empty where there is a report, which names the key.
    pub ak_public: &'a [u8],
    /// The quote over the selection asked, extraData = the binding.
    pub quote: Signed<'a>,
    /// The firmware log, as read *before* the quote.
    pub firmware_log: Option<&'a [u8]>,
    /// Values of PCRs, for those that no log covers. Ascending.
    pub pcr_claims: Vec<(PcrIndex, &'a [u8])>,
}

/// What Azure's metadata service adds to the hardware report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureHardware<'a> {
    /// Nothing: there is no report.
    None,
    /// Certificates of the key that signed the SNP report, PEM or DER in a row.
    Snp(&'a [u8]),
    /// The quote that was made of the TDREPORT.
    Tdx(&'a [u8]),
}

impl<'a> AzureItem<'a> {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::new().u8(VERSION).sized32(self.report);
        let writer = match self.hardware {
            AzureHardware::None => writer.u8(0),
            AzureHardware::Snp(certificates) => writer.u8(1).sized32(certificates),
            AzureHardware::Tdx(quote) => writer.u8(2).sized32(quote),
        };
        let writer = writer.list8(&self.ak_certificates, |writer, der| writer.sized16(der));
        let writer = self.quote.write(writer.sized16(self.ak_public));
        let writer = match self.firmware_log {
            None => writer.u8(0),
            Some(log) => writer.u8(1).sized32(log),
        };
        writer.list8(&self.pcr_claims, |writer, (index, value)| writer.u8(index.get()).sized16(value)).finish()
    }

    /// Reads an item, exactly. What is inside its fields is not read yet.
    ///
    /// # Errors
    /// [`Malformed`] at the first field that does not parse.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::AzureItem, bytes);
        match reader.u8("version")? {
            VERSION => {}
            other => return Err(reader.value("version", other.into())),
        }
        let report = reader.sized32(HCL_BYTES_MAX, "report")?;
        let hardware = match reader.u8("hardware")? {
            0 => AzureHardware::None,
            1 => AzureHardware::Snp(reader.sized32(TABLE_BYTES_MAX, "certificates")?),
            2 => AzureHardware::Tdx(reader.sized32(QUOTE_AREA_BYTES_MAX, "tdQuote")?),
            other => return Err(reader.value("hardware", other.into())),
        };
        let count = reader.count8(AK_CERTIFICATES_MAX, "akCertificates")?;
        let ak_certificates =
            (0..count).map(|_| reader.sized16(CERTIFICATE_BYTES_MAX, "akCertificate")).collect::<Result<_, _>>()?;
        let ak_public = reader.sized16(PUBLIC_BYTES_MAX, "akPublic")?;
        let quote = Signed::read(&mut reader)?;
        let firmware_log = match reader.u8("firmwareLog")? {
            0 => None,
            1 => Some(reader.sized32(EVENT_LOG_BYTES_MAX, "firmwareLog")?),
            other => return Err(reader.value("firmwareLog", other.into())),
        };
        let pcr_claims = read_claims(&mut reader)?;
        reader.finish()?;
        Ok(Self { report, hardware, ak_certificates, ak_public, quote, firmware_log, pcr_claims })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<AzureItem<'static>> {
        let quote = Signed { attest: b"attest", signature: b"signature" };
        let confidential = AzureItem {
            report: b"report",
            hardware: AzureHardware::Snp(b"PEM"),
            ak_certificates: Vec::new(),
            ak_public: &[],
            quote,
            firmware_log: Some(b"log"),
            pcr_claims: vec![(PcrIndex::new(4).unwrap(), &[7; 32]), (PcrIndex::new(11).unwrap(), &[8; 32])],
        };
        let trusted_launch = AzureItem {
            report: &[],
            hardware: AzureHardware::None,
            ak_certificates: vec![b"leaf", b"issuer"],
            ak_public: b"public",
            firmware_log: None,
            pcr_claims: Vec::new(),
            ..confidential.clone()
        };
        vec![AzureItem { hardware: AzureHardware::Tdx(b"quote"), ..confidential.clone() }, confidential, trusted_launch]
    }

    #[test]
    fn an_item_is_read_back_as_written_and_not_a_byte_less_or_more() {
        for item in items() {
            let bytes = item.encode();
            assert_eq!(AzureItem::parse(&bytes), Ok(item));
            for end in 0..bytes.len() {
                assert!(AzureItem::parse(&bytes[..end]).is_err());
            }
            assert!(AzureItem::parse(&[bytes, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn fields_above_their_limits_are_refused() {
        let refused = |item: &AzureItem<'_>| AzureItem::parse(&item.encode()).unwrap_err().field;
        let good = items().remove(1);
        let large = vec![0; TABLE_BYTES_MAX + 1];
        assert_eq!(refused(&AzureItem { report: &large, ..good.clone() }), "report");
        assert_eq!(refused(&AzureItem { hardware: AzureHardware::Snp(&large), ..good.clone() }), "certificates");
        assert_eq!(refused(&AzureItem { hardware: AzureHardware::Tdx(&large), ..good.clone() }), "tdQuote");
        assert_eq!(refused(&AzureItem { ak_certificates: vec![b"der"; 5], ..good.clone() }), "akCertificates");
        assert_eq!(refused(&AzureItem { ak_certificates: vec![&large[..5000]], ..good }), "akCertificate");
    }
}
