//! One event of the log, and the names of event types. Says nothing about what an event proves: see
//! [`super::Proof`].

use std::fmt;

use crate::tpm::{Bank, PcrIndex};

/// One measured (or informative) event, borrowed from the log.
///
/// Only the digests are bound to the quote. `kind` and `data` are a stranger's words until [`super::Proof`] has
/// found them in a digest.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// Number of the event as `tpm2_eventlog` counts: the Spec ID event is 0, the first real one 1.
    pub index: u32,
    /// The register, 0 to 23 for every event that is extended.
    pub pcr: u32,
    /// The event type, as *claimed*.
    pub kind: EventType,
    /// The event data, as *claimed*.
    pub data: &'a [u8],
    pub(super) digests: Digests<'a>,
}

/// The digests of one event that we ever use; SHA-1 and others are checked for shape, then dropped.
#[derive(Clone, Copy, Default)]
pub(super) struct Digests<'a> {
    pub(super) sha256: Option<&'a [u8; 32]>,
    pub(super) sha384: Option<&'a [u8; 48]>,
    pub(super) sha512: Option<&'a [u8; 64]>,
}

impl<'a> Event<'a> {
    /// The digest for `bank`, or `None` if this event has none in it.
    #[must_use]
    pub fn digest(&self, bank: Bank) -> Option<&'a [u8]> {
        match bank {
            Bank::Sha256 => self.digests.sha256.map(|digest| digest.as_slice()),
            Bank::Sha384 => self.digests.sha384.map(|digest| digest.as_slice()),
            Bank::Sha512 => self.digests.sha512.map(|digest| digest.as_slice()),
        }
    }

    /// Whether the TPM was extended with this event: all but `EV_NO_ACTION`.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.kind != EventType::NO_ACTION
    }

    /// The register that this event extended; `None` for informative events.
    #[must_use]
    pub fn register(&self) -> Option<PcrIndex> {
        if self.is_extended() { PcrIndex::new(self.pcr) } else { None }
    }

    /// The register as a small number, for messages. Extended events are checked to be below 24 when the log is parsed.
    #[must_use]
    pub fn pcr_index(&self) -> u8 {
        u8::try_from(self.pcr).unwrap_or(u8::MAX)
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} (PCR {}, {}, {} bytes)", self.index, self.pcr, self.kind.name(), self.data.len())
    }
}

/// A TCG event type number. TCG PC Client Platform Firmware Profile, table "Events".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(pub u32);

macro_rules! event_types {
    ($($constant:ident = $number:literal, $name:literal;)*) => {
        #[allow(missing_docs, reason = "each constant is the TCG name without EV_ or EV_EFI_")]
        impl EventType {
            $(pub const $constant: Self = Self($number);)*

            /// The TCG name, or `EV_UNKNOWN` for a number we do not know (the number stands in [`EventType::0`]).
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($number => $name,)*
                    _ => "EV_UNKNOWN",
                }
            }
        }
    };
}

event_types! {
    PREBOOT_CERT = 0x0, "EV_PREBOOT_CERT";
    POST_CODE = 0x1, "EV_POST_CODE";
    NO_ACTION = 0x3, "EV_NO_ACTION";
    SEPARATOR = 0x4, "EV_SEPARATOR";
    ACTION = 0x5, "EV_ACTION";
    EVENT_TAG = 0x6, "EV_EVENT_TAG";
    S_CRTM_CONTENTS = 0x7, "EV_S_CRTM_CONTENTS";
    S_CRTM_VERSION = 0x8, "EV_S_CRTM_VERSION";
    CPU_MICROCODE = 0x9, "EV_CPU_MICROCODE";
    PLATFORM_CONFIG_FLAGS = 0xa, "EV_PLATFORM_CONFIG_FLAGS";
    TABLE_OF_DEVICES = 0xb, "EV_TABLE_OF_DEVICES";
    COMPACT_HASH = 0xc, "EV_COMPACT_HASH";
    IPL = 0xd, "EV_IPL";
    IPL_PARTITION_DATA = 0xe, "EV_IPL_PARTITION_DATA";
    NONHOST_CODE = 0xf, "EV_NONHOST_CODE";
    NONHOST_CONFIG = 0x10, "EV_NONHOST_CONFIG";
    NONHOST_INFO = 0x11, "EV_NONHOST_INFO";
    OMIT_BOOT_DEVICE_EVENTS = 0x12, "EV_OMIT_BOOT_DEVICE_EVENTS";
    POST_CODE2 = 0x13, "EV_POST_CODE2";
    VARIABLE_DRIVER_CONFIG = 0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG";
    VARIABLE_BOOT = 0x8000_0002, "EV_EFI_VARIABLE_BOOT";
    BOOT_SERVICES_APPLICATION = 0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION";
    BOOT_SERVICES_DRIVER = 0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER";
    RUNTIME_SERVICES_DRIVER = 0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER";
    GPT_EVENT = 0x8000_0006, "EV_EFI_GPT_EVENT";
    EFI_ACTION = 0x8000_0007, "EV_EFI_ACTION";
    PLATFORM_FIRMWARE_BLOB = 0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB";
    HANDOFF_TABLES = 0x8000_0009, "EV_EFI_HANDOFF_TABLES";
    PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2";
    HANDOFF_TABLES2 = 0x8000_000b, "EV_EFI_HANDOFF_TABLES2";
    VARIABLE_BOOT2 = 0x8000_000c, "EV_EFI_VARIABLE_BOOT2";
    GPT_EVENT2 = 0x8000_000d, "EV_EFI_GPT_EVENT2";
    HCRTM_EVENT = 0x8000_0010, "EV_EFI_HCRTM_EVENT";
    VARIABLE_AUTHORITY = 0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY";
    SPDM_FIRMWARE_BLOB = 0x8000_00e1, "EV_EFI_SPDM_FIRMWARE_BLOB";
    SPDM_FIRMWARE_CONFIG = 0x8000_00e2, "EV_EFI_SPDM_FIRMWARE_CONFIG";
    SPDM_DEVICE_POLICY = 0x8000_00e3, "EV_EFI_SPDM_DEVICE_POLICY";
    SPDM_DEVICE_AUTHORITY = 0x8000_00e4, "EV_EFI_SPDM_DEVICE_AUTHORITY";
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:#x})", self.name(), self.0)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "EV_UNKNOWN" => write!(f, "EV_UNKNOWN({:#010x})", self.0),
            name => f.write_str(name),
        }
    }
}
