//! Facts of real boots, from the logs of `shared/vectors/vm`, and policies that tell them apart.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_appraisal::Appraiser;
use holdfast_appraisal::decision::Verdict;
use holdfast_appraisal::decision::explanation::Proven;
use holdfast_appraisal::facts::{FactId, Facts, boot};
use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog};
use holdfast_evidence::tpm::{Bank, PcrIndex};

use crate::machine::{NOW, codes, judge, listed, policy, set};

/// The logs are not part of the project: without them there is nothing to read.
fn vectors() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors"));
    let folder = std::env::var_os("HOLDFAST_VECTORS").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: no real evidence here; set HOLDFAST_VECTORS to its folder");
        return None;
    }
    Some(folder)
}

/// Facts of one boot, as if the quote had proven everything that the log replays to, and PCR 8 and 12 untouched.
fn facts(name: &str) -> Option<Facts> {
    let log = std::fs::read(vectors()?.join("vm").join(name).join("binary_bios_measurements")).unwrap();
    let log = EventLog::parse(&log).unwrap();
    let extended = log.replay(Bank::Sha256).unwrap().extended();
    let facts = BootFacts::derive(&log, Bank::Sha256, extended).unwrap();
    let known = [8, 9, 11, 12].into_iter().filter_map(PcrIndex::new).fold(extended, |set, pcr| set.with(pcr));
    let mut facts = Facts::with_log(Arc::new(boot(&facts, known, Provenance::Hardware)));
    for (name, value) in [("tpm.machine", "e1"), ("tpm.ek.spki_sha256", "e1")] {
        set(&mut facts, name, &[value.repeat(32)]);
    }
    set(&mut facts, "tpm.class", &["firmware".to_owned()]);
    Some(facts)
}

fn texts(facts: &Facts, name: &str) -> Vec<String> {
    let fact = facts.get(FactId::parse(name).unwrap()).unwrap();
    fact.values.iter().map(ToString::to_string).collect()
}

const MICROSOFT_UEFI_CA_2011: &str = "x509:48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507";

#[test]
fn a_signed_boot_says_what_vouched_for_it() {
    let Some(facts) = facts("shim-grub-debian-sb") else { return };
    assert_eq!(texts(&facts, "tpm.secure_boot.enabled"), ["true"]);
    assert!(texts(&facts, "tpm.secure_boot.db").contains(&MICROSOFT_UEFI_CA_2011.to_owned()));
    assert_eq!(texts(&facts, "tpm.secure_boot.authorities")[0], format!("db:{MICROSOFT_UEFI_CA_2011}"));
    assert!(texts(&facts, "tpm.secure_boot.sbat_level")[0].starts_with("sbat,1,"));
    assert_eq!(texts(&facts, "tpm.boot.applications").len(), 4);
    assert!(texts(&facts, "tpm.boot.command_lines").iter().any(|line| line.starts_with("/vmlinuz console=ttyS0")));
}

#[test]
fn each_event_fact_names_its_event() {
    let Some(facts) = facts("shim-grub-debian-sb") else { return };
    let applications = facts.get(FactId::BootApplications).unwrap();
    let indices: Vec<u32> = (0..4).filter_map(|at| applications.event_of(at)).collect();
    assert_eq!(indices, [23, 29, 40, 41]);
    for (at, index) in indices.into_iter().enumerate() {
        let event = facts.event(index).unwrap();
        assert_eq!((event.pcr, event.digest.to_string()), (4, applications.values[at].to_string()));
    }
    let db = facts.get(FactId::SecureBootDb).unwrap();
    assert_eq!((db.event_of(0), db.event_of(1)), (Some(7), Some(7)), "one event proves all entries");
}

#[test]
fn a_changed_command_line_is_refused_with_its_event() {
    let Some(good) = facts("uki-nosb") else { return };
    let applications = texts(&good, "tpm.boot.applications").join("\", \"");
    let policy = policy(&format!("[rule.require]\ntpm.boot.applications = {{ sequence = [\"{applications}\"] }}"));
    assert!(matches!(judge(&policy, &good, &listed()), Verdict::Admit(_)));
    let changed = facts("uki-nosb-cmdline-changed").unwrap();
    let Verdict::Refuse(rejection) = judge(&policy, &changed, &listed()) else { panic!("admitted") };
    let [difference] = rejection.differences.as_slice() else { panic!("{rejection}") };
    let [value] = difference.values.as_slice() else { panic!("one application differs: {rejection}") };
    let event = value.event.as_ref().unwrap();
    assert_eq!((event.pcr, event.kind.as_str()), (4, "EV_EFI_BOOT_SERVICES_APPLICATION"));
    assert_eq!(Some(&event.digest), value.found.as_ref());
    assert_ne!(value.expected, value.found);
}

#[test]
fn a_command_line_that_the_log_holds_as_a_digest_is_compared_as_text() {
    let Some(facts) = facts("direct-kernel") else { return };
    let Some(folder) = vectors() else { return };
    let line = std::fs::read_to_string(folder.join("vm/direct-kernel/cmdline")).unwrap();
    let line = line.trim_end_matches('\n');
    for (wanted, code) in [(line.to_owned(), "admitted"), (format!("{line} init=/bin/sh"), "policy.no_rule_matched")] {
        let policy = policy(&format!("[rule.require]\ntpm.boot.command_lines = {{ exactly = [{wanted:?}] }}"));
        assert_eq!(codes(&judge(&policy, &facts, &listed())).0, code, "{wanted}");
    }
}

#[test]
fn a_register_of_unknown_history_yields_no_fact() {
    let Some(folder) = vectors() else { return };
    let log = std::fs::read(folder.join("vm/shim-grub-debian-sb/binary_bios_measurements")).unwrap();
    let log = EventLog::parse(&log).unwrap();
    let known = [0, 1, 2, 3, 5, 6].into_iter().filter_map(PcrIndex::new).collect();
    let facts = Facts::with_log(Arc::new(boot(
        &BootFacts::derive(&log, Bank::Sha256, known).unwrap(),
        known,
        Provenance::Hardware,
    )));
    for id in [
        FactId::BootApplications,
        FactId::CommandLines,
        FactId::LoaderTexts,
        FactId::LoadedFiles,
        FactId::UkiSections,
        FactId::SecureBootEnabled,
        FactId::SecureBootDbx,
        FactId::SbatLevel,
        FactId::DmaProtectionDisabled,
        FactId::Events(4),
        FactId::Events(7),
        FactId::Events(8),
    ] {
        assert!(facts.get(id).is_none(), "{id}");
    }
    assert!(facts.get(FactId::Events(0)).is_some());
}

#[test]
fn an_explanation_says_what_of_the_proving_event_is_proven() {
    let Some(good) = facts("uki-nosb") else { return };
    let applications = texts(&good, "tpm.boot.applications").join("\", \"");
    let rule = format!(
        "[rule.require]\ntpm.boot.applications = {{ sequence = [\"{applications}\"] }}\n\
         tpm.boot.firmware_versions = {{ none_of = {:?} }}",
        texts(&good, "tpm.boot.firmware_versions")
    );
    let changed = facts("uki-nosb-cmdline-changed").unwrap();
    let policy = policy(&rule);
    let verdict = judge(&policy, &changed, &listed());
    let explanation = Appraiser::explain(&policy, &changed, &listed(), NOW, &verdict);
    let events: Vec<_> = explanation.rules[0]
        .conditions
        .iter()
        .map(|condition| (condition.fact.as_str(), condition.values[0].event.as_ref().unwrap()))
        .collect();
    let [("tpm.boot.applications", image), ("tpm.boot.firmware_versions", version)] = events.as_slice() else {
        panic!("{events:#?}")
    };
    assert_eq!((image.pcr, image.proven), (4, Proven::Digest), "the path is a claim");
    assert_eq!((version.pcr, version.proven), (0, Proven::Contents), "the text hashes to the digest");
    let text = explanation.to_string();
    assert!(text.contains("proven is the digest alone; it calls itself EV_EFI_BOOT_SERVICES_APPLICATION"), "{text}");
}
