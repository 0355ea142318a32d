//! What a log proves, and what a liar who relabels its events cannot make it prove.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod log;

use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::event_log::boot::{CommandLineSource, FileLabel, Stage, load_options_digest};
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog, EventType, Guid};
use holdfast_evidence::tpm::secure_boot::SignatureKind;
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSet};
use log::{
    Entry, SHA256_GUID, X509_GUID, authority, boot, bound, certificate, code, encode, facts, grub, opaque, separator,
    signature_list, variable,
};

/// Where the nth event of that register and type stands in [`boot`].
fn at(pcr: u32, kind: EventType, nth: usize) -> usize {
    let found = boot().iter().enumerate().filter(|(_, e)| e.pcr == pcr && e.kind == kind).map(|(at, _)| at).nth(nth);
    found.unwrap()
}

/// The boot with one event replaced.
fn with(at: usize, entry: Entry) -> Vec<Entry> {
    let mut log = boot();
    log[at] = entry;
    log
}

/// The boot with more events at its end, as anybody with root can add them.
fn and(entries: &[Entry]) -> Vec<Entry> {
    [boot(), entries.to_vec()].concat()
}

fn text_lines(log: &[Entry]) -> Vec<Option<String>> {
    facts(log).unwrap().command_lines().map(|line| line.text.map(|text| text.into_owned())).collect()
}

#[test]
fn a_whole_boot_yields_every_fact_with_its_event() {
    let facts = facts(&boot()).unwrap();
    assert_eq!(facts.proven, (0..10).filter_map(PcrIndex::new).collect());
    assert_eq!(facts.firmware_versions[0].text, "FW 1.0");
    let secure_boot = facts.secure_boot.as_ref().unwrap();
    assert!(secure_boot.enabled);
    assert_eq!(secure_boot.enabled_event, 3);
    assert_eq!(secure_boot.pk.entries[0].sha256, sha256(&[&certificate(1)]));
    assert_eq!(secure_boot.db.entries[0].kind, SignatureKind::X509);
    assert_eq!(secure_boot.dbx.entries[1].sha256, [5; 32]);
    let vouched = &secure_boot.authorities[0];
    assert_eq!((vouched.variable.as_str(), vouched.stage), ("db", Stage::Loader));
    assert_eq!(vouched.certificate_sha256, Some(sha256(&[&certificate(3)])));
    let started: Vec<_> = facts.boot_applications.iter().map(|app| app.digest.as_bytes().to_vec()).collect();
    assert_eq!(started, [sha256(&[b"grub"]), sha256(&[b"kernel"])]);
    assert!(facts.boot_applications.iter().all(|app| app.stage == Stage::Loader));
    assert_eq!(text_lines(&boot()), [Some("/vmlinuz quiet".to_owned())]);
    assert_eq!(facts.files[1].label, FileLabel::Initrd);
    assert_eq!(facts.loaded_files().count(), 2);
    assert_eq!(facts.actions.len(), 3);
    assert_eq!(facts.measurements.len(), boot().len());
}

#[test]
fn registers_that_the_quote_does_not_prove_yield_nothing() {
    let bytes = encode(&boot());
    let log = EventLog::parse(&bytes).unwrap();
    let four = PcrSet::EMPTY.with(PcrIndex::new(4).unwrap());
    let facts = BootFacts::derive(&log, Bank::Sha256, four).unwrap();
    assert!(facts.is_proven(4) && !facts.is_proven(7));
    assert!(facts.secure_boot.is_none() && facts.firmware_versions.is_empty() && facts.loader_texts.is_empty());
    assert_eq!(facts.boot_applications.len(), 2);
    assert!(facts.measurements.iter().all(|measurement| measurement.pcr == 4));
}

#[test]
fn data_that_must_be_measured_and_is_not_is_a_refusal() {
    for (pcr, kind) in [
        (7, EventType::VARIABLE_DRIVER_CONFIG),
        (7, EventType::VARIABLE_AUTHORITY),
        (7, EventType::SEPARATOR),
        (0, EventType::SEPARATOR),
        (4, EventType::EFI_ACTION),
    ] {
        let mut log = boot();
        log[at(pcr, kind, 0)].data[0] ^= 1;
        assert_eq!(code(&log), "tpm.event_log.data_not_measured", "{kind}");
    }
}

#[test]
fn separators_stand_once_in_each_of_pcr_0_to_7_and_report_no_error() {
    for pcr in 0..8 {
        let mut without = boot();
        without.remove(at(pcr, EventType::SEPARATOR, 0));
        assert_eq!(code(&without), "tpm.event_log.separator_missing", "PCR {pcr}");
        assert_eq!(code(&and(&[separator(pcr)])), "tpm.event_log.separator_twice");
        for value in [[0xff; 4], [1, 0, 0, 0]] {
            let failed = bound(pcr, EventType::SEPARATOR, &value);
            assert_eq!(code(&with(at(pcr, EventType::SEPARATOR, 0), failed)), "tpm.event_log.separator_error");
        }
    }
    // Windows closes the registers above 7 with a text
    let closed = and(&[bound(12, EventType::SEPARATOR, b"WBCL"), bound(12, EventType::SEPARATOR, b"e\0v\0i\0l\0")]);
    assert_eq!(text_lines(&closed), [Some("/vmlinuz quiet".into()), Some("evil".into())]);
}

#[test]
fn whatever_pcr_4_holds_is_an_application_unless_it_is_proven_to_be_a_text() {
    for kind in [EventType::BOOT_SERVICES_APPLICATION, EventType::IPL, EventType(0x1234), EventType::ACTION] {
        let facts = facts(&and(&[opaque(4, kind, b"evil", b"Calling EFI Application")])).unwrap();
        assert_eq!(facts.boot_applications.last().unwrap().digest.as_bytes(), sha256(&[b"evil"]), "{kind}");
        assert_eq!(facts.boot_applications.len(), 3);
    }
}

#[test]
fn applications_before_the_separator_say_so() {
    let mut log = boot();
    log.insert(2, opaque(4, EventType::BOOT_SERVICES_APPLICATION, b"firmware application", b""));
    let facts = facts(&log).unwrap();
    assert_eq!(facts.boot_applications[0].stage, Stage::Firmware);
    assert_eq!(facts.boot_applications[1].stage, Stage::Loader);
}

#[test]
fn a_firmware_version_counts_only_bound_and_before_the_separator() {
    let unbound = opaque(0, EventType::S_CRTM_VERSION, b"something", b"2.0");
    assert!(facts(&with(0, unbound)).unwrap().firmware_versions.is_empty());
    let late = bound(0, EventType::S_CRTM_VERSION, b"9.9\0");
    assert_eq!(facts(&and(&[late])).unwrap().firmware_versions.len(), 1);
}

#[test]
fn a_kernel_command_line_cannot_hide_behind_another_label() {
    let line = at(8, EventType::IPL, 1);
    for label in ["grub_cmd", "module_cmdline", "anything"] {
        assert_eq!(
            text_lines(&with(line, grub(label, "/vmlinuz init=/bin/sh"))),
            [Some("/vmlinuz init=/bin/sh".into())]
        );
    }
    for path in ["(hd0,gpt2)/vmlinuz evil", "+7 evil", "0+7 evil", "\\x evil"] {
        assert_eq!(text_lines(&with(line, grub("grub_cmd", path))), [Some(path.to_owned())]);
    }
    // text under another digest is no text
    assert_eq!(
        text_lines(&with(line, opaque(8, EventType::IPL, b"evil", b"kernel_cmdline: /vmlinuz quiet\0"))),
        [None]
    );
    assert_eq!(text_lines(&with(line, opaque(8, EventType::IPL, b"evil", b"grub_cmd: boot\0"))), [None]);
    assert_eq!(text_lines(&with(line, opaque(8, EventType(0x99), b"/vmlinuz evil", b""))), [None]);
}

#[test]
fn grub_of_rhel_8_measures_its_terminator() {
    let old = opaque(8, EventType::IPL, b"/vmlinuz quiet\0", b"grub_kernel_cmdline /vmlinuz quiet\0");
    assert_eq!(text_lines(&with(at(8, EventType::IPL, 1), old)), [Some("/vmlinuz quiet".into())]);
}

#[test]
fn options_that_systemd_stub_was_given_are_command_lines() {
    let wide: Vec<u8> = "quiet\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let facts = facts(&and(&[bound(12, EventType::IPL, &wide), opaque(12, EventType::IPL, b"addon", &wide)])).unwrap();
    let lines: Vec<_> = facts.command_lines().filter(|line| line.source == CommandLineSource::SystemdStub).collect();
    assert_eq!(lines[0].text.as_deref(), Some("quiet"));
    assert!(lines[0].is("quiet") && !lines[0].is("quiet "));
    assert_eq!(lines[1].text, None);
    assert!(!lines[1].is("quiet"));
}

#[test]
fn load_options_are_compared_by_digest() {
    let options = load_options_digest(Bank::Sha256, "quiet initrd=initrd");
    let data = b"\xed\x22\x3b\x8f\x1a\0\0\0LOADED_IMAGE::LoadOptions\0".to_vec();
    let digest = options.as_bytes().to_vec();
    let facts = facts(&and(&[Entry { pcr: 9, kind: EventType::EVENT_TAG, digest, data }])).unwrap();
    let line = facts.command_lines().find(|line| line.source == CommandLineSource::LoadOptions).unwrap();
    assert_eq!((line.text.as_deref(), line.event), (None, 26));
    assert!(line.is("quiet initrd=initrd"));
    assert!(!line.is("quiet"));
    assert_eq!(facts.loaded_files().count(), 2);
}

#[test]
fn load_options_under_another_label_stand_among_the_loaded_files() {
    let evil = opaque(9, EventType::IPL, b"evil options", b"/boot/grub/grub.cfg\0");
    let facts = facts(&and(&[evil])).unwrap();
    assert!(facts.loaded_files().any(|file| file.digest.as_bytes() == sha256(&[b"evil options"])));
}

#[test]
fn uki_sections_are_named_by_their_digests_and_not_by_their_labels() {
    let name = |name: &str| opaque(11, EventType::IPL, &[name.as_bytes(), b"\0"].concat(), b"label");
    let contents = |text: &str| opaque(11, EventType::IPL, text.as_bytes(), b"label");
    let sections = [name(".linux"), contents("kernel"), name(".cmdline"), contents("quiet"), contents("stray")];
    let facts = facts(&and(&sections)).unwrap();
    let found: Vec<_> = facts.uki_sections.iter().map(|section| section.name).collect();
    assert_eq!(found, [Some(".linux"), Some(".cmdline"), None]);
    assert_eq!(facts.uki_sections[1].digest.as_bytes(), sha256(&[b"quiet"]));
}

#[test]
fn boot_variables_are_bound_whole_or_by_contents_alone() {
    let data = variable(Guid::EFI_GLOBAL, "BootOrder", &[1, 0]);
    let whole = bound(1, EventType::VARIABLE_BOOT, &data);
    let contents = opaque(1, EventType::VARIABLE_BOOT, &[1, 0], &data);
    let neither = opaque(1, EventType::VARIABLE_BOOT, &[2, 0], &data);
    let facts = facts(&and(&[whole, contents])).unwrap();
    assert_eq!(facts.boot_variables.len(), 2);
    assert_ne!(facts.boot_variables[0].name, facts.boot_variables[1].name);
    assert_eq!(code(&and(&[neither])), "tpm.event_log.data_not_measured");
}

// PCR 7

const VARIABLES: std::ops::Range<usize> = 2..7;

fn driver_config(owner: Guid, name: &str, data: &[u8]) -> Entry {
    bound(7, EventType::VARIABLE_DRIVER_CONFIG, &variable(owner, name, data))
}

#[test]
fn secure_boot_is_off_for_nothing_and_zero_and_refused_for_other_values() {
    for (value, expected) in
        [(&[1][..], Some(true)), (&[0], Some(false)), (&[], Some(false)), (&[2], None), (&[1, 0], None)]
    {
        let log = with(VARIABLES.start, driver_config(Guid::EFI_GLOBAL, "SecureBoot", value));
        match expected {
            Some(enabled) => assert_eq!(facts(&log).unwrap().secure_boot.unwrap().enabled, enabled),
            None => assert_eq!(code(&log), "tpm.secure_boot.value"),
        }
    }
}

#[test]
fn variables_of_pcr_7_stand_once_in_order_under_their_owners() {
    for at in VARIABLES {
        let mut missing = boot();
        missing.remove(at);
        assert_eq!(code(&missing), "tpm.secure_boot.order", "without {at}");
        let mut doubled = boot();
        doubled.insert(at, doubled[at].clone());
        assert_eq!(code(&doubled), "tpm.secure_boot.order", "{at} twice");
        if at + 1 < VARIABLES.end {
            let mut swapped = boot();
            swapped.swap(at, at + 1);
            assert_eq!(code(&swapped), "tpm.secure_boot.order", "{at} swapped");
        }
    }
    let foreign = driver_config(Guid::SHIM, "SecureBoot", &[1]);
    assert_eq!(code(&with(VARIABLES.start, foreign)), "tpm.secure_boot.order");
    let long = driver_config(Guid::EFI_GLOBAL, "SecureBootX", &[1]);
    assert_eq!(code(&with(VARIABLES.start, long)), "tpm.secure_boot.order");
}

#[test]
fn dbt_and_dbr_may_follow_in_that_order() {
    let list = signature_list(X509_GUID, &[&certificate(9)]);
    let database = |name| driver_config(Guid::IMAGE_SECURITY_DATABASE, name, &list);
    let insert = |entries: &[Entry]| {
        let mut log = boot();
        log.splice(VARIABLES.end..VARIABLES.end, entries.to_vec());
        log
    };
    let both = facts(&insert(&[database("dbt"), database("dbr")])).unwrap().secure_boot.unwrap();
    assert!(both.dbt.is_some() && both.dbr.is_some());
    for bad in [["dbr", "dbt"], ["dbt", "dbt"], ["dbr", "dbr"], ["dbx", "dbt"]] {
        assert_eq!(code(&insert(&bad.map(database))), "tpm.secure_boot.order", "{bad:?}");
    }
}

#[test]
fn pcr_7_holds_nothing_but_its_grammar() {
    for stranger in [
        bound(7, EventType::IPL, b"x"),
        bound(7, EventType::EFI_ACTION, b"something"),
        opaque(7, EventType::BOOT_SERVICES_APPLICATION, b"x", b"x"),
        driver_config(Guid::EFI_GLOBAL, "SecureBoot", &[1]),
        driver_config(Guid::IMAGE_SECURITY_DATABASE, "dbt", &[]),
        bound(7, EventType::EFI_ACTION, b"DMA Protection Disabled"),
    ] {
        assert_eq!(code(&and(std::slice::from_ref(&stranger))), "tpm.secure_boot.order", "{:?}", stranger.kind);
    }
    let mut early = boot();
    early.insert(VARIABLES.start, authority());
    assert_eq!(code(&early), "tpm.secure_boot.order");
    let cut: Vec<_> = boot().into_iter().filter(|entry| entry.pcr != 7 || entry.kind != EventType::SEPARATOR).collect();
    assert_ne!(code(&cut[..VARIABLES.end]), "accepted");
}

#[test]
fn a_driver_may_be_vouched_for_before_the_separator() {
    let mut log = boot();
    log.insert(VARIABLES.end, authority());
    let secure_boot = facts(&log).unwrap().secure_boot.unwrap();
    assert_eq!(secure_boot.authorities.iter().map(|a| a.stage).collect::<Vec<_>>(), [Stage::Firmware, Stage::Loader]);
    log.insert(VARIABLES.end + 1, driver_config(Guid::IMAGE_SECURITY_DATABASE, "dbt", &[]));
    assert_eq!(code(&log), "tpm.secure_boot.order");
}

#[test]
fn debug_mode_is_a_refusal_and_missing_dma_protection_a_fact() {
    let insert = |text: &[u8]| {
        let mut log = boot();
        log.insert(VARIABLES.end, bound(7, EventType::EFI_ACTION, text));
        log
    };
    assert_eq!(code(&insert(b"UEFI Debug Mode")), "tpm.secure_boot.debug_mode");
    let facts = facts(&insert(b"DMA Protection Disabled")).unwrap();
    assert_eq!(facts.secure_boot.unwrap().dma_protection_disabled, Some(8));
}

#[test]
fn an_authority_by_old_shim_lacks_its_last_byte_and_nothing_else() {
    let data = variable(Guid::SHIM, "Shim", &certificate(7));
    let padded = [data.clone(), vec![0; 6]].concat();
    let old = opaque(7, EventType::VARIABLE_AUTHORITY, &padded[..padded.len() - 1], &padded);
    let secure_boot = facts(&and(&[old])).unwrap().secure_boot.unwrap();
    assert_eq!(secure_boot.authorities[1].certificate_sha256, Some(sha256(&[&certificate(7)])));
    let shorter = opaque(7, EventType::VARIABLE_AUTHORITY, &padded[..padded.len() - 2], &padded);
    assert_eq!(code(&and(&[shorter])), "tpm.event_log.data_not_measured");
    let long = [data, vec![0; 9]].concat();
    assert_eq!(code(&and(&[bound(7, EventType::VARIABLE_AUTHORITY, &long)])), "tpm.event_log.bad_data");
}

#[test]
fn the_sbat_level_is_text() {
    let sbat = variable(Guid::SHIM, "SbatLevel", b"sbat,1,2021030218\n");
    let facts = facts(&and(&[bound(7, EventType::VARIABLE_AUTHORITY, &sbat)])).unwrap();
    assert_eq!(facts.secure_boot.unwrap().sbat_level(), Some((26, "sbat,1,2021030218\n")));
}

#[test]
fn signature_lists_are_read_to_the_last_byte() {
    let good = signature_list(SHA256_GUID, &[&[7; 32], &[8; 32]]);
    let db = |data: &[u8]| with(VARIABLES.start + 3, driver_config(Guid::IMAGE_SECURITY_DATABASE, "db", data));
    assert_eq!(facts(&db(&[good.clone(), good.clone()].concat())).unwrap().secure_boot.unwrap().db.entries.len(), 4);
    assert_eq!(facts(&db(&[])).unwrap().secure_boot.unwrap().db.entries.len(), 0);
    let changed = |at: usize, value: u8| {
        let mut list = good.clone();
        list[at] = value;
        list
    };
    for bad in [
        good[..20].to_vec(),
        good[..good.len() - 1].to_vec(),
        [good.clone(), vec![0]].concat(),
        changed(16, 27),
        changed(20, 1),
        changed(24, 0),
        changed(24, 16),
        changed(24, 47),
        changed(23, 0xff),
        signature_list(SHA256_GUID, &[&[7; 31]]),
    ] {
        assert_eq!(code(&db(&bad)), "tpm.secure_boot.signature_list");
    }
}
