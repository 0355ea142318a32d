//! `TPMS_ATTEST`: what a TPM says about itself and signs. Everything read here is a claim until the signature over
//! the very same bytes has been verified.

use crate::error::{Defect, Malformed, Structure};
use crate::reader::{Reader, Writer};

use super::clock::ClockInfo;
use super::name::{NAME_BYTES_MAX, Name};
use super::pcr::PcrSelection;

/// `TPM_GENERATED_VALUE`: the four bytes that a restricted key never signs in anything from outside.
pub const TPM_GENERATED: u32 = 0xff54_4347;
/// `TPM_ST_ATTEST_CERTIFY`.
pub const TPM_ST_ATTEST_CERTIFY: u16 = 0x8017;
/// `TPM_ST_ATTEST_QUOTE`.
pub const TPM_ST_ATTEST_QUOTE: u16 = 0x8018;
/// Bytes of the longest `TPMS_ATTEST` that we read, with 16 selections and SHA-512 throughout.
pub const ATTEST_BYTES_MAX: usize = 512;
/// Bytes of `TPM2B_DATA` on the largest TPM: a hash identifier and 64 bytes.
const EXTRA_DATA_BYTES_MAX: usize = 66;
/// Banks of a TPM: `HASH_COUNT` of no implementation is larger.
const SELECTIONS_MAX: u32 = 16;

/// A `TPMS_ATTEST` that parsed exactly; borrowed.
#[derive(Clone, Debug)]
pub struct Attest<'a> {
    /// The bytes it was read from: what the signature covers.
    pub bytes: &'a [u8],
    /// Should be [`TPM_GENERATED`].
    pub magic: u32,
    /// The `TPM_ST`.
    pub kind: u16,
    /// Qualified Name of the signing key, as written.
    pub qualified_signer: &'a [u8],
    /// What the caller asked to be signed along.
    pub extra_data: &'a [u8],
    /// Clock and counters.
    pub clock: ClockInfo,
    /// The vendor's firmware version; obfuscated for keys outside the endorsement hierarchy.
    pub firmware_version: u64,
    /// What is attested.
    pub body: Body<'a>,
}

/// The part that depends on the kind.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// `TPMS_QUOTE_INFO`.
    Quote(QuoteInfo<'a>),
    /// `TPMS_CERTIFY_INFO`.
    Certify(CertifyInfo<'a>),
    /// Another kind, not read.
    Other,
}

/// `TPMS_QUOTE_INFO`.
#[derive(Clone, Debug)]
pub struct QuoteInfo<'a> {
    /// The `TPML_PCR_SELECTION` as signed.
    pub selection_bytes: &'a [u8],
    /// Digest over the selected PCRs, as claimed.
    pub pcr_digest: &'a [u8],
}

impl QuoteInfo<'_> {
    /// The selection, if it is one bank of ours and not empty.
    ///
    /// # Errors
    /// [`Malformed`] as for [`PcrSelection::parse`].
    pub fn selection(&self) -> Result<PcrSelection, Malformed> {
        PcrSelection::parse(self.selection_bytes)
    }
}

/// `TPMS_CERTIFY_INFO`.
#[derive(Clone, Debug)]
pub struct CertifyInfo<'a> {
    /// Name of the certified object, as written.
    pub name: &'a [u8],
    /// Its Qualified Name, as written.
    pub qualified_name: &'a [u8],
}

impl<'a> Attest<'a> {
    /// Reads a `TPMS_ATTEST`, exactly, if its magic and kind say that it is one of ours; of others only the head.
    ///
    /// # Errors
    /// [`Malformed`] at the field that does not parse, and for trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Attest, bytes);
        if bytes.len() > ATTEST_BYTES_MAX {
            let defect = Defect::TooLarge { found: bytes.len(), limit: ATTEST_BYTES_MAX };
            return Err(reader.malformed("attest", defect));
        }
        let magic = reader.u32("magic")?;
        let kind = reader.u16("type")?;
        let qualified_signer = reader.sized16(NAME_BYTES_MAX, "qualifiedSigner")?;
        let extra_data = reader.sized16(EXTRA_DATA_BYTES_MAX, "extraData")?;
        let clock = ClockInfo::read(&mut reader)?;
        let firmware_version = reader.u64("firmwareVersion")?;
        let body = match (magic, kind) {
            (TPM_GENERATED, TPM_ST_ATTEST_QUOTE) => Body::Quote(read_quote(&mut reader)?),
            (TPM_GENERATED, TPM_ST_ATTEST_CERTIFY) => Body::Certify(CertifyInfo {
                name: reader.sized16(NAME_BYTES_MAX, "attested.name")?,
                qualified_name: reader.sized16(NAME_BYTES_MAX, "attested.qualifiedName")?,
            }),
            _ => Body::Other,
        };
        if !matches!(body, Body::Other) {
            reader.finish()?;
        }
        Ok(Self { bytes, magic, kind, qualified_signer, extra_data, clock, firmware_version, body })
    }

    /// Writes a quote as a TPM does.
    #[must_use]
    pub fn encode_quote(
        signer: &Name,
        extra_data: &[u8],
        clock: ClockInfo,
        firmware_version: u64,
        selection: &PcrSelection,
        pcr_digest: &[u8],
    ) -> Vec<u8> {
        head(TPM_ST_ATTEST_QUOTE, signer, extra_data, clock, firmware_version)
            .bytes(&selection.encode())
            .sized16(pcr_digest)
            .finish()
    }

    /// Writes a certification as a TPM does.
    #[must_use]
    pub fn encode_certify(
        signer: &Name,
        extra_data: &[u8],
        clock: ClockInfo,
        firmware_version: u64,
        name: &Name,
        qualified_name: &Name,
    ) -> Vec<u8> {
        head(TPM_ST_ATTEST_CERTIFY, signer, extra_data, clock, firmware_version)
            .sized16(&name.to_vec())
            .sized16(&qualified_name.to_vec())
            .finish()
    }
}

fn head(kind: u16, signer: &Name, extra_data: &[u8], clock: ClockInfo, firmware_version: u64) -> Writer {
    let writer = Writer::new().u32(TPM_GENERATED).u16(kind).sized16(&signer.to_vec()).sized16(extra_data);
    clock.write(writer).u64(firmware_version)
}

/// Finds where the selection ends without judging it: what it selects is a check of its own.
fn read_quote<'a>(reader: &mut Reader<'a>) -> Result<QuoteInfo<'a>, Malformed> {
    let start = reader.position();
    let count = reader.u32("pcrSelect.count")?;
    if count > SELECTIONS_MAX {
        return Err(reader.value("pcrSelect.count", count.into()));
    }
    for _ in 0..count {
        reader.u16("pcrSelect.hash")?;
        let octets = reader.count8(4, "pcrSelect.sizeofSelect")?;
        reader.take(octets, "pcrSelect.pcrSelect")?;
    }
    let selection_bytes = reader.since(start);
    Ok(QuoteInfo { selection_bytes, pcr_digest: reader.sized16(64, "pcrDigest")? })
}
