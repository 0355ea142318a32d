//! Facts of an inspection under the names that policies use, and what a policy would make of them.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use holdfast_appraisal::decision::{Approval, Explanation, InventoryAnswer, Listing, MachineRecord, Verdict};
use holdfast_appraisal::facts::{Shape, TpmSources, owner_marks, tpm};
use holdfast_appraisal::{Appraiser, Facts, Ownership, Policy, Value};
use holdfast_evidence::tpm::PcrSelection;
use holdfast_identity::{TrustDomain, UnixTime};
use serde_json::{Map, json};

use super::report::Refusal;
use crate::files;

/// The facts of a machine that no record mentions.
pub(super) fn of(sources: &TpmSources<'_>) -> Facts {
    tpm(sources, MachineRecord::New, Arc::new(sources.log_facts()))
}

/// Name → value (or list of values), who vouches for it, and the events that prove it.
pub(super) fn shown(facts: &Facts) -> serde_json::Value {
    let mut shown = Map::new();
    for (id, fact) in facts.iter() {
        let mut values: Vec<_> = fact.values.iter().map(shown_value).collect();
        let value = match (id.definition().shape, values.len()) {
            (Shape::One, 1) => values.remove(0),
            (Shape::One | Shape::Set | Shape::List, _) => values.into(),
        };
        let provenance = fact.provenance.as_str();
        shown.insert(id.to_string(), json!({ "value": value, "provenance": provenance, "events": fact.events }));
    }
    shown.into()
}

fn shown_value(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(yes) => (*yes).into(),
        Value::Integer(number) => (*number).into(),
        Value::Text(text) => (**text).into(),
        Value::Bits(_) | Value::Version(_) | Value::Digest(_) | Value::Labelled(_) => value.to_string().into(),
    }
}

/// Reads a policy and the reference values that it names.
///
/// # Errors
/// A file cannot be read, or is no policy: usage, and no refusal of the evidence.
pub(super) fn policy(path: &Path) -> anyhow::Result<Policy> {
    match files::bundle(path)?.parse() {
        Ok(policy) => Ok(policy),
        Err(findings) => {
            let findings: Vec<String> = files::with_paths(findings, path).iter().map(ToString::to_string).collect();
            bail!("policy does not parse\n{}", findings.join("\n"))
        }
    }
}

/// The decision on a machine that is taken as listed, registered and approved, and its explanation.
pub(super) fn decided(
    policy: &Policy,
    facts: &Facts,
    quoted: Option<&PcrSelection>,
    now: UnixTime,
) -> Option<(Verdict, Explanation)> {
    let inventory = owner_marks(facts).map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed });
    let ownership =
        Ownership { inventory: inventory.collect(), approval: Approval::Given, machine: MachineRecord::New };
    let appraiser = Appraiser::new("inspect.invalid".parse::<TrustDomain>().ok()?);
    Some(match quoted {
        Some(quoted) => {
            let verdict = appraiser.judge_quote(policy, facts, quoted, &ownership, now);
            let asked = facts.asked(policy.required_pcrs());
            let explanation = Appraiser::explain(policy, &asked, &ownership, now, &verdict);
            (verdict, explanation)
        }
        None => {
            let verdict = appraiser.judge(policy, facts, &ownership, now);
            let explanation = Appraiser::explain(policy, facts, &ownership, now, &verdict);
            (verdict, explanation)
        }
    })
}

/// What `policy` makes of the facts; of those of a quote, by the PCRs that it asks for, all of which must be `quoted`.
/// Whose machine it is no file can say: it is taken as listed, registered and approved.
///
/// # Errors
/// The policy's refusal.
pub(super) fn judge(
    policy: &Policy,
    facts: &Facts,
    quoted: Option<&PcrSelection>,
    now: UnixTime,
) -> (serde_json::Value, Result<(), Refusal>) {
    let Some((verdict, explanation)) = decided(policy, facts, quoted, now) else {
        let detail = "no trust domain to judge in".to_owned();
        return (serde_json::Value::Null, Err(Refusal { code: "policy.no_rule_matched", detail }));
    };
    let result = match &verdict {
        Verdict::Admit(_) => Ok(()),
        Verdict::AwaitsApproval(rejection) | Verdict::Refuse(rejection) => {
            Err(Refusal { code: rejection.code, detail: explanation.to_string() })
        }
    };
    let mut decision = serde_json::to_value(&verdict).unwrap_or_default();
    if let Some(decision) = decision.as_object_mut() {
        decision.insert("ownership_assumed".to_owned(), true.into());
        decision.insert("explanation".to_owned(), serde_json::to_value(&explanation).unwrap_or_default());
    }
    (decision, result)
}
