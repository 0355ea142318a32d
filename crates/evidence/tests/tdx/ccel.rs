//! CC event logs: replay against the quoted registers, and what they prove whoever tells them.

use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tdx::{Measurement, TdBoot, Unverified};
use holdfast_evidence::tpm::event_log::{EventType, Guid};

/// One event.
#[derive(Clone)]
pub(crate) struct Entry {
    /// 1 to 4 for RTMR0 to RTMR3.
    index: u32,
    kind: EventType,
    digest: Vec<u8>,
    data: Vec<u8>,
}

/// A log with digests in SHA-384.
#[derive(Clone, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    padding: Vec<u8>,
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    HashAlg::Sha384.digest(&[bytes]).as_bytes().to_vec()
}

/// An event whose digest is that of its data.
fn bound(index: u32, kind: EventType, data: &[u8]) -> Entry {
    Entry { index, kind, digest: hash(data), data: data.to_vec() }
}

/// An event whose digest is that of something else.
fn opaque(index: u32, kind: EventType, measured: &[u8], data: &[u8]) -> Entry {
    Entry { index, kind, digest: hash(measured), data: data.to_vec() }
}

fn variable(owner: Guid, name: &str, data: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = |n: usize| (n as u64).to_le_bytes();
    [&owner.0[..], &length(name.len() / 2), &length(data.len()), &name, data].concat()
}

fn secure_boot(value: u8) -> Vec<Entry> {
    let driver = |owner, name, data: &[u8]| bound(1, EventType::VARIABLE_DRIVER_CONFIG, &variable(owner, name, data));
    vec![
        driver(Guid::EFI_GLOBAL, "SecureBoot", &[value]),
        driver(Guid::EFI_GLOBAL, "PK", &[]),
        driver(Guid::EFI_GLOBAL, "KEK", &[]),
        driver(Guid::IMAGE_SECURITY_DATABASE, "db", &[]),
        driver(Guid::IMAGE_SECURITY_DATABASE, "dbx", &[]),
    ]
}

fn separator(index: u32) -> Entry {
    bound(index, EventType::SEPARATOR, &[0; 4])
}

const OPTIONS: &str = "root=/dev/vda1 ro";

fn load_options() -> Entry {
    let options: Vec<u8> = OPTIONS.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let tag = [&[0xed, 0x22, 0x3b, 0x8f, 26, 0, 0, 0][..], b"LOADED_IMAGE::LoadOptions\0"].concat();
    opaque(3, EventType::EVENT_TAG, &options, &tag)
}

fn initrd() -> Entry {
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
    fn with(mut self, change: impl FnOnce(&mut Vec<Entry>)) -> Self {
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

    fn derive(&self) -> Result<TdBoot, Unverified> {
        TdBoot::derive(&self.encode(), &self.registers())
    }
}

fn digests(events: &[holdfast_evidence::tdx::TdEvent]) -> Vec<Vec<u8>> {
    events.iter().map(|event| event.digest.as_bytes().to_vec()).collect()
}

#[test]
fn a_log_that_leads_to_the_registers_proves_the_boot() {
    let derived = boot().derive().unwrap();
    assert_eq!(derived.events.len(), boot().entries.len());
    let secure = derived.secure_boot.as_ref().unwrap();
    assert!(secure.enabled && secure.enabled_event == 2 && secure.db.event == 5);
    assert_eq!(digests(&derived.applications), [hash(b"shim"), hash(b"kernel")]);
    assert_eq!(digests(&derived.loaded_files), [hash(b"the initrd")]);
    let lines: Vec<_> = derived.command_lines.iter().map(|line| line.text.as_deref()).collect();
    assert_eq!(lines, [Some("/vmlinuz ro quiet"), None]);
    let expected = holdfast_evidence::tpm::event_log::boot::load_options_digest(HashAlg::Sha384, OPTIONS);
    assert_eq!(derived.command_lines[1].digest, expected);
    let texts: Vec<_> = derived.texts.iter().map(|text| text.text.as_deref()).collect();
    assert_eq!(texts, [Some("set default=0"), Some("/vmlinuz ro quiet")]);
}

#[test]
fn a_log_that_does_not_lead_to_a_register_is_refused() {
    let (log, registers) = (boot(), boot().registers());
    for register in 0..4u8 {
        let mut other = registers;
        other[usize::from(register)][47] ^= 1;
        assert_eq!(TdBoot::derive(&log.encode(), &other), Err(Unverified::Replay { register }));
    }
    // an event left out, changed, doubled, or in another place
    for at in 0..log.entries.len() {
        let register = u8::try_from(log.entries[at].index - 1).unwrap();
        let refused =
            |log: Log| assert_eq!(TdBoot::derive(&log.encode(), &registers), Err(Unverified::Replay { register }));
        refused(log.clone().with(|entries| drop(entries.remove(at))));
        refused(log.clone().with(|entries| entries[at].digest[0] ^= 1));
        refused(log.clone().with(|entries| entries.insert(at, entries[at].clone())));
    }
    let swapped = log.clone().with(|entries| entries.swap(11, 12));
    assert_eq!(TdBoot::derive(&swapped.encode(), &registers), Err(Unverified::Replay { register: 1 }));
    // a log of nothing, while the registers hold something
    assert!(TdBoot::derive(&Log::default().encode(), &registers).is_err());
    assert!(TdBoot::derive(&Log::default().encode(), &[[0; 48]; 4]).unwrap().events.is_empty());
}

#[test]
fn events_of_other_registers_and_banks_prove_nothing() {
    for index in [0, 5, 23] {
        let log = boot().with(|entries| entries[3].index = index);
        let refused = TdBoot::derive(&log.encode(), &boot().registers()).unwrap_err();
        assert!(matches!(refused, Unverified::LogUnproven { event: 4, .. }), "{refused}");
    }
    let mut sha256 = boot().encode();
    sha256[60] = 0x0b;
    assert_eq!(TdBoot::derive(&sha256, &boot().registers()).unwrap_err().code(), "tdx.ccel.malformed");
    let informative = boot().with(|entries| entries.push(bound(0, EventType::NO_ACTION, b"words")));
    assert!(TdBoot::derive(&informative.encode(), &boot().registers()).is_ok());
}

#[test]
fn padding_is_of_one_kind_and_nothing_hides_in_it() {
    let padded =
        |padding: &[u8]| TdBoot::derive(&Log { padding: padding.to_vec(), ..boot() }.encode(), &boot().registers());
    for padding in [&[][..], &[0; 100], &[0xff; 100]] {
        assert!(padded(padding).is_ok());
    }
    for padding in [&[0, 0xff].repeat(50)[..], &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], &[1; 40]] {
        assert!(padded(padding).is_err());
    }
}

/// Whoever has root in the guest may extend RTMR0 further, and relabel what the firmware measured.
#[test]
fn secure_boot_cannot_be_switched_on_afterwards() {
    let off = boot().with(|entries| entries[1..6].clone_from_slice(&secure_boot(0)));
    assert!(!off.derive().unwrap().secure_boot.unwrap().enabled);
    // extended once more, behind the firmware's separator
    let later = off.clone().with(|entries| {
        entries.extend(secure_boot(1));
        entries.push(separator(1));
    });
    assert!(!later.derive().unwrap().secure_boot.unwrap().enabled);
    // and the first ones told as something else
    let relabelled = later.clone().with(|entries| {
        for entry in &mut entries[1..7] {
            (entry.kind, entry.data) = (EventType::PLATFORM_CONFIG_FLAGS, b"ACPI DATA".to_vec());
        }
    });
    assert_eq!(relabelled.derive().unwrap().secure_boot, None);
    // the separator alone told as something else
    let hidden = later.with(|entries| (entries[6].kind, entries[6].data) = (EventType::IPL, b"x".to_vec()));
    assert!(hidden.derive().unwrap().secure_boot.is_none_or(|secure| !secure.enabled));
}

/// Firmware that measured Secure Boot twice has said nothing.
#[test]
fn an_answer_that_stands_twice_is_none() {
    let twice = boot().with(|entries| entries.splice(1..1, secure_boot(0)).for_each(drop));
    assert_eq!(twice.derive().unwrap().secure_boot, None);
    let without_separator = boot().with(|entries| drop(entries.remove(6)));
    assert_eq!(without_separator.derive().unwrap().secure_boot, None);
    let data_elsewhere = boot().with(|entries| entries[4].data[35] ^= 1);
    assert_eq!(data_elsewhere.derive().unwrap().secure_boot, None, "data that is not what was measured");
}

#[test]
fn an_application_cannot_hide_behind_another_label() {
    let expected = [hash(b"shim"), hash(b"kernel")];
    for (kind, data) in [
        (EventType::EFI_ACTION, &b"Exit Boot Services Invocation"[..]),
        (EventType::GPT_EVENT, b"EFI PART"),
        (EventType::SEPARATOR, &[0; 4]),
        (EventType::IPL, b"grub_cmd: set"),
        (EventType(0x1234), b""),
    ] {
        let log = boot().with(|entries| (entries[11].kind, entries[11].data) = (kind, data.to_vec()));
        assert_eq!(digests(&log.derive().unwrap().applications), expected, "{kind:?}");
    }
}

/// What is taken out of one list by a lie turns up in another.
#[test]
fn a_command_line_cannot_hide_behind_another_label() {
    let relabelled = boot().with(|entries| {
        let options = entries.iter_mut().find(|entry| entry.digest == load_options().digest).unwrap();
        options.data = initrd().data;
    });
    let derived = relabelled.derive().unwrap();
    assert_eq!(digests(&derived.loaded_files), [load_options().digest, hash(b"the initrd")]);
    let as_command = boot().with(|entries| {
        let line = entries.iter_mut().find(|entry| entry.data.starts_with(b"kernel_cmdline")).unwrap();
        line.data = b"grub_cmd: /vmlinuz ro quiet\0".to_vec();
    });
    assert_eq!(as_command.derive().unwrap().command_lines[0].text.as_deref(), Some("/vmlinuz ro quiet"));
    let as_nothing = boot().with(|entries| {
        let line = entries.iter_mut().find(|entry| entry.data.starts_with(b"kernel_cmdline")).unwrap();
        line.data = b"kernel_cmdline: /vmlinuz ro\0".to_vec();
    });
    let derived = as_nothing.derive().unwrap();
    assert!(digests(&derived.loaded_files).contains(&hash(b"/vmlinuz ro quiet")));
}
