//! Parser and replay, each rule flipped alone.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod log;
mod vectors;

use holdfast_evidence::tpm::event_log::{BootFacts, EVENT_LOG_BYTES_MAX, EventLog, EventType, Replay, escape};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSet};
use log::{boot, bound, encode, encode_event, opaque, spec_id};
use proptest::prelude::*;

fn refusal(bytes: &[u8]) -> &'static str {
    EventLog::parse(bytes).map_or_else(|refusal| refusal.code(), |_| "accepted")
}

fn pcr(index: u32) -> PcrIndex {
    PcrIndex::new(index).unwrap()
}

/// A log in SHA-1 and SHA-256 with one event that has these digests.
fn with_digests(digests: &[(u16, &[u8])]) -> Vec<u8> {
    let event = encode_event(0, EventType::POST_CODE, digests, b"data");
    [spec_id(&[(4, 20), (0x0b, 32)], &[]), event].concat()
}

#[test]
fn a_log_with_all_its_parts_is_read() {
    let bytes = with_digests(&[(4, &[1; 20]), (0x0b, &[2; 32])]);
    let log = EventLog::parse(&bytes).unwrap();
    let [event] = log.events() else { panic!("{log:?}") };
    assert_eq!((event.index, event.pcr, event.kind, event.data), (1, 0, EventType::POST_CODE, &b"data"[..]));
    assert_eq!(event.digest(Bank::Sha256), Some(&[2; 32][..]));
    assert_eq!(event.digest(Bank::Sha384), None);
    assert_eq!(log.banks().collect::<Vec<_>>(), [Bank::Sha256]);
}

#[test]
fn an_empty_log_and_one_beyond_the_limit_are_refused() {
    assert_eq!(refusal(&[]), "tpm.event_log.empty");
    assert_eq!(refusal(&vec![0; EVENT_LOG_BYTES_MAX + 1]), "tpm.event_log.too_long");
    let event = encode_event(0, EventType::POST_CODE, &[(0x0b, &[0; 32])], &[]);
    let many = [spec_id(&[(0x0b, 32)], &[]), event.repeat(4097)].concat();
    assert_eq!(refusal(&many), "tpm.event_log.too_long");
}

#[test]
fn a_sha1_log_of_tcg_1_2_is_refused() {
    let event = [&[0; 4][..], &8_u32.to_le_bytes(), &[7; 20], &2_u32.to_le_bytes(), &[0, 0]].concat();
    assert_eq!(refusal(&event), "tpm.event_log.sha1_only");
}

#[test]
fn the_log_of_another_kind_of_guest_is_told_from_an_old_one() {
    let mut ccel = spec_id(&[(0x0c, 48)], &[]);
    assert_eq!(refusal(&ccel), "accepted");
    ccel[0] = 1;
    assert_eq!(refusal(&ccel), "tpm.event_log.other_registers");
}

#[test]
fn the_spec_id_event_must_hold_together() {
    assert_eq!(refusal(&spec_id(&[(0x0b, 32)], b"vendor")), "accepted");
    for bad in [
        spec_id(&[], &[]),
        spec_id(&[(0x0b, 32), (0x0b, 32)], &[]),
        spec_id(&[(0x0b, 20)], &[]),
        spec_id(&[(0x77, 0)], &[]),
        spec_id(&[(0x77, 65)], &[]),
        spec_id(&(0..17).map(|n| (0x100 + n, 32)).collect::<Vec<_>>(), &[]),
    ] {
        assert_eq!(refusal(&bad), "tpm.event_log.spec_id");
    }
    let mut longer = spec_id(&[(0x0b, 32)], &[]);
    longer[28] += 1;
    longer.push(0);
    assert_eq!(refusal(&longer), "tpm.event_log.spec_id");
    let mut shorter = spec_id(&[(0x0b, 32)], b"vendor");
    shorter[28] -= 1;
    assert_eq!(refusal(&shorter), "tpm.event_log.truncated");
}

#[test]
fn digests_must_be_those_the_spec_id_event_declares() {
    assert_eq!(refusal(&with_digests(&[(0x0b, &[2; 32])])), "accepted");
    for bad in [
        with_digests(&[]),
        with_digests(&[(0x0c, &[2; 48])]),
        with_digests(&[(0x0b, &[2; 32]), (0x0b, &[3; 32])]),
        with_digests(&[(4, &[1; 20]), (0x0b, &[2; 32]), (0x0b, &[2; 32])]),
    ] {
        assert_eq!(refusal(&bad), "tpm.event_log.digests");
    }
}

#[test]
fn a_log_cut_anywhere_inside_an_event_is_refused() {
    let bytes = encode(&boot());
    let log = EventLog::parse(&bytes).unwrap();
    let whole = log.events().len();
    for end in 1..bytes.len() {
        match EventLog::parse(&bytes[..end]) {
            Ok(log) => assert!(log.events().len() < whole),
            Err(refusal) => assert!(matches!(refusal.code(), "tpm.event_log.truncated"), "{end} {refusal}"),
        }
    }
}

#[test]
fn a_length_beyond_the_end_is_refused() {
    for length in [5, 0x7fff_ffff, 0xffff_ffff_u32] {
        let mut bytes = with_digests(&[(0x0b, &[2; 32])]);
        let at = bytes.len() - 8;
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(refusal(&bytes), "tpm.event_log.truncated");
    }
}

#[test]
fn padding_to_the_end_is_cut_and_anything_in_it_refused() {
    let bytes = encode(&boot());
    for fill in [0, 0xff] {
        for length in [1, 3, 4, 11, 12, 4096] {
            let padded = [bytes.clone(), vec![fill; length]].concat();
            assert_eq!(EventLog::parse(&padded).unwrap().events().len(), boot().len());
        }
        let mut spoiled = [bytes.clone(), vec![fill; 4096]].concat();
        *spoiled.last_mut().unwrap() ^= 1;
        assert_ne!(refusal(&spoiled), "accepted");
    }
}

#[test]
fn a_register_that_no_tpm_has_is_refused() {
    assert_eq!(refusal(&encode(&[bound(23, EventType::IPL, b"x")])), "accepted");
    assert_eq!(refusal(&encode(&[bound(24, EventType::IPL, b"x")])), "tpm.event_log.pcr_index");
    assert_eq!(refusal(&encode(&[bound(24, EventType::NO_ACTION, b"x")])), "accepted");
}

fn locality(value: &[u8]) -> log::Entry {
    bound(0, EventType::NO_ACTION, &[b"StartupLocality\0", value].concat())
}

#[test]
fn startup_locality_is_one_byte_once_and_first() {
    let event = bound(0, EventType::POST_CODE, b"x");
    let code = |events: &[log::Entry]| refusal(&encode(events));
    for good in [0, 3, 4] {
        assert_eq!(code(&[locality(&[good]), event.clone()]), "accepted");
    }
    for bad in [&[1][..], &[5], &[], &[3, 0]] {
        assert_eq!(code(&[locality(bad), event.clone()]), "tpm.event_log.startup_locality");
    }
    assert_eq!(code(&[locality(&[3]), locality(&[3]), event.clone()]), "tpm.event_log.startup_locality");
    assert_eq!(code(&[event, locality(&[3])]), "tpm.event_log.startup_locality");
}

fn replay(events: &[log::Entry]) -> Replay {
    EventLog::parse(&encode(events)).unwrap().replay(Bank::Sha256).unwrap()
}

/// SHA-256(start ‖ digest), the start being zeros and a last byte.
fn extended(last: u8, entry: &log::Entry) -> String {
    let mut start = [0; 32];
    start[31] = last;
    Bank::Sha256.digest(&[&start, &entry.digest]).to_string()
}

#[test]
fn pcr_0_starts_with_the_locality_of_start_up() {
    let event = bound(0, EventType::POST_CODE, b"x");
    let value = |events: &[log::Entry]| replay(events).value(pcr(0)).to_string();
    assert_eq!(value(std::slice::from_ref(&event)), extended(0, &event));
    assert_eq!(value(&[locality(&[3]), event.clone()]), extended(3, &event));
    let hcrtm = bound(0, EventType::HCRTM_EVENT, b"HCRTM");
    assert_eq!(value(std::slice::from_ref(&hcrtm)), extended(4, &hcrtm));
}

#[test]
fn informative_events_are_never_extended() {
    let event = bound(0, EventType::POST_CODE, b"x");
    let with = [bound(0, EventType::NO_ACTION, b"SP800-155 Event3"), event.clone()];
    assert_eq!(replay(&with).value(pcr(0)), replay(&[event]).value(pcr(0)));
}

#[test]
fn registers_without_events_keep_their_start_value_and_say_so() {
    let replay = replay(&[bound(0, EventType::POST_CODE, b"x"), bound(17, EventType::POST_CODE, b"x")]);
    assert_eq!(replay.extended(), [pcr(0), pcr(17)].into_iter().collect::<PcrSet>());
    assert!(replay.value(pcr(1)).is_zero());
    assert_eq!(replay.value(pcr(22)).as_bytes(), [0xff; 32]);
    let start = [0xff; 32];
    let entry = bound(17, EventType::POST_CODE, b"x");
    assert_eq!(replay.value(pcr(17)), Bank::Sha256.digest(&[&start, &entry.digest]));
}

#[test]
fn a_bank_that_is_missing_or_unused_is_refused() {
    let code = |bytes: &[u8], bank| EventLog::parse(bytes).unwrap().replay(bank).map_err(|error| error.code());
    assert_eq!(code(&encode(&boot()), Bank::Sha384).unwrap_err(), "tpm.event_log.bank_missing");
    let partly = [with_digests(&[(0x0b, &[2; 32])]), encode_event(1, EventType::IPL, &[(4, &[1; 20])], &[])].concat();
    assert_eq!(code(&partly, Bank::Sha256).unwrap_err(), "tpm.event_log.bank_missing");
    assert_eq!(code(&spec_id(&[(0x0b, 32)], &[]), Bank::Sha256).unwrap_err(), "tpm.event_log.bank_unused");
    let late = encode(&[opaque(8, EventType::IPL, b"x", b"x")]);
    assert_eq!(code(&late, Bank::Sha256).unwrap_err(), "tpm.event_log.bank_unused");
}

#[test]
fn every_flipped_digest_bit_moves_its_register() {
    let whole = replay(&boot());
    for at in 0..boot().len() {
        let mut log = boot();
        log[at].digest[7] ^= 0x10;
        assert_ne!(replay(&log).value(pcr(log[at].pcr)), whole.value(pcr(log[at].pcr)));
    }
}

#[test]
fn a_hostile_text_is_harmless_when_rendered() {
    let hostile = "\u{1b}[2J\u{202e}</script>\n=cmd|' /C calc'!A0\\\u{9b}";
    let bytes = encode(&[bound(4, EventType::EFI_ACTION, hostile.as_bytes())]);
    let view = EventLog::parse(&bytes).unwrap().views(Bank::Sha256).next().unwrap();
    assert!(view.description.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", view.description);
    assert!(view.description.starts_with("\\u{1b}[2J\\u{202e}</script>\\u{a}"));
    assert_eq!(escape("a\\b"), "a\\\\b");
}

/// Everything that is ever done with a log.
fn use_fully(bytes: &[u8]) {
    let Ok(log) = EventLog::parse(bytes) else { return };
    for bank in Bank::ALL {
        let _ = log.replay(bank);
        let _ = log.views(bank).map(|view| view.description.len()).sum::<usize>();
        if let Ok(facts) = BootFacts::derive(&log, bank, PcrIndex::all().collect()) {
            let _ = facts.command_lines().filter(|line| line.is("quiet")).count();
        }
    }
}

/// Real logs where there are some, and the written one.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![encode(&boot())];
    if let Some(folder) = vectors::folder() {
        for file in vectors::files_below(&folder.join("vm")) {
            if file.ends_with("binary_bios_measurements") {
                seeds.push(std::fs::read(file).unwrap());
            }
        }
    }
    seeds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        use_fully(&bytes);
        use_fully(&[spec_id(&[(4, 20), (0x0b, 32)], &[]), bytes].concat());
    }

    #[test]
    fn no_mutation_of_a_log_makes_it_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
        end in any::<bool>(),
    ) {
        for mut bytes in seeds() {
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            if end {
                bytes.truncate(cut.index(bytes.len()));
            }
            use_fully(&bytes);
        }
    }
}
