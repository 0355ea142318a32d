//! What a TD's event log proves, once it leads to the quoted RTMRs.
//!
//! As with a TPM's log, digests are bound and nothing else: types and labels are a stranger's words, and whoever has root
//! in the TD may extend every register further and tell the log anew. So each list holds **everything that could be**
//! what it is named after, and a rule about a list is sound only if *every* entry is allowed. Judges nothing.

use super::ccel::{self, BANK, Extended};
use super::error::Unverified;
use super::report::Measurement;
use crate::crypto::Digest;
use crate::tpm::event_log::boot::{FileLabel, starts_with_file};
use crate::tpm::event_log::variable::utf16le;
use crate::tpm::event_log::{Event, EventLog, EventType, Guid, Proof, image_path};
use crate::tpm::secure_boot::{Grammar, SecureBoot};

/// Everything that a TD's event log proves about one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdBoot {
    /// Every event that extended an RTMR, in the order of the log.
    pub events: Vec<TdEvent>,
    /// Secure Boot's state and keys, from RTMR0 before its separator: only firmware measures there. `None` where the
    /// firmware does not measure them in the usual order, or the log does not show them.
    pub secure_boot: Option<SecureBoot>,
    /// RTMR1: everything that was started, by Authenticode digest: every event but separators, proven texts of the
    /// firmware about its progress, and partition tables.
    pub applications: Vec<TdEvent>,
    /// RTMR2: texts that boot loaders measured, bound by their digests.
    pub texts: Vec<TdText>,
    /// RTMR2: everything that may be a kernel command line.
    pub command_lines: Vec<TdText>,
    /// RTMR2: everything else that has no bound text: initial RAM disk, files.
    pub loaded_files: Vec<TdEvent>,
}

/// One event that extended an RTMR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdEvent {
    /// Number of the event in the log.
    pub event: u32,
    /// 0 to 3.
    pub register: u8,
    /// The event type, as *claimed*.
    pub kind: EventType,
    /// SHA-384: the only thing that is bound.
    pub digest: Digest,
    /// What the event says of itself; proven by nothing.
    pub hint: Option<String>,
}

/// A text of RTMR2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdText {
    /// Number of the event in the log.
    pub event: u32,
    /// SHA-384.
    pub digest: Digest,
    /// The text where it is bound; `None` for load options, of which the log holds the digest alone (over UTF-16).
    pub text: Option<String>,
}

impl TdBoot {
    /// Reads a log, checks that it leads to exactly the quoted registers, and derives what it proves.
    ///
    /// # Errors
    /// [`Unverified::Log`], [`Unverified::LogUnproven`], [`Unverified::Replay`].
    pub fn derive(log: &[u8], quoted: &[Measurement; 4]) -> Result<Self, Unverified> {
        let log = EventLog::parse_cc(log)?;
        let events = ccel::extended(&log)?;
        ccel::replay(&events, quoted)?;
        let of = |register| events.iter().filter(move |event| event.register == register);
        let mut boot = Self {
            events: events.iter().map(TdEvent::from).collect(),
            secure_boot: secure_boot(&of(0).collect::<Vec<_>>()),
            applications: of(1).filter(|event| !is_firmware_talk(event)).map(TdEvent::from).collect(),
            texts: Vec::new(),
            command_lines: Vec::new(),
            loaded_files: Vec::new(),
        };
        of(2).for_each(|event| boot.add_loaded(event));
        Ok(boot)
    }

    /// Sorts one event of RTMR2 into its lists; each is in at least one.
    fn add_loaded(&mut self, extended: &Extended<'_, '_>) {
        let Extended { event, digest, .. } = *extended;
        let (label, text) = match Proof::of(event, BANK) {
            Proof::AfterPrefix { label, text } => (label, as_text(text)),
            Proof::Data(data) => (&[][..], as_text(data)),
            Proof::DataLessLastByte(_) | Proof::VariableData(_) | Proof::Opaque => (&[][..], None),
        };
        let event_number = event.index;
        match text {
            Some(text) => {
                // a command of GRUB's is a command line too, unless no command line looks like it
                let is_command = label == b"grub_cmd" && !starts_with_file(&text);
                let text = TdText { event: event_number, digest, text: Some(text) };
                if !is_command {
                    self.command_lines.push(text.clone());
                }
                self.texts.push(text);
            }
            None if FileLabel::of(event) == FileLabel::LoadOptions => {
                self.command_lines.push(TdText { event: event_number, digest, text: None });
            }
            None => self.loaded_files.push(TdEvent::from(extended)),
        }
    }
}

impl From<&Extended<'_, '_>> for TdEvent {
    fn from(extended: &Extended<'_, '_>) -> Self {
        let Extended { register, digest, event } = *extended;
        Self { event: event.index, register, kind: event.kind, digest, hint: hint(event) }
    }
}

fn hint(event: &Event<'_>) -> Option<String> {
    match event.kind {
        EventType::BOOT_SERVICES_APPLICATION | EventType::BOOT_SERVICES_DRIVER => image_path(event.data),
        _ => match FileLabel::of(event) {
            FileLabel::Path(path) => Some(path),
            FileLabel::LoadOptions => Some("load options".to_owned()),
            FileLabel::Initrd => Some("initrd".to_owned()),
            FileLabel::Other => None,
        },
    }
}

/// UTF-8, with or without terminator, else UTF-16; `None` for what is no printable text.
fn as_text(bytes: &[u8]) -> Option<String> {
    let plain = std::str::from_utf8(bytes.strip_suffix(b"\0").unwrap_or(bytes)).ok();
    let plain = plain.filter(|text| !text.contains('\0')).map(str::to_owned);
    plain.or_else(|| utf16le(bytes).filter(|text| !text.contains('\0')))
}

/// Separators by their digest, whatever they call themselves; texts about progress and partition tables where the
/// digest covers them, neither of which is an image that could be started.
fn is_firmware_talk(extended: &Extended<'_, '_>) -> bool {
    if extended.digest == separator() {
        return true;
    }
    match (extended.event.kind, Proof::of(extended.event, BANK)) {
        (EventType::EFI_ACTION, Proof::Data(text)) => {
            !text.is_empty() && text.iter().all(|byte| (0x20..0x7f).contains(byte))
        }
        (EventType::GPT_EVENT, Proof::Data(table)) => table.starts_with(b"EFI PART"),
        _ => false,
    }
}

fn separator() -> Digest {
    BANK.digest(&[&[0; 4]])
}

/// Secure Boot out of RTMR0, where it stands among the platform's other settings. The one event that can say so is found
/// by its digest, which has three possible values; nothing behind the first separator is looked at, nor a log in which
/// the answer stands twice.
fn secure_boot(events: &[&Extended<'_, '_>]) -> Option<SecureBoot> {
    let answers = [&[][..], &[0], &[1]].map(|value| BANK.digest(&[&secure_boot_variable(value)]));
    let end = events.iter().position(|event| event.digest == separator())?;
    let firmware = events.get(..end)?;
    let mut said = firmware.iter().enumerate().filter(|(_, event)| answers.contains(&event.digest));
    let (start, _) = said.next()?;
    if said.next().is_some() {
        return None;
    }
    let mut grammar = Grammar::default();
    for extended in events.get(start..=end)? {
        grammar.accept(extended.event, Proof::of(extended.event, BANK)).ok()?;
    }
    grammar.finish().ok()
}

/// `UEFI_VARIABLE_DATA` of `SecureBoot`.
fn secure_boot_variable(value: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = "SecureBoot".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let [name_chars, length] = [name.len() / 2, value.len()].map(|n| (n as u64).to_le_bytes());
    [&Guid::EFI_GLOBAL.0[..], &name_chars, &length, &name, value].concat()
}
