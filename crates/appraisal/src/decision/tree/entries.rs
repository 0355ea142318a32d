//! Single entries of an explanation, made of what the decision already knows. Every text is cut to a bounded length.

use holdfast_identity::UnixTime;

use crate::decision::explanation::{
    Answer, Check, ConditionEntry, DenyEntry, EventEntry, Proven, ValueEntry, WaiverEntry,
};
use crate::decision::rejection::{Difference, ValueDifference};
use crate::decision::remedy;
use crate::policy::{Deny, Loosened, Waiver};
use crate::value::Value;

/// Longest text that is shown whole, in bytes.
const TEXT_MAX: usize = 400;

pub(super) fn value_entry(value: ValueDifference, found: &[Value]) -> ValueEntry {
    let event = value.event.map(|event| {
        // A fact that is the event's own digest is proven by nothing but the digest.
        let of = |value: &Value| match value {
            Value::Digest(digest) => digest.to_string() == event.digest,
            Value::Labelled(labelled) => labelled.digest.to_string() == event.digest,
            Value::Bool(_) | Value::Integer(_) | Value::Bits(_) | Value::Version(_) | Value::Text(_) => false,
        };
        let proven = if found.iter().any(of) { Proven::Digest } else { Proven::Contents };
        EventEntry {
            index: event.index,
            pcr: event.pcr,
            kind: short(event.kind),
            digest: event.digest,
            proven,
            hint: event.hint.map(short),
        }
    });
    ValueEntry {
        expected: value.expected.map(short),
        note: value.expected_note.map(short),
        found: value.found.map(short),
        event,
    }
}

pub(super) fn waiver_entry(waiver: &Waiver) -> WaiverEntry {
    WaiverEntry {
        kind: waiver.kind.as_str().into(),
        name: waiver.name.clone(),
        owner: waiver.owner.clone(),
        reason: short(waiver.reason.clone()),
        valid_from: waiver.valid_from.map(UnixTime::seconds),
        valid_until: waiver.valid_until.seconds(),
        facts: waiver.facts.iter().map(Loosened::to_string).collect(),
    }
}

pub(super) fn cleared(deny: &Deny) -> DenyEntry {
    let (name, reason) = (deny.name.clone(), deny.reason.clone());
    DenyEntry { name, reason, answer: Answer::Differs, conditions: Vec::new() }
}

pub(super) fn problem(difference: &Difference) -> Check {
    Check {
        subject: difference.fact.clone().map_or("evidence".into(), Into::into),
        answer: Answer::Differs,
        code: Some(difference.code.into()),
        expected: short(difference.expected.clone()),
        found: short(difference.found.clone()),
    }
}

pub(super) fn changed(check: &Check) -> String {
    let code = check.code.as_deref().unwrap_or_default();
    short(remedy::check(code, &check.subject, &check.expected, &check.found))
}

pub(super) fn all(checks: &[Check], conditions: &[ConditionEntry]) -> Answer {
    let answers = checks.iter().map(|check| check.answer).chain(conditions.iter().map(|one| one.answer));
    answers.fold(Answer::Holds, Answer::and)
}

/// The text, cut where it is too long: a command line may have 16 kB.
pub(super) fn short(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let mut at = TEXT_MAX;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let rest = text.len() - at;
        text.truncate(at);
        text.push_str(&format!("… ({rest} more bytes)"));
    }
    text
}
