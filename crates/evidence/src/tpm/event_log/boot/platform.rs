//! What the firmware says about itself and its settings (PCR 0, 1, 4, 5), and shim's lists (PCR 14).

use super::{Measurement, Stage};
use crate::crypto::Digest;
use crate::tpm::event_log::variable::{Variable, utf16le};
use crate::tpm::event_log::{Event, EventType, Guid, Proof, UnprovenBoot};

/// A version string of the firmware, proven by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareVersion {
    /// Number of the event.
    pub event: u32,
    /// The text: UTF-16 or ASCII as it stands, a 16-byte value as a GUID, anything else in hex.
    pub text: String,
}

impl FirmwareVersion {
    /// `None` unless the event claims to be a version, its data is bound, and only firmware can have measured it.
    pub(super) fn from_event(event: &Event<'_>, measurement: &Measurement, proof: Proof<'_>) -> Option<Self> {
        let (EventType::S_CRTM_VERSION, Proof::Data(data)) = (event.kind, proof) else { return None };
        (measurement.stage == Stage::Firmware).then(|| Self { event: event.index, text: version_text(data) })
    }
}

fn version_text(data: &[u8]) -> String {
    let printable = |text: &str| text.chars().all(|c| !c.is_control());
    if let Some(text) = utf16le(data).filter(|text| data.ends_with(&[0, 0]) && printable(text)) {
        return text;
    }
    if let Ok(text) = std::str::from_utf8(data.strip_suffix(b"\0").unwrap_or(data))
        && printable(text)
    {
        return text.to_owned();
    }
    match data.first_chunk::<16>() {
        Some(guid) if data.len() == 16 => Guid(*guid).to_string(),
        _ => data.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// A text by which the firmware logs its progress, proven by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Number of the event.
    pub event: u32,
    /// The register.
    pub pcr: u8,
    /// The text.
    pub text: String,
}

impl Action {
    /// `None` unless the event claims to be an action and its data is bound, printable ASCII.
    pub(super) fn from_event(event: &Event<'_>, proof: Proof<'_>) -> Option<Self> {
        let (EventType::EFI_ACTION | EventType::ACTION | EventType::OMIT_BOOT_DEVICE_EVENTS, Proof::Data(data)) =
            (event.kind, proof)
        else {
            return None;
        };
        let text = std::str::from_utf8(data.strip_suffix(b"\0").unwrap_or(data)).ok()?;
        let is_text = !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        is_text.then(|| Self { event: event.index, pcr: event.pcr_index(), text: text.to_owned() })
    }
}

/// The name of a variable, and whether the digest covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableName {
    /// The digest covers owner and name.
    Bound(Guid, String),
    /// Only the contents are covered; owner and name are a hint.
    Hint(Guid, String),
}

/// A variable measured into PCR 1: `BootOrder`, `Boot0000`, a vendor's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootVariable {
    /// Number of the event.
    pub event: u32,
    /// Owner and name.
    pub name: VariableName,
    /// The contents, bound.
    pub contents: Vec<u8>,
}

impl BootVariable {
    pub(super) fn from_event(event: &Event<'_>, proof: Proof<'_>) -> Result<Option<Self>, UnprovenBoot> {
        if !matches!(
            event.kind,
            EventType::VARIABLE_BOOT | EventType::VARIABLE_BOOT2 | EventType::VARIABLE_DRIVER_CONFIG
        ) {
            return Ok(None);
        }
        let bad = |what| UnprovenBoot::BadData { event: event.index, pcr: 1, kind: event.kind.name(), what };
        let variable = Variable::parse(event.data).ok_or(bad("lengths do not fit"))?;
        let name = variable.name().ok_or(bad("name is no UTF-16"))?;
        let name = match proof {
            Proof::Data(_) => VariableName::Bound(variable.owner, name),
            _ => VariableName::Hint(variable.owner, name),
        };
        Ok(Some(Self { event: event.index, name, contents: variable.data.to_vec() }))
    }
}

/// Contents of one of shim's variables, measured into PCR 14. The digest is that of the contents, which the log does
/// not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MokVariable {
    /// Number of the event.
    pub event: u32,
    /// Digest of the contents in the bank of the facts.
    pub digest: Digest,
    /// The variable's name, as the event *claims* it.
    pub name_hint: Option<String>,
}

impl MokVariable {
    pub(super) fn from_event(event: &Event<'_>, measurement: &Measurement) -> Self {
        let name = event.data.strip_suffix(b"\0").unwrap_or(event.data);
        let is_name = !name.is_empty() && name.len() <= 64 && name.iter().all(u8::is_ascii_alphanumeric);
        let name_hint = is_name.then(|| String::from_utf8_lossy(name).into_owned());
        Self { event: event.index, digest: measurement.digest, name_hint }
    }
}
