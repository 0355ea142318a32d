//! Machines manufactured, booted, rebooted, suspended, cleared, rolled back, copied.

use holdfast_tpm_sim::{Bank, Change, Machine, Powered, Vendor, log, profile};

use crate::{booted, factory, profile_of};

fn assert_pcrs_are_the_log(machine: &Powered) {
    let banks = &machine.profile().firmware.banks;
    let replays =
        banks.iter().map(|bank| (*bank, log::replay(machine.events(), *bank, machine.profile().firmware.locality)));
    for (bank, values) in replays {
        for (pcr, value) in values {
            assert_eq!(machine.pcr(bank, pcr).unwrap(), value, "{} PCR {pcr}", bank.name());
        }
    }
    let written = std::fs::read(machine.firmware_log_path()).unwrap();
    assert_eq!(written, log::encode(machine.events(), banks));
}

#[test]
fn every_built_in_profile_boots_and_its_log_replays_to_the_pcrs() {
    let (_directory, mut machine) = booted(0, "shim-grub");
    for (name, _) in profile::BUILT_IN {
        machine.reboot(&profile_of(name)).unwrap();
        assert_pcrs_are_the_log(&machine);
    }
}

#[test]
fn a_bank_that_firmware_leaves_alone_stays_empty() {
    let (_directory, machine) = booted(0, "sha1-only");
    for pcr in 0..8 {
        assert_eq!(machine.pcr(Bank::Sha256, pcr).unwrap(), [0; 32]);
        assert_ne!(machine.pcr(Bank::Sha1, pcr).unwrap(), [0; 20]);
    }
}

#[test]
fn a_reboot_raises_reset_count_by_one_and_keeps_the_ports() {
    let (_directory, mut machine) = booted(0, "shim-grub");
    let (before, port) = (machine.clock().unwrap(), machine.port());
    machine.extend(16, b"something").unwrap();
    machine.reboot(&profile_of("uki")).unwrap();
    let after = machine.clock().unwrap();
    assert_eq!(after.reset_count, before.reset_count + 1);
    assert!(after.safe && after.clock >= before.clock);
    assert_eq!(machine.port(), port);
    assert_eq!(machine.pcr(Bank::Sha256, 16).unwrap(), [0; 32]);
}

#[test]
fn a_power_cut_raises_reset_count_too() {
    let (_directory, mut machine) = booted(0, "shim-grub");
    let before = machine.clock().unwrap();
    machine.cut_power(&profile_of("shim-grub")).unwrap();
    assert_eq!(machine.clock().unwrap().reset_count, before.reset_count + 1);
    assert_pcrs_are_the_log(&machine);
}

#[test]
fn a_suspend_keeps_the_pcrs_and_raises_restart_count() {
    let (_directory, mut machine) = booted(0, "shim-grub");
    let before = machine.clock().unwrap();
    machine.suspend().unwrap();
    let after = machine.clock().unwrap();
    assert_eq!((after.reset_count, after.restart_count), (before.reset_count, before.restart_count + 1));
    assert_pcrs_are_the_log(&machine);
}

#[test]
fn clearing_takes_the_counters_back_and_keeps_the_certificates() {
    let (_directory, mut machine) = booted(0, "shim-grub");
    machine.reboot(&profile_of("shim-grub")).unwrap();
    let before = machine.clock().unwrap();
    machine.clear(&profile_of("shim-grub")).unwrap();
    let after = machine.clock().unwrap();
    assert!(after.reset_count < before.reset_count, "{after:?} after {before:?}");
    assert_pcrs_are_the_log(&machine);
    machine.reboot(&profile_of("shim-grub")).unwrap();
}

#[test]
fn rolling_back_takes_the_counters_back() {
    let (directory, mut machine) = booted(0, "shim-grub");
    let snapshot = directory.path().join("snapshot");
    machine.snapshot(&snapshot).unwrap();
    let at_snapshot = machine.clock().unwrap();
    for _ in 0..3 {
        machine.reboot(&profile_of("shim-grub")).unwrap();
    }
    machine.rollback(&snapshot, &profile_of("shim-grub")).unwrap();
    assert_eq!(machine.clock().unwrap().reset_count, at_snapshot.reset_count + 1);
    assert_pcrs_are_the_log(&machine);
}

#[test]
fn a_stopped_machine_goes_on_where_it_stopped() {
    let (_directory, machine) = booted(0, "shim-grub");
    let before = machine.clock().unwrap();
    let machine = machine.stop().unwrap().start(&profile_of("shim-grub")).unwrap();
    let after = machine.clock().unwrap();
    assert_eq!(after.reset_count, before.reset_count + 1);
    assert!(after.clock >= before.clock);
}

#[test]
fn machines_differ_and_copies_do_not() {
    let (directory, first) = booted(0, "shim-grub");
    let second = factory().machine(1, &directory.path().join("second")).unwrap();
    let twin = Machine::copy_of(first.directory(), &directory.path().join("twin")).unwrap();
    assert_eq!(twin.endorsements(), first.endorsements());
    for (one, other) in first.endorsements().iter().zip(second.endorsements()) {
        assert_ne!(one.spki_sha256(), other.spki_sha256());
        assert_ne!(one.certificate_sha256(), other.certificate_sha256());
    }
    let twin = twin.start(&profile_of("shim-grub")).unwrap();
    assert_ne!(twin.port(), first.port());
    assert_eq!(twin.vendor_root_pem(), second.vendor_root_pem());
}

#[test]
fn a_machine_is_not_manufactured_twice_in_one_place() {
    let directory = tempfile::tempdir().unwrap();
    let vendor = Vendor::ephemeral().unwrap();
    let place = directory.path().join("machine");
    Machine::manufacture(&place, &vendor, 7).unwrap();
    assert_eq!(Machine::manufacture(&place, &vendor, 7).unwrap_err().code(), "sim.not_ours");
    assert_eq!(Machine::open(&place).unwrap().index(), 7);
    assert_eq!(Machine::open(directory.path()).unwrap_err().code(), "sim.not_ours");
}

#[test]
fn dropping_a_machine_ends_its_swtpm() {
    let (_directory, machine) = booted(0, "shim-grub");
    let process = std::path::PathBuf::from(format!("/proc/{}", machine.swtpm_id().unwrap()));
    assert!(process.exists());
    drop(machine);
    assert!(!process.exists());
}

#[test]
fn each_change_moves_the_pcrs_it_is_measured_into_and_no_others() {
    let profile = profile_of("shim-grub");
    let changes = [
        (Change::Kernel("other".into()), &[4, 9][..]),
        (Change::CommandLine("other".into()), &[8]),
        (Change::Initrd("other".into()), &[9]),
        (Change::Firmware("other".into()), &[0]),
        (Change::SecureBootOff, &[7]),
        (Change::AllowedSigner("other".into()), &[7]),
        (Change::RevocationUndone, &[7]),
        (Change::GrubCommand("other".into()), &[8]),
    ];
    let (_directory, mut machine) = booted(0, "shim-grub");
    let pcrs =
        |machine: &Powered| -> Vec<Vec<u8>> { (0..16).map(|pcr| machine.pcr(Bank::Sha256, pcr).unwrap()).collect() };
    let before = pcrs(&machine);
    for (change, expected) in changes {
        machine.reboot(&profile.changed(&change).unwrap()).unwrap();
        let after = pcrs(&machine);
        let moved: Vec<usize> = (0..16).filter(|pcr| before[*pcr] != after[*pcr]).collect();
        assert_eq!(moved, expected, "{change}");
    }
    machine.reboot(&profile).unwrap();
    assert_eq!(pcrs(&machine), before);
    assert_eq!(profile_of("uki").changed(&Change::GrubCommand("other".into())), None);
}
