//! What a rule denies of a fact, and a waiver of that fact: the denial stands unless its operator is named.

use holdfast_appraisal::Facts;
use holdfast_appraisal::decision::Verdict;
use holdfast_appraisal::finding::{Finding, Severity};

use crate::machine::{codes, hex, judge, listed, machine, parse, policy, policy_text, set};

const REFUSED: &str = "policy.no_rule_matched";

/// A rule that requires and denies something of one fact, and the waiver that names `facts`.
fn text(rule: &str, facts: &str) -> String {
    format!(
        "{rule}\n[[waiver]]\nname = \"w\"\nreason = \"x\"\nowner = \"jane\"\nvalid_until = 2026-06-10T00:00:00Z\n\
         node = {:?}\nrule = \"rack\"\nfacts = [{facts}]\n",
        hex(0xe1)
    )
}

fn decided(rule: &str, facts: &str, machine: &Facts) -> (&'static str, Vec<&'static str>) {
    codes(&judge(&policy(&text(rule, facts)), machine, &listed()))
}

fn codes_of(findings: &[Finding], severity: Severity) -> Vec<&'static str> {
    findings.iter().filter(|finding| finding.severity == severity).map(|finding| finding.code).collect()
}

fn with(fact: &str, values: &[String]) -> Facts {
    let mut facts = machine();
    set(&mut facts, fact, values);
    facts
}

/// Rule, fact, a value that is only not allowed, a value that is denied, the operator of the denial.
type Denial = (String, &'static str, Vec<String>, Vec<String>, &'static str);

fn denials() -> Vec<Denial> {
    let (a, b) = (hex(0xa1), hex(0xbd));
    let lines = |denial: &str| {
        format!(
            "[rule.require]\ntpm.secure_boot.enabled = true\n\
             tpm.boot.command_lines = {{ exactly = [\"root=/dev/sda1 ro\"], {denial} }}\n"
        )
    };
    let debug = vec!["root=/dev/sda1 ro debug".to_owned()];
    let single = vec!["root=/dev/sda1 ro single".to_owned()];
    let applications = format!(
        "[rule.require]\ntpm.secure_boot.enabled = true\n\
         tpm.boot.applications = {{ any_of = [\"{a}\"], none_of = [\"{b}\"] }}\n"
    );
    let events = |digest: &str| {
        format!(
            "required_events = [{{ pcr = 5, digest = \"{a}\" }}]\n\
             forbidden_events = [{{ pcr = 5, digest = \"{digest}\" }}]\n\
             [rule.require]\ntpm.secure_boot.enabled = true\n"
        )
    };
    vec![
        (
            lines("none_of = [\"root=/dev/sda1 ro single\"]"),
            "tpm.boot.command_lines",
            debug.clone(),
            single.clone(),
            "none_of",
        ),
        (lines("none_matches = \".*single\""), "tpm.boot.command_lines", debug, single, "none_matches"),
        (applications, "tpm.boot.applications", vec![hex(0xcc)], vec![b.clone()], "none_of"),
        (events(&b), "tpm.events.5", vec![hex(0xcc)], vec![b], "none_of"),
    ]
}

#[test]
fn a_waiver_of_a_fact_waives_what_is_required_of_it_and_not_what_is_denied() {
    for (rule, fact, strange, denied, operator) in denials() {
        let waived = format!("{fact:?}");
        assert_eq!(decided(&rule, &waived, &with(fact, &strange)).0, "admitted", "{fact} {operator}");
        let (decision, because) = decided(&rule, &waived, &with(fact, &denied));
        assert_eq!((decision, because), (REFUSED, vec!["policy.fact.denied"]), "{fact} {operator}");
    }
}

#[test]
fn a_denial_is_waived_by_its_own_name_and_nothing_else_with_it() {
    for (rule, fact, strange, denied, operator) in denials() {
        let named = format!("\"{fact}.{operator}\"");
        assert_eq!(decided(&rule, &named, &with(fact, &strange)).0, REFUSED, "{fact}: the requirement stands");
        let both = format!("{fact:?}, {named}");
        let verdict = judge(&policy(&text(&rule, &both)), &with(fact, &denied), &listed());
        let Verdict::Admit(grant) = verdict else { panic!("{fact} {operator}: {verdict:#?}") };
        let mut used = grant.waivers[0].facts.clone();
        used.sort();
        assert_eq!(used, [fact.to_owned(), format!("{fact}.{operator}")], "the grant says what was waived");
    }
}

#[test]
fn a_named_operator_loosens_no_other_condition_on_its_fact() {
    let (a, b) = (hex(0xa1), hex(0xa2));
    let rule = format!(
        "[rule.require]\ntpm.secure_boot.enabled = true\n\
         tpm.boot.applications = {{ any_of = [\"{a}\"], subset_of = [\"{a}\", \"{b}\"] }}\n"
    );
    let fact = "tpm.boot.applications";
    let only_b = with(fact, std::slice::from_ref(&b));
    let strange = with(fact, &[a.clone(), hex(0xcc)]);
    assert_eq!(decided(&rule, "\"tpm.boot.applications.any_of\"", &only_b).0, "admitted");
    assert_eq!(decided(&rule, "\"tpm.boot.applications.any_of\"", &strange).0, REFUSED);
    assert_eq!(decided(&rule, "\"tpm.boot.applications.subset_of\"", &strange).0, "admitted");
    assert_eq!(decided(&rule, "\"tpm.boot.applications.subset_of\"", &only_b).0, REFUSED);
}

#[test]
fn what_an_entry_cannot_mean_is_an_error() {
    let rule = "[rule.require]\ntpm.secure_boot.enabled = true\n\
        tpm.boot.command_lines = { none_of = [\"single\"] }\n";
    let errors = |facts: &str| match parse(&policy_text(&text(rule, facts))) {
        Ok(_) => Vec::new(),
        Err(findings) => codes_of(&findings, Severity::Error),
    };
    let only_denied = errors("\"tpm.boot.command_lines\"");
    assert_eq!(only_denied, ["policy.lint.waiver_useless"], "nothing is required of it");
    assert_eq!(errors("\"tpm.boot.command_lines.none_matches\""), ["policy.lint.waiver_useless"]);
    assert_eq!(errors("\"tpm.boot.command_lines.at_least\""), ["policy.lint.operator_does_not_fit"]);
    assert_eq!(errors("\"tpm.boot.command_lines.nothing\""), ["policy.lint.unknown_fact"]);
    assert_eq!(errors("\"tpm.secure_boot.enabled\""), ["policy.lint.waiver_of_everything"], "denials are no remainder");
    assert!(errors("\"tpm.boot.command_lines.none_of\"").is_empty());
}
