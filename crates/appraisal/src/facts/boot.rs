//! Facts of one boot: what the firmware's log proves, named. Adds nothing to it and leaves out what is no fact.

use std::borrow::Cow;
use std::collections::BTreeMap;

use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::event_log::Guid;
use holdfast_evidence::tpm::event_log::boot::{BootFacts, CommandLineSource, FileLabel};
use holdfast_evidence::tpm::secure_boot::{Authority, SecureBoot, SignatureDatabase, SignatureEntry, SignatureKind};
use holdfast_evidence::tpm::{PcrIndex, PcrSet};

use super::{Event, Fact, FactId, LogFacts};
use crate::value::{Labelled, Value, digest_of};

/// The facts of `boot`. `known` are the registers whose whole history is known: those that the log replays to, and
/// those that nobody extended. Of another register nothing becomes a fact.
#[must_use]
pub fn boot(boot: &BootFacts, known: PcrSet, provenance: Provenance) -> LogFacts {
    let mut facts = Collector { facts: LogFacts::new(), known, provenance };
    let mut hints = hints(boot);
    for measurement in &boot.measurements {
        facts.facts.push_event(Event {
            index: measurement.event,
            pcr: measurement.pcr,
            kind: Cow::Borrowed(measurement.kind.name()),
            digest: measurement.digest,
            hint: hints.remove(&measurement.event),
        });
    }
    for pcr in known.iter() {
        let events = boot.measurements_of(pcr.get()).map(|m| (m.event, Value::Digest(m.digest)));
        facts.list(FactId::Events(pcr.get()), events);
    }
    if let Some(secure_boot) = &boot.secure_boot {
        secure_boot_facts(&mut facts, secure_boot);
    }
    let versions = boot.firmware_versions.iter().map(|version| (version.event, Value::text(&version.text)));
    facts.list(FactId::FirmwareVersions, versions);
    let applications = boot.boot_applications.iter();
    facts.list(FactId::BootApplications, applications.map(|image| (image.event, Value::Digest(image.digest))));
    let lines = boot.command_lines().map(|line| {
        let value = match (&line.text, line.source) {
            (Some(text), _) => Value::text(text),
            (None, CommandLineSource::LoadOptions) => Value::Digest(line.digest),
            (None, CommandLineSource::Grub | CommandLineSource::SystemdStub) => opaque(line.digest),
        };
        (line.event, value)
    });
    facts.list(FactId::CommandLines, lines);
    let texts = boot.loader_texts.iter().map(|text| {
        let value = text.text.as_deref().map_or_else(|| opaque(text.digest), Value::text);
        (text.event, value)
    });
    facts.list(FactId::LoaderTexts, texts);
    facts.list(FactId::LoadedFiles, boot.loaded_files().map(|file| (file.event, Value::Digest(file.digest))));
    let sections = boot.uki_sections.iter().map(|section| {
        (section.event, Value::Labelled(Labelled::new(section.name.unwrap_or("unnamed"), section.digest)))
    });
    facts.list(FactId::UkiSections, sections);
    facts.facts
}

struct Collector {
    facts: LogFacts,
    known: PcrSet,
    provenance: Provenance,
}

impl Collector {
    /// A fact with an event per value, if all registers that it rests on are known.
    fn list(&mut self, id: FactId, values: impl Iterator<Item = (u32, Value)>) {
        if self.is_known(id) {
            let (events, values) = values.unzip();
            self.facts.insert(id, Fact { provenance: self.provenance, values, events });
        }
    }

    /// A fact whose values one event proves.
    fn proven_by(&mut self, id: FactId, event: u32, values: Vec<Value>) {
        if self.is_known(id) {
            self.facts.insert(id, Fact { provenance: self.provenance, values, events: vec![event] });
        }
    }

    fn is_known(&self, id: FactId) -> bool {
        let pcrs = id.pcrs();
        pcrs.into_iter().all(|pcr| PcrIndex::new(pcr.into()).is_some_and(|pcr| self.known.contains(pcr)))
    }
}

fn secure_boot_facts(facts: &mut Collector, secure_boot: &SecureBoot) {
    let SecureBoot { enabled, enabled_event, pk, kek, db, dbx, authorities, dma_protection_disabled, .. } = secure_boot;
    facts.proven_by(FactId::SecureBootEnabled, *enabled_event, vec![Value::Bool(*enabled)]);
    for (id, SignatureDatabase { event, entries }) in [
        (FactId::SecureBootPk, pk),
        (FactId::SecureBootKek, kek),
        (FactId::SecureBootDb, db),
        (FactId::SecureBootDbx, dbx),
    ] {
        facts.proven_by(id, *event, entries.iter().filter_map(signature_entry).collect());
    }
    let authorities = authorities.iter().filter_map(|one| Some((one.event, authority(one)?)));
    facts.list(FactId::SecureBootAuthorities, authorities);
    if let Some((event, level)) = secure_boot.sbat_level() {
        facts.proven_by(FactId::SbatLevel, event, vec![Value::text(level)]);
    }
    // That it was not said is proven by all events together: none of PCR 7 is left over in its grammar.
    let events = dma_protection_disabled.map(|event| vec![event]).unwrap_or_default();
    let said = Fact { provenance: facts.provenance, values: vec![Value::Bool(!events.is_empty())], events };
    facts.facts.insert(FactId::DmaProtectionDisabled, said);
}

pub(super) fn signature_entry(entry: &SignatureEntry) -> Option<Value> {
    let label: Cow<'static, str> = match entry.kind {
        SignatureKind::X509 | SignatureKind::Sha256 | SignatureKind::X509Sha256 => entry.kind.as_str().into(),
        SignatureKind::Other(guid) => format!("other-{guid}").into(),
    };
    Some(Value::Labelled(Labelled::new(label, digest_of(&entry.sha256)?)))
}

/// `variable:x509:DIGEST` of the certificate that vouched, or `variable:data:DIGEST` of the contents. The variable's
/// owner stands in front unless it is the one that the name belongs to.
fn authority(authority: &Authority) -> Option<Value> {
    let Authority { variable, variable_owner: owner, data_sha256, certificate_sha256, .. } = authority;
    let ours = match variable.as_str() {
        "db" | "dbx" => *owner == Guid::IMAGE_SECURITY_DATABASE,
        _ => *owner == Guid::SHIM,
    };
    let (kind, digest) = match certificate_sha256 {
        Some(certificate) => ("x509", certificate),
        None => ("data", data_sha256),
    };
    let label = if ours { format!("{variable}:{kind}") } else { format!("{owner}/{variable}:{kind}") };
    Some(Value::Labelled(Labelled::new(label, digest_of(digest)?)))
}

/// A digest of nobody knows what: equal to nothing that a policy can say of a text.
fn opaque(digest: holdfast_evidence::crypto::Digest) -> Value {
    Value::Labelled(Labelled::new("opaque", digest))
}

/// What events claim of themselves, for explanations.
fn hints(boot: &BootFacts) -> BTreeMap<u32, Box<str>> {
    let applications =
        boot.boot_applications.iter().filter_map(|image| Some((image.event, image.path_hint.as_deref()?)));
    let files = boot.files.iter().filter_map(|file| match &file.label {
        FileLabel::Path(path) => Some((file.event, path.as_str())),
        FileLabel::LoadOptions => Some((file.event, "load options")),
        FileLabel::Initrd => Some((file.event, "initrd")),
        FileLabel::Other => None,
    });
    let texts = boot.loader_texts.iter().filter_map(|text| Some((text.event, text.label_hint.as_deref()?)));
    applications.chain(files).chain(texts).map(|(event, hint)| (event, hint.into())).collect()
}
