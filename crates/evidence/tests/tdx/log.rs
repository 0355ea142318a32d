//! CC event logs for tests: a whole boot with Secure Boot, of which a test changes one thing.

use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tdx::{Measurement, TdBoot, Unverified};
use holdfast_evidence::tpm::event_log::{EventType, Guid};

/// One event.
#[derive(Clone)]
pub(crate) struct Entry {
    /// 1 to 4 for RTMR0 to RTMR3.
    pub(crate) index: u32,
    pub(crate) kind: EventType,
    pub(crate) digest: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// A log with digests in SHA-384.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    pub(crate) padding: Vec<u8>,
}

pub(crate) fn hash(bytes: &[u8]) -> Vec<u8> {
    HashAlg::Sha384.digest(&[bytes]).as_bytes().to_vec()
}

/// An event whose digest is that of its data.
pub(crate) fn bound(index: u32, kind: EventType, data: &[u8]) -> Entry {
    Entry { index, kind, digest: hash(data), data: data.to_vec() }
}

/// An event whose digest is that of something else.
pub(crate) fn opaque(index: u32, kind: EventType, measured: &[u8], data: &[u8]) -> Entry {
    Entry { index, kind, digest: hash(measured), data: data.to_vec() }
}

fn variable(owner: Guid, name: &str, data: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = |n: usize| (n as u64).to_le_bytes();
    [&owner.0[..], &length(name.len() / 2), &length(data.len()), &name, data].concat()
}

pub(crate) fn secure_boot(value: u8) -> Vec<Entry> {
    let driver = |owner, name, data: &[u8]| bound(1, EventType::VARIABLE_DRIVER_CONFIG, &variable(owner, name, data));
    vec![
        driver(Guid::EFI_GLOBAL, "SecureBoot", &[value]),
        driver(Guid::EFI_GLOBAL, "PK", &[]),
        driver(Guid::EFI_GLOBAL, "KEK", &[]),
        driver(Guid::IMAGE_SECURITY_DATABASE, "db", &[]),
        driver(Guid::IMAGE_SECURITY_DATABASE, "dbx", &[]),
    ]
}

pub(crate) fn separator(index: u32) -> Entry {
    bound(index, EventType::SEPARATOR, &[0; 4])
}

pub(crate) const OPTIONS: &str = "root=/dev/vda1 ro";

pub(crate) fn load_options() -> Entry {
    let options: Vec<u8> = OPTIONS.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let tag = [&[0xed, 0x22, 0x3b, 0x8f, 26, 0, 0, 0][..], b"LOADED_IMAGE::LoadOptions\0"].concat();
    opaque(3, EventType::EVENT_TAG, &options, &tag)
}

pub(crate) fn initrd() -> Entry {
    opaque(
        3,
        EventType::EVENT_TAG,
        b"the initrd",
        &[&[0xec, 0x22, 0x3b, 0x8f][..], b"\x0d\0\0\0Linux initrd\0"].concat(),
    )
}

/// A boot with Secure Boot on.
pub(crate) fn boot() -> Log {
    let mut entries = vec![opaque(1, EventType::HANDOFF_TABLES2, b"td hob", b"TdxTable")];
    entries.extend(secure_boot(1));
    entries.extend([
        separator(1),
        opaque(1, EventType::PLATFORM_CONFIG_FLAGS, b"acpi", b"ACPI DATA"),
        bound(2, EventType::EFI_ACTION, b"Calling EFI Application from Boot Option"),
        separator(2),
        bound(2, EventType::GPT_EVENT, b"EFI PART and so on"),
        opaque(2, EventType::BOOT_SERVICES_APPLICATION, b"shim", b""),
        opaque(2, EventType::BOOT_SERVICES_APPLICATION, b"kernel", b""),
        opaque(3, EventType::IPL, b"set default=0", b"grub_cmd: set default=0\0"),
        opaque(3, EventType::IPL, b"/vmlinuz ro quiet", b"kernel_cmdline: /vmlinuz ro quiet\0"),
        load_options(),
        initrd(),
        bound(2, EventType::EFI_ACTION, b"Exit Boot Services Invocation"),
    ]);
    Log { entries, padding: vec![0xff; 64] }
}

impl Log {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Vec<Entry>)) -> Self {
        change(&mut self.entries);
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = [&1u32.to_le_bytes()[..], &3u32.to_le_bytes(), &[0; 20], &33u32.to_le_bytes()].concat();
        bytes.extend(b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02\x01\0\0\0\x0c\0\x30\0\0");
        for Entry { index, kind, digest, data } in &self.entries {
            bytes.extend(index.to_le_bytes());
            bytes.extend(kind.0.to_le_bytes());
            bytes.extend(1u32.to_le_bytes());
            bytes.extend(0x000c_u16.to_le_bytes());
            bytes.extend(digest);
            bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            bytes.extend(data);
        }
        [bytes, self.padding.clone()].concat()
    }

    /// What the registers hold after these events.
    pub(crate) fn registers(&self) -> [Measurement; 4] {
        let mut registers = [[0; 48]; 4];
        for entry in self.entries.iter().filter(|entry| entry.kind != EventType::NO_ACTION) {
            let register = &mut registers[entry.index as usize - 1];
            *register = hash(&[&register[..], &entry.digest].concat()).try_into().unwrap();
        }
        registers
    }

    pub(crate) fn derive(&self) -> Result<TdBoot, Unverified> {
        TdBoot::derive(&self.encode(), &self.registers())
    }
}
