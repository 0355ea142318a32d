//! Whether a decision's text is the one that the same evidence gives again: every field that decides, and of what explains
//! it whatever can be made again. Makes nothing again itself: see `retrace`.

use std::collections::BTreeSet;

use holdfast_appraisal::decision::{Explanation, RetracedDecision};
use holdfast_appraisal::ear::{ItemResult, unverified};
use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;
use serde_json::{Value, json};

use crate::bytes::Digest;
use crate::entry::AttemptEntry;
use crate::replay::RefusedEvidence;

/// The parts of a decision's JSON that explain it, beside those that are the decision. `machine` is said by the server alone;
/// `observed` is compared with what the observed policy says, `firmware_log` with the log.
const NOTES: [&str; 5] = ["machine", "firmware_log", "observed", "explanation", "results"];
/// Those of them that stand only in the text of a policy's decision about evidence that verified, and once in it.
const OF_VERIFIED: [&str; 3] = ["machine", "firmware_log", "observed"];
/// What texts leave to the attempt's entry, so that equal decisions are kept once; those of before hold it.
const ENDS: &str = "evidence_expires";
/// And what explanations leave to it.
const AT: &str = "at";

/// What one policy, or the evidence itself, says again.
pub(crate) struct Again {
    decision: Value,
    explanation: Value,
    /// Any of these.
    results: Vec<Value>,
}

impl Again {
    /// By a policy.
    pub(crate) fn of(decision: &RetracedDecision, explanation: &Explanation, results: &[ItemResult]) -> Self {
        Self {
            decision: serde_json::to_value(decision).unwrap_or_default(),
            explanation: serde_json::to_value(explanation).unwrap_or_default(),
            results: vec![results.iter().map(ItemResult::to_json).collect()],
        }
    }

    /// By evidence that does not verify. Whether its hardware vouched for it all the same, the server knew.
    pub(crate) fn of_refused(refused: &RefusedEvidence, kinds: &[EvidenceKind], then: UnixTime) -> Self {
        let explanation = Explanation::of_unverified(kinds, refused.code, &refused.errors, then);
        let results = |genuine| kinds.iter().map(|kind| unverified(*kind, genuine).to_json()).collect();
        Self {
            decision: json!({ "verdict": "refused", "code": refused.code, "errors": refused.errors }),
            explanation: serde_json::to_value(explanation).unwrap_or_default(),
            results: vec![results(true), results(false)],
        }
    }

    /// The fields in which the recorded text says something else. What an older server did not explain is not missed.
    pub(crate) fn differing(&self, recorded: &Value) -> BTreeSet<String> {
        let none = serde_json::Map::new();
        let (kept, again) = (recorded.as_object().unwrap_or(&none), self.decision.as_object().unwrap_or(&none));
        let names = kept.keys().chain(again.keys()).filter(|name| !NOTES.contains(&name.as_str()));
        let left_out = |name: &str| name == ENDS && !kept.contains_key(ENDS);
        let mut differ: BTreeSet<String> =
            names.filter(|name| !left_out(name) && kept.get(*name) != again.get(*name)).cloned().collect();
        if let Some(explained) = kept.get("explanation") {
            let mut again = self.explanation.clone();
            if let (Some(fields), None) = (again.as_object_mut(), explained.get(AT)) {
                fields.remove(AT);
            }
            if *explained != again {
                differ.insert("explanation".to_owned());
            }
        }
        if kept.get("results").is_some_and(|told| !self.results.contains(told)) {
            differ.insert("results".to_owned());
        }
        differ
    }
}

/// What the text says of a machine that nothing proved; nothing in one that a server writes.
pub(crate) fn unproven(recorded: &Value) -> BTreeSet<String> {
    OF_VERIFIED.into_iter().filter(|name| recorded.get(name).is_some()).map(str::to_owned).collect()
}

/// Whether the text names another firmware log than the evidence rests on.
pub(crate) fn names_another_log(recorded: &Value, log: Option<Digest>) -> bool {
    let log = log.map_or(Value::Null, |log| log.to_string().into());
    recorded.get("firmware_log").is_some_and(|named| *named != log)
}

/// What is wrong with the end of the evidence as it was recorded: in the entry, or in a text of before.
pub(crate) fn end_of_evidence(
    entry: &AttemptEntry,
    recorded: Option<&Value>,
    decision: &RetracedDecision,
) -> Option<String> {
    let RetracedDecision::Admitted { grant, .. } = decision else { return None };
    if entry.verdict != "admitted" {
        return None;
    }
    let found = grant.evidence_expires.seconds();
    match (entry.evidence_expires, recorded) {
        (Some(ends), _) if ends == found => None,
        (Some(ends), _) => {
            Some(format!("the entry says that the evidence counts until {ends}, and it does until {found}"))
        }
        // Of a text that says so every field is compared.
        (None, Some(text)) if text.get(ENDS).is_some() => None,
        (None, Some(_)) => Some("neither the entry nor the decision says until when the evidence counts".to_owned()),
        (None, None) => None,
    }
}
