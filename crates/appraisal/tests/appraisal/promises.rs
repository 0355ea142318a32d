//! Lint: rules that promise what they do not keep.

use crate::machine::{hex, parse, policy_text};

fn found(rule: &str) -> Vec<(&'static str, usize)> {
    of_text(&policy_text(rule))
}

fn of_text(text: &str) -> Vec<(&'static str, usize)> {
    let findings = match parse(text) {
        Ok(policy) => policy.warnings().to_vec(),
        Err(findings) => findings,
    };
    findings.iter().map(|finding| (finding.code, finding.line)).collect()
}

const NEVER: &str = "policy.lint.never_holds";

#[test]
fn an_alternative_that_contradicts_its_rule_is_an_error() {
    let with = |own: &str, alternative: &str| {
        found(&format!(
            "[rule.require]\n{own}\n[[rule.alternative]]\nname = \"a\"\n[rule.alternative.require]\n{alternative}"
        ))
    };
    let (one, two) = (hex(1), hex(2));
    for (own, alternative) in [
        ("tpm.secure_boot.enabled = true".to_owned(), "tpm.secure_boot.enabled = false".to_owned()),
        (
            "tpm.firmware_version = { at_least = \"7\" }".to_owned(),
            "tpm.firmware_version = { at_most = \"6\" }".to_owned(),
        ),
        ("tpm.firmware_version = { at_least = \"7\" }".to_owned(), "tpm.firmware_version = \"6\"".to_owned()),
        (
            format!("tpm.boot.applications = {{ superset_of = [{one:?}] }}"),
            format!("tpm.boot.applications = {{ subset_of = [{two:?}] }}"),
        ),
        (
            format!("tpm.boot.applications = {{ exactly = [{one:?}] }}"),
            format!("tpm.boot.applications = {{ any_of = [{two:?}] }}"),
        ),
        (
            format!("tpm.boot.applications = {{ none_of = [{one:?}] }}"),
            format!("tpm.boot.applications = {{ sequence = [{one:?}, {two:?}] }}"),
        ),
    ] {
        assert_eq!(with(&own, &alternative), [(NEVER, 13)], "{own} / {alternative}");
    }
    let fine = format!("tpm.boot.applications = {{ sequence = [{one:?}, {two:?}] }}");
    assert_eq!(with("tpm.secure_boot.enabled = true", &fine), []);
    assert_eq!(with(&format!("tpm.boot.applications = {{ superset_of = [{one:?}] }}"), &fine), []);
}

#[test]
fn a_rule_that_a_deny_list_always_refuses_is_an_error() {
    let deny = |version: &str| {
        found(&format!(
            "[rule.require]\ntpm.firmware_version = {{ one_of = [\"7.1\", \"7.2\"] }}\n\
             [[deny]]\nname = \"old\"\nreason = \"x\"\nwhen.tpm.firmware_version = {{ at_most = {version:?} }}"
        ))
    };
    assert_eq!(deny("8"), [(NEVER, 7)]);
    assert_eq!(deny("7.1"), []);
}

#[test]
fn a_name_that_promises_more_than_the_rule_rests_on_is_a_warning() {
    const OVERSTATES: &str = "policy.lint.name_overstates";
    let named = |name: &str, class: &str, rule: &str| {
        let text = policy_text(rule).replace("\"rack\"", &format!("{name:?}")).replace("\"firmware\"", class);
        of_text(&text).into_iter().filter(|(code, _)| *code == OVERSTATES).collect::<Vec<_>>()
    };
    let boot = "[rule.require]\ntpm.secure_boot.enabled = true";
    let one = [(OVERSTATES, 7)];
    assert_eq!(named("our-hardware", "\"vtpm\"", boot), one);
    assert_eq!(named("our-hardware", "\"discrete\"", boot), []);
    assert_eq!(named("measured", "\"simulated\"", boot), one);
    assert_eq!(named("measured", "\"vtpm\"", boot), []);
    assert_eq!(named("measured-boot", "\"discrete\"", ""), one);
    assert_eq!(named("secure-boot", "\"discrete\"", ""), one);
    assert_eq!(named("secure-boot", "\"discrete\"", boot), []);
    let half = "[[rule.alternative]]\nname = \"a\"\nrequire.tpm.secure_boot.enabled = true\n\
        [[rule.alternative]]\nname = \"b\"\nrequire.tpm.firmware_version = \"7\"";
    assert_eq!(named("secure-boot", "\"discrete\"", half), one);
}

#[test]
fn a_template_that_its_evidence_cannot_fill_is_an_error() {
    assert_eq!(found("evidence = \"snp\""), [("policy.lint.evidence_lacks", 7)]);
    assert_eq!(found("evidence = \"snp\"\n[rule.issue]\nnode_id = \"/holdfast/node/snp/{snp.report_id}\""), []);
}

#[test]
fn two_rules_that_name_nodes_alike_after_different_facts_are_a_warning() {
    let second = |path: &str| {
        found(&format!(
            "[[rule]]\nname = \"guests\"\nevidence = \"snp\"\nownership = \"launch\"\ntrust_classes = [\"firmware\"]\n\
             [rule.issue]\nnode_id = \"/holdfast/node/{path}/{{snp.report_id}}\""
        ))
    };
    assert_eq!(second("tpm"), [("policy.lint.template_shared", 11)]);
    assert_eq!(second("snp"), []);
}
