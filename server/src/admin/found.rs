//! Who is shown what was found of machines. A decision holds facts of evidence: whoever may read evidence is shown them once
//! that stands in the record; whoever only looks is told the verdict, by which rule, and what was in the way by code and by
//! name. Decides about no machine.

use serde_json::{Map, Value};
use tonic::{Request, Status};

use super::Admin;
use super::roles::Found;
use super::socket::peer;

/// What everybody may know of a decision, where it stands.
const TOLD: [&str; 5] = ["verdict", "code", "policy", "rule", "alternative"];
/// And of each thing that was in the way.
const TOLD_OF_DIFFERENCES: [&str; 2] = ["code", "fact"];

impl Admin {
    /// What whoever sent `request` is shown.
    pub(super) async fn found_for<T>(&self, request: &Request<T>) -> Result<Found, Status> {
        let (roles, peer) = (self.roles.clone(), peer(request));
        // The user database may be a directory service.
        let found =
            tokio::task::spawn_blocking(move || peer.map_or(Found::Withheld, |(uid, gid)| roles.found_for(uid, gid)));
        found.await.map_err(|_| Status::internal("roles cannot be read"))
    }
}

/// A decision on record without what was found of the machine: by a list of what stays, not of what goes.
pub(super) fn told(decision: &str) -> String {
    let decision: Value = serde_json::from_str(decision).unwrap_or_default();
    let mut kept = told_of(&decision);
    kept.insert("found_withheld".to_owned(), true.into());
    if let Some(observed) = decision.get("observed") {
        kept.insert("observed".to_owned(), told_of(observed).into());
    }
    Value::Object(kept).to_string()
}

fn told_of(decision: &Value) -> Map<String, Value> {
    let mut kept = only(decision, &TOLD);
    let differences = decision.get("differences").and_then(Value::as_array).into_iter().flatten();
    let differences: Vec<Value> = differences.map(|one| only(one, &TOLD_OF_DIFFERENCES).into()).collect();
    kept.insert("differences".to_owned(), differences.into());
    kept
}

fn only(value: &Value, names: &[&str]) -> Map<String, Value> {
    let kept = names.iter().filter_map(|name| Some(((*name).to_owned(), value.get(name)?.clone())));
    kept.collect()
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::admin;

    use super::super::harness::operated;
    use super::*;
    use crate::config::Simulated;
    use crate::record::Leaf;
    use crate::store::conformance::enrolment;
    use crate::store::{Actor, Outcome};

    const SECRET: &str = "ro crypt=of-this-machine";

    fn decision() -> Value {
        let difference = serde_json::json!({ "code": "policy.fact.differs", "fact": "tpm.boot.command_lines",
            "expected": "ro", "found": SECRET, "values": [{ "found": SECRET }] });
        let explained = serde_json::json!({ "verdict": "refused", "code": "policy.no_rule_matched", "rule": "rack",
            "policy": { "name": "rack", "digest": "ab" }, "differences": [difference],
            "explanation": { "changes": [SECRET] }, "selectors": [SECRET], "errors": [SECRET] });
        let mut decision = explained.clone();
        decision["observed"] = explained;
        decision["machine"] = serde_json::json!([{ "facts": { "snp.chip_id": { "values": [SECRET] } } }]);
        decision
    }

    #[test]
    fn a_decision_without_what_was_found_says_by_what_and_why() {
        let told: Value = serde_json::from_str(&told(&decision().to_string())).unwrap();
        assert!(!told.to_string().contains("crypt"), "{told}");
        let because = serde_json::json!([{ "code": "policy.fact.differs", "fact": "tpm.boot.command_lines" }]);
        for side in [&told, &told["observed"]] {
            assert_eq!((&side["rule"], &side["differences"]), (&"rack".into(), &because));
            assert_eq!(side["policy"]["name"], "rack");
        }
        assert_eq!(told["found_withheld"], true);
        for nothing in ["", "[]", "7"] {
            assert!(super::told(nothing).contains("found_withheld"), "{nothing}");
        }
    }

    #[tokio::test]
    async fn whoever_only_looks_is_told_a_verdict_and_whoever_reads_evidence_stands_in_the_record() {
        let operated = operated(Simulated::Refused).await;
        let mut attempt = enrolment(1);
        attempt.decision = decision().to_string();
        let id = attempt.id;
        assert!(matches!(operated.store.record_attempt(attempt).await.unwrap(), Outcome::Admitted { .. }));
        let by = || Actor::Operator { uid: 7, name: "eve".to_owned() };
        let head = operated.store.head().await.unwrap().size;
        let told = operated.admin.shown(&id.to_string(), by(), Found::Withheld).await.unwrap();
        assert!(!told.decision.contains("crypt") && told.decision.contains("policy.fact.differs"), "{}", told.decision);
        assert_eq!(operated.store.head().await.unwrap().size, head, "no evidence was read");
        let shown = operated.admin.shown(&id.to_string(), by(), Found::Shown).await.unwrap();
        assert!(shown.decision.contains(SECRET));
        let entries = operated.store.ledger_entries(head, 10).await.unwrap();
        let Leaf::Act(act) = Leaf::parse(&entries[0].leaf).unwrap() else { panic!("no act") };
        assert_eq!((act["action"].as_str(), act["by"].as_str()), (Some("evidence.read"), Some("eve (uid 7)")));
    }

    #[tokio::test]
    async fn whoever_only_looks_asks_the_fleet_about_no_policy_and_no_floor_of_his_own() {
        let operated = operated(Simulated::Refused).await;
        let by = || Actor::Operator { uid: 7, name: "eve".to_owned() };
        let document = admin::PolicyDocument { name: "own.toml".into(), text: String::new() };
        let own = admin::WhatIfRequest { documents: vec![document], nodes: true, ..admin::WhatIfRequest::default() };
        let floor = admin::WhatIfRequest {
            version: "enforce".into(),
            floors: vec!["snp.tcb.reported.snp=24".into()],
            ..admin::WhatIfRequest::default()
        };
        for asked in [own, floor.clone()] {
            let refused = operated.admin.ask_what_if(asked, by(), Found::Withheld).await.unwrap_err();
            assert_eq!(refused.code(), "admin.role");
        }
        let asked = || admin::WhatIfRequest { floors: Vec::new(), ..floor.clone() };
        let refused = operated.admin.ask_what_if(asked(), by(), Found::Withheld).await.unwrap_err();
        assert_eq!(refused.code(), "admin.not_found", "about a version that is kept he may");
        // Of the places there are he leaves one to those who run the fleet.
        let others = operated.what_ifs.clone().try_acquire_owned().unwrap();
        let refused = operated.admin.ask_what_if(asked(), by(), Found::Withheld).await.unwrap_err();
        assert_eq!(refused.code(), "rollout.what_if_busy");
        let heard = operated.admin.ask_what_if(asked(), by(), Found::Shown).await.unwrap_err();
        assert_eq!(heard.code(), "admin.not_found", "whoever runs it has his turn");
        drop(others);
    }
}
