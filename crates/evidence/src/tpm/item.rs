//! `TpmItem`: the evidence that an agent sends, and its wire form. Parsed, it is still all claims.

use crate::error::{Defect, Malformed, Structure};
use crate::reader::{Reader, Writer};

use super::attest::ATTEST_BYTES_MAX;
use super::ek::EKS_MAX;
use super::event_log::EVENT_LOG_BYTES_MAX;
use super::ownership::{DEVICE_KEYS_MAX, DeviceRole};
use super::pcr::{PCR_COUNT, PcrIndex};
use super::public::PUBLIC_BYTES_MAX;
use super::signature::SIGNATURE_BYTES_MAX;

const VERSION: u8 = 1;
/// With statements of device keys; written only where there are any.
const VERSION_WITH_RESIDENCY: u8 = 2;
/// Bytes of a credential's secret: at most a digest.
const SECRET_BYTES_MAX: usize = 64;

/// The evidence item of kind `tpm`, borrowed. Agents build one and [`encode`](Self::encode) it; servers
/// [`parse`](Self::parse).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmItem<'a> {
    /// The activated secrets, in the order of the ask's credentials.
    pub secrets: Vec<&'a [u8]>,
    /// The quote over the selection asked, extraData = the binding.
    pub quote: Signed<'a>,
    /// The node key's certification, where asked; extraData = the binding.
    pub certify: Option<CertifiedKey<'a>>,
    /// The firmware log, as read *before* the quote.
    pub firmware_log: FirmwareLog<'a>,
    /// Values of PCRs, for those that no log covers, or of all when the server asked for them. Ascending.
    pub pcr_claims: Vec<(PcrIndex, &'a [u8])>,
    /// What device keys certified, where asked: the attestation key; extraData = the binding.
    pub residency: Vec<(DeviceRole, Signed<'a>)>,
}

/// An attestation structure and the signature over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// `TPMS_ATTEST`.
    pub attest: &'a [u8],
    /// `TPMT_SIGNATURE`.
    pub signature: &'a [u8],
}

/// A node key and the attestation key's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedKey<'a> {
    /// `TPM2B_PUBLIC` of the node key.
    pub public: &'a [u8],
    /// What `TPM2_Certify` returned.
    pub certify: Signed<'a>,
}

/// The firmware's event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareLog<'a> {
    /// Its bytes, `binary_bios_measurements`.
    Bytes(&'a [u8]),
    /// SHA-256 of the log that the server said it knows; the agent read the same.
    Known([u8; 32]),
    /// The machine offers none.
    Absent,
}

impl<'a> TpmItem<'a> {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let version = if self.residency.is_empty() { VERSION } else { VERSION_WITH_RESIDENCY };
        let writer = Writer::new().u8(version).list8(&self.secrets, |writer, secret| writer.sized16(secret));
        let writer = self.quote.write(writer);
        let writer = match &self.certify {
            None => writer.u8(0),
            Some(key) => key.certify.write(writer.u8(1).sized16(key.public)),
        };
        let writer = match self.firmware_log {
            FirmwareLog::Absent => writer.u8(0),
            FirmwareLog::Known(digest) => writer.u8(1).bytes(&digest),
            FirmwareLog::Bytes(log) => writer.u8(2).sized32(log),
        };
        let writer = writer.list8(&self.pcr_claims, |writer, (index, value)| writer.u8(index.get()).sized16(value));
        if self.residency.is_empty() {
            return writer.finish();
        }
        writer.list8(&self.residency, |writer, (role, signed)| signed.write(writer.u8(role.id()))).finish()
    }

    /// Reads an item, exactly. Allocates for at most 4 secrets and 24 claims.
    ///
    /// # Errors
    /// [`Malformed`] at the first field that does not parse, for claims out of order or twice, and for trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Item, bytes);
        let (version, secrets) = read_secrets(&mut reader)?;
        let quote = Signed::read(&mut reader)?;
        let certify = match reader.u8("certify")? {
            0 => None,
            1 => {
                let public = reader.sized16(PUBLIC_BYTES_MAX + 2, "nodeKey")?;
                Some(CertifiedKey { public, certify: Signed::read(&mut reader)? })
            }
            other => return Err(reader.value("certify", other.into())),
        };
        let firmware_log = match reader.u8("firmwareLog")? {
            0 => FirmwareLog::Absent,
            1 => FirmwareLog::Known(reader.array("firmwareLog")?),
            2 => FirmwareLog::Bytes(reader.sized32(EVENT_LOG_BYTES_MAX, "firmwareLog")?),
            other => return Err(reader.value("firmwareLog", other.into())),
        };
        let pcr_claims = read_claims(&mut reader)?;
        let mut residency = Vec::new();
        if version == VERSION_WITH_RESIDENCY {
            for _ in 0..reader.count8(DEVICE_KEYS_MAX, "residency")? {
                residency.push((DeviceRole::read(&mut reader)?, Signed::read(&mut reader)?));
            }
        }
        reader.finish()?;
        Ok(Self { secrets, quote, certify, firmware_log, pcr_claims, residency })
    }
}

impl TpmItem<'_> {
    /// Bytes of an item's start in which the secrets always are.
    pub const START_BYTES: usize = 2 + EKS_MAX * (2 + SECRET_BYTES_MAX);

    /// Reads the secrets alone, from the start of an item whose rest has not arrived yet.
    ///
    /// # Errors
    /// [`Malformed`] at the first field that does not parse.
    pub fn secrets_at_start(start: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
        read_secrets(&mut Reader::new(Structure::Item, start)).map(|(_, secrets)| secrets)
    }
}

/// The item's version, and the secrets.
fn read_secrets<'a>(reader: &mut Reader<'a>) -> Result<(u8, Vec<&'a [u8]>), Malformed> {
    let version = reader.u8("version")?;
    if !matches!(version, VERSION | VERSION_WITH_RESIDENCY) {
        return Err(reader.value("version", version.into()));
    }
    let count = reader.count8(EKS_MAX, "secrets")?;
    let secrets = (0..count).map(|_| reader.sized16(SECRET_BYTES_MAX, "secret")).collect::<Result<_, _>>()?;
    Ok((version, secrets))
}

pub(crate) fn read_claims<'a>(reader: &mut Reader<'a>) -> Result<Vec<(PcrIndex, &'a [u8])>, Malformed> {
    let count = reader.count8(PCR_COUNT, "pcrClaims")?;
    let mut claims: Vec<(PcrIndex, &[u8])> = Vec::with_capacity(count);
    for _ in 0..count {
        let number = reader.u8("pcrClaim.index")?;
        let index = PcrIndex::new(number.into()).ok_or(reader.value("pcrClaim.index", number.into()))?;
        if claims.last().is_some_and(|(last, _)| *last >= index) {
            return Err(reader.malformed("pcrClaim.index", Defect::Duplicate));
        }
        claims.push((index, reader.sized16(64, "pcrClaim.value")?));
    }
    Ok(claims)
}

impl<'a> Signed<'a> {
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        writer.sized16(self.attest).sized16(self.signature)
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            attest: reader.sized16(ATTEST_BYTES_MAX, "attest")?,
            signature: reader.sized16(SIGNATURE_BYTES_MAX, "signature")?,
        })
    }
}
