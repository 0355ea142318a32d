//! PCR 8 and 12: texts that boot loaders measure, kernel command lines among them.

use std::borrow::Cow;

use super::{Measurement, load_options_digest};
use crate::crypto::Digest;
use crate::tpm::Bank;
use crate::tpm::event_log::variable::utf16le;
use crate::tpm::event_log::{Event, Proof};

/// One event of PCR 8 (GRUB) or PCR 12 (systemd-stub), whatever type it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderText {
    /// Number of the event.
    pub event: u32,
    /// 8 or 12.
    pub pcr: u8,
    /// The digest, in the bank of the facts.
    pub digest: Digest,
    /// The text, bound by the digest: GRUB's behind its label (UTF-8), the stub's as decoded from UTF-16 without
    /// terminator. `None` where the digest is of something else, or of no valid text.
    pub text: Option<String>,
    /// GRUB's label (`grub_cmd`, `kernel_cmdline`, `module_cmdline`), bound by nothing: labels are interchangeable.
    pub label_hint: Option<String>,
}

impl LoaderText {
    pub(super) fn from_event(event: &Event<'_>, measurement: &Measurement, proof: Proof<'_>) -> Self {
        let utf8 = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let (text, label_hint) = match proof {
            Proof::AfterPrefix { label, text } => (utf8(text), utf8(label)),
            Proof::Data(data) if measurement.pcr == 12 => (utf16le(data), None),
            Proof::Data(data) => (utf8(data.strip_suffix(b"\0").unwrap_or(data)), None),
            Proof::DataLessLastByte(_) | Proof::VariableData(_) | Proof::Opaque => (None, None),
        };
        Self { event: event.index, pcr: measurement.pcr, digest: measurement.digest, text, label_hint }
    }

    /// Whether this may be a command line that a kernel got. GRUB commands are, unless labelled otherwise *and* of a
    /// shape that no command line has: those begin with the kernel's file, which is no command's name.
    pub(super) fn as_command_line(&self, bank: Bank) -> Option<CommandLine<'_>> {
        let source = if self.pcr == 12 { CommandLineSource::SystemdStub } else { CommandLineSource::Grub };
        let is_command = self.pcr == 8
            && self.label_hint.as_deref() == Some("grub_cmd")
            && self.text.as_deref().is_some_and(|text| !starts_with_file(text));
        let text = self.text.as_deref().map(Cow::Borrowed);
        (!is_command).then_some(CommandLine { event: self.event, source, digest: self.digest, text, bank })
    }
}

/// Whether GRUB would take the first word as a file: `/path`, `(device)/path`, or a block list (`0+4`, `+4`).
pub(crate) fn starts_with_file(text: &str) -> bool {
    text.trim_start().starts_with(|first: char| matches!(first, '/' | '(' | '+' | '0'..='9' | '"' | '\'' | '\\'))
}

/// Who measured a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandLineSource {
    /// GRUB, PCR 8: the kernel's file name, then its options.
    Grub,
    /// The kernel's EFI stub, PCR 9: load options, of which the log holds the digest alone.
    LoadOptions,
    /// systemd-stub, PCR 12: options that replace those inside the unified kernel image.
    SystemdStub,
}

/// Something that may be a kernel command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine<'a> {
    /// Number of the event.
    pub event: u32,
    /// Who measured it.
    pub source: CommandLineSource,
    /// The digest, in the bank of the facts.
    pub digest: Digest,
    /// The text where it is bound; `None` where only the digest is known.
    pub text: Option<Cow<'a, str>>,
    pub(super) bank: Bank,
}

impl CommandLine<'_> {
    /// Whether this is exactly the command line `expected`: by its text where that is bound, else by digest, as the
    /// kernel's EFI stub measures it.
    #[must_use]
    pub fn is(&self, expected: &str) -> bool {
        match (&self.text, self.source) {
            (Some(text), _) => text == expected,
            (None, CommandLineSource::LoadOptions) => load_options_digest(self.bank, expected) == self.digest,
            (None, CommandLineSource::Grub | CommandLineSource::SystemdStub) => false,
        }
    }
}
