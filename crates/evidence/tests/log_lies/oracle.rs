//! A second opinion on what digests prove, written from the definitions and not from the verifier: hash the fact in each
//! form that somebody measures, and compare with the digest of the event that is said to prove it.

use crate::log::{Entry, bank_of, variable};
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::event_log::boot::VariableName;
use holdfast_evidence::tpm::event_log::{BootFacts, EventType, Guid};

/// The forms in which programs measure a text.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    vec![text.as_bytes().to_vec(), [text.as_bytes(), b"\0"].concat(), wide(text), wide(&format!("{text}\0"))]
}

fn event(told: &[Entry], index: u32) -> &Entry {
    &told[usize::try_from(index).unwrap() - 1]
}

fn is_bound(told: &[Entry], index: u32, bytes: &[u8]) -> bool {
    let digest = &event(told, index).digest;
    bank_of(digest).digest(&[bytes]).as_bytes() == digest
}

fn text_is_bound(told: &[Entry], index: u32, text: &str) {
    assert!(forms(text).iter().any(|form| is_bound(told, index, form)), "event {index} does not prove {text:?}");
}

/// Fails if a fact says what the digest of its event does not.
pub(crate) fn nothing_but_what_digests_prove(told: &[Entry], facts: &BootFacts) {
    for measurement in &facts.measurements {
        assert_eq!(measurement.digest.as_bytes(), event(told, measurement.event).digest);
        assert_eq!(u32::from(measurement.pcr), event(told, measurement.event).pcr);
    }
    let digests = facts.boot_applications.iter().map(|image| (image.event, image.digest));
    let digests = digests.chain(facts.files.iter().map(|file| (file.event, file.digest)));
    let digests = digests.chain(facts.mok_variables.iter().map(|variable| (variable.event, variable.digest)));
    let digests = digests.chain(facts.uki_sections.iter().map(|section| (section.event, section.digest)));
    for (index, digest) in digests.chain(facts.loader_texts.iter().map(|text| (text.event, text.digest))) {
        assert_eq!(digest.as_bytes(), event(told, index).digest, "event {index}");
    }
    for version in &facts.firmware_versions {
        // Shown as text, GUID or hex: what counts is that all of the data is what was measured.
        let measured = &event(told, version.event).data;
        assert!(is_bound(told, version.event, measured), "event {} proves no version", version.event);
    }
    for action in &facts.actions {
        text_is_bound(told, action.event, &action.text);
    }
    for line in &facts.loader_texts {
        line.text.iter().for_each(|text| text_is_bound(told, line.event, text));
    }
    for found in &facts.boot_variables {
        let whole = match &found.name {
            VariableName::Bound(owner, name) => variable(*owner, name, &found.contents),
            VariableName::Hint(..) => found.contents.clone(),
        };
        // A name that is only a hint stands beside contents that are proven, or beside nothing at all.
        let proven = is_bound(told, found.event, &whole);
        assert!(proven, "event {} does not prove its variable", found.event);
    }
    names_of_sections(told, facts);
    secure_boot(told, facts);
}

/// A section is named by the event before it, whose digest is that of the name.
fn names_of_sections(told: &[Entry], facts: &BootFacts) {
    for section in &facts.uki_sections {
        let Some(name) = section.name else { continue };
        let before = facts.measurements_of(11).take_while(|one| one.event < section.event).last();
        let name = [name.as_bytes(), b"\0"].concat();
        assert!(is_bound(told, before.unwrap().event, &name), "section {name:?}");
    }
}

fn secure_boot(told: &[Entry], facts: &BootFacts) {
    let Some(secure_boot) = &facts.secure_boot else { return };
    let states: &[&[u8]] = if secure_boot.enabled { &[&[1]] } else { &[&[0], &[]] };
    let said =
        |state: &&[u8]| is_bound(told, secure_boot.enabled_event, &variable(Guid::EFI_GLOBAL, "SecureBoot", state));
    assert!(states.iter().any(said), "Secure Boot is not as said");
    let (global, database) = (Guid::EFI_GLOBAL, Guid::IMAGE_SECURITY_DATABASE);
    for (owner, name, found) in [
        (global, "PK", &secure_boot.pk),
        (global, "KEK", &secure_boot.kek),
        (database, "db", &secure_boot.db),
        (database, "dbx", &secure_boot.dbx),
    ] {
        let measured = &event(told, found.event).data;
        assert!(is_bound(told, found.event, measured), "{name} is not measured");
        assert!(measured.starts_with(&variable(owner, name, &[])[..16]), "{name} has another owner");
        // Every certificate and digest stands in what was measured.
        for entry in &found.entries {
            let stands = measured.windows(32).any(|window| window == entry.sha256)
                || (0..measured.len()).any(|from| {
                    let length = der_length(&measured[from..]);
                    length.is_some_and(|length| sha256(&[&measured[from..from + length]]) == entry.sha256)
                });
            assert!(stands || !entry.kind.as_str().starts_with("x509"), "{name} lacks an entry");
        }
    }
    for authority in &secure_boot.authorities {
        let entry = event(told, authority.event);
        let shorter = entry.data.split_last().map(|(_, shorter)| shorter).unwrap_or_default();
        let bound = is_bound(told, authority.event, &entry.data) || is_bound(told, authority.event, shorter);
        assert!(bound, "event {} vouches for nothing", authority.event);
    }
}

/// Length of the DER SEQUENCE at the start of `bytes`.
fn der_length(bytes: &[u8]) -> Option<usize> {
    let [0x30, 0x82, high, low, rest @ ..] = bytes else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (length <= rest.len()).then_some(length + 4)
}

/// Fails if something that the true log shows is missing where the register is still proven.
pub(crate) fn nothing_is_hidden(truth: &BootFacts, told: &BootFacts) {
    if told.is_proven(4) && truth.is_proven(4) {
        for image in &truth.boot_applications {
            assert!(told.boot_applications.iter().any(|one| one.digest == image.digest), "an application is hidden");
        }
    }
    for pcr in [8, 12] {
        let texts = |facts: &BootFacts| facts.loader_texts.iter().filter(|text| text.pcr == pcr).count();
        let separators = told.measurements_of(pcr).filter(|one| one.kind == EventType::SEPARATOR).count();
        if told.is_proven(pcr) && truth.is_proven(pcr) {
            assert!(texts(told) + separators >= texts(truth), "a text of PCR {pcr} is hidden");
        }
    }
    let loaded = |facts: &BootFacts| facts.files.len();
    if told.is_proven(9) && truth.is_proven(9) {
        let separators = told.measurements_of(9).filter(|one| one.kind == EventType::SEPARATOR).count();
        assert!(loaded(told) + separators >= loaded(truth), "a file is hidden");
    }
    if let (Some(truth), Some(told)) = (&truth.secure_boot, &told.secure_boot) {
        assert_eq!((truth.enabled, truth.authorities.len()), (told.enabled, told.authorities.len()));
        assert_eq!(truth.dbx.entries, told.dbx.entries, "dbx is another");
    }
}
