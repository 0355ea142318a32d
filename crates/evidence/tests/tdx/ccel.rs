//! CC event logs: replay against the quoted registers, and what they prove whoever tells them.

use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tdx::{TdBoot, Unverified};
use holdfast_evidence::tpm::event_log::EventType;

use crate::log::{Log, OPTIONS, boot, bound, hash, initrd, load_options, secure_boot, separator};

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
