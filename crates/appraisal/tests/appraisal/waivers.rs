//! Waivers and change windows: what they loosen, for whom and how long, and everything that they do not.

use holdfast_appraisal::decision::explanation::Answer;
use holdfast_appraisal::decision::{Approval, Ownership, Verdict};
use holdfast_appraisal::finding::Finding;
use holdfast_appraisal::{Appraiser, Facts};
use holdfast_identity::UnixTime;

use crate::machine::{
    NOW, codes, hex, judge, listed, machine, parse, policy, policy_text, set, unexplained, with, without,
};

const RULE: &str = "[rule.require]\ntpm.secure_boot.enabled = true\n\
    tpm.boot.command_lines = { exactly = [\"root=/dev/sda1 ro\"] }\n\
    tpm.boot.applications = { sequence = [\"a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1\", \
    \"a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2\"] }\n";
const NO_RULE: &str = "policy.no_rule_matched";

/// The waiver by which the machine may have another command line, with `replaced` parts.
fn waiver(replace: &[(&str, &str)]) -> String {
    let mut text = format!(
        "{RULE}[[waiver]]\nname = \"debug\"\nreason = \"a fault is hunted\"\nowner = \"jane@example.org\"\n\
         valid_from = 2026-05-30T00:00:00Z\nvalid_until = 2026-06-10T00:00:00Z\n\
         node = \"/holdfast/node/tpm/{}\"\nrule = \"rack\"\nfacts = [\"tpm.boot.command_lines\"]\n",
        hex(0xe1)
    );
    for (old, new) in replace {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

fn window(more: &str) -> String {
    format!(
        "{RULE}[[change_window]]\nname = \"bios\"\nreason = \"BIOS 1.9\"\nowner = \"jane@example.org\"\n\
         valid_from = 2026-05-31T00:00:00Z\nvalid_until = 2026-06-02T00:00:00Z\n\
         facts = [\"tpm.boot.applications\"]\n{more}\n"
    )
}

fn debugging() -> Facts {
    with("tpm.boot.command_lines", &["root=/dev/sda1 ro debug"])
}

fn decided(rule: &str, facts: &Facts) -> (&'static str, Vec<&'static str>) {
    codes(&judge(&policy(rule), facts, &listed()))
}

fn findings(rule: &str) -> Vec<Finding> {
    match parse(&policy_text(rule)) {
        Ok(policy) => [policy.warnings().to_vec(), policy.findings_at(NOW)].concat(),
        Err(findings) => findings,
    }
}

fn found(rule: &str) -> Vec<&'static str> {
    findings(rule).iter().map(|finding| finding.code).collect()
}

#[test]
fn what_a_waiver_names_may_differ_and_the_grant_says_so() {
    assert_eq!(decided(RULE, &debugging()).0, NO_RULE);
    let Verdict::Admit(grant) = judge(&policy(&waiver(&[])), &debugging(), &listed()) else { panic!("refused") };
    let [used] = grant.waivers.as_slice() else { panic!("{grant:#?}") };
    assert_eq!(
        (used.kind, used.name.as_str(), used.owner.as_str(), used.reason.as_str(), used.facts.as_slice()),
        ("waiver", "debug", "jane@example.org", "a fault is hunted", &["tpm.boot.command_lines".to_owned()][..])
    );
}

#[test]
fn a_machine_that_needs_no_waiver_uses_none() {
    let Verdict::Admit(grant) = judge(&policy(&waiver(&[])), &machine(), &listed()) else { panic!("refused") };
    assert!(grant.waivers.is_empty());
    let second = waiver(&[]).replace(
        "[[waiver]]",
        "[[rule]]\nname = \"second\"\nownership = \"inventory\"\ntrust_classes = [\"firmware\"]\n\
         [rule.require]\ntpm.boot.command_lines = { exactly = [\"root=/dev/sda1 ro debug\"] }\n[[waiver]]",
    );
    let Verdict::Admit(grant) = judge(&policy(&second), &debugging(), &listed()) else { panic!("refused") };
    assert_eq!((grant.rule.as_str(), grant.waivers.len()), ("second", 0), "a later rule goes before an exception");
}

#[test]
fn a_waiver_counts_between_its_dates_and_the_identity_ends_with_it() {
    for (dates, code) in [
        (("2026-05-30", "2026-06-01"), "admitted"),
        (("2026-05-30T00:00:00Z", "2026-06-01T00:00:01Z"), NO_RULE),
        (("2026-06-10T00:00:00Z", "2026-06-01T00:00:00Z"), NO_RULE),
        (("2026-06-10T00:00:00Z", "2026-06-01T00:00:01Z"), "admitted"),
    ] {
        assert_eq!(decided(&waiver(&[dates]), &debugging()).0, code, "{dates:?}");
    }
    let short = waiver(&[("2026-06-10T00:00:00Z", "2026-06-01T00:10:00Z")]);
    let Verdict::Admit(grant) = judge(&policy(&short), &debugging(), &listed()) else { panic!("refused") };
    assert_eq!(grant.evidence_expires, UnixTime(NOW.seconds() + 600));
}

#[test]
fn a_waiver_is_for_the_node_that_it_names() {
    let path = format!("\"/holdfast/node/tpm/{}\"", hex(0xe1));
    let value = format!("{:?}", hex(0xe1));
    assert_eq!(decided(&waiver(&[(&path, &value)]), &debugging()).0, "admitted");
    for other in
        [format!("{:?}", hex(0xe2)), format!("\"/holdfast/node/tpm/{}\"", hex(0xe2)), "\"firmware\"".to_owned()]
    {
        assert_eq!(decided(&waiver(&[(&path, &other)]), &debugging()).0, NO_RULE, "{other}");
    }
    let when =
        |condition: &str| waiver(&[(&format!("node = {path}"), &format!("when.tpm.manufacturer = {condition}"))]);
    assert_eq!(decided(&when("{ any_of = [\"id:49465800\"] }"), &debugging()).0, "admitted");
    assert_eq!(decided(&when("{ any_of = [\"id:4E544300\"] }"), &debugging()).0, NO_RULE);
    let mut unknown = debugging();
    unknown.remove(holdfast_appraisal::FactId::parse("tpm.manufacturer").unwrap());
    assert_eq!(decided(&when("{ any_of = [\"id:49465800\"] }"), &unknown).0, NO_RULE);
}

#[test]
fn nothing_else_is_loosened() {
    let policy = policy(&waiver(&[]));
    let mut off = debugging();
    set(&mut off, "tpm.secure_boot.enabled", &["false".to_owned()]);
    assert_eq!(codes(&judge(&policy, &off, &listed())), (NO_RULE, vec!["policy.fact.differs"]), "another fact");
    let mut class = debugging();
    set(&mut class, "tpm.class", &["vtpm".to_owned()]);
    assert_eq!(codes(&judge(&policy, &class, &listed())), (NO_RULE, vec!["policy.trust_class"]));
    let stranger = codes(&judge(&policy, &debugging(), &Ownership::unknown()));
    assert_eq!(stranger, (NO_RULE, vec!["policy.ownership.not_in_inventory"]));
    let denied = Ownership { approval: Approval::Denied, ..listed() };
    assert_eq!(codes(&judge(&policy, &debugging(), &denied)).0, "policy.ownership.approval_denied");
    let unproven = codes(&judge(&policy, &without("tpm.boot.command_lines"), &listed()));
    assert_eq!(unproven, (NO_RULE, vec!["policy.fact.not_proven"]), "what is not proven is not waived");
    let mut dark = unexplained(9);
    set(&mut dark, "tpm.boot.command_lines", &["debug".to_owned()]);
    assert_eq!(codes(&judge(&policy, &dark, &listed())), (NO_RULE, vec!["policy.pcr.unexplained"]));
}

#[test]
fn a_machine_is_ours_by_the_same_facts_with_a_waiver_and_without() {
    let owned_by = |facts: &Facts| match judge(&policy(&waiver(&[])), facts, &listed()) {
        Verdict::Admit(grant) => (grant.waivers.len(), grant.owned_by),
        other => panic!("{other:#?}"),
    };
    let by = vec!["tpm.ek.spki_sha256".to_owned()];
    assert_eq!(owned_by(&machine()), (0, by.clone()));
    assert_eq!(owned_by(&debugging()), (1, by), "the waiver was taken");
}

#[test]
fn a_deny_list_goes_before_every_waiver() {
    let deny = "[[deny]]\nname = \"debuggers\"\nreason = \"no\"\n\
        when.tpm.boot.command_lines = { any_of = [\"root=/dev/sda1 ro debug\"] }\n";
    assert_eq!(decided(&format!("{}{deny}", waiver(&[])), &debugging()).0, "policy.denied");
}

#[test]
fn what_is_to_hold_instead_must_hold() {
    let instead = |line: &str| format!("{}instead.tpm.boot.command_lines = {{ exactly = [{line:?}] }}\n", waiver(&[]));
    assert_eq!(decided(&instead("root=/dev/sda1 ro debug"), &debugging()).0, "admitted");
    assert_eq!(decided(&instead("root=/dev/sda1 ro nothing"), &debugging()).0, NO_RULE);
    let strange = format!("{}instead.tpm.secure_boot.enabled = false\n", waiver(&[]));
    assert_eq!(found(&strange), ["policy.lint.waiver_useless"]);
}

#[test]
fn a_bare_register_that_is_waived_explains_nothing() {
    let rule = |instead: &str| {
        format!(
            "[rule.require]\ntpm.secure_boot.enabled = true\ntpm.pcr.9 = {:?}\n[[waiver]]\nname = \"pcr\"\nreason = \"x\"\n\
             owner = \"jane\"\nvalid_until = 2026-06-10T00:00:00Z\nnode = {:?}\nrule = \"rack\"\nfacts = [\"tpm.pcr.9\"]\n{instead}",
            hex(9),
            hex(0xe1)
        )
    };
    assert_eq!(decided(&rule(""), &unexplained(9)), (NO_RULE, vec!["policy.pcr.unexplained"]));
    assert_eq!(decided(&rule(&format!("instead.tpm.pcr.9 = {:?}", hex(0x99))), &unexplained(9)).0, "admitted");
}

#[test]
fn during_an_announced_change_the_named_facts_may_differ() {
    let changed = with("tpm.boot.applications", &[&hex(0xb1)]);
    let open = window(&format!("nodes = [\"/holdfast/node/tpm/{}\", {:?}]", hex(0xe2), hex(0xe1)));
    let Verdict::Admit(grant) = judge(&policy(&open), &changed, &listed()) else { panic!("refused") };
    assert_eq!((grant.waivers[0].kind, grant.waivers[0].name.as_str()), ("change-window", "bios"));
    assert_eq!(decided(&open, &debugging()).0, NO_RULE);
    let of_others = window(&format!("nodes = [{:?}]", hex(0xe2)));
    assert_eq!(decided(&of_others, &changed).0, NO_RULE);
    assert_eq!(
        decided(
            &open.replace("2026-05-31", "2026-06-01").replace("T00:00:00Z\nvalid_until", "T00:00:01Z\nvalid_until"),
            &changed
        )
        .0,
        NO_RULE
    );
    let of_a_rule = format!("{open}rules = [\"rack\"]\n");
    assert_eq!(decided(&of_a_rule, &changed).0, "admitted");
}

#[test]
fn the_explanation_names_the_waiver_and_those_that_did_not_help() {
    let policy = policy(&waiver(&[]));
    let explain = |facts: &Facts| {
        let verdict = judge(&policy, facts, &listed());
        Appraiser::explain(&policy, facts, &listed(), NOW, &verdict)
    };
    let admitted = explain(&debugging());
    let waived = admitted.rules[0].conditions.iter().find(|one| one.fact == "tpm.boot.command_lines").unwrap();
    assert_eq!((waived.answer, waived.waived_by.as_deref()), (Answer::Waived, Some("debug")));
    assert_eq!(admitted.rules[0].answer, Answer::Waived);
    let text = admitted.to_string();
    assert!(text.contains("waiver debug of jane@example.org until 2026-06-10T00:00:00Z"), "{text}");
    assert!(text.contains("[waived] tpm.boot.command_lines"), "{text}");
    let mut worse = debugging();
    set(&mut worse, "tpm.boot.applications", &[hex(1)]);
    let refused = explain(&worse);
    assert_eq!((refused.waivers.len(), refused.changes.len()), (1, 1), "{refused}");
}

#[test]
fn an_exception_that_says_too_little_is_an_error() {
    for (old, code) in [
        ("reason = \"a fault is hunted\"\n", "policy.lint.missing_key"),
        ("owner = \"jane@example.org\"\n", "policy.lint.missing_key"),
        ("valid_until = 2026-06-10T00:00:00Z\n", "policy.lint.missing_key"),
        ("rule = \"rack\"\n", "policy.lint.missing_key"),
        ("facts = [\"tpm.boot.command_lines\"]\n", "policy.lint.missing_key"),
        ("name = \"debug\"\n", "policy.lint.missing_key"),
    ] {
        assert!(found(&waiver(&[(old, "")])).contains(&code), "{old}");
    }
    let node = format!("node = \"/holdfast/node/tpm/{}\"\n", hex(0xe1));
    for (old, new, code) in [
        (node.as_str(), "", "policy.lint.missing_key"),
        (&node, "node = \"x\"\nwhen.tpm.secure_boot.enabled = true\n", "policy.lint.missing_key"),
        (&node, "node = \"spiffe://example.org/holdfast/node/tpm/1\"\n", "policy.lint.bad_value"),
        (&node, "when = {}\n", "policy.lint.empty_requirement"),
        ("\"a fault is hunted\"", "\" \"", "policy.lint.bad_value"),
        ("valid_until = 2026-06-10T00:00:00Z", "valid_until = 2026-06-10", "policy.lint.bad_value"),
        ("valid_until = 2026-06-10", "valid_until = 2026-05-30", "policy.lint.empty_range"),
        ("rule = \"rack\"", "rule = \"rak\"", "policy.lint.waiver_useless"),
        ("tpm.boot.command_lines\"]", "tpm.boot.loaded_files\"]", "policy.lint.waiver_useless"),
        ("tpm.boot.command_lines\"]", "tpm.boot.commandlines\"]", "policy.lint.unknown_fact"),
        ("tpm.boot.command_lines\"]", "tpm.class\"]", "policy.lint.waiver_forbidden"),
        ("tpm.boot.command_lines\"]", "tpm.machine\"]", "policy.lint.waiver_forbidden"),
        ("tpm.boot.command_lines\"]", "tpm.ek.spki_sha256\"]", "policy.lint.waiver_forbidden"),
        ("tpm.boot.command_lines\"]", "tpm.root.sha256\"]", "policy.lint.waiver_forbidden"),
        ("tpm.boot.command_lines\"]", "tpm.platform.root_sha256\"]", "policy.lint.waiver_forbidden"),
        ("tpm.boot.command_lines\"]", "tpm.iak.root_sha256\"]", "policy.lint.waiver_forbidden"),
        ("tpm.boot.command_lines\"]", "tpm.idevid.serial\"]", "policy.lint.waiver_forbidden"),
        ("facts = [\"tpm.boot.command_lines\"]", "facts = []", "policy.lint.empty_set"),
        ("owner =", "owners =", "policy.lint.unknown_key"),
    ] {
        assert!(found(&waiver(&[(old, new)])).contains(&code), "{new}: {:?}", found(&waiver(&[(old, new)])));
    }
    assert!(found(&window("")).contains(&"policy.lint.missing_key"));
}

#[test]
fn an_exception_that_leaves_nothing_of_a_rule_is_an_error() {
    let all = waiver(&[(
        "facts = [\"tpm.boot.command_lines\"]",
        "facts = [\"tpm.boot.command_lines\", \"tpm.boot.applications\", \"tpm.secure_boot.enabled\"]",
    )]);
    assert_eq!(found(&all), ["policy.lint.waiver_of_everything"]);
    assert_eq!(found(&format!("{all}instead.tpm.secure_boot.enabled = false\n")), [] as [&str; 0]);
}

#[test]
fn an_exception_that_lasts_too_long_or_is_over_is_a_warning() {
    assert_eq!(found(&waiver(&[])), [] as [&str; 0]);
    assert_eq!(found(&waiver(&[("2026-06-10", "2026-09-10")])), ["policy.lint.waiver_too_long"]);
    let open = waiver(&[("valid_from = 2026-05-30T00:00:00Z\n", ""), ("2026-06-10", "2026-09-10")]);
    assert_eq!(found(&open), ["policy.lint.waiver_too_long"]);
    let over = waiver(&[("2026-05-30", "2026-05-01"), ("2026-06-10", "2026-05-10")]);
    assert_eq!(found(&over), ["policy.lint.waiver_expired"]);
    let finding = &findings(&over)[0];
    assert_eq!((finding.line, finding.column, finding.suggestion.as_deref()), (15, 8, Some("take it out")));
}
