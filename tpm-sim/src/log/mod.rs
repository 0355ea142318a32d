//! The simulator's own encoder of TCG crypto-agile event logs (PC Client Platform Firmware Profile). It shares no code
//! with the verifier, so that each can find the other's mistakes.

pub mod ima;
pub(crate) mod uefi;

use crate::digest::{Bank, Digests};

/// Event types, by their names in the specification.
pub mod event_type {
    #![expect(missing_docs, reason = "the names are the specification's")]
    pub const EV_NO_ACTION: u32 = 0x03;
    pub const EV_SEPARATOR: u32 = 0x04;
    pub const EV_EVENT_TAG: u32 = 0x06;
    pub const EV_S_CRTM_VERSION: u32 = 0x08;
    pub const EV_IPL: u32 = 0x0d;
    pub const EV_EFI_VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
    pub const EV_EFI_VARIABLE_BOOT: u32 = 0x8000_0002;
    pub const EV_EFI_BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;
    pub const EV_EFI_GPT_EVENT: u32 = 0x8000_0006;
    pub const EV_EFI_ACTION: u32 = 0x8000_0007;
    pub const EV_EFI_PLATFORM_FIRMWARE_BLOB: u32 = 0x8000_0008;
    pub const EV_EFI_VARIABLE_AUTHORITY: u32 = 0x8000_00e0;

    /// The name of a type that the simulator writes; `unknown` for any other.
    pub const fn name(kind: u32) -> &'static str {
        match kind {
            EV_NO_ACTION => "EV_NO_ACTION",
            EV_SEPARATOR => "EV_SEPARATOR",
            EV_EVENT_TAG => "EV_EVENT_TAG",
            EV_S_CRTM_VERSION => "EV_S_CRTM_VERSION",
            EV_IPL => "EV_IPL",
            EV_EFI_VARIABLE_DRIVER_CONFIG => "EV_EFI_VARIABLE_DRIVER_CONFIG",
            EV_EFI_VARIABLE_BOOT => "EV_EFI_VARIABLE_BOOT",
            EV_EFI_BOOT_SERVICES_APPLICATION => "EV_EFI_BOOT_SERVICES_APPLICATION",
            EV_EFI_GPT_EVENT => "EV_EFI_GPT_EVENT",
            EV_EFI_ACTION => "EV_EFI_ACTION",
            EV_EFI_PLATFORM_FIRMWARE_BLOB => "EV_EFI_PLATFORM_FIRMWARE_BLOB",
            EV_EFI_VARIABLE_AUTHORITY => "EV_EFI_VARIABLE_AUTHORITY",
            _ => "unknown",
        }
    }
}

/// One event: what the log says, and what firmware extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The PCR.
    pub pcr: u32,
    /// One of [`event_type`].
    pub kind: u32,
    /// The digests that were extended (zero and not extended for EV_NO_ACTION).
    pub digests: Digests,
    /// The event field.
    pub data: Vec<u8>,
}

impl Event {
    /// An event whose digest is that of its data.
    pub(crate) fn of_data(pcr: u32, kind: u32, data: Vec<u8>) -> Self {
        Self { pcr, kind, digests: Digests::of(&data), data }
    }

    /// An event whose digest is of something else than its data.
    pub(crate) fn of(pcr: u32, kind: u32, digests: Digests, data: Vec<u8>) -> Self {
        Self { pcr, kind, digests, data }
    }

    /// `"Spec ID Event03"` excepted, an event that says something without being measured.
    pub(crate) fn no_action(data: Vec<u8>) -> Self {
        Self { pcr: 0, kind: event_type::EV_NO_ACTION, digests: Digests::zero(), data }
    }

    /// Whether firmware extends a PCR with this event.
    pub fn is_extended(&self) -> bool {
        self.kind != event_type::EV_NO_ACTION
    }

    /// The event in the crypto-agile format, with digests in `banks`.
    pub fn encode(&self, banks: &[Bank]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + 128);
        out.extend_from_slice(&self.pcr.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&le32(banks.len()));
        for bank in banks {
            out.extend_from_slice(&bank.algorithm().to_le_bytes());
            out.extend_from_slice(self.digests.get(*bank));
        }
        out.extend_from_slice(&le32(self.data.len()));
        out.extend_from_slice(&self.data);
        out
    }
}

/// A whole log: the Spec ID event, then `events`.
pub fn encode(events: &[Event], banks: &[Bank]) -> Vec<u8> {
    let mut out = spec_id(banks);
    for event in events {
        out.extend_from_slice(&event.encode(banks));
    }
    out
}

/// Where each event of an encoded log begins, the Spec ID event not counted, and where the log ends.
pub fn offsets(events: &[Event], banks: &[Bank]) -> Vec<usize> {
    let mut at = spec_id(banks).len();
    let mut offsets = vec![at];
    for event in events {
        at += event.encode(banks).len();
        offsets.push(at);
    }
    offsets
}

/// The PCR values to which `events` replay in `bank`: index, value. PCRs without an event are left out.
pub fn replay(events: &[Event], bank: Bank, locality: u8) -> Vec<(u32, Vec<u8>)> {
    let mut values: Vec<(u32, Vec<u8>)> = Vec::new();
    for event in events.iter().filter(|event| event.is_extended()) {
        if !values.iter().any(|(pcr, _)| *pcr == event.pcr) {
            let mut start = vec![0; bank.bytes()];
            if let (0, Some(last)) = (event.pcr, start.last_mut()) {
                *last = locality;
            }
            values.push((event.pcr, start));
        }
        if let Some((_, value)) = values.iter_mut().find(|(pcr, _)| *pcr == event.pcr) {
            *value = bank.hash(&[value, event.digests.get(bank)]);
        }
    }
    values.sort_unstable();
    values
}

/// The first event, in the format of TCG 1.2: which digests the others carry.
fn spec_id(banks: &[Bank]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend_from_slice(&0u32.to_le_bytes()); // platform class: client
    data.extend_from_slice(&[0, 2, 0, 2]); // version 2.0, errata 0, UINTN of 64 bits
    data.extend_from_slice(&le32(banks.len()));
    for bank in banks {
        #[expect(clippy::cast_possible_truncation, reason = "at most 48")]
        let size = bank.bytes() as u16;
        data.extend_from_slice(&bank.algorithm().to_le_bytes());
        data.extend_from_slice(&size.to_le_bytes());
    }
    data.push(0); // no vendor information
    let mut out = Vec::with_capacity(80);
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&event_type::EV_NO_ACTION.to_le_bytes());
    out.extend_from_slice(&[0; 20]);
    out.extend_from_slice(&le32(data.len()));
    out.extend_from_slice(&data);
    out
}

pub(crate) fn le32(length: usize) -> [u8; 4] {
    #[expect(clippy::cast_possible_truncation, reason = "lengths of our own making, far below 4 GiB")]
    let short = length as u32;
    short.to_le_bytes()
}
