//! What an admission grants, and how decisions read.

use holdfast_appraisal::Facts;
use holdfast_appraisal::decision::{Ownership, Verdict};

use crate::decision::{REFUSED, require};
use crate::machine::{NOW, hex, judge, listed, machine, outcome, parse, policy, policy_text, set, with, without};

#[test]
fn the_first_rule_that_admits_is_the_one_that_stands_in_the_grant() {
    let text = policy_text(
        "[rule.require]\ntpm.secure_boot.enabled = true\n\
         [[rule]]\nname = \"second\"\nownership = \"inventory\"\ntrust_classes = [\"firmware\"]\n\
         [rule.issue]\nsvid_ttl = \"10m\"\nselectors = \"tpm.class\"",
    );
    let policy = parse(&text).unwrap();
    let rule = |facts: &Facts| match judge(&policy, facts, &listed()) {
        Verdict::Admit(grant) => (grant.rule, grant.svid_ttl, grant.selectors.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(rule(&machine()), ("rack".to_owned(), 7_200, 0));
    assert_eq!(rule(&with("tpm.secure_boot.enabled", &["false"])), ("second".to_owned(), 600, 1));
}

#[test]
fn a_grant_says_what_is_issued() {
    let rule = "[rule.issue]\nselectors = [\"tpm.secure_boot.enabled\", \"tpm.ek.spki_sha256\", \"tpm.boot.command_lines\", \"tpm.model\"]\n\
                max_evidence_age = \"1h\"\nsvid_ttl = \"30m\"";
    let mut facts = machine();
    set(&mut facts, "tpm.boot.command_lines", &["a\nb".to_owned(), "root=/dev/sda1 ro".to_owned()]);
    let Verdict::Admit(grant) = judge(&policy(rule), &facts, &listed()) else { panic!("refused") };
    assert_eq!(grant.spiffe_id.as_str(), format!("spiffe://example.org/holdfast/node/tpm/{}", hex(0xe1)));
    let selectors: Vec<String> = grant.selectors.iter().map(ToString::to_string).collect();
    let ek = format!("tpm:ek:{}", hex(0xe1));
    assert_eq!(selectors, ["tpm:command_line:root=/dev/sda1 ro", &ek, "tpm:secure_boot:true"]);
    assert_eq!(grant.selectors_left_out.len(), 2, "a control character, and a fact that is not there");
    assert_eq!((grant.svid_ttl, grant.evidence_expires), (1_800, NOW.plus(3_600)));
    assert_eq!(grant.ownership, ["inventory"]);
}

#[test]
fn any_genuine_device_leaves_its_reason_in_the_decision() {
    let text = policy_text("ownership_reason = \"lab\"").replace("\"inventory\"", "\"any-genuine-device\"");
    let Verdict::Admit(grant) = judge(&parse(&text).unwrap(), &machine(), &Ownership::unknown()) else {
        panic!("refused")
    };
    assert_eq!((grant.ownership, grant.ownership_reason.as_deref()), (vec!["any-genuine-device"], Some("lab")));
}

#[test]
fn a_node_id_is_never_made_of_a_fact_that_is_missing_or_several() {
    assert_eq!(outcome("", &without("tpm.machine")).0, "policy.node_id");
    assert_eq!(outcome("", &with("tpm.machine", &[&hex(1), &hex(2)])).0, "policy.node_id");
}

#[test]
fn hostile_text_is_escaped_for_terminals_and_kept_in_json() {
    let hostile = "\u{1b}]0;owned\u{7}<script>\n\u{202e}";
    let rule = require("tpm.boot.command_lines = { exactly = [\"root=/dev/sda1 ro\"] }");
    let Verdict::Refuse(rejection) = judge(&policy(&rule), &with("tpm.boot.command_lines", &[hostile]), &listed())
    else {
        panic!("admitted")
    };
    let text = rejection.to_string();
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&rejection).unwrap()).unwrap();
    assert_eq!(json["differences"][0]["values"][0]["found"], hostile);
}

#[test]
fn a_decision_names_policy_rule_expected_and_found_as_json() {
    let facts = with("tpm.secure_boot.enabled", &["false"]);
    let verdict = judge(&policy(&require("tpm.secure_boot.enabled = true")), &facts, &listed());
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!((&json["verdict"], &json["code"], &json["rule"]), (&"refuse".into(), &REFUSED.into(), &"rack".into()));
    assert_eq!(json["policy"]["name"], "test");
    assert_eq!(json["policy"]["digest"].as_str().map(str::len), Some(64));
    let difference = &json["differences"][0];
    assert_eq!(
        (&difference["expected"], &difference["found"], &difference["line"]),
        (&"true".into(), &"false".into(), &11.into())
    );
}
