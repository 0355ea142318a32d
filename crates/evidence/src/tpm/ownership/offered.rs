//! What agents offer: certificates and public areas, and their wire form. All claims.

use crate::error::Malformed;
use crate::reader::{Reader, Writer};
use crate::tpm::endorsement::CERTIFICATE_BYTES_MAX;
use crate::tpm::material::CHAIN_MAX;
use crate::tpm::public::PUBLIC_BYTES_MAX;

/// Device keys of one machine: an IAK and an IDevID.
pub const DEVICE_KEYS_MAX: usize = 2;

/// Which of the maker's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceRole {
    /// Initial attestation key: restricted.
    Iak,
    /// Initial device identity (IEEE 802.1AR): not restricted.
    IdevId,
}

impl DeviceRole {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Iak, Self::IdevId];

    /// As facts and marks name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iak => "iak",
            Self::IdevId => "idevid",
        }
    }

    pub(in crate::tpm) const fn id(self) -> u8 {
        match self {
            Self::Iak => 1,
            Self::IdevId => 2,
        }
    }

    pub(in crate::tpm) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8("deviceKey.role")? {
            1 => Ok(Self::Iak),
            2 => Ok(Self::IdevId),
            other => Err(reader.value("deviceKey.role", other.into())),
        }
    }
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// The platform certificate.
    Platform,
    /// A device key and its certificate.
    Device(DeviceRole),
}

impl From<DeviceRole> for Factor {
    fn from(role: DeviceRole) -> Self {
        Self::Device(role)
    }
}

impl std::fmt::Display for Factor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Platform => "platform certificate",
            Self::Device(DeviceRole::Iak) => "IAK certificate",
            Self::Device(DeviceRole::IdevId) => "IDevID certificate",
        })
    }
}

/// Everything of this kind that a machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferedOwnership {
    /// The platform certificate as read from NV.
    pub platform: Option<Vec<u8>>,
    /// The maker's keys, each role once.
    pub device_keys: Vec<OfferedDeviceKey>,
}

/// One of the maker's keys, as found in the TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedDeviceKey {
    /// Which.
    pub role: DeviceRole,
    /// `TPM2B_PUBLIC` of the key.
    pub public: Vec<u8>,
    /// Its certificate as read from NV: DER, perhaps padded.
    pub certificate: Vec<u8>,
    /// Certificates above it, DER, one or several in a row.
    pub chain: Vec<Vec<u8>>,
}

impl OfferedOwnership {
    /// Whether there is none, as on most machines.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.platform.is_none() && self.device_keys.is_empty()
    }

    pub(in crate::tpm) fn write(&self, writer: Writer) -> Writer {
        let writer = match &self.platform {
            None => writer.u8(0),
            Some(certificate) => writer.u8(1).sized16(certificate),
        };
        writer.list8(&self.device_keys, |writer, key| {
            writer
                .u8(key.role.id())
                .sized16(&key.public)
                .sized16(&key.certificate)
                .list8(&key.chain, |writer, certificate| writer.sized16(certificate))
        })
    }

    pub(in crate::tpm) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let platform = match reader.u8("platform")? {
            0 => None,
            1 => Some(reader.sized16(CERTIFICATE_BYTES_MAX, "platform")?.to_vec()),
            other => return Err(reader.value("platform", other.into())),
        };
        let count = reader.count8(DEVICE_KEYS_MAX, "deviceKeys")?;
        let mut device_keys = Vec::with_capacity(count);
        for _ in 0..count {
            let role = DeviceRole::read(reader)?;
            let public = reader.sized16(PUBLIC_BYTES_MAX + 2, "deviceKey.public")?.to_vec();
            let certificate = reader.sized16(CERTIFICATE_BYTES_MAX, "deviceKey.certificate")?.to_vec();
            let certificates = reader.count8(CHAIN_MAX, "deviceKey.chain")?;
            let chain = (0..certificates)
                .map(|_| reader.sized16(CERTIFICATE_BYTES_MAX, "deviceKey.chain").map(<[u8]>::to_vec))
                .collect::<Result<_, _>>()?;
            device_keys.push(OfferedDeviceKey { role, public, certificate, chain });
        }
        Ok(Self { platform, device_keys })
    }
}
