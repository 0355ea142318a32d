//! Regular expressions on texts, and events that must or must not be there.

use holdfast_appraisal::FactId;
use holdfast_appraisal::facts::{Fact, Facts};
use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::Bank;

use crate::language::check;
use crate::machine::{hex, machine, outcome, policy_text, set, with, without};

const NO_RULE: &str = "policy.no_rule_matched";

fn check_rule(rule: &str, code: &str, line: usize, column: usize) {
    check(&policy_text(rule), code, line, column);
}

#[test]
fn a_text_matches_as_a_whole_and_every_one_of_them() {
    let rule = "[rule.require]\ntpm.boot.command_lines = { matches = 'root=/dev/[a-z]+[0-9] (ro|rw)' }";
    let lines = |lines: &[&str]| outcome(rule, &with("tpm.boot.command_lines", lines));
    assert_eq!(lines(&["root=/dev/sda1 ro"]).0, "admitted");
    assert_eq!(lines(&["root=/dev/sda1 ro", "root=/dev/vdb2 rw"]).0, "admitted");
    for bad in [
        &["root=/dev/sda1 ro init=/bin/sh"][..],
        &["x root=/dev/sda1 ro"],
        &["root=/dev/sda1 ro", "quiet"],
        &["root=/dev/sda1 ro\n"],
    ] {
        assert_eq!(lines(bad), (NO_RULE, vec!["policy.fact.not_allowed"]), "{bad:?}");
    }
    assert_eq!(lines(&[]), (NO_RULE, vec!["policy.fact.lacks"]), "no text at all matches nothing");
    assert_eq!(outcome(rule, &without("tpm.boot.command_lines")), (NO_RULE, vec!["policy.fact.not_proven"]));
}

#[test]
fn a_text_of_which_only_the_digest_is_known_neither_matches_nor_is_cleared() {
    let mut facts = machine();
    let digest = holdfast_appraisal::digest_of(&[7; 32]).unwrap();
    let fact = Fact::of(Provenance::Hardware, vec![holdfast_appraisal::Value::Digest(digest)]);
    facts.insert(FactId::parse("tpm.boot.command_lines").unwrap(), fact);
    let wanted = outcome("[rule.require]\ntpm.boot.command_lines = { matches = '[0-9a-f]+' }", &facts);
    assert_eq!(wanted, (NO_RULE, vec!["policy.fact.not_allowed"]));
    let unwanted = outcome("[rule.require]\ntpm.boot.command_lines = { none_matches = '.*init=.*' }", &facts);
    assert_eq!(unwanted, (NO_RULE, vec!["policy.fact.denied"]));
}

#[test]
fn no_text_may_match_what_is_not_wanted() {
    let rule = "[rule.require]\ntpm.boot.command_lines = { none_matches = '(.* )?(init|rd.break)(=.*)?' }";
    assert_eq!(outcome(rule, &machine()).0, "admitted");
    let sly = with("tpm.boot.command_lines", &["quiet", "ro rd.break"]);
    assert_eq!(outcome(rule, &sly), (NO_RULE, vec!["policy.fact.denied"]));
}

#[test]
fn a_pattern_that_says_nothing_or_cannot_be_read_is_an_error() {
    let matches = |pattern: &str| format!("[rule.require]\ntpm.boot.command_lines = {{ matches = '{pattern}' }}");
    for wide in ["(?s).*", "(?s:.*)|a", ".+", "[^x]*", "(a|b)?", "a*"] {
        check_rule(&matches(wide), "policy.lint.pattern_too_wide", 11, 38);
    }
    for bad in ["(", "a)|(b", "(?=a)b", "((a{100}){100}){100}", &"a".repeat(600)] {
        check_rule(&matches(bad), "policy.lint.bad_pattern", 11, 38);
    }
    check_rule("[rule.require]\ntpm.boot.command_lines = { matches = 1 }", "policy.lint.wrong_type", 11, 38);
    check_rule("[rule.require]\ntpm.pcr.4 = { matches = 'a' }", "policy.lint.operator_does_not_fit", 11, 15);
    check_rule("[rule.require]\nnitro.role_arn = { matches = 'a' }", "policy.lint.operator_does_not_fit", 11, 20);
}

fn measured(events: &[&[u8]]) -> Facts {
    let digests: Vec<String> = events.iter().map(|data| Bank::Sha256.digest(&[data]).to_string()).collect();
    let mut facts = machine();
    set(&mut facts, "tpm.events.5", &digests);
    facts
}

#[test]
fn an_event_that_must_be_there_is_named_by_its_text_or_its_digest() {
    let leaves = b"Exit Boot Services Invocation".as_slice();
    let action = "required_events = [{ pcr = 5, action = \"Exit Boot Services Invocation\" }]";
    assert_eq!(outcome(action, &measured(&[b"x", leaves])).0, "admitted");
    assert_eq!(outcome(action, &measured(&[b"x"])), (NO_RULE, vec!["policy.fact.lacks"]));
    assert_eq!(outcome(action, &machine()), (NO_RULE, vec!["policy.fact.not_proven"]));
    let separator = "required_events = [{ pcr = 5, separator = true }]";
    assert_eq!(outcome(separator, &measured(&[&[0; 4]])).0, "admitted");
    assert_eq!(outcome(separator, &measured(&[&[0xff; 4]])), (NO_RULE, vec!["policy.fact.lacks"]));
    let digest =
        format!("required_events = [{{ pcr = 5, digest = \"{}\", note = \"x\" }}]", Bank::Sha256.digest(&[b"x"]));
    assert_eq!(outcome(&digest, &measured(&[b"x"])).0, "admitted");
    assert_eq!(outcome(&digest, &measured(&[b"y"])), (NO_RULE, vec!["policy.fact.lacks"]));
}

#[test]
fn an_event_that_must_not_be_there_is_refused_and_its_absence_must_be_proven() {
    let rule = "forbidden_events = [{ pcr = 5, action = \"UEFI Debug Mode\" }, { pcr = 5, digest = \"@bad\" }]\n\
        [sets]\nbad = [\"5555555555555555555555555555555555555555555555555555555555555555\"]";
    assert_eq!(outcome(rule, &measured(&[b"x"])).0, "admitted");
    assert_eq!(outcome(rule, &measured(&[b"UEFI Debug Mode"])), (NO_RULE, vec!["policy.fact.denied"]));
    let mut facts = measured(&[b"x"]);
    set(&mut facts, "tpm.events.5", &[hex(0x55)]);
    assert_eq!(outcome(rule, &facts), (NO_RULE, vec!["policy.fact.denied"]));
    assert_eq!(outcome(rule, &machine()).1, ["policy.fact.not_proven", "policy.fact.not_proven"]);
}

#[test]
fn an_alternative_may_be_told_by_its_events() {
    let rule = "[[rule.alternative]]\nname = \"a\"\nrequired_events = [{ pcr = 5, action = \"a\" }]\n\
        [[rule.alternative]]\nname = \"b\"\nrequired_events = [{ pcr = 5, action = \"b\" }]";
    assert_eq!(outcome(rule, &measured(&[b"b"])).0, "admitted");
    assert_eq!(outcome(rule, &measured(&[b"c"])).0, NO_RULE);
    check_rule(
        "[[rule.alternative]]\nname = \"a\"\nforbidden_events = [{ pcr = 5, action = \"a\" }]",
        "policy.lint.missing_key",
        10,
        1,
    );
}

#[test]
fn an_event_that_is_not_named_by_what_is_proven_is_an_error() {
    for (event, code) in [
        ("{ pcr = 5, type = \"EV_EFI_ACTION\" }", "policy.lint.event_unproven"),
        ("{ pcr = 5 }", "policy.lint.missing_key"),
        ("{ pcr = 5, separator = false }", "policy.lint.bad_value"),
        ("{ pcr = 5, action = \"\" }", "policy.lint.bad_value"),
        ("{ pcr = 24, action = \"a\" }", "policy.lint.bad_value"),
        ("{ pcr = 5, digest = \"abcd\" }", "policy.lint.bad_value"),
        ("{ pcr = 5, action = \"a\", digest = \"@x\" }", "policy.lint.missing_key"),
        ("{ pcr = 5, action = \"a\", kind = 1 }", "policy.lint.unknown_key"),
        ("{ action = \"a\" }", "policy.lint.missing_key"),
    ] {
        let found = crate::machine::parse(&policy_text(&format!("required_events = [{event}]"))).unwrap_err();
        assert_eq!((found[0].code, found[0].line), (code, 10), "{event}");
    }
    let wrong_bank = format!("required_events = [{{ pcr = 5, digest = \"{}\" }}]", "aa".repeat(48));
    check_rule(&wrong_bank, "policy.lint.bad_value", 10, 40);
    check_rule("required_events = []", "policy.lint.empty_set", 10, 19);
}
