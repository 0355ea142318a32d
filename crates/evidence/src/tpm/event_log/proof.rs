//! What a digest proves about the event's data.
//!
//! The quote binds digests. Data is bound only where the digest is the hash of it, and firmware, shim and GRUB have
//! four habits for that. Everything else is [`Proof::Opaque`]: the digest may be compared with reference values, the
//! data is a hint. The event *type* is never bound; callers must be sound under any relabelling.

use super::variable::Variable;
use super::{Event, EventType};
use crate::tpm::Bank;

/// Bytes of GRUB's labels ("kernel_cmdline: ").
const PREFIX_BYTES_MAX: usize = 32;

/// The part of an event's data that its digest is the hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// All of the data.
    Data(&'a [u8]),
    /// The data without its last byte: shim before 15.3 measured authorities so.
    DataLessLastByte(&'a [u8]),
    /// Only `VariableData` of a `UEFI_VARIABLE_DATA`: the name and owner are unbound.
    VariableData(&'a [u8]),
    /// The text behind `label: `, with or without its terminator: GRUB. The label itself is unbound.
    AfterPrefix {
        /// The label, unbound.
        label: &'a [u8],
        /// The text, bound.
        text: &'a [u8],
    },
    /// Nothing: the digest is of something that is not in the log (a PE image, a file, a table).
    Opaque,
}

impl<'a> Proof<'a> {
    /// Tries the forms that are known for the event's (claimed) type, at most three hashes.
    #[must_use]
    pub fn of(event: &Event<'a>, bank: Bank) -> Self {
        let (Some(digest), data) = (event.digest(bank), event.data) else {
            return Self::Opaque;
        };
        let is_hash_of = |bytes: &[u8]| bank.digest(&[bytes]).as_bytes() == digest;
        match event.kind {
            EventType::VARIABLE_AUTHORITY => {
                if is_hash_of(data) {
                    return Self::Data(data);
                }
                match data.split_last() {
                    Some((_, shorter)) if is_hash_of(shorter) => Self::DataLessLastByte(shorter),
                    _ => Self::Opaque,
                }
            }
            EventType::VARIABLE_BOOT | EventType::VARIABLE_BOOT2 => match Variable::parse(data) {
                Some(variable) if is_hash_of(variable.data) => Self::VariableData(variable.data),
                _ if is_hash_of(data) => Self::Data(data),
                _ => Self::Opaque,
            },
            EventType::IPL => match split_label(data) {
                Some((label, text)) if is_hash_of(text) => Self::AfterPrefix { label, text },
                // GRUB of RHEL 8 measures the terminator as well
                Some((label, text)) if data.last() == Some(&0) && bank.digest(&[text, b"\0"]).as_bytes() == digest => {
                    Self::AfterPrefix { label, text }
                }
                _ if is_hash_of(data) => Self::Data(data),
                _ => Self::Opaque,
            },
            // never the hash of their data in any log seen: not worth a hash
            EventType::BOOT_SERVICES_APPLICATION
            | EventType::BOOT_SERVICES_DRIVER
            | EventType::RUNTIME_SERVICES_DRIVER
            | EventType::PLATFORM_FIRMWARE_BLOB
            | EventType::PLATFORM_FIRMWARE_BLOB2
            | EventType::HANDOFF_TABLES
            | EventType::HANDOFF_TABLES2
            | EventType::POST_CODE
            | EventType::POST_CODE2
            | EventType::S_CRTM_CONTENTS
            | EventType::NO_ACTION => Self::Opaque,
            _ if is_hash_of(data) => Self::Data(data),
            _ => Self::Opaque,
        }
    }

    /// Whether the log may only be believed if such an event is proven: no firmware seen measures anything but the
    /// data for these types, so that another digest is a lie and not a habit.
    #[must_use]
    pub const fn is_mandatory_for(kind: EventType) -> bool {
        matches!(
            kind,
            EventType::SEPARATOR
                | EventType::VARIABLE_DRIVER_CONFIG
                | EventType::VARIABLE_AUTHORITY
                | EventType::VARIABLE_BOOT
                | EventType::VARIABLE_BOOT2
                | EventType::GPT_EVENT
                | EventType::EFI_ACTION
        )
    }
}

/// `label: text\0`, or `grub_label text\0` as the GRUB of RHEL 8 has it → (`label`, `text`).
fn split_label(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_label = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_';
    let end = data.iter().take(PREFIX_BYTES_MAX).position(|byte| !is_label(byte))?;
    let (label, rest) = data.split_at_checked(end)?;
    let text = match rest.strip_prefix(b": ") {
        Some(text) if !label.is_empty() => text,
        _ if label.starts_with(b"grub_") => rest.strip_prefix(b" ")?,
        _ => return None,
    };
    Some((label, text.strip_suffix(b"\0").unwrap_or(text)))
}
