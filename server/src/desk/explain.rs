//! What the operator is told of a verdict, as JSON: the rule, the nearest alternative, each event that differs. Never
//! the evidence itself.

use std::error::Error;

use holdfast_appraisal::Decision;
use holdfast_appraisal::decision::Explanation;
use holdfast_appraisal::ear::ItemResult;
use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;
use serde_json::{Value, json};

use super::evidence::{EvidenceRefused, Machine};

/// What changes from attempt to attempt of one machine in one state. It stands in the attempt's entry alone, so that equal
/// decisions have one text, which is kept once.
const OF_THE_ATTEMPT: [&str; 2] = ["evidence_expires", "at"];

/// A decision with its explanation.
pub(super) type Explained = (Decision, Explanation);

/// A policy's decision, the observed policy's beside it, whose machine it was about, and what relying parties may be told.
pub(super) fn decision(
    decided: &Explained,
    observed: Option<&Explained>,
    machine: &Machine,
    results: &[ItemResult],
) -> String {
    let mut text = explained(decided);
    if let Value::Object(fields) = &mut text {
        fields.insert("machine".to_owned(), machine.explain());
        fields.insert("firmware_log".to_owned(), machine.log().map(|log| hex::encode(log.digest())).into());
        fields.insert("results".to_owned(), results.iter().map(ItemResult::to_json).collect());
        if let Some(observed) = observed {
            fields.insert("observed".to_owned(), explained(observed));
        }
    }
    text.to_string()
}

fn explained((decision, explanation): &Explained) -> Value {
    let mut text = serde_json::to_value(decision).unwrap_or_else(|_| json!({}));
    if let Value::Object(fields) = &mut text {
        fields.insert("explanation".to_owned(), undated(explanation));
    }
    undated(&text)
}

/// Without what the attempt's entry says.
fn undated(value: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !OF_THE_ATTEMPT.contains(&name.as_str()));
    }
    value
}

/// Evidence that did not verify: the chain of what is wrong.
pub(super) fn unverified(refused: &EvidenceRefused, kinds: impl Iterator<Item = EvidenceKind>, at: UnixTime) -> String {
    let mut chain = vec![refused.to_string()];
    let mut next: Option<&dyn Error> = refused.source();
    while let Some(error) = next {
        chain.push(error.to_string());
        next = error.source();
    }
    chain.dedup();
    let kinds: Vec<EvidenceKind> = kinds.collect();
    let explanation = Explanation::of_unverified(&kinds, refused.code(), &chain, at);
    let results = crate::ear::refused(kinds.into_iter(), refused.is_genuine());
    let (code, explanation) = (refused.code(), undated(&explanation));
    json!({ "verdict": "refused", "code": code, "errors": chain, "explanation": explanation, "results": results })
        .to_string()
}
