//! Any byte of a proof, changed, left out or exchanged with the next: no such file proves anything.

use holdfast_proof::{Conclusion, ProofBundle};

use crate::sample::{checked, file};

/// Whether somebody who reads these bytes would believe them.
fn is_believed(bytes: &[u8]) -> bool {
    ProofBundle::parse(bytes).is_ok_and(|bundle| checked(&bundle).conclusion == Conclusion::Proven)
}

/// Every `step`th byte of everything but bodies, whose bytes are of two classes: names, and what they name.
fn places(file: &[u8], step: usize) -> Vec<usize> {
    let needle = b"\"bodies\":[";
    let bodies = file.windows(needle.len()).position(|window| window == needle).unwrap();
    let named = (bodies..file.len()).step_by(step * 37);
    (0..bodies + 200).step_by(step).chain(named).chain(file.len() - 20..file.len()).collect()
}

#[test]
fn no_byte_of_any_part_can_be_changed() {
    for (name, step) in [("admitted", 2), ("renewed", 7), ("refused-evidence", 7), ("refused-policy", 5)] {
        let intact = file(name);
        assert!(is_believed(&intact), "{name}");
        for at in places(&intact, step) {
            let mut changed = intact.clone();
            // Another letter of the same kind, so that the file still reads.
            changed[at] = match intact[at] {
                b'z' | b'Z' | b'9' => intact[at] - 1,
                letter if letter.is_ascii_alphanumeric() => letter + 1,
                other => other ^ 1,
            };
            assert!(!is_believed(&changed), "{name}: byte {at}");
        }
    }
}

#[test]
fn no_byte_can_be_left_out_doubled_or_exchanged_with_its_neighbour() {
    for name in ["renewed", "refused-policy"] {
        let intact = file(name);
        for at in places(&intact, 17) {
            let mut cut = intact.clone();
            cut.remove(at);
            let mut doubled = intact.clone();
            doubled.insert(at, intact[at]);
            let mut blank = intact.clone();
            blank.insert(at, b' ');
            for changed in [cut, doubled, blank] {
                assert!(!is_believed(&changed), "{name}: byte {at}");
            }
            let mut exchanged = intact.clone();
            if at + 1 < exchanged.len() && exchanged[at] != exchanged[at + 1] {
                exchanged.swap(at, at + 1);
                assert!(!is_believed(&exchanged), "{name}: bytes {at} and the next");
            }
        }
        for end in (0..intact.len()).step_by(211) {
            assert!(!is_believed(&intact[..end]), "{name}: cut at {end}");
        }
    }
}

#[test]
fn bodies_and_policies_have_one_order() {
    let bundle = ProofBundle::parse(&file("admitted")).unwrap();
    for (one, other) in (0..bundle.bodies.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
        let mut exchanged = bundle.clone();
        exchanged.bodies.swap(one, other);
        assert!(ProofBundle::parse(&exchanged.encode()).unwrap_err().reason.contains("order"));
        // Names exchanged, and not what they name.
        let mut renamed = bundle.clone();
        renamed.bodies[one].sha256 = bundle.bodies[other].sha256;
        renamed.bodies[other].sha256 = bundle.bodies[one].sha256;
        assert!(!is_believed(&renamed.encode()));
    }
    let mut twice = bundle;
    twice.bodies.insert(0, twice.bodies[0].clone());
    assert_eq!(ProofBundle::parse(&twice.encode()).unwrap_err().code(), "proof.form");
}
