//! What somebody reads whose policy does not read: the place, and what to write instead.

use holdfast_appraisal::case::{Case, Evidence};
use holdfast_appraisal::finding::{Finding, Severity};
use holdfast_appraisal::{Document, ReferenceValues};

use crate::machine::{parse, policy_text};

/// The one finding, which has a place and a suggestion.
fn told(found: Vec<Finding>, code: &str) -> Finding {
    let finding = found.into_iter().find(|finding| finding.code == code);
    let finding = finding.unwrap_or_else(|| panic!("no {code}"));
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.line > 0 && finding.column > 0, "{finding}");
    assert!(finding.suggestion.as_deref().is_some_and(|help| help.len() > 10), "no suggestion: {finding}");
    finding
}

fn help(finding: Finding) -> String {
    finding.suggestion.unwrap()
}

#[test]
fn a_syntax_error_says_what_the_line_lacks() {
    let first = policy_text("").lines().count() + 1;
    for (line, words) in [
        ("require.tpm.secure_boot.enabled = tru", "quotes"),
        ("name = rack", "quotes"),
        ("name = \"rack", "begins and ends with"),
        ("require", "key = value"),
        ("require.tpm.boot.applications = { any_of = [\"a\" }", "not closed"),
        ("require.tpm.secure_boot.enabled == true", "comparisons are operators"),
        ("[rule.require", "not closed"),
        ("x = 1 ]", "not opened"),
    ] {
        let found = parse(&format!("{}{line}\n", policy_text(""))).unwrap_err();
        let finding = told(found, "policy.lint.syntax");
        assert!((first - 1..=first + 1).contains(&finding.line), "{finding}");
        let help = help(finding);
        assert!(help.contains(words), "{line}: {help}");
    }
}

#[test]
fn an_empty_set_says_what_may_stand_there() {
    for rule in [
        "[rule.require]\ntpm.boot.applications = { any_of = [] }",
        "[rule.require]\ntpm.boot.command_lines = { exactly = [] }",
        "required_events = []",
        "forbidden_events = []",
    ] {
        told(parse(&policy_text(rule)).unwrap_err(), "policy.lint.empty_set");
    }
    let text = "api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = \"r\"\n[values]\n";
    let found = ReferenceValues::parse(Document { name: "r.toml", text });
    told(found.err().unwrap(), "policy.lint.empty_set");
}

#[test]
fn a_bad_value_says_what_a_good_one_looks_like() {
    for rule in [
        "required_events = [{ pcr = 24, action = \"x\" }]",
        "required_events = [{ pcr = 5, action = \"\" }]",
        "required_events = [{ pcr = 5, separator = false }]",
        "[rule.require]\ntpm.boot.applications = { any_of = [\"zz\"] }",
        "[rule.require]\ntpm.pcr.9 = \"00\"",
        "[rule.require]\ntpm.firmware_version = { at_least = \"seven\" }",
        "evidence = [\"tmp\"]",
        "trust_classes = [\"discreet\"]",
        "ownership = \"none\"",
    ] {
        let text = match rule.split_once(" = ").map(|(key, _)| key) {
            Some(key @ ("trust_classes" | "ownership")) => {
                let text = policy_text("");
                let old = text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
                text.replace(&old, rule)
            }
            _ => policy_text(rule),
        };
        told(parse(&text).unwrap_err(), "policy.lint.bad_value");
    }
    let case = |more: &str| {
        let text = format!(
            "api_version = \"holdfast/1\"\nkind = \"case\"\npolicy = \"p.toml\"\nat = 2026-06-01T00:00:00Z\n{more}\n\
             [expect]\ndecision = \"admitted\"\n"
        );
        Case::parse(Document { name: "c.toml", text: &text }, None, Evidence::None).unwrap_err()
    };
    for more in [
        "trust_domain = \"Not A Domain\"",
        "without = [\"tpm.machine\"]",
        "unexplained_pcrs = [24]",
        "[facts]\ntpm.secure_boot.enabled = []",
    ] {
        told(case(more), "policy.lint.bad_value");
    }
}
