//! How a policy writes what it says of measured files, and what of it is refused, with its line.

use holdfast_appraisal::Document;
use holdfast_appraisal::policy::referenced_files;
use holdfast_evidence::tpm::PcrIndex;

use crate::scene::{digests, parse, policy, policy_text};

fn findings(ima: &str, files: &[(&str, &str)]) -> Vec<(&'static str, usize)> {
    parse(ima, files).unwrap_err().iter().map(|finding| (finding.code, finding.line)).collect()
}

#[test]
fn a_policy_about_files_has_pcrs_0_to_10_quoted() {
    let policy = policy("");
    assert!(policy.needs_ima());
    let quoted: Vec<u8> = policy.required_pcrs().iter().map(PcrIndex::get).collect();
    assert_eq!(quoted, (0..=10).collect::<Vec<u8>>());
}

#[test]
fn the_files_that_a_policy_names_are_found_once_each() {
    let text = policy_text("digests = [\"a\", \"b\"]\nkeys = [\"c\", \"a\"]");
    assert_eq!(referenced_files(Document { name: "p.toml", text: &text }).unwrap(), ["a", "b", "c"]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let set = digests(&[1]);
    let files: &[(&str, &str)] = &[("set", &set), ("bad", "nonsense\n"), ("empty", "# none\n"), ("key", "no PEM")];
    for (ima, expected) in [
        ("", vec![("policy.lint.empty_requirement", 10)]),
        ("violations = \"tolerated\"", vec![("policy.lint.empty_requirement", 10)]),
        ("digests = []", vec![("policy.lint.empty_set", 11)]),
        ("digests = \"other\"", vec![("policy.lint.reference_file_missing", 11)]),
        ("digests = \"bad\"", vec![("policy.lint.ima_digests", 1)]),
        ("digests = \"empty\"", vec![("policy.lint.ima_digests", 1)]),
        ("keys = \"key\"", vec![("policy.lint.ima_keys", 11)]),
        ("digests = \"set\"\nviolations = \"ignored\"", vec![("policy.lint.bad_value", 12)]),
        ("digests = \"set\"\nsha1_template_hashes = true", vec![("policy.lint.wrong_type", 12)]),
        ("digests = \"set\"\nexclude = [\"tmp\"]", vec![("policy.lint.bad_value", 12)]),
        ("digests = \"set\"\nexclude = [\"/**\"]", vec![("policy.lint.bad_value", 12)]),
        ("digests = \"set\"\nexclude = [\"/a/*/b\"]", vec![("policy.lint.bad_value", 12)]),
        ("digests = \"set\"\nexclude = [\"/a b\"]", vec![("policy.lint.bad_value", 12)]),
        ("digests = \"set\"\nbuffer_names = [\"/usr/bin/sh\"]", vec![("policy.lint.bad_value", 12)]),
        ("digests = \"set\"\nbuffer_digests = [\"abc\"]", vec![("policy.lint.bad_value", 12)]),
        ("digests = \"set\"\nviolation = \"tolerated\"", vec![("policy.lint.unknown_key", 12)]),
    ] {
        assert_eq!(findings(ima, files), expected, "{ima}");
    }
}

#[test]
fn the_version_of_a_policy_covers_its_digests() {
    let version = |set: &str| parse("digests = \"set\"", &[("set", set)]).unwrap().version().digest.clone();
    assert_ne!(version(&digests(&[1])), version(&digests(&[2])));
}

#[test]
fn a_rule_about_files_shadows_none_without() {
    let text = policy_text("digests = \"set\"");
    let second = "[[rule]]\nname = \"any\"\nownership = \"inventory\"\ntrust_classes = [\"firmware\"]\n";
    let set = digests(&[1]);
    let documents = [Document { name: "set", text: &set }];
    let parse = |text: &str| holdfast_appraisal::Policy::parse(Document { name: "p.toml", text }, &documents);
    assert!(parse(&format!("{text}{second}")).is_ok());
    let (head, rule) = text.split_once("[[rule]]").unwrap();
    let findings = parse(&format!("{head}{second}[[rule]]{rule}")).unwrap_err();
    assert_eq!(findings[0].code, "policy.lint.unreachable_rule");
}

#[test]
fn other_evidence_proves_no_files() {
    let text = policy_text("digests = \"set\"").replace("[rule.ima]", "evidence = \"gcp\"\n[rule.ima]");
    let set = digests(&[1]);
    let documents = [Document { name: "set", text: &set }];
    let findings = holdfast_appraisal::Policy::parse(Document { name: "p.toml", text: &text }, &documents).unwrap_err();
    assert_eq!(findings[0].code, "policy.lint.evidence_lacks");
}
