//! Facts as they are kept: bytes from which equal facts are read back, so that a policy can be asked again about evidence
//! of days ago. What a log proves is a body of its own, the same for every machine that booted alike, and kept once.
//! Judges nothing, and proves nothing: facts that are read back earn no identity.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSelection};
use serde::{Deserialize, Serialize};

use super::{Event, Fact, FactId, Facts, LogFacts, PCR_COUNT, all_names};
use crate::value::{Labelled, Value, Version, digest_from_hex};

/// Version of both forms. A reader knows its own alone: what another wrote is unreadable, never guessed at.
const VERSION: u32 = 1;
/// Bytes of one body. The largest logs of machines are a few hundred kilobytes; a list of 100,000 loaded files, as digests
/// with their names, is 20 MiB.
pub const STORED_BYTES_MAX: usize = 32 << 20;

/// Why facts were not kept, or not read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// They take too much room.
    #[error("stored facts are {found} bytes, limit {STORED_BYTES_MAX}")]
    TooLarge {
        /// Bytes.
        found: usize,
    },
    /// The bytes are not of this form.
    #[error("stored facts do not read back: {reason}")]
    Form {
        /// Where, in the parser's words.
        reason: String,
    },
    /// Another version wrote them.
    #[error("stored facts are of version {found}, expected {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// A value, name or number that no writer of this version makes.
    #[error("stored facts hold an unknown {what}")]
    Unknown {
        /// What it would be.
        what: &'static str,
    },
}

impl NotStored {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "facts.stored.too_large",
            Self::Form { .. } => "facts.stored.form",
            Self::Version { .. } => "facts.stored.version",
            Self::Unknown { .. } => "facts.stored.unknown",
        }
    }
}

/// Facts with the bank in which PCRs were quoted, where any were.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldFacts {
    /// The facts.
    pub facts: Facts,
    /// The bank of `facts.quoted_pcrs()`.
    pub bank: Option<Bank>,
}

impl HeldFacts {
    /// What was quoted, where PCRs were.
    #[must_use]
    pub fn quoted(&self) -> Option<PcrSelection> {
        let pcrs = self.facts.quoted.iter().filter_map(|pcr| PcrIndex::new(u32::from(*pcr))).collect();
        self.bank.map(|bank| PcrSelection { bank, pcrs })
    }

    /// The machine's own facts, without those of the log.
    ///
    /// # Errors
    /// [`NotStored::TooLarge`].
    pub fn own_body(&self) -> Result<Vec<u8>, NotStored> {
        let facts = &self.facts;
        bounded(serde_json::to_vec(&OwnForm {
            version: VERSION,
            bank: self.bank.map(|bank| bank.as_str().into()),
            quoted: facts.quoted.clone(),
            unexplained: facts.unexplained.clone(),
            facts: facts_form(&facts.own),
        }))
    }

    /// The facts of the log that other machines share; nothing where no log was appraised.
    #[must_use]
    pub fn log(&self) -> Option<&Arc<LogFacts>> {
        Some(&self.facts.log).filter(|log| !log.facts.is_empty() || !log.events.is_empty())
    }

    /// Reads back what [`HeldFacts::own_body`] wrote; `log` are the facts of its log.
    ///
    /// # Errors
    /// [`NotStored`].
    pub fn read_back(own: &[u8], log: Arc<LogFacts>) -> Result<Self, NotStored> {
        let form: OwnForm<'_> = read(own)?;
        check(form.version)?;
        let pcrs = |pcrs: Vec<u8>| match pcrs.iter().all(|pcr| *pcr < PCR_COUNT) {
            true => Ok(pcrs),
            false => Err(NotStored::Unknown { what: "PCR" }),
        };
        let bank = form.bank.map(|bank| bank.parse().map_err(|_| NotStored::Unknown { what: "bank" })).transpose()?;
        let (quoted, unexplained) = (pcrs(form.quoted)?, pcrs(form.unexplained)?);
        Ok(Self { facts: Facts { own: read_facts(form.facts)?, log, unexplained, quoted, ima: None }, bank })
    }
}

impl LogFacts {
    /// The facts and events as bytes.
    ///
    /// # Errors
    /// [`NotStored::TooLarge`].
    pub fn body(&self) -> Result<Vec<u8>, NotStored> {
        let events = self.events.iter().map(|event| EventForm {
            index: event.index,
            pcr: event.pcr,
            kind: event.kind.as_ref().into(),
            digest: event.digest.to_string().into(),
            hint: event.hint.as_deref().map(Into::into),
        });
        let events = events.collect();
        bounded(serde_json::to_vec(&LogForm { version: VERSION, facts: facts_form(&self.facts), events }))
    }

    /// Reads back what [`LogFacts::body`] wrote.
    ///
    /// # Errors
    /// [`NotStored`].
    pub fn read_back(body: &[u8]) -> Result<Self, NotStored> {
        let form: LogForm<'_> = read(body)?;
        check(form.version)?;
        let events = form.events.into_iter().map(|event| {
            let digest = digest_from_hex(&event.digest).ok_or(NotStored::Unknown { what: "digest" })?;
            let (kind, hint) = (Cow::Owned(event.kind.into_owned()), event.hint.map(|hint| hint.into()));
            Ok(Event { index: event.index, pcr: event.pcr, kind, digest, hint })
        });
        let events = events.collect::<Result<Vec<_>, NotStored>>()?;
        // Events are found by their index.
        if !events.is_sorted_by(|a, b| a.index < b.index) {
            return Err(NotStored::Unknown { what: "order of events" });
        }
        Ok(Self { facts: read_facts(form.facts)?, events })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnForm<'a> {
    version: u32,
    #[serde(borrow)]
    bank: Option<Cow<'a, str>>,
    quoted: Vec<u8>,
    unexplained: Vec<u8>,
    #[serde(borrow)]
    facts: BTreeMap<Cow<'a, str>, FactForm<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogForm<'a> {
    version: u32,
    #[serde(borrow)]
    facts: BTreeMap<Cow<'a, str>, FactForm<'a>>,
    #[serde(borrow)]
    events: Vec<EventForm<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventForm<'a> {
    index: u32,
    pcr: u8,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    hint: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactForm<'a> {
    #[serde(borrow)]
    by: Cow<'a, str>,
    #[serde(borrow)]
    values: Vec<ValueForm<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<u32>,
}

/// A value with its type: that of a fact is not always the registry's, as of a text whose digest alone was measured.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ValueForm<'a> {
    Bool(bool),
    Integer(u64),
    Bits(u64),
    Version([u16; 4]),
    Text(#[serde(borrow)] Cow<'a, str>),
    Digest(#[serde(borrow)] Cow<'a, str>),
    Labelled {
        #[serde(borrow)]
        label: Cow<'a, str>,
        #[serde(borrow)]
        digest: Cow<'a, str>,
    },
}

fn facts_form(facts: &BTreeMap<FactId, Fact>) -> BTreeMap<Cow<'_, str>, FactForm<'_>> {
    let named = facts.iter().map(|(id, fact)| {
        let (by, values) = (fact.provenance.as_str().into(), fact.values.iter().map(value_form).collect());
        (Cow::Owned(id.to_string()), FactForm { by, values, events: fact.events.clone() })
    });
    named.collect()
}

fn value_form(value: &Value) -> ValueForm<'_> {
    match value {
        Value::Bool(value) => ValueForm::Bool(*value),
        Value::Integer(value) => ValueForm::Integer(*value),
        Value::Bits(value) => ValueForm::Bits(*value),
        Value::Version(value) => ValueForm::Version(value.0),
        Value::Text(value) => ValueForm::Text(value.as_ref().into()),
        Value::Digest(value) => ValueForm::Digest(value.to_string().into()),
        Value::Labelled(Labelled { label, digest }) => {
            ValueForm::Labelled { label: label.as_ref().into(), digest: digest.to_string().into() }
        }
    }
}

fn read_facts(form: BTreeMap<Cow<'_, str>, FactForm<'_>>) -> Result<BTreeMap<FactId, Fact>, NotStored> {
    let facts = form.into_iter().map(|(name, fact)| {
        let id = NAMES.get(name.as_ref()).copied().ok_or(NotStored::Unknown { what: "fact" })?;
        let provenance = provenance(&fact.by).ok_or(NotStored::Unknown { what: "provenance" })?;
        let values = fact.values.into_iter().map(read_value).collect::<Result<_, _>>()?;
        Ok((id, Fact { provenance, values, events: fact.events }))
    });
    facts.collect()
}

fn read_value(form: ValueForm<'_>) -> Result<Value, NotStored> {
    let digest = |hex: &str| digest_from_hex(hex).ok_or(NotStored::Unknown { what: "digest" });
    Ok(match form {
        ValueForm::Bool(value) => Value::Bool(value),
        ValueForm::Integer(value) => Value::Integer(value),
        ValueForm::Bits(value) => Value::Bits(value),
        ValueForm::Version(value) => Value::Version(Version(value)),
        ValueForm::Text(value) => Value::Text(value.into()),
        ValueForm::Digest(value) => Value::Digest(digest(&value)?),
        ValueForm::Labelled { label, digest: value } => {
            Value::Labelled(Labelled::new(label.into_owned(), digest(&value)?))
        }
    })
}

/// Every fact by its name: a fleet's are looked up by the hundred thousand.
static NAMES: LazyLock<HashMap<String, FactId>> = LazyLock::new(|| {
    let named = all_names().filter_map(|name| FactId::parse(&name).map(|id| (name, id)));
    named.collect()
});

fn provenance(word: &str) -> Option<Provenance> {
    let known = [
        Provenance::Hardware,
        Provenance::Paravisor,
        Provenance::Provider,
        Provenance::Unauthenticated,
        Provenance::Simulated,
    ];
    known.into_iter().find(|one| one.as_str() == word)
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, NotStored> {
    if body.len() > STORED_BYTES_MAX {
        return Err(NotStored::TooLarge { found: body.len() });
    }
    serde_json::from_slice(body).map_err(|error| NotStored::Form { reason: error.to_string() })
}

fn check(version: u32) -> Result<(), NotStored> {
    if version == VERSION { Ok(()) } else { Err(NotStored::Version { found: version }) }
}

fn bounded(body: Result<Vec<u8>, serde_json::Error>) -> Result<Vec<u8>, NotStored> {
    match body {
        Ok(body) if body.len() > STORED_BYTES_MAX => Err(NotStored::TooLarge { found: body.len() }),
        Ok(body) => Ok(body),
        Err(error) => Err(NotStored::Form { reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Explained;

    fn digest(byte: u8) -> holdfast_evidence::crypto::Digest {
        digest_from_hex(&hex::encode([byte; 48])).unwrap()
    }

    fn log() -> LogFacts {
        let mut log = LogFacts::new();
        let hint = Some("\u{1b}[31m\"\\\u{202e} über \u{0}".into());
        log.push_event(Event { index: 3, pcr: 4, kind: "EV_IPL".into(), digest: digest(1), hint });
        log.push_event(Event { index: 9, pcr: 8, kind: "".into(), digest: digest(2), hint: None });
        let values = vec![Value::text("root=/dev/sda1\n"), Value::Digest(digest(2))];
        let fact = Fact { provenance: Provenance::Simulated, values, events: vec![3, 9] };
        log.insert(FactId::CommandLines, fact);
        log.insert(FactId::LoadedFiles, Fact::of(Provenance::Hardware, Vec::new()));
        log
    }

    fn held() -> HeldFacts {
        let mut facts = Facts::with_log(Arc::new(log()));
        for (id, value) in [
            (FactId::SecureBootEnabled, Value::Bool(true)),
            (FactId::Pcr(23), Value::Digest(digest(3))),
            (FactId::FirmwareVersion, Value::Version(Version([7, 85, 4555, u16::MAX]))),
            (FactId::SecureBootDb, Value::Labelled(Labelled::new("a label: with spaces", digest(4)))),
            (FactId::parse("snp.policy.raw").unwrap_or(FactId::Model), Value::Bits(u64::MAX)),
            (FactId::Manufacturer, Value::Integer(u64::MAX)),
        ] {
            facts.insert(id, Fact::of(Provenance::Provider, vec![value]));
        }
        facts.quoted_pcr(7, Explained::ByEvents);
        facts.quoted_pcr(23, Explained::Not);
        HeldFacts { facts, bank: Some(Bank::Sha384) }
    }

    #[test]
    fn facts_read_back_equal() {
        let held = held();
        let log = LogFacts::read_back(&held.log().unwrap().body().unwrap()).unwrap();
        assert_eq!(&log, held.log().unwrap().as_ref());
        assert_eq!(HeldFacts::read_back(&held.own_body().unwrap(), Arc::new(log)).unwrap(), held);
        let none = HeldFacts { facts: Facts::new(), bank: None };
        assert!(none.log().is_none());
        assert_eq!(HeldFacts::read_back(&none.own_body().unwrap(), Arc::default()).unwrap(), none);
    }

    #[test]
    fn machines_that_booted_alike_share_the_body_of_their_log() {
        let (one, mut other) = (held(), held());
        other.facts.insert(FactId::Pcr(0), Fact::of(Provenance::Hardware, vec![Value::Digest(digest(9))]));
        assert_eq!(one.log().unwrap().body(), other.log().unwrap().body());
        assert_ne!(one.own_body(), other.own_body());
    }

    #[test]
    fn what_no_writer_makes_is_unreadable() {
        let own = String::from_utf8(held().own_body().unwrap()).unwrap();
        let log = String::from_utf8(log().body().unwrap()).unwrap();
        let read_own = |text: &str| HeldFacts::read_back(text.as_bytes(), Arc::default()).map(|_| ()).unwrap_err();
        let read_log = |text: &str| LogFacts::read_back(text.as_bytes()).map(|_| ()).unwrap_err();
        let unknown = |what: &'static str| NotStored::Unknown { what };
        assert_eq!(read_own(&own.replace("\"version\":1", "\"version\":2")), NotStored::Version { found: 2 });
        assert_eq!(read_own(&own.replace("tpm.pcr.23", "tpm.pcr.24")), unknown("fact"));
        assert_eq!(read_own(&own.replace("provider", "prophet")), unknown("provenance"));
        assert_eq!(read_own(&own.replace("sha384", "md5")), unknown("bank"));
        assert_eq!(read_own(&own.replace("\"quoted\":[7", "\"quoted\":[24")), unknown("PCR"));
        assert_eq!(read_own(&own.replace("0303", "03")), unknown("digest"));
        assert_eq!(read_log(&log.replace("\"index\":9", "\"index\":2")), unknown("order of events"));
        assert_eq!(read_log(&log.replace("\"version\":1", "\"version\":0")), NotStored::Version { found: 0 });
        for cut in [0, 1, own.len() / 2, own.len() - 1] {
            assert!(matches!(read_own(&own[..cut]), NotStored::Form { .. }));
        }
        assert!(matches!(read_own(&own.replace("\"bank\"", "\"bang\"")), NotStored::Form { .. }));
        let large = " ".repeat(STORED_BYTES_MAX + 1);
        assert_eq!(read_own(&large), NotStored::TooLarge { found: STORED_BYTES_MAX + 1 });
    }
}
