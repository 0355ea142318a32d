//! The language: what is wrong is found with its place, its code and a suggestion; what is right is read.

use holdfast_appraisal::finding::{Finding, Severity};
use holdfast_identity::UnixTime;

use crate::machine::{hex, parse, policy, policy_text};

/// Errors of a policy as (code, line, column).
fn errors(text: &str) -> Vec<(&'static str, usize, usize)> {
    let findings = parse(text).err().unwrap_or_default();
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| (finding.code, finding.line, finding.column)).collect()
}

pub(crate) fn check(text: &str, code: &str, line: usize, column: usize) {
    assert_eq!(errors(text), [(code, line, column)], "{text}");
}

/// A rule with these lines, which begin at line 10, has this one error.
fn check_rule(rule: &str, code: &str, line: usize, column: usize) {
    check(&policy_text(rule), code, line, column);
}

fn suggestion(rule: &str) -> String {
    let findings: Vec<Finding> = parse(&policy_text(rule)).unwrap_err();
    findings[0].suggestion.clone().unwrap_or_default()
}

#[test]
fn unknown_keys_are_errors_with_the_nearest_known_one() {
    check_rule("ownersip = 1", "policy.lint.unknown_key", 10, 1);
    assert_eq!(suggestion("trust_class = []"), "did you mean \"trust_classes\"?");
    check_rule("[rule.issue]\nttl = \"1h\"", "policy.lint.unknown_key", 11, 1);
    check_rule(
        "[[rule.alternative]]\nname = \"a\"\nuntil = 1\nrequire.tpm.secure_boot.enabled = true",
        "policy.lint.unknown_key",
        12,
        1,
    );
    check(&format!("{}\n[enforce]\n", policy_text("")), "policy.lint.unknown_key", 12, 2);
}

#[test]
fn unknown_facts_are_errors_with_a_suggestion() {
    check_rule("[rule.require]\ntpm.secure_boot.enable = true", "policy.lint.unknown_fact", 11, 17);
    assert_eq!(
        suggestion("[rule.require]\ntpm.secureboot.enabled = true"),
        "did you mean \"tpm.secure_boot.enabled\"?"
    );
    check_rule("[rule.require]\n\"tpm.pcr.24\" = \"00\"", "policy.lint.unknown_fact", 11, 1);
    check_rule("[rule.require]\nsev.measurement = \"00\"", "policy.lint.unknown_fact", 11, 1);
    assert!(suggestion("[rule.require]\ntpm.boot = true").starts_with("a fact's full name is needed"));
    check_rule("[rule.issue]\nselectors = [\"tpm.clas\"]", "policy.lint.unknown_fact", 11, 14);
}

#[test]
fn empty_sets_are_errors_wherever_they_stand() {
    for rule in [
        "[rule.require]\ntpm.boot.applications = { subset_of = [] }",
        "[rule.require]\ntpm.boot.applications = { sequence = [] }",
        "[rule.require]\ntpm.class = { none_of = [] }",
        "[rule.require]\ntpm.firmware_version = { one_of = [] }",
        "alternative = []",
        "[sets]\nempty = []",
    ] {
        let found = errors(&policy_text(rule));
        assert!(
            found.iter().all(|(code, ..)| *code == "policy.lint.empty_set") && !found.is_empty(),
            "{rule}: {found:?}"
        );
    }
    for rule in [
        "require = {}",
        "[rule.require]\ntpm.boot.applications = {}",
        "[[rule.alternative]]\nname = \"a\"\nrequire = {}",
    ] {
        let found = errors(&policy_text(rule));
        assert!(found.iter().any(|(code, ..)| *code == "policy.lint.empty_requirement"), "{rule}: {found:?}");
    }
    let text = policy_text("").replace("\"inventory\"", "[]");
    check(&text, "policy.lint.empty_set", 8, 13);
    check(&policy_text("").replace("[\"firmware\"]", "[]"), "policy.lint.empty_set", 9, 17);
}

#[test]
fn a_rule_without_an_ownership_factor_is_an_error() {
    check(&policy_text("").replace("ownership = \"inventory\"", ""), "policy.lint.no_ownership", 6, 1);
    check(&policy_text("").replace("\"inventory\"", "\"any-genuine-device\""), "policy.lint.no_ownership", 8, 13);
    check(
        &policy_text("ownership_reason = \" \"").replace("\"inventory\"", "\"any-genuine-device\""),
        "policy.lint.no_ownership",
        8,
        13,
    );
    check(&policy_text("ownership_reason = \"x\""), "policy.lint.unknown_key", 10, 20);
    check(&policy_text("").replace("\"inventory\"", "\"inventry\""), "policy.lint.bad_value", 8, 13);
}

#[test]
fn any_genuine_device_with_a_reason_is_a_warning() {
    let text = policy_text("ownership_reason = \"lab\"").replace("\"inventory\"", "\"any-genuine-device\"");
    let policy = parse(&text).unwrap();
    assert_eq!(
        policy.warnings().iter().map(|finding| finding.code).collect::<Vec<_>>(),
        ["policy.lint.any_genuine_device"]
    );
    let beside = text.replace("\"any-genuine-device\"", "[\"any-genuine-device\", \"inventory\"]");
    check(&beside, "policy.lint.bad_value", 8, 13);
}

#[test]
fn a_rule_says_which_trust_classes_it_admits() {
    check(&policy_text("").replace("trust_classes = [\"firmware\"]", ""), "policy.lint.no_trust_class", 6, 1);
    check(&policy_text("").replace("[\"firmware\"]", "[\"hardware\"]"), "policy.lint.bad_value", 9, 18);
    let simulated = parse(&policy_text("").replace("[\"firmware\"]", "[\"simulated\"]")).unwrap();
    assert_eq!(simulated.warnings()[0].code, "policy.lint.simulated_admitted");
}

#[test]
fn an_unreachable_rule_is_an_error() {
    let second = |classes: &str, rest: &str| {
        policy_text(&format!(
            "[[rule]]\nname = \"second\"\nownership = \"inventory\"\ntrust_classes = [{classes}]\n{rest}"
        ))
    };
    check(&second("\"firmware\"", ""), "policy.lint.unreachable_rule", 11, 8);
    check(
        &second("\"firmware\"", "[rule.require]\ntpm.secure_boot.enabled = true"),
        "policy.lint.unreachable_rule",
        11,
        8,
    );
    assert_eq!(errors(&second("\"discrete\"", "")), []);
    let pinned = format!("[rule.require]\ntpm.pcr.9 = {:?}", hex(9));
    assert_eq!(errors(&second("\"firmware\"", &pinned)), [], "it admits where the first one has no events");
    assert_eq!(errors(&second("\"firmware\"", "").replacen("\"inventory\"", "\"approval\"", 1)), []);
    let narrow_first = policy_text(&format!(
        "[rule.require]\ntpm.boot.applications = {{ subset_of = [{:?}] }}\n[[rule]]\nname = \"second\"\nownership = \"inventory\"\n\
         trust_classes = [\"firmware\"]\n[rule.require]\ntpm.boot.applications = {{ subset_of = [{:?}, {:?}] }}",
        hex(1),
        hex(1),
        hex(2)
    ));
    assert_eq!(errors(&narrow_first), []);
    let wide_first = narrow_first
        .replace(&format!("[{:?}, {:?}]", hex(1), hex(2)), "[X]")
        .replace(&format!("[{:?}]", hex(1)), &format!("[{:?}, {:?}]", hex(1), hex(2)))
        .replace("[X]", &format!("[{:?}]", hex(1)));
    check(&wide_first, "policy.lint.unreachable_rule", 13, 8);
}

fn alternatives(first: &str, second: &str) -> String {
    policy_text(&format!(
        "[[rule.alternative]]\nname = \"a\"\n{first}\nrequire.tpm.secure_boot.enabled = true\n\
         [[rule.alternative]]\nname = \"b\"\n{second}\nrequire.tpm.secure_boot.enabled = true"
    ))
}

#[test]
fn a_shadowed_alternative_is_an_error_unless_its_dates_differ() {
    check(&alternatives("", ""), "policy.lint.shadowed_alternative", 15, 8);
    check(&alternatives("", "valid_until = 2030-01-01T00:00:00Z"), "policy.lint.shadowed_alternative", 15, 8);
    assert_eq!(errors(&alternatives("valid_until = 2026-01-01T00:00:00Z", "valid_from = 2026-01-01T00:00:00Z")), []);
}

#[test]
fn dates_are_whole_and_in_order() {
    check(
        &alternatives("valid_until = 2026-01-01", "valid_until = 2030-01-01T00:00:00Z"),
        "policy.lint.bad_value",
        12,
        15,
    );
    check(
        &alternatives("valid_from = 2026-01-01T00:00:00Z\nvalid_until = 2026-01-01T00:00:00Z", ""),
        "policy.lint.empty_range",
        13,
        15,
    );
}

#[test]
fn alternatives_past_their_date_are_found_at_that_date() {
    let policy =
        parse(&alternatives("valid_until = 2026-01-01T00:00:00Z", "valid_until = 2026-02-01T00:00:00Z")).unwrap();
    let codes = |now: i64| policy.findings_at(UnixTime(now)).iter().map(|finding| finding.code).collect::<Vec<_>>();
    let (january, february) = (1_767_225_600, 1_769_904_000);
    assert_eq!(codes(january - 1), Vec::<&str>::new());
    assert_eq!(codes(january), ["policy.lint.expired_alternative"]);
    assert_eq!(
        codes(february),
        ["policy.lint.expired_alternative", "policy.lint.expired_alternative", "policy.lint.no_alternative_left"]
    );
}

#[test]
fn a_template_that_two_machines_can_satisfy_is_an_error() {
    let template = |text: &str| policy_text("").replace("/holdfast/node/tpm/{tpm.machine}", text);
    for (text, code) in [
        ("/holdfast/node/rack", "policy.lint.template_ambiguous"),
        ("/holdfast/node/{tpm.class}", "policy.lint.template_fact"),
        ("/holdfast/node/{tpm.ek.spki_sha256}", "policy.lint.template_fact"),
        ("/holdfast/node/{tpm.secure_boot.enabled}", "policy.lint.template_fact"),
        ("/holdfast/node/{tpm.machin}", "policy.lint.unknown_fact"),
        ("/holdfast/node/x-{tpm.machine}", "policy.lint.template_segment"),
        ("/holdfast/node//{tpm.machine}", "policy.lint.template_segment"),
        ("/holdfast/node/../{tpm.machine}", "policy.lint.template_segment"),
        ("/holdfast/node/a b/{tpm.machine}", "policy.lint.template_segment"),
        ("/holdfast/node/{tpm.machine}/", "policy.lint.template_segment"),
        ("/holdfast/server/{tpm.machine}", "policy.lint.template_segment"),
        ("/node/{tpm.machine}", "policy.lint.template_segment"),
        ("spiffe://td/holdfast/node/{tpm.machine}", "policy.lint.template_segment"),
    ] {
        check(&template(text), code, 5, 11);
    }
    assert_eq!(errors(&template("/holdfast/node/eu/{tpm.machine}/v1")), []);
}

#[test]
fn operators_must_fit_the_fact() {
    for (condition, code) in [
        ("tpm.boot.applications = \"aa\"", "policy.lint.operator_does_not_fit"),
        ("tpm.secure_boot.db = { sequence = [\"x509:aa\"] }", "policy.lint.operator_does_not_fit"),
        ("tpm.secure_boot.enabled = { at_least = true }", "policy.lint.operator_does_not_fit"),
        ("tpm.firmware_version = [\"1\"]", "policy.lint.operator_does_not_fit"),
        ("tpm.boot.applications = { subset = [\"aa\"] }", "policy.lint.unknown_operator"),
        ("tpm.firmware_version = { at_least = \"2\", at_most = \"1\" }", "policy.lint.empty_range"),
    ] {
        let found = errors(&policy_text(&format!("[rule.require]\n{condition}")));
        assert_eq!(found.iter().map(|(code, ..)| *code).collect::<Vec<_>>(), [code], "{condition}");
    }
    assert_eq!(
        suggestion("[rule.require]\ntpm.boot.applications = { subset = [\"aa\"] }"),
        "did you mean \"subset_of\"?"
    );
}

#[test]
fn values_must_be_of_the_facts_type() {
    for condition in [
        "tpm.secure_boot.enabled = \"true\"",
        "tpm.secure_boot.enabled = 1",
        "tpm.pcr.9 = \"00\"",
        "tpm.pcr.9 = 0",
        "tpm.firmware_version = 7",
        "tpm.firmware_version = 7.85",
        "tpm.secure_boot.db = { any_of = [\"aa\"] }",
    ] {
        let found = errors(&policy_text(&format!("[rule.require]\n{condition}")));
        assert_eq!(found.iter().map(|(code, ..)| *code).collect::<Vec<_>>(), ["policy.lint.bad_value"], "{condition}");
    }
}

#[test]
fn digests_must_have_the_size_of_the_bank() {
    let long = "ab".repeat(48);
    let rule = format!("[rule.require]\ntpm.boot.applications = {{ exactly = [\"{long}\"] }}");
    check_rule(&rule, "policy.lint.bad_value", 11, 25);
    let text = policy_text(&rule).replace("name = \"test\"", "name = \"test\"\npcr_bank = \"sha384\"");
    assert_eq!(errors(&text), []);
    assert_eq!(errors(&text.replace("sha384", "sha1"))[0], ("policy.lint.bad_value", 4, 12));
}

#[test]
fn the_life_of_an_svid_ends_with_the_evidence() {
    check_rule("[rule.issue]\nsvid_ttl = \"3h\"", "policy.lint.ttl_outlives_evidence", 10, 1);
    assert_eq!(errors(&policy_text("[rule.issue]\nsvid_ttl = \"3h\"\nmax_evidence_age = \"3h\"")), []);
    assert_eq!(errors(&policy_text("[rule.issue]\nmax_evidence_age = \"30m\"")), []);
    for bad in ["\"59s\"", "\"2d\"", "\"2\"", "7200"] {
        let found = errors(&policy_text(&format!("[rule.issue]\nsvid_ttl = {bad}")));
        assert_eq!(found.len(), 1, "{bad}: {found:?}");
    }
}

#[test]
fn every_problem_is_reported_at_once() {
    let rule = "[rule.require]\ntpm.secure_boot.enable = true\ntpm.pcr.9 = 1\n[rule.issue]\nttl = 1";
    let codes: Vec<&str> = errors(&policy_text(rule)).iter().map(|(code, ..)| *code).collect();
    assert_eq!(codes, ["policy.lint.unknown_fact", "policy.lint.bad_value", "policy.lint.unknown_key"]);
}

#[test]
fn headers_are_checked() {
    check(&policy_text("").replace("holdfast/1", "holdfast/9"), "policy.lint.api_version", 1, 15);
    check(&policy_text("").replace("\"policy\"", "\"reference-values\""), "policy.lint.kind", 2, 8);
    check(&policy_text("").replace("api_version = \"holdfast/1\"", ""), "policy.lint.missing_key", 1, 1);
    check(&policy_text("").replace("name = \"test\"", "name = \"Te st\""), "policy.lint.bad_name", 3, 8);
    check("api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"x\"", "policy.lint.no_rules", 1, 1);
    check(&policy_text("[[rule"), "policy.lint.syntax", 10, 7);
}

#[test]
fn names_stand_once() {
    let twice = "[[rule]]\nname = \"rack\"\nownership = \"approval\"\ntrust_classes = [\"vtpm\"]";
    check_rule(twice, "policy.lint.duplicate_name", 11, 8);
    check(
        &alternatives("", "valid_from = 2020-01-01T00:00:00Z")
            .replace("\"b\"", "\"a\"")
            .replace("enabled = true\n[", "enabled = false\n["),
        "policy.lint.duplicate_name",
        15,
        8,
    );
    check_rule(
        "[rule.require]\ntpm.class = { any_of = [\"x\"] }\n\"tpm.class\" = { any_of = [\"y\"] }",
        "policy.lint.duplicate_name",
        12,
        1,
    );
}

#[test]
fn bare_values_of_pcrs_with_better_facts_are_warned_of() {
    let policy = policy(&format!("[rule.require]\ntpm.pcr.7 = {:?}\ntpm.pcr.14 = {:?}", hex(7), hex(14)));
    assert_eq!(policy.warnings().iter().map(|f| (f.code, f.line)).collect::<Vec<_>>(), [("policy.lint.bare_pcr", 11)]);
}

/// One listed thing makes all items ours: whose the others are must be said, or accepted.
#[test]
fn a_composite_of_which_one_kind_alone_is_owned_is_a_warning() {
    let warnings = |require: &str| {
        let text = format!(
            "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"t\"\n[issue]\n\
             node_id = \"/holdfast/node/ec2/{{nitrotpm.instance_id}}\"\n[[rule]]\nname = \"both\"\n\
             evidence = [\"snp\", \"nitrotpm\"]\nownership = \"inventory\"\ntrust_classes = [\"firmware\"]\n\
             [rule.require]\nsnp.vmpl = 0\n{require}\n"
        );
        let policy = parse(&text).unwrap();
        policy.warnings().iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    let chip = "07".repeat(64);
    assert_eq!(warnings(""), ["policy.lint.owned_in_part"]);
    assert_eq!(warnings(&format!("snp.chip_id = {{ none_of = [\"{chip}\"] }}")), ["policy.lint.owned_in_part"]);
    assert!(warnings(&format!("snp.chip_id = \"{chip}\"")).is_empty());
    assert!(warnings("nitrotpm.instance_id = { one_of = [\"i-0123456789abcdef0\"] }").is_empty());
}
