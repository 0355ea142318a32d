//! One event for people: number, register, type, digest, and what its data says, escaped for any medium.
//!
//! Everything but the digest is a stranger's word. [`EventView::is_data_bound`] says whether the digest covers the
//! data that [`EventView::description`] was made from.

use std::fmt::Write as _;

use super::variable::{Variable, utf16le};
use super::{Event, EventLog, EventType, Proof, device_path};
use crate::crypto::Digest;
use crate::tpm::Bank;

/// Characters of a description. GRUB's menu entries are longer; the digest tells them apart.
const DESCRIPTION_CHARS_MAX: usize = 400;

/// One event, ready to print. Holds nothing but printable ASCII in its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventView {
    /// Number of the event, the first real one being 1.
    pub index: u32,
    /// The register it names.
    pub pcr: u32,
    /// The type, by name, with the number if we know none.
    pub kind: String,
    /// The digest in the bank that was asked for; `None` if the event has none in it.
    pub digest: Option<Digest>,
    /// What the data says, escaped, at most 400 characters.
    pub description: String,
    /// Whether the digest is that of the data (or of the part of it that is described).
    pub is_data_bound: bool,
}

impl EventLog<'_> {
    /// All events for people, in the order of the log.
    pub fn views(&self, bank: Bank) -> impl Iterator<Item = EventView> {
        self.events.iter().map(move |event| EventView::of(event, bank))
    }
}

impl EventView {
    /// One event for people.
    #[must_use]
    pub fn of(event: &Event<'_>, bank: Bank) -> Self {
        Self {
            index: event.index,
            pcr: event.pcr,
            kind: event.kind.to_string(),
            digest: event.digest(bank).and_then(|bytes| Digest::new(bank, bytes)),
            description: shorten(&describe(event)),
            is_data_bound: Proof::of(event, bank) != Proof::Opaque,
        }
    }
}

fn describe(event: &Event<'_>) -> String {
    let data = event.data;
    match event.kind {
        EventType::BOOT_SERVICES_APPLICATION | EventType::BOOT_SERVICES_DRIVER | EventType::RUNTIME_SERVICES_DRIVER => {
            device_path::image_path(data).unwrap_or_else(|| bytes(data))
        }
        EventType::VARIABLE_DRIVER_CONFIG
        | EventType::VARIABLE_BOOT
        | EventType::VARIABLE_BOOT2
        | EventType::VARIABLE_AUTHORITY => variable(data),
        EventType::SEPARATOR => hex(data),
        EventType::EVENT_TAG => tagged(data).unwrap_or_else(|| text(data)),
        _ => text(data),
    }
}

/// `db, 943 bytes`; the value itself where it is a byte or text.
fn variable(data: &[u8]) -> String {
    let Some((variable, name)) = Variable::parse(data).and_then(|v| Some((v, v.name()?))) else {
        return bytes(data);
    };
    match variable.data {
        [] => format!("{name}, empty"),
        [one] => format!("{name} = {one:#04x}"),
        contents if name == "SbatLevel" => format!("{name} = {}", text(contents)),
        contents => format!("{name}, {} bytes", contents.len()),
    }
}

/// `TCG_PCClientTaggedEvent`: tag, size, text.
fn tagged(data: &[u8]) -> Option<String> {
    let (tag, rest) = data.split_first_chunk::<4>()?;
    let (_, contents) = rest.split_first_chunk::<4>()?;
    Some(format!("{:#010x} {}", u32::from_le_bytes(*tag), text(contents)))
}

/// UTF-16 or UTF-8 if it looks like either, else the number of bytes.
fn text(data: &[u8]) -> String {
    let data_utf8 = data.strip_suffix(b"\0").unwrap_or(data);
    if let Ok(text) = std::str::from_utf8(data_utf8)
        && !text.contains('\0')
    {
        return text.to_owned();
    }
    let looks_wide = data.len() >= 4 && data.iter().skip(1).step_by(2).all(|byte| *byte == 0);
    match utf16le(data) {
        Some(text) if looks_wide && !text.contains('\0') => text,
        _ => bytes(data),
    }
}

fn bytes(data: &[u8]) -> String {
    if data.len() <= 16 { hex(data) } else { format!("{} bytes", data.len()) }
}

fn hex(data: &[u8]) -> String {
    data.iter().take(64).fold(String::with_capacity(data.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(DESCRIPTION_CHARS_MAX) {
        Some((cut, _)) => format!("{}...", escape(text.get(..cut).unwrap_or_default())),
        None => escape(text),
    }
}

/// Text from evidence as printable ASCII: everything else as `\u{…}`, backslashes doubled. Safe in terminals and logs;
/// HTML and CSV need their own quoting on top.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            ' '..='~' => escaped.push(c),
            _ => escaped.extend(c.escape_unicode()),
        }
    }
    escaped
}
