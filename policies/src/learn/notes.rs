//! Names for the values of a sample: what events say of themselves, and the subjects of the certificates in a log. Hints
//! for people: no digest proves them, and they never become conditions.

use std::collections::BTreeMap;

use holdfast_appraisal::{FactId, Labelled, Value};
use holdfast_evidence::crypto::sha256;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::sample::{Notes, Sample};

/// Most places of a log that are tried as a certificate; the fullest db seen has some twenty.
const CERTIFICATES_MAX: usize = 4_096;

/// Adds notes to the values of `sample`.
pub(super) fn add(sample: &mut Sample, log: Option<&[u8]>) {
    let subjects = log.map(certificates).unwrap_or_default();
    let sections = sample.values(FactId::UkiSections).map_or(0, <[Value]>::len);
    let mut notes = Notes::new();
    for (id, fact) in sample.facts.iter() {
        for (place, value) in fact.values.iter().enumerate() {
            let certificate = match value {
                Value::Labelled(Labelled { label, digest }) if label.ends_with("x509") => {
                    digest.as_bytes().first_chunk::<32>().and_then(|digest| subjects.get(digest)).cloned()
                }
                _ => None,
            };
            let event = || fact.event_of(place).and_then(|index| sample.facts.event(index));
            let hint = || event().and_then(|event| event.hint.as_deref().map(str::to_owned));
            // one event holds a whole variable: its hint says nothing of one entry
            let named = match (id, place) {
                // firmware logs no path of an image that comes from memory
                (FactId::BootApplications, 1..) if sections > 0 && hint().is_none() => {
                    Some("the kernel inside the unified kernel image".to_owned())
                }
                (FactId::SecureBootAuthorities, _) if value.to_string().starts_with("SbatLevel:") => {
                    let level = sample.values(FactId::SbatLevel).and_then(<[Value]>::first).map(ToString::to_string);
                    level.map(|level| level.lines().next().unwrap_or_default().to_owned())
                }
                _ => None,
            };
            let own_event = matches!(id, FactId::BootApplications | FactId::LoadedFiles);
            if let Some(note) = certificate.or(named).or_else(|| own_event.then(hint).flatten()) {
                notes.entry((id, value.clone())).or_insert(note);
            }
        }
    }
    for (key, note) in notes {
        sample.notes.entry(key).or_insert(note);
    }
}

/// Subjects of the certificates that stand anywhere in `bytes`, by digest.
fn certificates(bytes: &[u8]) -> BTreeMap<[u8; 32], String> {
    let mut found = BTreeMap::new();
    let starts = bytes.windows(4).enumerate().filter(|(_, head)| head.starts_with(&[0x30, 0x82]));
    for (at, head) in starts.take(CERTIFICATES_MAX) {
        let length = head.get(2..4).and_then(|length| length.first_chunk()).map_or(0, |two| u16::from_be_bytes(*two));
        let Some(der) = bytes.get(at..at + 4 + usize::from(length)) else { continue };
        if let Ok((_, certificate)) = X509Certificate::from_der(der) {
            let subject = certificate.subject();
            let common = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
            found.insert(sha256(&[der]), common.unwrap_or_else(|| subject.to_string()));
        }
    }
    found
}
