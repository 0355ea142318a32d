//! An entry of the record as an event: its type, its subject, and the entry's own words as data. Sends nothing.

use holdfast_identity::{TrustDomain, UnixTime};
use serde_json::{Value, json};

use holdfast_record::{Hash, Leaf, Origin as Grounds};

/// What every type begins with.
pub const TYPE_PREFIX: &str = "dev.holdfast.";
/// What every type ends with: the version of its data.
const TYPE_VERSION: &str = ".v1";
/// Characters of an action that become part of a type.
const ACTION_MAX: usize = 64;
/// Characters of a subject.
const SUBJECT_MAX: usize = 2_048;

/// Whose record the events are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Which history of the store: a database that was made anew counts from 0 again, under another.
    pub epoch: [u8; 16],
}

impl Source {
    /// The URI of the trust domain.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("spiffe://{}", self.trust_domain)
    }

    /// The id of the event at `place`, the same whenever it is sent.
    #[must_use]
    pub fn id(&self, place: Place) -> String {
        match place {
            Place::Entry(index) => format!("{}-{index}", hex::encode(self.epoch)),
            Place::Test(at) => format!("{}-test-{at}", hex::encode(self.epoch)),
        }
    }
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Entry of the record.
    Entry(u64),
    /// In no record: an operator tries a sink out. The moment makes it unique.
    Test(i64),
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Where it stands.
    pub place: Place,
    /// Its type, `dev.holdfast.….v1`.
    pub kind: String,
    /// Whom it is about: a SPIFFE ID, or what the entry says.
    pub subject: Option<String>,
    /// When it happened.
    pub at: Option<UnixTime>,
    /// What happened.
    pub data: Value,
}

impl Event {
    /// The event of the entry at `index`. An entry that cannot be read is an event too: nobody is kept waiting by it.
    #[must_use]
    pub fn of(index: u64, leaf: &[u8]) -> Self {
        let place = Place::Entry(index);
        let head = json!({ "index": index, "leaf_hash": hex::encode(Hash::leaf(leaf).0) });
        let with = |key: &str, value: Value| {
            let mut data = head.clone();
            if let Value::Object(fields) = &mut data {
                fields.insert(key.to_owned(), value);
            }
            data
        };
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let at = |value: &Value| value.get("at").and_then(Value::as_i64).map(UnixTime);
        match Leaf::parse(leaf) {
            Ok(Leaf::Attempt(value)) => {
                let verdict = text(&value, "verdict").unwrap_or_default();
                let number = value.get("node").and_then(Value::as_u64).map(|number| format!("node/{number}"));
                let subject = text(&value, "spiffe_id").filter(|id| !id.is_empty()).or(number);
                Self {
                    place,
                    kind: typed("attempt", &verdict),
                    subject: subject.map(shortened),
                    at: at(&value),
                    data: with("attempt", value),
                }
            }
            Ok(Leaf::Act(value)) => Self {
                place,
                kind: typed("act", &text(&value, "action").unwrap_or_default()),
                subject: text(&value, "subject").filter(|subject| !subject.is_empty()).map(shortened),
                at: at(&value),
                data: with("act", value),
            },
            Ok(Leaf::Issuance { at, serial, spiffe_id_sha256, spki_sha256, not_before, not_after, origin }) => {
                let (whose, subject, grounds) = match origin {
                    Grounds::Server => ("server", None, json!({})),
                    Grounds::Node { attempt } => {
                        let attempt = hex::encode(attempt);
                        ("node", Some(format!("attempt/{attempt}")), json!({ "attempt": attempt }))
                    }
                    Grounds::Workload { node, entry, revision } => {
                        let grounds = json!({ "node": node, "entry": entry, "entry_revision": revision });
                        ("workload", Some(format!("node/{node}")), grounds)
                    }
                };
                let issuance = json!({
                    "at": at.seconds(), "of": whose, "serial": hex::encode(serial), "grounds": grounds,
                    "spiffe_id_sha256": hex::encode(spiffe_id_sha256), "spki_sha256": hex::encode(spki_sha256),
                    "not_before": not_before.seconds(), "not_after": not_after.seconds(),
                });
                Self { place, kind: typed("issuance", whose), subject, at: Some(at), data: with("issuance", issuance) }
            }
            Ok(Leaf::Token {
                at,
                spiffe_id_sha256,
                audience_sha256,
                key_id_sha256,
                expires,
                node,
                entry,
                revision,
            }) => {
                let issuance = json!({
                    "at": at.seconds(), "of": "token",
                    "grounds": { "node": node, "entry": entry, "entry_revision": revision },
                    "spiffe_id_sha256": hex::encode(spiffe_id_sha256), "audience_sha256": hex::encode(audience_sha256),
                    "key_id_sha256": hex::encode(key_id_sha256), "not_after": expires.seconds(),
                });
                let subject = Some(format!("node/{node}"));
                Self {
                    place,
                    kind: typed("issuance", "token"),
                    subject,
                    at: Some(at),
                    data: with("issuance", issuance),
                }
            }
            Err(_) => {
                let bytes = json!({ "bytes": leaf.len() });
                Self { place, kind: typed("unreadable", ""), subject: None, at: None, data: with("unreadable", bytes) }
            }
        }
    }

    /// What an operator sends to try a sink out.
    #[must_use]
    pub fn test(sink: &str, at: UnixTime) -> Self {
        Self {
            place: Place::Test(at.seconds()),
            kind: typed("test", ""),
            subject: None,
            at: Some(at),
            data: json!({ "test": { "sink": sink } }),
        }
    }

    /// Whether it is about the sending of events itself.
    #[must_use]
    pub fn is_about_events(&self) -> bool {
        self.kind.strip_prefix(TYPE_PREFIX).is_some_and(|kind| kind.starts_with("act.events."))
    }

    /// Its type without what all have in common.
    #[must_use]
    pub fn short_kind(&self) -> &str {
        let kind = self.kind.strip_prefix(TYPE_PREFIX).unwrap_or(&self.kind);
        kind.strip_suffix(TYPE_VERSION).unwrap_or(kind)
    }
}

fn typed(family: &str, of: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let of: String = of.chars().map(plain).take(ACTION_MAX).collect();
    let dot = if of.is_empty() { "" } else { "." };
    format!("{TYPE_PREFIX}{family}{dot}{of}{TYPE_VERSION}")
}

fn shortened(text: String) -> String {
    if text.chars().nth(SUBJECT_MAX).is_none() { text } else { text.chars().take(SUBJECT_MAX).collect() }
}

/// Which types a sink gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeFilter(Vec<String>);

impl TypeFilter {
    /// Reads patterns: whole types, or beginnings with `*` behind. None at all means every type.
    ///
    /// # Errors
    /// What was expected, if one could never be met.
    pub fn read(patterns: Vec<String>) -> Result<Self, String> {
        for pattern in &patterns {
            let beginning = pattern.strip_suffix('*').unwrap_or(pattern);
            let whole = beginning == pattern && beginning.ends_with(TYPE_VERSION);
            let known = |family: &&str| {
                let family = format!("{TYPE_PREFIX}{family}");
                beginning.starts_with(&family) || (beginning != pattern && family.starts_with(beginning))
            };
            let families = ["attempt.", "act.", "issuance.", "unreadable.", "test."];
            if !(whole || beginning != pattern) || !families.iter().any(known) {
                return Err(format!(
                    "expected a type such as \"dev.holdfast.attempt.refused.v1\" or \"dev.holdfast.act.*\", found {pattern:?}"
                ));
            }
        }
        Ok(Self(patterns))
    }

    /// Whether the sink gets `event`.
    #[must_use]
    pub fn admits(&self, event: &Event) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(beginning) => event.kind.starts_with(beginning),
                None => event.kind == *pattern,
            })
    }
}
