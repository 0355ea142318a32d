//! Lies in the log change the file and nothing else.

use holdfast_tpm_sim::{Bank, LogLie, Powered, log};

use crate::booted;

fn file(machine: &Powered) -> Vec<u8> {
    std::fs::read(machine.firmware_log_path()).unwrap_or_default()
}

#[test]
fn every_lie_changes_the_log_and_leaves_the_pcrs() {
    let (_directory, machine) = booted(0, "shim-grub");
    let (_other_directory, other) = booted(1, "uki");
    let truth = file(&machine);
    let pcrs =
        |machine: &Powered| -> Vec<Vec<u8>> { (0..24).map(|pcr| machine.pcr(Bank::Sha256, pcr).unwrap()).collect() };
    let before = pcrs(&machine);
    let lies = [
        LogLie::Byte(200),
        LogLie::Data(5),
        LogLie::Digest(12),
        LogLie::Relabelled { event: 12, kind: 0x0d },
        LogLie::OtherData { event: 5, data: b"a better story".to_vec() },
        LogLie::Omitted(20),
        LogLie::Repeated(20),
        LogLie::Swapped(4),
        LogLie::Cut(1000),
        LogLie::Trailing(b"more".to_vec()),
        LogLie::Replaced(other.firmware_log_path()),
        LogLie::Empty,
        LogLie::Removed,
    ];
    for lie in lies {
        machine.lie(&lie).unwrap();
        assert_ne!(file(&machine), truth, "{lie:?}");
        machine.tell_the_truth().unwrap();
        assert_eq!(file(&machine), truth);
    }
    assert_eq!(pcrs(&machine), before);
}

#[test]
fn lies_touch_the_event_that_verifiers_number_so() {
    let (_directory, machine) = booted(0, "shim-grub");
    let banks = &machine.profile().firmware.banks;
    let offsets = log::offsets(machine.events(), banks);
    let truth = file(&machine);
    for event in 1..=machine.events().len() {
        machine.lie(&LogLie::Digest(event)).unwrap();
        let lie = file(&machine);
        let changed: Vec<usize> = (0..truth.len()).filter(|at| truth[*at] != lie[*at]).collect();
        assert_eq!(changed.len(), banks.len());
        assert!(changed.iter().all(|at| (offsets[event - 1]..offsets[event]).contains(at)));
    }
}

#[test]
fn a_lie_without_a_place_is_an_error() {
    let (_directory, machine) = booted(0, "shim-grub");
    let last = machine.events().len();
    for lie in
        [LogLie::Data(0), LogLie::Omitted(last + 1), LogLie::Swapped(last), LogLie::Byte(1 << 24), LogLie::Cut(1 << 24)]
    {
        assert_eq!(machine.lie(&lie).unwrap_err().code(), "sim.log.no_place", "{lie:?}");
    }
}
