//! PCR 9: files that GRUB reads, and what the kernel's EFI stub loads.

use super::{CommandLine, CommandLineSource, Measurement};
use crate::crypto::Digest;
use crate::tpm::Bank;
use crate::tpm::event_log::{Event, EventType};

/// Tag of the kernel's `LOADED_IMAGE::LoadOptions` event.
const LOAD_OPTIONS_TAG: [u8; 4] = 0x8f3b_22ed_u32.to_le_bytes();
/// Tag of the kernel's `Linux initrd` event.
const INITRD_TAG: [u8; 4] = 0x8f3b_22ec_u32.to_le_bytes();

/// What an event of PCR 9 claims to be about. A stranger's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileLabel {
    /// The kernel's load options (its command line).
    LoadOptions,
    /// An initial RAM disk.
    Initrd,
    /// A file that GRUB read, by its path there.
    Path(String),
    /// Anything else.
    Other,
}

impl FileLabel {
    /// The label of an event, by its claimed type and data.
    pub(crate) fn of(event: &Event<'_>) -> Self {
        match (event.kind, event.data.first_chunk::<4>()) {
            (EventType::EVENT_TAG, Some(&LOAD_OPTIONS_TAG)) => Self::LoadOptions,
            (EventType::EVENT_TAG, Some(&INITRD_TAG)) => Self::Initrd,
            (EventType::IPL, _) => path(event.data).map_or(Self::Other, Self::Path),
            _ => Self::Other,
        }
    }
}

/// One event of PCR 9, whatever type it claims: the digest of a file's or an option's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredFile {
    /// Number of the event.
    pub event: u32,
    /// Digest of the contents, in the bank of the facts.
    pub digest: Digest,
    /// What it claims to be.
    pub label: FileLabel,
}

impl MeasuredFile {
    pub(super) fn from_event(event: &Event<'_>, measurement: &Measurement) -> Self {
        Self { event: event.index, digest: measurement.digest, label: FileLabel::of(event) }
    }

    pub(super) fn as_command_line(&self, bank: Bank) -> Option<CommandLine<'static>> {
        (self.label == FileLabel::LoadOptions).then_some(CommandLine {
            event: self.event,
            source: CommandLineSource::LoadOptions,
            digest: self.digest,
            text: None,
            bank,
        })
    }
}

fn path(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data.strip_suffix(b"\0").unwrap_or(data)).ok()?;
    let is_path = text.starts_with(['/', '(']) && !text.chars().any(char::is_control);
    is_path.then(|| text.to_owned())
}

/// The digest under which the kernel's EFI stub measures the command line `options`: over UTF-16LE with its
/// terminator.
#[must_use]
pub fn load_options_digest(bank: Bank, options: &str) -> Digest {
    let bytes: Vec<u8> = options.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    bank.digest(&[&bytes])
}
