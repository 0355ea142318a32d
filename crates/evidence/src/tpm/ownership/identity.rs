//! What is kept of a platform certificate and of device keys that hold: as facts, the record and sealed challenges carry
//! them.

use super::offered::{DEVICE_KEYS_MAX, DeviceRole, Factor};
use crate::TrustClass;
use crate::error::{Defect, Malformed};
use crate::reader::{Reader, Writer};
use crate::x509::RootIdentity;

/// Bytes of one text that are kept.
const TEXT_BYTES_MAX: usize = 128;
const FACTORS: [Factor; 3] = [Factor::Platform, Factor::Device(DeviceRole::Iak), Factor::Device(DeviceRole::IdevId)];

/// What was proven beside the endorsement keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The platform, as its maker names it.
    pub platform: Option<PlatformIdentity>,
    /// The maker's keys in this TPM, each role once.
    pub devices: Vec<DeviceIdentity>,
    /// What was offered and no imported root speaks for.
    pub left_aside: Vec<Factor>,
}

/// A platform certificate whose path holds, and whose holder is a TPM that was activated. Texts are its maker's, and are
/// to be escaped like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformIdentity {
    /// SHA-256 of the certificate's DER, without padding.
    pub certificate_sha256: [u8; 32],
    /// `platformManufacturerStr`; empty if it says none.
    pub manufacturer: String,
    /// `platformModel`.
    pub model: String,
    /// `platformVersion`.
    pub version: String,
    /// `platformSerial`; empty if it says none, or one that stands for none.
    pub serial: String,
    /// The root above it.
    pub root: RootIdentity,
}

/// A device key that spoke, and whose certificate holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// Which.
    pub role: DeviceRole,
    /// SHA-256 of its DER `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
    /// SHA-256 of the certificate's DER.
    pub certificate_sha256: [u8; 32],
    /// `serialNumber` of the subject: the device's, as IEEE 802.1AR has it; empty if it says none.
    pub serial: String,
    /// The root above it.
    pub root: RootIdentity,
}

impl Ownership {
    /// Whether nothing was proven or left aside.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.platform.is_none() && self.devices.is_empty() && self.left_aside.is_empty()
    }

    /// The device key with this role.
    #[must_use]
    pub fn device(&self, role: DeviceRole) -> Option<&DeviceIdentity> {
        self.devices.iter().find(|device| device.role == role)
    }

    /// The roots that vouch for it.
    pub fn roots(&self) -> impl Iterator<Item = (Factor, &RootIdentity)> {
        let platform = self.platform.iter().map(|platform| (Factor::Platform, &platform.root));
        platform.chain(self.devices.iter().map(|device| (Factor::Device(device.role), &device.root)))
    }

    /// The same without what rests on a root that `trusts` says no to.
    #[must_use]
    pub fn trusted_by(mut self, trusts: impl Fn(Factor, &[u8; 32]) -> bool) -> Self {
        self.platform = self.platform.filter(|platform| trusts(Factor::Platform, &platform.root.sha256));
        self.devices.retain(|device| trusts(device.role.into(), &device.root.sha256));
        self
    }

    pub(in crate::tpm) fn write(&self, writer: Writer) -> Writer {
        let writer = match &self.platform {
            None => writer.u8(0),
            Some(platform) => {
                let writer = writer.u8(1).bytes(&platform.certificate_sha256);
                let texts = [&platform.manufacturer, &platform.model, &platform.version, &platform.serial];
                write_root(texts.iter().fold(writer, |writer, text| writer.sized16(cut(text))), &platform.root)
            }
        };
        let left_aside: Vec<u8> = self.left_aside.iter().map(|factor| factor_id(*factor)).collect();
        writer
            .list8(&self.devices, |writer, device| {
                let writer = writer.u8(device.role.id()).bytes(&device.spki_sha256).bytes(&device.certificate_sha256);
                write_root(writer.sized16(cut(&device.serial)), &device.root)
            })
            .list8(&left_aside, |writer, factor| writer.u8(*factor))
    }

    pub(in crate::tpm) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let platform = match reader.u8("platform")? {
            0 => None,
            1 => Some(PlatformIdentity {
                certificate_sha256: reader.array("platform.certificate")?,
                manufacturer: text(reader, "platform.manufacturer")?,
                model: text(reader, "platform.model")?,
                version: text(reader, "platform.version")?,
                serial: text(reader, "platform.serial")?,
                root: read_root(reader)?,
            }),
            other => return Err(reader.value("platform", other.into())),
        };
        let count = reader.count8(DEVICE_KEYS_MAX, "devices")?;
        let mut devices = Vec::with_capacity(count);
        for _ in 0..count {
            devices.push(DeviceIdentity {
                role: DeviceRole::read(reader)?,
                spki_sha256: reader.array("device.spki")?,
                certificate_sha256: reader.array("device.certificate")?,
                serial: text(reader, "device.serial")?,
                root: read_root(reader)?,
            });
        }
        let count = reader.count8(FACTORS.len(), "leftAside")?;
        let mut left_aside = Vec::with_capacity(count);
        for _ in 0..count {
            let id = reader.u8("leftAside")?;
            left_aside.push(*FACTORS.get(usize::from(id)).ok_or(reader.value("leftAside", id.into()))?);
        }
        Ok(Self { platform, devices, left_aside })
    }
}

const fn factor_id(factor: Factor) -> u8 {
    match factor {
        Factor::Platform => 0,
        Factor::Device(role) => role.id(),
    }
}

fn write_root(writer: Writer, root: &RootIdentity) -> Writer {
    let class = TrustClass::ALL.iter().position(|class| *class == root.class).unwrap_or(TrustClass::ALL.len());
    writer.sized16(cut(&root.name)).bytes(&root.sha256).u8(u8::try_from(class).unwrap_or(u8::MAX))
}

fn read_root(reader: &mut Reader<'_>) -> Result<RootIdentity, Malformed> {
    Ok(RootIdentity {
        name: text(reader, "root.name")?,
        sha256: reader.array("root.sha256")?,
        class: {
            let class = reader.u8("root.class")?;
            *TrustClass::ALL.get(usize::from(class)).ok_or(reader.value("root.class", class.into()))?
        },
    })
}

/// At most [`TEXT_BYTES_MAX`] bytes of it, whole characters.
pub(super) fn cut(text: &str) -> &[u8] {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().as_bytes()
}

fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, Malformed> {
    let bytes = reader.sized16(TEXT_BYTES_MAX, field)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| reader.malformed(field, Defect::Encoding))
}
