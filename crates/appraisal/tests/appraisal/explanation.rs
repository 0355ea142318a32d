//! The explanation: a tree that says of everything that was asked what was found, and what would have to change.

use holdfast_appraisal::decision::explanation::{Answer, Explanation};
use holdfast_appraisal::decision::{Approval, Ownership};
use holdfast_appraisal::{Appraiser, Document, Facts, Policy};

use crate::machine::{NOW, hex, judge, listed, machine, policy, policy_text, unexplained, with, without};

const RULE: &str = "[rule.require]\ntpm.secure_boot.enabled = true\n\
    [[rule.alternative]]\nname = \"old\"\nvalid_until = 2020-01-01T00:00:00Z\n\
    require.tpm.boot.command_lines = { exactly = [\"root=/dev/sda1 ro\"] }\n\
    [[rule.alternative]]\nname = \"new\"\nrequire.tpm.boot.command_lines = { exactly = [\"quiet\"] }\n";

fn explain(policy: &Policy, facts: &Facts, ownership: &Ownership) -> Explanation {
    let verdict = judge(policy, facts, ownership);
    Appraiser::explain(policy, facts, ownership, NOW, &verdict)
}

#[test]
fn a_refusal_names_every_alternative_with_its_dates_and_what_would_have_to_change() {
    let explanation = explain(&policy(RULE), &machine(), &listed());
    assert_eq!((&*explanation.decision, explanation.code.as_deref()), ("refused", Some("policy.no_rule_matched")));
    let rule = &explanation.rules[0];
    assert_eq!(rule.answer, Answer::Differs);
    assert!(rule.checks.iter().all(|check| check.answer == Answer::Holds), "{rule:#?}");
    let alternatives: Vec<_> = rule.alternatives.iter().map(|one| (one.name.as_str(), one.answer)).collect();
    assert_eq!(alternatives, [("old", Answer::Differs), ("new", Answer::Differs)]);
    assert_eq!(rule.alternatives[0].checks[0].code.as_deref(), Some("policy.alternative.not_valid_any_more"));
    assert_eq!(rule.alternatives[0].valid_until, Some(1_577_836_800));
    let nearest = explanation.nearest.as_ref().unwrap();
    assert_eq!((nearest.rule.as_str(), nearest.alternative.as_deref()), ("rack", Some("old")));
    assert_eq!(explanation.changes.len(), 1, "{:?}", explanation.changes);
    assert!(explanation.changes[0].contains("valid_until is later"), "{:?}", explanation.changes);
    let text = explanation.to_string();
    for words in ["[NO]  alternative old (policy line 13, until 2020-01-01T00:00:00Z)  <- nearest", "alternative new"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn an_admission_tells_only_the_way_that_was_satisfied() {
    let rule = format!(
        "{RULE}[[rule.alternative]]\nname = \"good\"\n\
        require.tpm.boot.command_lines = {{ exactly = [\"root=/dev/sda1 ro\"] }}\n"
    );
    let explanation = explain(&policy(&rule), &machine(), &listed());
    assert_eq!((&*explanation.decision, explanation.changes.len()), ("admitted", 0));
    let names: Vec<&str> = explanation.rules[0].alternatives.iter().map(|one| one.name.as_str()).collect();
    assert_eq!((names, explanation.rules.len()), (vec!["good"], 1));
    assert!(serde_json::to_string(&explanation).unwrap().len() < 2_000);
}

#[test]
fn each_kind_of_obstacle_has_its_sentence() {
    let unlisted = Ownership::unknown();
    let approval = policy_text("").replace("\"inventory\"", "\"approval\"");
    let approval = Policy::parse(Document { name: "p.toml", text: &approval }, &[]).unwrap();
    let denied = Ownership { approval: Approval::Denied, ..Ownership::unknown() };
    let plain = policy("[rule.require]\ntpm.secure_boot.enabled = true");
    let deny =
        policy("[[deny]]\nname = \"old\"\nreason = \"withdrawn\"\nwhen.tpm.firmware_version = { at_most = \"9\" }");
    for (explanation, words) in [
        (explain(&plain, &machine(), &unlisted), "an operator lists the machine in the inventory: tpm.ek.spki_sha256"),
        (explain(&approval, &machine(), &unlisted), "an operator approves the machine"),
        (explain(&approval, &machine(), &denied), "an operator who turned the machine down thinks otherwise"),
        (explain(&plain, &with("tpm.class", &["vtpm"]), &listed()), "the rule admits tpm.class vtpm"),
        (
            explain(&plain, &with("tpm.secure_boot.enabled", &["false"]), &listed()),
            "shows tpm.secure_boot.enabled true",
        ),
        (explain(&plain, &without("tpm.secure_boot.enabled"), &listed()), "an event log that explains PCR 7"),
        (explain(&plain, &unexplained(9), &listed()), "the log explains tpm.pcr.9"),
        (explain(&deny, &machine(), &listed()), "deny list old is met"),
        (explain(&deny, &without("tpm.firmware_version"), &listed()), "deny list old cannot be ruled out"),
    ] {
        let text = explanation.to_string();
        assert!(explanation.changes.iter().any(|change| change.contains(words)), "{words}\n{text}");
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn the_origin_of_a_good_value_is_told_with_file_source_date_and_note() {
    let reference = format!(
        "api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = \"debian\"\nsource = \"our build\"\n\
         created = 2026-01-31T12:00:00Z\n[values]\ntpm.boot.applications = [{{ value = {:?}, note = \"shim\" }}, {:?}]\n",
        hex(0xa1),
        hex(0xa3)
    );
    let text = policy_text("[rule.require]\ntpm.boot.applications = { superset_of = \"@debian\" }")
        .replace("[issue]", "reference_values = [\"debian.toml\"]\n[issue]");
    let references = [Document { name: "debian.toml", text: &reference }];
    let policy = Policy::parse(Document { name: "p.toml", text: &text }, &references).unwrap();
    let explanation = explain(&policy, &with("tpm.boot.applications", &[&hex(0xa3)]), &listed());
    let origin = &explanation.origins[0];
    assert_eq!(
        [&origin.name, &origin.file, &origin.source, &origin.created],
        ["debian", "debian.toml", "our build", "2026-01-31T12:00:00Z"]
    );
    let value = &explanation.rules[0].conditions[0].values[0];
    assert_eq!((value.expected.as_deref(), value.note.as_deref()), (Some(hex(0xa1).as_str()), Some("shim")));
    assert!(explanation.changes[0].contains("@debian (debian.toml) does without"), "{:?}", explanation.changes);
}

#[test]
fn what_a_machine_says_is_escaped_and_cut() {
    let line = format!("quiet\u{1b}[2J\u{202e}{}", "x".repeat(9_000));
    let rule = "[rule.require]\ntpm.boot.command_lines = { exactly = [\"quiet\"] }";
    let explanation = explain(&policy(rule), &with("tpm.boot.command_lines", &[&line]), &listed());
    let text = explanation.to_string();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && text.contains("more bytes"), "{text}");
    assert!(text.len() < 6_000, "{}", text.len());
}

#[test]
fn an_explanation_is_bounded_and_says_what_it_left_out() {
    let digests: Vec<String> = (0..=255).map(hex).collect();
    let many: String = (0..200)
        .map(|at| {
            format!(
                "[[rule.alternative]]\nname = \"a{at}\"\nrequire.tpm.pcr.1 = {:?}\n\
                 require.tpm.boot.applications = {{ superset_of = {digests:?} }}\n",
                hex(at)
            )
        })
        .collect();
    let explanation = explain(&policy(&many), &machine(), &listed());
    assert!(explanation.left_out > 0);
    assert!(serde_json::to_string(&explanation).unwrap().len() < 150_000);
    assert!(explanation.to_string().contains("more conditions and values are left out"));
}

#[test]
fn an_explanation_is_read_back_as_it_was_written() {
    for facts in [machine(), without("tpm.secure_boot.enabled")] {
        let explanation = explain(&policy(RULE), &facts, &listed());
        let json = serde_json::to_string(&explanation).unwrap();
        let read: Explanation = serde_json::from_str(&json).unwrap();
        assert_eq!((read.to_string(), read), (explanation.to_string(), explanation));
    }
}
