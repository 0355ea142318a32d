//! The items as they travel, field by field: what `crates/evidence` reads on the other side.

use holdfast_evidence::reader::Writer;
use holdfast_evidence::tpm::{PcrIndex, Signed as SignedWire};

use crate::tpm::Signed;

const VERSION: u8 = 1;

/// What vouches for the report of an Azure machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AzureHardware {
    /// Nothing: there is no report.
    None,
    /// Certificates of an SNP report, PEM.
    Snp(Vec<u8>),
    /// The quote of a TDX report.
    Tdx(Vec<u8>),
}

/// A virtual TPM's part of an item.
pub(super) struct Quote<'a> {
    /// Leaf first.
    pub(super) ak_certificates: &'a [Vec<u8>],
    /// TPMT_PUBLIC.
    pub(super) ak_public: &'a [u8],
    pub(super) quote: &'a Signed,
    pub(super) firmware_log: Option<&'a [u8]>,
    pub(super) pcr_claims: &'a [(PcrIndex, Vec<u8>)],
}

/// Kind `azure`.
pub(super) fn azure(report: &[u8], hardware: &AzureHardware, quote: &Quote<'_>) -> Vec<u8> {
    let writer = Writer::new().u8(VERSION).sized32(report);
    let writer = match hardware {
        AzureHardware::None => writer.u8(0),
        AzureHardware::Snp(certificates) => writer.u8(1).sized32(certificates),
        AzureHardware::Tdx(quote) => writer.u8(2).sized32(quote),
    };
    quote.write(writer).finish()
}

impl<'a> Quote<'a> {
    pub(super) fn certificates(&self) -> Vec<&'a [u8]> {
        self.ak_certificates.iter().map(Vec::as_slice).collect()
    }

    pub(super) fn signed(&self) -> SignedWire<'a> {
        SignedWire { attest: &self.quote.attest, signature: &self.quote.signature }
    }

    pub(super) fn claims(&self) -> Vec<(PcrIndex, &'a [u8])> {
        self.pcr_claims.iter().map(|(pcr, value)| (*pcr, value.as_slice())).collect()
    }

    fn write(&self, writer: Writer) -> Writer {
        let writer = writer
            .list8(self.ak_certificates, |writer, certificate| writer.sized16(certificate))
            .sized16(self.ak_public)
            .sized16(&self.quote.attest)
            .sized16(&self.quote.signature);
        optional(writer, self.firmware_log)
            .list8(self.pcr_claims, |writer, (pcr, value)| writer.u8(pcr.get()).sized16(value))
    }
}

fn optional(writer: Writer, bytes: Option<&[u8]>) -> Writer {
    match bytes {
        None => writer.u8(0),
        Some(bytes) => writer.u8(1).sized32(bytes),
    }
}
