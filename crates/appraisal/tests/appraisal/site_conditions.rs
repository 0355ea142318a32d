//! Site conditions (`cel`): what they may say, what holds, and that nothing they are given takes long or breaks anything.

use holdfast_appraisal::decision::explanation::Answer;
use holdfast_appraisal::{Appraiser, Fact, FactId, Facts, Labelled, Value, digest_from_hex};
use proptest::prelude::*;

use crate::machine::{NOW, codes, judge, listed, machine, outcome, parse, policy, policy_text, set, with, without};

const NO_RULE: &str = "policy.no_rule_matched";

fn rule(expression: &str) -> String {
    format!("cel = ['{expression}']\n[rule.require]\ntpm.secure_boot.enabled = true")
}

/// The code and the message of the first finding.
fn found(expression: &str) -> Option<(&'static str, String)> {
    let findings = parse(&policy_text(&rule(expression))).err()?;
    Some((findings[0].code, findings[0].message.clone()))
}

#[test]
fn a_site_condition_must_hold_beside_the_rules_own() {
    for (expression, holds) in [
        ("facts[\"tpm.secure_boot.enabled\"]", true),
        ("!facts[\"tpm.secure_boot.enabled\"]", false),
        ("size(facts[\"tpm.boot.applications\"]) <= 2", true),
        ("size(facts[\"tpm.boot.applications\"]) < 2", false),
        ("\"firmware\" in facts[\"tpm.class\"]", true),
        ("facts[\"tpm.firmware_version\"][0] == 7 && facts[\"tpm.firmware_version\"][1] >= 85", true),
        ("facts[\"tpm.firmware_version\"] == [7, 85, 4555, 0]", true),
        ("facts[\"tpm.boot.command_lines\"][0].contains(\"root=\") ? true : false", true),
        ("facts[\"tpm.boot.command_lines\"][0].startsWith(\"ro\") || facts[\"tpm.secure_boot.enabled\"]", true),
        ("facts[\"tpm.boot.command_lines\"][0].endsWith(\"rw\")", false),
        ("facts[\"tpm.machine\"] != facts[\"tpm.boot.applications\"][0]", true),
    ] {
        let (code, because) = outcome(&rule(expression), &machine());
        assert_eq!(code == "admitted", holds, "{expression}: {because:?}");
        assert!(holds || because == ["policy.site.differs"], "{expression}: {because:?}");
    }
    let own = outcome(&rule("facts[\"tpm.machine\"] != \"x\""), &with("tpm.secure_boot.enabled", &["false"]));
    assert_eq!(own, (NO_RULE, vec!["policy.fact.differs"]));
}

#[test]
fn a_fact_that_is_not_proven_makes_no_site_condition_hold() {
    let either = rule("facts[\"tpm.secure_boot.enabled\"] || size(facts[\"tpm.boot.loaded_files\"]) == 0");
    assert_eq!(
        outcome(&either, &machine()),
        (NO_RULE, vec!["policy.site.not_proven"]),
        "even where it would not matter"
    );
    let not = rule("!(\"x\" in facts[\"tpm.class\"])");
    assert_eq!(outcome(&not, &machine()).0, "admitted");
    assert!(outcome(&not, &without("tpm.class")).1.contains(&"policy.site.not_proven"));
}

#[test]
fn what_cannot_be_evaluated_does_not_hold() {
    let beyond = rule("facts[\"tpm.boot.command_lines\"][7] == \"x\" || true");
    let last = rule("facts[\"tpm.boot.command_lines\"][1] != \"x\"");
    assert_eq!(outcome(&last, &machine()), (NO_RULE, vec!["policy.site.differs"]));
    let _ = outcome(&beyond, &machine());
    let mut facts = machine();
    set(&mut facts, "gcp.security_version", &[u64::MAX.to_string()]);
    let large = "cel = ['facts[\"gcp.security_version\"] > 1']\n[rule.require]\ntpm.secure_boot.enabled = true";
    assert_eq!(outcome(large, &facts), (NO_RULE, vec!["policy.site.differs"]));
}

#[test]
fn a_text_of_which_the_digest_alone_is_proven_satisfies_no_negation() {
    let mut facts = machine();
    let opaque = Value::Labelled(Labelled::new("opaque", digest_from_hex(&"ab".repeat(32)).unwrap()));
    let id = FactId::parse("tpm.boot.command_lines").unwrap();
    facts.insert(id, Fact::of(holdfast_evidence::Provenance::Hardware, vec![opaque]));
    let negation = rule("!facts[\"tpm.boot.command_lines\"][0].contains(\"init=\")");
    assert_eq!(outcome(&negation, &machine()).0, "admitted");
    assert_eq!(outcome(&negation, &facts), (NO_RULE, vec!["policy.site.differs"]));
}

#[test]
fn the_explanation_says_what_became_of_a_site_condition() {
    let policy = policy(&rule("size(facts[\"tpm.boot.loaded_files\"]) == 0"));
    let explain = |facts: &Facts| Appraiser::explain(&policy, facts, &listed(), NOW, &judge(&policy, facts, &listed()));
    let missing = explain(&machine());
    let check = missing.rules[0].checks.iter().find(|check| check.subject == "cel").unwrap();
    assert_eq!((check.answer, check.code.as_deref()), (Answer::NotProven, Some("policy.site.not_proven")));
    assert!(missing.changes[0].contains("tpm.boot.loaded_files is not proven"), "{:?}", missing.changes);
    let mut clean = machine();
    set(&mut clean, "tpm.boot.loaded_files", &[]);
    assert!(explain(&clean).to_string().contains("cel: size(facts[\"tpm.boot.loaded_files\"]) == 0 is true"));
}

#[test]
fn an_alternative_may_have_site_conditions_and_no_waiver_is_about_them() {
    let rule = "[[rule.alternative]]\nname = \"a\"\ncel = ['size(facts[\"tpm.boot.applications\"]) == 3']\n\
        require.tpm.secure_boot.enabled = true\n\
        [[rule.alternative]]\nname = \"b\"\nrequire.tpm.secure_boot.enabled = true\n";
    let admitted = judge(&policy(rule), &machine(), &listed());
    assert_eq!(codes(&admitted).0, "admitted");
    let only = rule.split("[[rule.alternative]]\nname = \"b\"").next().unwrap();
    let waiver = format!(
        "{only}[[waiver]]\nname = \"w\"\nreason = \"x\"\nowner = \"x\"\nvalid_until = 2026-06-10T00:00:00Z\n\
         node = {:?}\nrule = \"rack\"\nfacts = [\"tpm.secure_boot.enabled\"]\n\
         instead.tpm.secure_boot.enabled = false\n",
        crate::machine::hex(0xe1)
    );
    let facts = with("tpm.secure_boot.enabled", &["false"]);
    assert_eq!(outcome(&waiver, &facts), (NO_RULE, vec!["policy.site.differs"]));
}

#[test]
fn site_conditions_are_never_the_only_guard() {
    let alone = parse(&policy_text("cel = ['facts[\"tpm.secure_boot.enabled\"]']")).unwrap_err();
    assert_eq!((alone[0].code, alone[0].line), ("policy.lint.cel_alone", 10));
    let alternative = "[[rule.alternative]]\nname = \"a\"\ncel = ['facts[\"tpm.secure_boot.enabled\"]']";
    assert_eq!(parse(&policy_text(alternative)).unwrap_err()[0].code, "policy.lint.missing_key");
}

#[test]
fn what_is_wrong_with_an_expression_is_found_before_any_machine_is_asked() {
    for (expression, words) in [
        ("facts[\"tpm.secure_boot.enable\"]", "unknown fact"),
        ("facts[\"tpm.class\"]", "expected true or false"),
        ("facts[\"tpm.class\"] == \"firmware\"", "makes no sense"),
        ("facts[\"tpm.firmware_version\"] > 7", "makes no sense"),
        ("facts[\"tpm.secure_boot.enabled\"] && 1", "makes no sense"),
        ("true", "speaks of no fact"),
        ("facts", "a fact is named by"),
        ("fact[\"tpm.class\"] == 1", "unknown name"),
        ("facts.tpm.secure_boot.enabled", "a fact is named by"),
        ("has(facts.tpm)", "a fact is named by"),
        ("\"tpm.class\" in facts", "a fact is named by"),
        ("facts[\"tpm.machine\" + \"\"] == \"\"", "written out"),
        ("facts[\"tpm.machine\"] + \"a\" == \"b\"", "is not for policies"),
        ("facts[\"tpm.machine\"].matches(\"a\")", "is not for policies"),
        ("facts[\"tpm.class\"].all(x, x == \"firmware\")", "loops"),
        ("facts[\"tpm.class\"].exists(x, x == \"firmware\")", "loops"),
        ("[1, \"a\"] == [1]", "one type"),
        ("1 == 1.0", "only true, false"),
        ("{1: 2}[1] == 2", "not for policies"),
        ("facts[\"tpm.secure_boot.enabled\"", "is no usable condition"),
        ("", "is no usable condition"),
    ] {
        let (code, message) = found(expression).unwrap_or_else(|| panic!("{expression} is accepted"));
        assert_eq!(code, "policy.lint.bad_cel", "{expression}");
        assert!(message.contains(words), "{expression}: {message}");
    }
}

#[test]
fn an_expression_is_bounded_in_length_depth_and_number() {
    let fact = "facts[\"tpm.secure_boot.enabled\"]";
    let chains = [
        format!("{}{fact}{}", "(".repeat(200), ")".repeat(200)),
        format!("{}{fact}", "!(".repeat(60)),
        format!("{}1 == 1", "-".repeat(400)),
        format!("{fact}{}", "[0]".repeat(150)),
        format!("a{} == 1", ".a".repeat(240)),
        format!("{fact}{}", " ? true : true".repeat(34)),
        format!("{}1{} == [1]", "[".repeat(240), "]".repeat(240)),
        format!("{}1{} == [1]", "[".repeat(240), ",".repeat(240)),
        format!("{fact} || {}", "x".repeat(600)),
        "a(".repeat(250),
        "{".repeat(500),
        "\"".repeat(511),
        "`".repeat(500),
        "\\u".repeat(250),
    ];
    for chain in chains {
        assert_eq!(found(&chain).map(|(code, _)| code), Some("policy.lint.bad_cel"), "{chain}");
    }
    let many = format!("cel = [{}]\n[rule.require]\ntpm.secure_boot.enabled = true", format!("'{fact}',").repeat(17));
    assert_eq!(parse(&policy_text(&many)).unwrap_err()[0].code, "policy.lint.too_large");
    let wide = ["facts[\"tpm.dbx\"]"; 2].join(" && ");
    assert!(found(&wide).is_some());
}

#[test]
fn a_long_text_and_a_long_list_are_looked_through_once() {
    let mut facts = machine();
    let lines: Vec<String> = (0..500).map(|at| format!("{at}{}", "a".repeat(8_000))).collect();
    set(&mut facts, "tpm.boot.command_lines", &lines);
    let part = "\"b\" in facts[\"tpm.boot.command_lines\"]";
    let expression = [part; 11].join(" || ");
    assert_eq!(outcome(&rule(&expression), &facts), (NO_RULE, vec!["policy.site.differs"]));
}

proptest! {
    #[test]
    fn no_expression_breaks_the_reader(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "facts", "[", "]", "\"tpm.class\"", "(", ")", "!", "-", "&&", "||", "==", "<", "in", "?", ":", ".", "size",
                "1", "\"", "'", "true", "{", "}", ",", "\\", "\\x", "\\u12", "é", "`", "r\"", "b\"", "0x", "1e9", "//", " ",
                "all", "x", "has", "null", "optional", "_", "@in", "\u{0}",
            ]),
            0..60,
        )
    ) {
        // A literal of TOML's basic kind takes any text.
        let source = parts.concat().replace('\\', "\\\\").replace('"', "\\\"").replace('\u{0}', "\\u0000");
        let text = format!("cel = [\"{source}\"]\n[rule.require]\ntpm.secure_boot.enabled = true");
        if let Ok(policy) = parse(&policy_text(&text)) {
            let _ = judge(&policy, &machine(), &listed());
        }
    }
}
