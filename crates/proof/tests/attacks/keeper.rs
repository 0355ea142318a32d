//! A log's own keeper who lies: he changes entry, decision and bodies, and signs them with the log's key. What can be computed
//! again refutes him.

use holdfast_proof::{Conclusion, Digest, State, TrustDocument};
use serde_json::{Value, json};

use crate::sample::{LOG, Lie, checked, log_key, refuted, sample, signed};

#[test]
fn what_is_sealed_again_unchanged_still_holds() {
    for name in ["admitted", "renewed", "refused-evidence", "refused-policy"] {
        let report = checked(&Lie::about(name).told());
        assert_eq!(report.conclusion, Conclusion::Proven, "{report:#?}");
    }
}

#[test]
fn a_decision_that_says_admitted_of_a_refused_machine_is_refuted() {
    for (name, code) in [("refused-policy", "proof.decision_differs"), ("refused-evidence", "proof.evidence")] {
        let mut lie = Lie::about(name);
        lie.decide(|decision| decision["verdict"] = "admitted".into());
        assert!(refuted(&lie.told()).contains(&code));
        // With everything of a true admission.
        let mut lie = Lie::about(name);
        lie.decision = sample("admitted").decision.unwrap();
        lie.entry["verdict"] = "admitted".into();
        lie.entry["code"] = "".into();
        lie.entry["spiffe_id"] = Lie::about("admitted").entry["spiffe_id"].clone();
        assert!(refuted(&lie.told()).contains(&code));
    }
}

#[test]
fn a_refusal_of_a_machine_that_deserved_admission_is_refuted() {
    let mut lie = Lie::about("admitted");
    lie.decision = sample("refused-policy").decision.unwrap();
    lie.entry["verdict"] = "refused".into();
    lie.entry["code"] = "policy.no_rule_matched".into();
    let codes = refuted(&lie.told());
    assert_eq!(codes, ["proof.decision_differs", "proof.verdict_differs"]);
}

#[test]
fn an_entry_that_says_something_else_than_the_decision_is_refuted() {
    let changes: [(&str, Value); 7] = [
        ("code", "policy.ownership.not_in_inventory".into()),
        ("verdict", "refused".into()),
        ("verdict", "nothing".into()),
        ("spiffe_id", "spiffe://example.org/another".into()),
        ("way", "renew".into()),
        ("kinds", "snp".into()),
        ("at", 1.into()),
    ];
    for (name, value) in changes {
        let mut lie = Lie::about("admitted");
        lie.entry[name] = value;
        refuted(&lie.told());
    }
    for (name, value) in [("verdict", "admitted"), ("code", "tpm.quote.binding")] {
        for about in ["refused-policy", "refused-evidence"] {
            let mut lie = Lie::about(about);
            lie.entry[name] = value.into();
            refuted(&lie.told());
        }
    }
}

#[test]
fn each_field_of_a_decision_is_compared() {
    for about in ["admitted", "renewed", "refused-policy", "refused-evidence"] {
        let decision: Value = serde_json::from_str(&sample(about).decision.unwrap()).unwrap();
        let notes = ["machine", "firmware_log", "observed", "explanation", "results"];
        for name in decision.as_object().unwrap().keys().filter(|name| !notes.contains(&name.as_str())) {
            for other in [json!(null), json!("another"), json!([1])] {
                let mut lie = Lie::about(about);
                lie.decide(|decision| decision[name] = other);
                refuted(&lie.told());
            }
            let mut lie = Lie::about(about);
            lie.decide(|decision| drop(decision.as_object_mut().unwrap().remove(name)));
            refuted(&lie.told());
        }
        let mut lie = Lie::about(about);
        lie.decide(|decision| decision["more"] = 1.into());
        refuted(&lie.told());
        let mut lie = Lie::about(about);
        lie.decide(|decision| decision["observed"] = json!({ "verdict": "admitted" }));
        let code = if about == "refused-evidence" { "proof.evidence" } else { "proof.decision_differs" };
        assert!(refuted(&lie.told()).contains(&code), "{about}");
    }
}

#[test]
fn what_a_text_says_beside_the_decision_is_made_again_or_the_servers_word() {
    for about in ["admitted", "renewed", "refused-policy"] {
        for log in [json!(null), json!("ab".repeat(32)), json!(7)] {
            let mut lie = Lie::about(about);
            lie.decide(|decision| decision["firmware_log"] = log);
            assert_eq!(refuted(&lie.told()), ["proof.decision_differs"], "{about}");
        }
        let mut lie = Lie::about(about);
        lie.decide(|decision| decision["machine"] = json!([{ "class": "discrete" }]));
        let report = checked(&lie.told());
        let is_of_it =
            |step: &&holdfast_proof::Step| step.state == State::Vouched && step.detail.contains("\"machine\"");
        assert_eq!(report.steps.iter().filter(is_of_it).count(), 1, "{report:#?}");
    }
    // Of evidence that did not verify nobody knows whose it was, which log it has, or what another policy says.
    for (name, value) in
        [("machine", json!([])), ("firmware_log", json!(null)), ("observed", json!({ "verdict": "admitted" }))]
    {
        let mut lie = Lie::about("refused-evidence");
        lie.decide(|decision| decision[name] = value);
        assert_eq!(refuted(&lie.told()), ["proof.evidence"], "{name}");
    }
}

#[test]
fn a_decision_that_reads_differently_to_different_readers_is_refuted() {
    let text = sample("refused-policy").decision.unwrap();
    let twice = format!("{{\"verdict\":\"admitted\",{}", &text[1..]);
    let deep = "[".repeat(100_000);
    for decision in [twice, format!("{text} "), format!(" {text}"), "nothing".to_owned(), "[]".to_owned(), deep] {
        let mut lie = Lie::about("refused-policy");
        lie.decision = decision;
        assert_eq!(refuted(&lie.told()), ["proof.decision_differs"]);
    }
    // And so is an entry.
    let mut bundle = sample("refused-policy");
    let entry = String::from_utf8(bundle.entry.0[1..].to_vec()).unwrap();
    for entry in [format!("{{\"verdict\":\"admitted\",{}", &entry[1..]), format!("{entry}\n")] {
        bundle.entry.0.truncate(1);
        bundle.entry.0.extend_from_slice(entry.as_bytes());
        signed(&mut bundle, &log_key(LOG, 7));
        assert_eq!(refuted(&bundle), ["proof.entry"]);
    }
}

#[test]
fn a_verdict_before_any_policy_was_asked_is_never_an_admission() {
    let mut lie = Lie::about("admitted");
    lie.manifest.policy = None;
    lie.entry.as_object_mut().unwrap().remove("policy");
    lie.bundle.policies.clear();
    assert!(refuted(&lie.told()).contains(&"proof.verdict_differs"));

    // A refusal of the server's own is harsher and may be, and its decision says no other thing.
    let banned = |decision: Value| {
        let mut lie = Lie::about("admitted");
        lie.manifest.policy = None;
        lie.entry.as_object_mut().unwrap().remove("policy");
        lie.bundle.policies.clear();
        lie.entry["verdict"] = "refused".into();
        lie.entry["code"] = "node.other_machine".into();
        lie.decision = decision.to_string();
        lie.told()
    };
    let honest = banned(json!({ "verdict": "refused", "code": "node.other_machine" }));
    assert_eq!(checked(&honest).conclusion, Conclusion::Proven);
    for decision in [
        json!({ "verdict": "admitted", "code": "node.other_machine" }),
        json!({ "verdict": "refused", "code": "policy.no_rule_matched" }),
        json!({}),
    ] {
        assert_eq!(refuted(&banned(decision)), ["proof.decision_differs"]);
    }
}

#[test]
fn an_exchanged_authority_is_found_by_the_certificates_under_it() {
    let lie = Lie::about("admitted");
    let offered = lie.manifest.offered.clone().unwrap();
    let trust = TrustDocument::read(&offered.trust, &lie.bodies()).unwrap();
    let root = trust.roots[0].clone();
    let der = lie.bodies().get(&root.sha256).unwrap().to_vec();
    // Another vendor's root in its place, or the same with a changed byte anywhere.
    let stranger = {
        let other = sample("admitted");
        other
            .bodies
            .iter()
            .map(|body| body.content.0.clone())
            .find(|bytes| bytes.first() == Some(&0x30) && *bytes != der)
    };
    let changed = (0..der.len()).step_by(11).map(|at| {
        let mut changed = der.clone();
        changed[at] ^= 1;
        changed
    });
    for content in changed.chain(stranger) {
        let mut lie = Lie::about("admitted");
        let mut trust = trust.clone();
        trust.roots[0].sha256 = lie.exchange(root.sha256, content);
        let document = lie.exchange(offered.trust, serde_json::to_vec(&trust).unwrap());
        lie.manifest.offered.as_mut().unwrap().trust = document;
        assert!(refuted(&lie.told()).contains(&"proof.endorsement_keys"));
    }
    // The same root under another name or class is not what the challenge was drawn for.
    for change in [
        |trust: &mut TrustDocument| "vtpm".clone_into(&mut trust.roots[0].class),
        |trust: &mut TrustDocument| "nothing".clone_into(&mut trust.roots[0].class),
        |trust: &mut TrustDocument| "another".clone_into(&mut trust.roots[0].name),
    ] {
        let mut lie = Lie::about("admitted");
        let mut trust = trust.clone();
        change(&mut trust);
        let document = lie.exchange(offered.trust, serde_json::to_vec(&trust).unwrap());
        lie.manifest.offered.as_mut().unwrap().trust = document;
        assert!(refuted(&lie.told()).contains(&"proof.endorsement_keys"));
    }
    // An intermediate that is none.
    let mut lie = Lie::about("admitted");
    let mut trust = trust;
    trust.intermediates.push(lie.exchange(Digest([0; 32]), b"no certificate".to_vec()));
    let document = lie.exchange(offered.trust, serde_json::to_vec(&trust).unwrap());
    lie.manifest.offered.as_mut().unwrap().trust = document;
    assert!(refuted(&lie.told()).contains(&"proof.endorsement_keys"));
}
