//! A DCAP quote, version 4 or 5, read to its exact end. Everything in it is a claim until `verify` has looked at it.
//!
//! **Trailing bytes.** A quote ends where its own lengths say. What follows is the transport's: Azure pads with 70
//! zeros, Google with 3065, one real quote has 39 other bytes. It is never looked at, only counted, and is part of no
//! identity, digest or key of a cache. Within the quote nothing may be left over.

use super::report::{BodyType, TdReport};
use crate::error::{Defect, Malformed, Structure};
use crate::reader::Reader;

/// Bytes of a quote itself; the largest seen has 5,000. What follows it is bounded by whatever it travels in.
pub const QUOTE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a quote and what follows it, in an evidence item: what the kernel's report interface gives at most
/// (TSM_OUTBLOB_MAX). The largest seen has 8000.
pub const QUOTE_AREA_BYTES_MAX: usize = 32 << 10;
/// Bytes of a QE report.
const QE_REPORT_BYTES: usize = 384;
/// ECDSA on P-256: the one key type there is.
const ECDSA_P256: u16 = 2;
/// TDX, in `TEE_TYPE`.
const TEE_TDX: u32 = 0x81;
/// Intel, in `QE_VENDOR_ID`.
const INTEL: [u8; 16] =
    [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07];
/// Certification data with a QE report in it.
const QE_REPORT_CERTIFICATION: u16 = 6;
/// Certification data with the chain of the PCK certificate in PEM.
const PCK_CHAIN: u16 = 5;

/// A quote, borrowed from its bytes. Intel TDX DCAP Quote Generation Library, appendix A.3.
#[derive(Clone, Debug)]
pub struct Quote<'a> {
    /// 4 or 5.
    pub version: u16,
    /// What the TDX module says.
    pub report: TdReport,
    /// Header and body: what the attestation key signed.
    pub signed: &'a [u8],
    /// ECDSA over `signed`: r and s, 32 bytes each.
    pub signature: [u8; 64],
    /// The attestation key: x and y.
    pub attestation_key: [u8; 64],
    /// The quoting enclave's report, which says whose key that is.
    pub qe_report: QeReport<'a>,
    /// PEM of the certificates above the key that signed that report, leaf first; not signed by anything.
    pub pck_chain: &'a [u8],
    /// Header to certification data: the quote without what follows it.
    pub exact: &'a [u8],
    /// How many bytes follow the quote.
    pub trailing_bytes: usize,
}

/// The report of the quoting enclave (QE), an SGX enclave of Intel's.
#[derive(Clone, Copy, Debug)]
pub struct QeReport<'a> {
    /// Its 384 bytes: what the PCK signed.
    pub bytes: &'a [u8; QE_REPORT_BYTES],
    /// ECDSA over `bytes`: r and s.
    pub signature: [u8; 64],
    /// Hashed into its report data behind the attestation key.
    pub authentication_data: &'a [u8],
}

impl QeReport<'_> {
    /// `REPORTDATA`, the last 64 bytes.
    #[must_use]
    pub fn report_data(&self) -> [u8; 64] {
        self.bytes.last_chunk().copied().unwrap_or([0; 64])
    }
}

impl<'a> Quote<'a> {
    /// Reads a quote; see the module for what may follow it.
    ///
    /// # Errors
    /// [`Malformed`] for another version, key type, TEE or vendor, another kind of certification data, and for lengths
    /// that do not fit each other exactly.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::TdxQuote, bytes);
        let version = reader.u16_le("header.version")?;
        let key_type = reader.u16_le("header.attestation_key_type")?;
        let tee = reader.u32_le("header.tee_type")?;
        reader.take(4, "header.reserved")?;
        let vendor: [u8; 16] = reader.array("header.qe_vendor_id")?;
        reader.take(20, "header.user_data")?;
        if key_type != ECDSA_P256 {
            return Err(reader.value("header.attestation_key_type", key_type.into()));
        }
        if tee != TEE_TDX {
            return Err(reader.value("header.tee_type", tee.into()));
        }
        if vendor != INTEL {
            return Err(reader.malformed("header.qe_vendor_id", Defect::Encoding));
        }
        let body = match version {
            4 => BodyType::Td10,
            5 => body_type(&mut reader)?,
            other => return Err(reader.value("header.version", other.into())),
        };
        let report = TdReport::read(&mut reader, body)?;
        let signed = reader.since(0);
        let authentication = sized(&mut reader, "signature_data")?;
        let exact = reader.since(0);
        if exact.len() > QUOTE_BYTES_MAX {
            let defect = Defect::TooLarge { found: exact.len(), limit: QUOTE_BYTES_MAX };
            return Err(reader.malformed("quote", defect));
        }
        let trailing_bytes = reader.rest().len();
        Authentication::read(authentication).map(|authentication| Self {
            version,
            report,
            signed,
            signature: authentication.signature,
            attestation_key: authentication.attestation_key,
            qe_report: authentication.qe_report,
            pck_chain: authentication.pck_chain,
            exact,
            trailing_bytes,
        })
    }
}

fn body_type(reader: &mut Reader<'_>) -> Result<BodyType, Malformed> {
    let number = reader.u16_le("body.type")?;
    let body = BodyType::from_number(number).ok_or(reader.value("body.type", number.into()))?;
    match reader.u32_le("body.size")? {
        size if size == body.size() => Ok(body),
        other => Err(reader.value("body.size", other.into())),
    }
}

/// A little-endian 32-bit length and that many bytes.
fn sized<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], Malformed> {
    let length = reader.u32_le(field)?;
    reader.take(usize::try_from(length).unwrap_or(usize::MAX), field)
}

/// Everything behind the body: `Quote Signature Data Structure`, A.3.8.
struct Authentication<'a> {
    signature: [u8; 64],
    attestation_key: [u8; 64],
    qe_report: QeReport<'a>,
    pck_chain: &'a [u8],
}

impl<'a> Authentication<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::new(Structure::TdxQuote, bytes);
        let signature = outer.array("signature")?;
        let attestation_key = outer.array("attestation_key")?;
        let certification = certification(&mut outer, QE_REPORT_CERTIFICATION)?;
        outer.finish()?;
        let mut inner = Reader::new(Structure::TdxQuote, certification);
        let report = inner.take(QE_REPORT_BYTES, "qe_report")?;
        let qe_report = QeReport {
            bytes: report.first_chunk().ok_or(inner.malformed("qe_report", Defect::Encoding))?,
            signature: inner.array("qe_report_signature")?,
            authentication_data: {
                let length = inner.u16_le("qe_authentication_data")?;
                inner.take(length.into(), "qe_authentication_data")?
            },
        };
        let pck_chain = self::certification(&mut inner, PCK_CHAIN)?;
        inner.finish()?;
        Ok(Self { signature, attestation_key, qe_report, pck_chain })
    }
}

/// Certification data of the type that is accepted here.
fn certification<'a>(reader: &mut Reader<'a>, accepted: u16) -> Result<&'a [u8], Malformed> {
    match reader.u16_le("certification_data.type")? {
        kind if kind == accepted => sized(reader, "certification_data"),
        other => Err(reader.value("certification_data.type", other.into())),
    }
}
