//! Reference values are computed from the profile, the log from the boot: they must agree.

use holdfast_tpm_sim::log::event_type::{EV_EFI_BOOT_SERVICES_APPLICATION, EV_EFI_VARIABLE_AUTHORITY};
use holdfast_tpm_sim::{Bank, Change, ReferenceValues, boot, profile};

use crate::profile_of;

fn values(of: &ReferenceValues, fact: &str) -> Vec<String> {
    of.values.get(fact).into_iter().flatten().map(|one| one.value.clone()).collect()
}

#[test]
fn reference_values_are_what_the_log_says() {
    for (name, _) in profile::BUILT_IN {
        let profile = profile_of(name);
        let events = boot::events(&profile).unwrap();
        for bank in [Bank::Sha256, Bank::Sha384] {
            let reference = ReferenceValues::of(&profile, bank).unwrap();
            let started: Vec<String> = events
                .iter()
                .filter(|event| event.kind == EV_EFI_BOOT_SERVICES_APPLICATION)
                .map(|event| hex::encode(event.digests.get(bank)))
                .collect();
            assert_eq!(values(&reference, "tpm.boot.applications"), started, "{name}");
            let authorities = events.iter().filter(|event| event.kind == EV_EFI_VARIABLE_AUTHORITY).count();
            assert_eq!(values(&reference, "tpm.secure_boot.authorities").len(), authorities, "{name}");
            let measured = |digest: &str| events.iter().any(|event| hex::encode(event.digests.get(bank)) == digest);
            for section in values(&reference, "tpm.boot.uki_sections") {
                assert!(measured(section.rsplit(':').next().unwrap()), "{name}: {section}");
            }
            let files = events.iter().filter(|event| event.pcr == 9 && !event.data.ends_with(b"LoadOptions\0"));
            let files: Vec<String> = files.map(|event| hex::encode(event.digests.get(bank))).collect();
            assert_eq!(values(&reference, "tpm.boot.loaded_files"), files, "{name}");
            let texts = events.iter().filter(|event| event.pcr == 8 || event.pcr == 12);
            let texts: Vec<Vec<u8>> = texts.map(|event| event.digests.get(bank).to_vec()).collect();
            let expected = values(&reference, "tpm.boot.loader_texts");
            assert_eq!(expected.len(), texts.len(), "{name}");
            for (text, digest) in expected.iter().zip(texts) {
                assert_eq!(bank.hash(&[text.as_bytes()]), digest, "{name}: {text}");
            }
            for line in values(&reference, "tpm.boot.command_lines") {
                let utf16: Vec<u8> = line.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
                let known = [bank.hash(&[line.as_bytes()]), bank.hash(&[&utf16])];
                assert!(known.iter().any(|digest| measured(&hex::encode(digest))), "{name}: {line}");
            }
        }
    }
}

#[test]
fn reference_values_are_a_file_of_the_policy_language() {
    for (name, _) in profile::BUILT_IN {
        let text = ReferenceValues::of(&profile_of(name), Bank::Sha256).unwrap().to_toml();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["api_version"].as_str(), Some("holdfast/1"));
        assert_eq!(table["kind"].as_str(), Some("reference-values"));
        assert_eq!(table["name"].as_str(), Some(*name));
        assert!(table["values"]["tpm"]["secure_boot"]["enabled"].is_bool());
    }
}

#[test]
fn a_changed_kernel_changes_one_application_and_its_file_and_nothing_else() {
    let good = ReferenceValues::of(&profile_of("shim-grub"), Bank::Sha256).unwrap();
    let bad = profile_of("shim-grub").changed(&Change::Kernel("other".to_owned())).unwrap();
    let bad = ReferenceValues::of(&bad, Bank::Sha256).unwrap();
    let changed = ["tpm.boot.applications", "tpm.boot.loaded_files"];
    for (fact, expected) in &good.values {
        let differing = expected.iter().zip(&bad.values[fact]).filter(|(one, other)| one != other).count();
        assert_eq!(differing, usize::from(changed.contains(fact)), "{fact}");
    }
}

#[test]
fn hostile_strings_stay_inside_their_quotes() {
    let hostile = "x\"]\n[values]\ntpm.secure_boot.enabled = false\u{1b}[31m\u{7f}";
    let profile = profile_of("shim-grub").changed(&Change::CommandLine(hostile.to_owned())).unwrap();
    let text = ReferenceValues::of(&profile, Bank::Sha256).unwrap().to_toml();
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["values"]["tpm"]["secure_boot"]["enabled"].as_bool(), Some(true));
    let line = table["values"]["tpm"]["boot"]["command_lines"][0]["value"].as_str().unwrap();
    assert!(line.ends_with(hostile));
    assert!(!text.contains(['\u{1b}', '\u{7f}']));
}
