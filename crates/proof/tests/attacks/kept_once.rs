//! Texts of decisions that leave the end of the evidence and the moment to the entry, so that equal ones are kept once; and
//! what explains a decision, compared like the decision.

use holdfast_proof::Conclusion;
use serde_json::{Value, json};

use crate::sample::{Lie, checked, refuted};

/// As a server keeps it now: what an older one wrote into the text stands in the entry.
fn kept_once(name: &str) -> Lie {
    let mut lie = Lie::about(name);
    let mut ends = None;
    lie.decide(|decision| {
        ends = decision.as_object_mut().unwrap().remove("evidence_expires");
        if let Some(explanation) = decision.get_mut("explanation") {
            explanation.as_object_mut().unwrap().remove("at");
        }
    });
    if let Some(ends) = ends {
        lie.entry["evidence_expires"] = ends;
    }
    lie
}

#[test]
fn a_text_without_the_moment_and_the_end_of_the_evidence_is_proven_by_its_entry() {
    for name in ["admitted", "renewed", "refused-evidence", "refused-policy"] {
        let report = checked(&kept_once(name).told());
        assert_eq!(report.conclusion, Conclusion::Proven, "{report:#?}");
    }
}

#[test]
fn another_end_of_the_evidence_in_the_entry_is_refuted() {
    for name in ["admitted", "renewed"] {
        let ends = kept_once(name).entry["evidence_expires"].as_i64().unwrap();
        for other in [ends + 1, ends - 1, 0, i64::MAX] {
            let mut lie = kept_once(name);
            lie.entry["evidence_expires"] = other.into();
            assert_eq!(refuted(&lie.told()), ["proof.verdict_differs"]);
            // Also where the text, as one of before, says the truth.
            let mut lie = Lie::about(name);
            lie.entry["evidence_expires"] = other.into();
            assert_eq!(refuted(&lie.told()), ["proof.verdict_differs"]);
            // And where the text is gone by retention.
            let mut lie = kept_once(name);
            lie.entry["evidence_expires"] = other.into();
            let mut bundle = lie.told();
            bundle.decision = None;
            assert!(refuted(&bundle).contains(&"proof.verdict_differs"));
        }
        for strange in [json!("tomorrow"), json!([ends]), json!(true)] {
            let mut lie = kept_once(name);
            lie.entry["evidence_expires"] = strange;
            assert_eq!(refuted(&lie.told()), ["proof.entry"]);
        }
    }
}

#[test]
fn an_admission_that_says_nowhere_when_its_evidence_ends_is_refuted() {
    let mut lie = kept_once("admitted");
    lie.entry.as_object_mut().unwrap().remove("evidence_expires");
    assert_eq!(refuted(&lie.told()), ["proof.verdict_differs"]);
}

#[test]
fn evidence_of_a_machine_that_was_not_admitted_counts_at_no_time() {
    for name in ["refused-evidence", "refused-policy"] {
        let mut lie = kept_once(name);
        lie.entry["evidence_expires"] = 1_900_000_000.into();
        assert_eq!(refuted(&lie.told()), ["proof.entry"]);
    }
}

#[test]
fn an_explanation_that_the_evidence_does_not_give_is_refuted() {
    for name in ["admitted", "renewed", "refused-evidence", "refused-policy"] {
        let code = if name == "refused-evidence" { "proof.evidence" } else { "proof.decision_differs" };
        let changes: [fn(&mut Value); 5] = [
            |explanation| explanation["decision"] = "awaits-approval".into(),
            |explanation| explanation["at"] = 7.into(),
            |explanation| explanation["changes"] = json!(["buy another machine"]),
            |explanation| explanation["more"] = 1.into(),
            |explanation| *explanation = json!({}),
        ];
        for change in changes {
            for about in [Lie::about, kept_once] {
                let mut lie = about(name);
                lie.decide(|decision| change(&mut decision["explanation"]));
                assert!(refuted(&lie.told()).contains(&code), "{name}");
            }
        }
    }
}

#[test]
fn results_that_the_evidence_does_not_give_are_refuted() {
    for name in ["admitted", "renewed", "refused-evidence", "refused-policy"] {
        let code = if name == "refused-evidence" { "proof.evidence" } else { "proof.decision_differs" };
        let told = |lie: &Lie| serde_json::from_str::<Value>(&lie.decision).unwrap()["results"].clone();
        assert!(told(&Lie::about(name)).is_array(), "{name} says what relying parties may be told");
        for field in ["status", "label", "vector", "because"] {
            let mut lie = Lie::about(name);
            lie.decide(|decision| decision["results"][0][field] = "another".into());
            assert!(refuted(&lie.told()).contains(&code), "{name}: {field}");
        }
        let mut lie = Lie::about(name);
        lie.decide(|decision| decision["results"] = json!([]));
        assert!(refuted(&lie.told()).contains(&code), "{name}");
    }
}
