//! tpm2-tools and openssl look at what the simulator makes.

use std::collections::BTreeMap;

use holdfast_tpm_sim::{Bank, CommandCode, EkAlgorithm, log, profile};

use crate::{booted, judge, profile_of};

/// The PCRs that tpm2_eventlog replays, by bank.
fn replayed(text: &str) -> BTreeMap<(String, u32), String> {
    let mut bank = String::new();
    let mut values = BTreeMap::new();
    for line in text.lines().skip_while(|line| !line.starts_with("pcrs:")).skip(1) {
        match line.trim().split_once(':') {
            Some((name, "")) => bank = name.trim().to_owned(),
            Some((pcr, value)) => {
                let value = value.trim().trim_start_matches("0x").to_owned();
                values.insert((bank.clone(), pcr.trim().parse().unwrap()), value);
            }
            None => {}
        }
    }
    values
}

#[test]
fn tpm2_eventlog_reads_every_profile_and_replays_to_the_same_pcrs() {
    let (_directory, mut machine) = booted(0, "shim-grub");
    for (name, _) in profile::BUILT_IN {
        machine.reboot(&profile_of(name)).unwrap();
        let path = machine.firmware_log_path();
        let Some(text) = judge("tpm2_eventlog", &[path.to_str().unwrap()], &[]) else { return };
        assert_eq!(text.matches("EventNum").count(), machine.events().len() + 1);
        for event in machine.events() {
            assert!(text.contains(log::event_type::name(event.kind)), "{name}: no {}", event.kind);
        }
        let values = replayed(&text);
        assert!(!values.is_empty());
        for ((bank, pcr), value) in values {
            if (pcr, machine.profile().firmware.locality) == (0, 3) {
                continue; // tpm2-tools before 5.5 does not know StartupLocality
            }
            let bank = Bank::ALL.into_iter().find(|known| known.name() == bank).unwrap();
            assert_eq!(hex::encode(machine.pcr(bank, pcr).unwrap()), value, "{name}: {} PCR {pcr}", bank.name());
        }
    }
}

#[test]
fn tpm2_tools_read_the_pcrs_and_the_certificates_of_a_running_machine() {
    let (directory, machine) = booted(0, "shim-grub");
    let tcti = format!("swtpm:{}", machine.tcti());
    let environment = [("TPM2TOOLS_TCTI", tcti.as_str())];
    let Some(text) = judge("tpm2_pcrread", &["sha256:4,7"], &environment) else { return };
    for pcr in [4, 7] {
        assert!(text.contains(&hex::encode_upper(machine.pcr(Bank::Sha256, pcr).unwrap())), "{text}");
    }
    for ek in machine.endorsements() {
        let file = directory.path().join("certificate");
        let index = format!("0x{:x}", ek.algorithm.certificate_index());
        judge("tpm2_nvread", &[&index, "-o", file.to_str().unwrap()], &environment).unwrap();
        assert_eq!(std::fs::read(file).unwrap(), ek.certificate);
    }
    let chain = directory.path().join("chain");
    judge("tpm2_nvread", &["0x1c00100", "-o", chain.to_str().unwrap()], &environment).unwrap();
    assert!(machine.commands()[&CommandCode(0x14e)] >= 3, "NV_Read was not counted");
}

#[test]
fn tpm2_tools_derive_the_certified_keys_again_even_after_clearing() {
    let (directory, mut machine) = booted(0, "shim-grub");
    machine.clear(&profile_of("shim-grub")).unwrap();
    let tcti = format!("swtpm:{}", machine.tcti());
    let environment = [("TPM2TOOLS_TCTI", tcti.as_str())];
    for (name, algorithm) in [("rsa", EkAlgorithm::Rsa2048), ("ecc", EkAlgorithm::P256)] {
        let context = directory.path().join("context");
        let public = directory.path().join("public");
        let (context, public) = (context.to_str().unwrap(), public.to_str().unwrap());
        let created = judge("tpm2_createek", &["-G", name, "-c", context, "-u", public], &environment);
        let Some(_) = created else { return };
        let _ = judge("tpm2_flushcontext", &["-t"], &environment);
        let ek = machine.endorsement(algorithm).unwrap();
        assert_eq!(std::fs::read(public).unwrap(), ek.public);
        let printed = judge("tpm2_print", &["-t", "TPM2B_PUBLIC", public], &[]).unwrap();
        assert!(printed.contains("0x300b2"), "{printed}");
        let pem = judge("tpm2_print", &["-t", "TPM2B_PUBLIC", "-f", "pem", public], &[]).unwrap();
        let certificate = directory.path().join("certificate.pem");
        std::fs::write(&certificate, ek.certificate_pem()).unwrap();
        let certified = judge("openssl", &["x509", "-in", certificate.to_str().unwrap(), "-noout", "-pubkey"], &[]);
        let Some(certified) = certified else { return };
        assert!(pem.contains(certified.trim()), "certificate holds another key than the TPM");
    }
}

#[test]
fn openssl_builds_the_chain_from_each_certificate_to_the_root() {
    let (directory, machine) = booted(0, "shim-grub");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let root = write("root.pem", machine.vendor_root_pem());
    let issuing = write("issuing.pem", machine.vendor_issuing_pem());
    for ek in machine.endorsements() {
        let leaf = write("leaf.pem", &ek.certificate_pem());
        let arguments = ["verify", "-x509_strict", "-CAfile", &root, "-untrusted", &issuing, &leaf];
        let Some(_) = judge("openssl", &arguments, &[]) else { return };
        let text = judge("openssl", &["x509", "-in", &leaf, "-noout", "-text"], &[]).unwrap();
        for expected in ["2.23.133.8.1", "2.23.133.2.1=id:484F4C44", "2.23.133.2.2=holdfast-tpm-sim", "CA:FALSE"] {
            assert!(text.contains(expected), "{expected} is missing: {text}");
        }
    }
}
