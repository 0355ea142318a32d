//! `Ask`: what a server wants from a TPM. Read by agents, from a server that they have authenticated.

use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};

use super::credential::{Credential, ENCRYPTED_SECRET_BYTES_MAX, ID_OBJECT_BYTES_MAX};
use super::ek::EKS_MAX;
use super::ownership::{DEVICE_KEYS_MAX, DeviceRole};
use super::pcr::PcrSelection;

const VERSION: u8 = 1;
/// With device keys that shall speak; written only where there are any, so that former agents read all they are sent.
const VERSION_WITH_RESIDENCY: u8 = 2;

/// What the server asks of a TPM, beside a signature over the binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// One per endorsement key offered, in the same order: each is to be activated. Empty for a known attestation key.
    pub credentials: Vec<Credential>,
    /// SHA-256 of the endorsement keys' certificates, in the order in which the binding takes them.
    pub ek_certificates: Vec<[u8; 32]>,
    /// Bank and PCRs that the quote must cover, exactly.
    pub selection: PcrSelection,
    /// SHA-256 of a firmware log that the server has: if the log read now has this digest, the digest will do.
    pub known_firmware_log: Option<[u8; 32]>,
    /// Whether the node key must be certified. False if it is the key on record.
    pub certify: bool,
    /// The device keys that must certify the attestation key, over the binding. Empty for most machines.
    pub residency: Vec<DeviceRole>,
}

impl Ask {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::new()
            .u8(if self.residency.is_empty() { VERSION } else { VERSION_WITH_RESIDENCY })
            .list8(&self.credentials, |writer, credential| {
                writer.sized16(&credential.id_object).sized16(&credential.encrypted_secret)
            })
            .list8(&self.ek_certificates, |writer, digest| writer.bytes(digest))
            .bytes(&self.selection.encode())
            .u8(self.certify.into());
        let writer = match &self.known_firmware_log {
            None => writer.u8(0),
            Some(digest) => writer.u8(1).bytes(digest),
        };
        if self.residency.is_empty() {
            return writer.finish();
        }
        writer.list8(&self.residency, |writer, role| writer.u8(role.id())).finish()
    }

    /// Reads what a server sent.
    ///
    /// # Errors
    /// [`Malformed`] at the first field that does not parse, and for trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Ask, bytes);
        let version = reader.u8("version")?;
        if !matches!(version, VERSION | VERSION_WITH_RESIDENCY) {
            return Err(reader.value("version", version.into()));
        }
        let count = reader.count8(EKS_MAX, "credentials")?;
        let mut credentials = Vec::with_capacity(count);
        for _ in 0..count {
            credentials.push(Credential {
                id_object: reader.sized16(ID_OBJECT_BYTES_MAX, "idObject")?.to_vec(),
                encrypted_secret: reader.sized16(ENCRYPTED_SECRET_BYTES_MAX, "encryptedSecret")?.to_vec(),
            });
        }
        let count = reader.count8(EKS_MAX, "ekCertificates")?;
        let ek_certificates = (0..count).map(|_| reader.array("ekCertificate")).collect::<Result<_, _>>()?;
        let selection = PcrSelection::read(&mut reader)?;
        let certify = flag(&mut reader, "certify")?;
        let known_firmware_log =
            flag(&mut reader, "knownFirmwareLog")?.then(|| reader.array("knownFirmwareLog")).transpose()?;
        let mut residency = Vec::new();
        if version == VERSION_WITH_RESIDENCY {
            for _ in 0..reader.count8(DEVICE_KEYS_MAX, "residency")? {
                residency.push(DeviceRole::read(&mut reader)?);
            }
        }
        reader.finish()?;
        Ok(Self { credentials, ek_certificates, selection, known_firmware_log, certify, residency })
    }
}

fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, Malformed> {
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(reader.value(field, other.into())),
    }
}
