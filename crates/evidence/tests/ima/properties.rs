//! Whatever is done to a list: nothing panics, and nothing is said that its digests do not prove.

use std::collections::BTreeSet;

use holdfast_evidence::tpm::Bank;
use holdfast_evidence::tpm::ima::{Entry, Measured, Quoted, Template, replay};
use proptest::prelude::*;

use crate::list::{bytes, quoted, sample};
use crate::real::boots;

/// What an entry proves: the hashed data itself, in order, or that there was a violation.
fn proven(log: &[u8], quoted: &Quoted) -> Option<Vec<Vec<u8>>> {
    let replayed = replay(log, None, quoted).ok()?;
    let said = |entry: Entry<'_>| {
        if entry.is_violation() {
            return b"violation".to_vec();
        }
        // What is said must be in the data that is hashed, whatever the template claims to be.
        match Measured::of(&entry) {
            Measured::File { digest, path, .. } | Measured::Buffer { digest, name: path, .. } => {
                assert!(contains(entry.data, digest.bytes()) && contains(entry.data, path));
            }
            Measured::Nothing => {}
        }
        entry.template_hash(quoted.bank).as_bytes().to_vec()
    };
    Some(replayed.entries().map(|entry| said(entry.unwrap())).collect())
}

fn contains(data: &[u8], part: &[u8]) -> bool {
    part.is_empty() || data.windows(part.len()).any(|window| window == part)
}

#[derive(Clone, Debug)]
enum Spoil {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Number(usize, u32),
}

fn spoils() -> impl Strategy<Value = Vec<Spoil>> {
    let one = prop_oneof![
        (any::<usize>(), 1..=255_u8).prop_map(|(at, with)| Spoil::Flip(at, with)),
        any::<usize>().prop_map(Spoil::Cut),
        (any::<usize>(), 1..200_usize).prop_map(|(at, length)| Spoil::Remove(at, length)),
        (any::<usize>(), 1..200_usize).prop_map(|(at, length)| Spoil::Repeat(at, length)),
        (any::<usize>(), prop_oneof![Just(0), Just(u32::MAX), Just(0x7fff_ffff), 0..300_u32])
            .prop_map(|(at, number)| Spoil::Number(at, number)),
    ];
    proptest::collection::vec(one, 1..4)
}

fn spoil(log: &[u8], spoils: &[Spoil]) -> Vec<u8> {
    let mut log = log.to_vec();
    for spoil in spoils {
        let length = log.len();
        let within = |at: usize| at % length.max(1);
        match *spoil {
            _ if length == 0 => {}
            Spoil::Flip(at, with) => log[within(at)] ^= with,
            Spoil::Cut(at) => log.truncate(within(at)),
            Spoil::Remove(at, count) => drop(log.drain(within(at)..(within(at) + count).min(length))),
            Spoil::Repeat(at, count) => {
                let part = log[within(at)..(within(at) + count).min(length)].to_vec();
                log.splice(within(at)..within(at), part);
            }
            Spoil::Number(at, number) => {
                for (slot, byte) in log[within(at)..].iter_mut().zip(number.to_le_bytes()) {
                    *slot = byte;
                }
            }
        }
    }
    log
}

/// Either the spoiled list is refused, or it proves exactly what the genuine one proved.
fn holds(log: &[u8], quoted: &Quoted, spoils: &[Spoil]) {
    let genuine = proven(log, quoted).unwrap();
    if let Some(found) = proven(&spoil(log, spoils), quoted) {
        assert_eq!(found, genuine);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoiled_list_is_refused_or_proves_the_same(spoils in spoils()) {
        holds(&bytes(&sample()), &quoted(&sample()), &spoils);
    }

    #[test]
    fn a_spoiled_real_list_is_refused_or_proves_the_same(spoils in spoils(), which in 0..12_usize) {
        let bank = if which % 2 == 0 { Bank::Sha256 } else { Bank::Sha384 };
        if let Some(boot) = boots(bank).get(which / 2) {
            holds(&boot.log, &boot.quoted(), &spoils);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(log in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = replay(&log, None, &quoted(&sample()));
        for entry in holdfast_evidence::tpm::ima::Entries::new(&log, 0).flatten() {
            let _ = Measured::of(&entry);
        }
    }
}

#[test]
fn every_prefix_of_a_list_is_what_its_pcr_proves_and_no_other() {
    let whole = sample();
    let list = bytes(&whole);
    let mut seen = BTreeSet::new();
    for count in 0..=whole.len() {
        let replayed = replay(&list, None, &quoted(&whole[..count])).unwrap();
        assert_eq!(replayed.count(), count as u64);
        assert!(seen.insert(replayed.resume().pcr));
        assert!(replayed.entries().all(|entry| entry.unwrap().template != Template::Other || count > 7));
    }
}
