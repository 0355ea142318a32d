//! What makes the machine somebody's beside its endorsement keys: the platform certificate and the maker's keys IAK and
//! IDevID, where NV and persistent handles have them; and the maker's keys speaking for our attestation key. Judges none.

use holdfast_evidence::tpm::ownership::DeviceRole;
use serde::{Deserialize, Serialize};
use tss_esapi::handles::ObjectHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Data, HashScheme, Public, RsaScheme, SignatureScheme};
use tss_esapi::traits::UnMarshall;

use super::actor::Tpm;
use super::attestation::{Signed, data, marshalled};
use super::chip::Chip;
use super::{TpmFault, nv, templates};

/// Whether something is offered that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offer {
    /// Where it is there.
    Auto,
    /// Always: a machine without is at fault.
    On,
    /// Never.
    Off,
}

/// What is offered, and where it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ownership {
    /// The platform certificate.
    pub platform: Offer,
    /// Its NV index.
    pub platform_index: u32,
    /// The initial attestation key.
    pub iak: DevicePlace,
    /// The initial device identity.
    pub idevid: DevicePlace,
}

/// One of the maker's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicePlace {
    /// Whether.
    pub offer: Offer,
    /// NV index of its certificate; certificates above it may stand behind it.
    pub index: u32,
    /// Persistent handle of the key.
    pub handle: u32,
}

impl Default for Ownership {
    /// Where the field has them: the platform certificate by the TCG's registry of handles, the keys as swtpm places them.
    fn default() -> Self {
        let place = |index, handle| DevicePlace { offer: Offer::Auto, index, handle };
        Self {
            platform: Offer::Auto,
            platform_index: 0x01c0_8000,
            iak: place(0x01c9_0100, 0x8102_0001),
            idevid: place(0x01c9_0200, 0x8102_0000),
        }
    }
}

impl Ownership {
    fn place(&self, role: DeviceRole) -> &DevicePlace {
        match role {
            DeviceRole::Iak => &self.iak,
            DeviceRole::IdevId => &self.idevid,
        }
    }

    /// The NV indices that may hold something.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> {
        let devices = DeviceRole::ALL.map(|role| (self.place(role).offer, self.place(role).index));
        [(self.platform, self.platform_index)]
            .into_iter()
            .chain(devices)
            .filter(|(offer, _)| *offer != Offer::Off)
            .map(|(_, index)| index)
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// The platform certificate as read: padding included.
    pub platform: Option<Vec<u8>>,
    /// The maker's keys.
    pub devices: Vec<DeviceKey>,
}

/// One of the maker's keys in this TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKey {
    /// Which.
    pub role: DeviceRole,
    /// TPM2B_PUBLIC.
    pub public: Vec<u8>,
    /// Its certificate as read, and those behind it.
    pub certificates: Vec<u8>,
}

/// What the state directory remembers, bytes in hexadecimal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnershipRecord {
    /// By what it was read: another configuration reads anew.
    read_by: Ownership,
    platform: Option<String>,
    iak: Option<DeviceRecord>,
    idevid: Option<DeviceRecord>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceRecord {
    public: String,
    certificates: String,
}

impl Tpm {
    /// Platform certificate and maker's keys, as far as they are there and may be offered. From the state directory where
    /// they have been read before.
    ///
    /// # Errors
    /// [`TpmFault`] where the chip or the state directory refuses, or something is missing that must be offered.
    pub async fn ownership(&self) -> Result<Owned, TpmFault> {
        self.ask(|machine| {
            machine.with(|open, access, state| {
                let held = open.record.ownership.as_ref().filter(|record| record.read_by == access.ownership);
                let record = match held {
                    Some(record) => record.clone(),
                    None => {
                        let defined = match access.ownership.indices().min().zip(access.ownership.indices().max()) {
                            Some((first, last)) => nv::defined(&mut open.chip, first, last)?,
                            None => Vec::new(),
                        };
                        let record = read(&mut open.chip, &access.ownership, &defined)?;
                        open.record.ownership = Some(record.clone());
                        state.write(super::identity::RECORD, &open.record)?;
                        record
                    }
                };
                record.owned()
            })
        })
        .await
    }

    /// Has each of these keys certify the attestation key, in this order. Two commands for each: the key is looked up in
    /// its handle, and signs.
    ///
    /// # Errors
    /// [`TpmFault`] where the chip refuses, or the handle is empty.
    pub async fn speak(
        &self,
        roles: Vec<DeviceRole>,
        qualifying: [u8; 32],
    ) -> Result<Vec<(DeviceRole, Signed)>, TpmFault> {
        self.ask(move |machine| {
            machine.with(|open, access, state| {
                let mut statements = Vec::with_capacity(roles.len());
                for role in &roles {
                    let place = access.ownership.place(*role);
                    let public = open.record.ownership.as_ref().and_then(|record| record.device(*role));
                    let public = public.map(|device| recorded(&device.public)).transpose()?.unwrap_or_default();
                    let scheme = scheme(&public)?;
                    let Some((key, _)) = open.chip.persistent(place.handle)? else {
                        // TPM2_Clear takes it away, and leaves the certificate: next time it is not offered.
                        open.record.ownership = None;
                        state.write(super::identity::RECORD, &open.record)?;
                        return Err(absent(*role));
                    };
                    let (qualifying, ak): (Data, _) = (data(&qualifying)?, ObjectHandle::from(open.ak));
                    let password = Some(AuthSession::Password);
                    let signed = open.chip.command("Certify", |context| {
                        context.execute_with_sessions((password, password, None), |context| {
                            context.certify(ak, key, qualifying, scheme)
                        })
                    })?;
                    statements.push((*role, marshalled(signed)?));
                }
                Ok(statements)
            })
        })
        .await
    }
}

impl OwnershipRecord {
    const fn device(&self, role: DeviceRole) -> Option<&DeviceRecord> {
        match role {
            DeviceRole::Iak => self.iak.as_ref(),
            DeviceRole::IdevId => self.idevid.as_ref(),
        }
    }

    fn owned(&self) -> Result<Owned, TpmFault> {
        let mut devices = Vec::new();
        for role in DeviceRole::ALL {
            if let Some(device) = self.device(role) {
                let (public, certificates) = (recorded(&device.public)?, recorded(&device.certificates)?);
                devices.push(DeviceKey { role, public: templates::buffer(&public), certificates });
            }
        }
        Ok(Owned { platform: self.platform.as_deref().map(recorded).transpose()?, devices })
    }
}

fn recorded(hexadecimal: &str) -> Result<Vec<u8>, TpmFault> {
    hex::decode(hexadecimal)
        .map_err(|_| TpmFault::Form { what: "TPM record in the state directory", expected: "hexadecimal" })
}

/// Reads everything that may be offered and is among the `defined` indices. No command where nothing is.
pub(super) fn read(chip: &mut Chip, wanted: &Ownership, defined: &[u32]) -> Result<OwnershipRecord, TpmFault> {
    let mut record = OwnershipRecord { read_by: wanted.clone(), platform: None, iak: None, idevid: None };
    record.platform = found(chip, wanted.platform, wanted.platform_index, defined, "platform certificate")?;
    for role in DeviceRole::ALL {
        let place = wanted.place(role);
        let what = match role {
            DeviceRole::Iak => "IAK certificate",
            DeviceRole::IdevId => "IDevID certificate",
        };
        let Some(certificates) = found(chip, place.offer, place.index, defined, what)? else { continue };
        let device = match chip.persistent(place.handle)? {
            Some((key, _)) => {
                let public = hex::encode(templates::tpmt(&chip.read_public(key)?)?);
                Some(DeviceRecord { public, certificates })
            }
            None if place.offer == Offer::On => return Err(absent(role)),
            None => {
                tracing::warn!(handle = place.handle, index = place.index, "certificate without its key passed over");
                None
            }
        };
        match role {
            DeviceRole::Iak => record.iak = device,
            DeviceRole::IdevId => record.idevid = device,
        }
    }
    Ok(record)
}

/// What an index holds, hexadecimal.
fn found(
    chip: &mut Chip,
    offer: Offer,
    index: u32,
    defined: &[u32],
    what: &'static str,
) -> Result<Option<String>, TpmFault> {
    match (offer, defined.contains(&index)) {
        (Offer::Off, _) | (Offer::Auto, false) => Ok(None),
        (Offer::On, false) => {
            Err(TpmFault::Form { what, expected: "to be at its NV index: tpm.… = \"on\" wants it" })
        }
        (Offer::Auto | Offer::On, true) => nv::read(chip, index).map(|bytes| Some(hex::encode(bytes))),
    }
}

const fn absent(role: DeviceRole) -> TpmFault {
    let what = match role {
        DeviceRole::Iak => "persistent handle of the IAK",
        DeviceRole::IdevId => "persistent handle of the IDevID",
    };
    TpmFault::Form { what, expected: "to hold the key" }
}

/// The scheme to sign with: the key's own, or one that a key without can have.
fn scheme(public: &[u8]) -> Result<SignatureScheme, TpmFault> {
    let form = |_| TpmFault::Form { what: "device key's public area", expected: "an RSA or ECC signing key" };
    let hash = HashScheme::new(HashingAlgorithm::Sha256);
    Ok(match Public::unmarshall(public).map_err(form)? {
        Public::Rsa { parameters, .. } if parameters.rsa_scheme() == RsaScheme::Null => {
            SignatureScheme::RsaSsa { hash_scheme: hash }
        }
        Public::Ecc { parameters, .. }
            if parameters.ecc_scheme().algorithm()
                == tss_esapi::interface_types::algorithm::EccSchemeAlgorithm::Null =>
        {
            SignatureScheme::EcDsa { hash_scheme: hash }
        }
        _ => SignatureScheme::Null,
    })
}
