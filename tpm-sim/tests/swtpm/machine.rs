use holdfast_tpm_sim::{Bank, Machine, Powered, Profile, Vendor, log};

fn booted(profile: &str) -> (tempfile::TempDir, Powered) {
    let directory = tempfile::tempdir().unwrap();
    let vendor = Vendor::ephemeral().unwrap();
    let machine = Machine::manufacture(&directory.path().join("m"), &vendor, 0).unwrap();
    let machine = machine.start(&Profile::load(profile).unwrap()).unwrap();
    (directory, machine)
}

fn assert_pcrs_are_the_log(machine: &Powered) {
    for bank in Bank::ALL {
        for (pcr, value) in log::replay(machine.events(), bank, machine.profile().firmware.locality) {
            assert_eq!(machine.pcr(bank, pcr).unwrap(), value, "{} PCR {pcr}", bank.name());
        }
    }
}

#[test]
fn pcrs_equal_the_replayed_log() {
    let start = std::time::Instant::now();
    let (_directory, mut machine) = booted("shim-grub");
    eprintln!("{:?}", start.elapsed());
    assert_pcrs_are_the_log(&machine);
    let start = std::time::Instant::now();
    machine.reboot(&Profile::load("uki").unwrap()).unwrap();
    eprintln!("{:?}", start.elapsed());
    assert_pcrs_are_the_log(&machine);
    eprintln!("{:?}", machine.clock());
    eprintln!("{:?}", machine.tcti());
    if let Ok(wait) = std::env::var("WAIT") {
        eprintln!("{}", machine.firmware_log_path().display());
        std::thread::sleep(std::time::Duration::from_secs(wait.parse().unwrap()));
    }
}
