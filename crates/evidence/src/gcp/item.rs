//! `GcpItem`: the evidence that an agent sends, and its wire form. Parsed, it is still all claims.

use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};
use crate::tpm::event_log::EVENT_LOG_BYTES_MAX;
use crate::tpm::{PUBLIC_BYTES_MAX, PcrIndex, Signed, read_claims};

const VERSION: u8 = 1;
/// Certificates that come along: the leaf and what Google put above it.
pub const AK_CERTIFICATES_MAX: usize = 4;
/// Bytes of one of them. Google's have some 1,300.
const CERTIFICATE_BYTES_MAX: usize = 4 << 10;

/// The evidence item of kind `gcp`, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpItem<'a> {
    /// DER, the attestation key's first; its issuers where the machine has them.
    pub ak_certificates: Vec<&'a [u8]>,
    /// `TPMT_PUBLIC` of the attestation key.
    pub ak_public: &'a [u8],
    /// The quote over the selection asked, extraData = the binding.
    pub quote: Signed<'a>,
    /// The firmware log, as read *before* the quote.
    pub firmware_log: Option<&'a [u8]>,
    /// Values of PCRs, for those that no log covers. Ascending.
    pub pcr_claims: Vec<(PcrIndex, &'a [u8])>,
}

impl<'a> GcpItem<'a> {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::new().u8(VERSION).list8(&self.ak_certificates, |writer, der| writer.sized16(der));
        let writer = self.quote.write(writer.sized16(self.ak_public));
        let writer = match self.firmware_log {
            None => writer.u8(0),
            Some(log) => writer.u8(1).sized32(log),
        };
        writer.list8(&self.pcr_claims, |writer, (index, value)| writer.u8(index.get()).sized16(value)).finish()
    }

    /// Reads an item, exactly.
    ///
    /// # Errors
    /// [`Malformed`] at the first field that does not parse.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::GcpItem, bytes);
        match reader.u8("version")? {
            VERSION => {}
            other => return Err(reader.value("version", other.into())),
        }
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
        Ok(Self { ak_certificates, ak_public, quote, firmware_log, pcr_claims })
    }
}
