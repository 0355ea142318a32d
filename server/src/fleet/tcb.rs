//! The facts of a decision that say on which TCB a machine rests, as the record keeps them beside the decision.

use std::collections::BTreeMap;

use holdfast_appraisal::facts::{FactId, Facts};
use serde_json::Value;

/// Names, or their beginnings, of the facts that are kept.
const KEPT: [&str; 14] = [
    "snp.chip_id",
    "snp.firmware.",
    "snp.mitigations.",
    "snp.platform.",
    "snp.product",
    "snp.signing_key",
    "snp.tcb.",
    "tdx.cpu_svn",
    "tdx.fmspc",
    "tdx.pce_svn",
    "tdx.piid",
    "tdx.tcb.",
    "tdx.tee_tcb_svn",
    "tpm.firmware_version",
];
/// Grows every day: kept, it would make every decision another.
const LEFT_OUT: [&str; 1] = ["tdx.tcb.age_days"];
/// The field of a decision in the record.
const FIELD: &str = "tcb";

/// Names and values, as policies write them; several values have commas between.
pub type TcbFacts = BTreeMap<String, String>;

/// What is kept of these facts, for the field `tcb` of the decision.
#[must_use]
pub fn tcb(facts: &Facts) -> Value {
    let kept = facts.iter().filter(|(id, _)| is_kept(&id.to_string()));
    let text = |values: &[holdfast_appraisal::Value]| {
        let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
        Value::from(texts.join(","))
    };
    kept.map(|(id, fact)| (id.to_string(), text(&fact.values))).collect()
}

/// What a decision on record says; empty if it says nothing.
pub(crate) fn of_decision(decision: &str) -> TcbFacts {
    let decision: Value = serde_json::from_str(decision).unwrap_or_default();
    let fields = decision.get(FIELD).and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether the fact is one of those that are kept.
pub(super) fn is_kept(name: &str) -> bool {
    !LEFT_OUT.contains(&name) && KEPT.iter().any(|kept| name.starts_with(kept))
}

/// The fact of that name, if it is kept.
pub(super) fn kept_fact(name: &str) -> Option<FactId> {
    FactId::parse(name).filter(|_| is_kept(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_appraisal::facts::{Fact, SnpFact};
    use holdfast_evidence::Provenance;

    #[test]
    fn what_is_kept_is_read_back() {
        let mut facts = Facts::new();
        for (fact, value) in [(SnpFact::ReportedSnp, 24), (SnpFact::Vmpl, 0)] {
            let values = vec![holdfast_appraisal::Value::Integer(value)];
            facts.insert(FactId::Snp(fact), Fact::of(Provenance::Hardware, values));
        }
        let decision = serde_json::json!({ "verdict": "admitted", "tcb": tcb(&facts) }).to_string();
        let read = of_decision(&decision);
        assert_eq!(read, TcbFacts::from([("snp.tcb.reported.snp".to_owned(), "24".to_owned())]));
        assert!(of_decision("{}").is_empty() && of_decision("").is_empty());
    }

    #[test]
    fn every_name_that_is_kept_is_a_facts() {
        let names: Vec<String> = holdfast_appraisal::facts::all_names().collect();
        for kept in KEPT.iter().chain(&LEFT_OUT) {
            assert!(names.iter().any(|name| name.starts_with(kept)), "{kept}");
        }
    }
}
