//! The facts that say on which TCB a machine rests, as its last decision on record has them.

use std::collections::BTreeMap;

use holdfast_appraisal::facts::{Fact, FactId, Facts};
use serde_json::Value;

/// Names, or their beginnings, of the facts that are shown.
const SHOWN: [&str; 13] = [
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
];
/// As old as the decision: today it is another number.
const LEFT_OUT: [&str; 1] = ["tdx.tcb.age_days"];

/// Names and values, as policies write them; several values have commas between.
pub type TcbFacts = BTreeMap<String, String>;

/// What a decision on record says: `{"machine":[{"facts":{"snp.product":{"values":["Milan"]}}}]}`. Empty if it says
/// nothing, as that of a machine with a TPM alone.
pub(crate) fn of_decision(decision: &str) -> TcbFacts {
    let decision: Value = serde_json::from_str(decision).unwrap_or_default();
    let items = decision.get("machine").and_then(Value::as_array).into_iter().flatten();
    let facts = items.filter_map(|item| item.get("facts")?.as_object()).flatten();
    let shown = facts.filter(|(name, _)| is_shown(name)).map(|(name, fact)| {
        let values = fact.get("values").and_then(Value::as_array).into_iter().flatten();
        let texts: Vec<&str> = values.filter_map(Value::as_str).collect();
        (name.clone(), texts.join(","))
    });
    shown.collect()
}

/// The same of facts that are at hand.
pub(super) fn of_facts(facts: &Facts) -> TcbFacts {
    let shown = facts.iter().map(|(id, fact)| (id.to_string(), fact)).filter(|(name, _)| is_shown(name));
    let joined = |fact: &Fact| fact.values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    shown.map(|(name, fact)| (name, joined(fact))).collect()
}

/// Whether the fact is one of those that are shown.
fn is_shown(name: &str) -> bool {
    !LEFT_OUT.contains(&name) && SHOWN.iter().any(|shown| name.starts_with(shown))
}

/// The fact of that name, if it is shown.
pub(super) fn shown_fact(name: &str) -> Option<FactId> {
    FactId::parse(name).filter(|_| is_shown(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tcb_is_read_from_whatever_items_a_machine_brought() {
        let decision = serde_json::json!({ "verdict": "admitted", "machine": [
            { "class": "discrete", "manufacturer": "id:49465800" },
            { "kind": "snp", "facts": {
                "snp.tcb.reported.snp": { "values": ["24"], "provenance": "hardware" },
                "snp.measurement": { "values": ["00"], "provenance": "hardware" },
            } },
            { "kind": "tdx", "facts": { "tdx.tcb.advisories": { "values": ["INTEL-SA-1", "INTEL-SA-2"] } } },
        ] });
        let expected = [("snp.tcb.reported.snp", "24"), ("tdx.tcb.advisories", "INTEL-SA-1,INTEL-SA-2")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(of_decision(&decision.to_string()), TcbFacts::from(expected));
        for nothing in ["", "{}", "[]", "{\"machine\":7}", "{\"machine\":[{\"facts\":[]}]}"] {
            assert!(of_decision(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn every_name_that_is_shown_is_a_facts() {
        let names: Vec<String> = holdfast_appraisal::facts::all_names().collect();
        for shown in SHOWN.iter().chain(&LEFT_OUT) {
            assert!(names.iter().any(|name| name.starts_with(shown)), "{shown}");
        }
    }
}
