//! The decision: each condition flipped alone refuses, and says so.

use holdfast_appraisal::decision::{Approval, InventoryAnswer, Listing, Ownership, Verdict};
use holdfast_appraisal::facts::Facts;

use crate::machine::{
    NOW, codes, hex, judge, listed, machine, outcome, parse, policy, policy_text, set, unexplained, with, without,
};

pub(crate) const REFUSED: &str = "policy.no_rule_matched";

fn refused(rule: &str, facts: &Facts, because: &str) {
    assert_eq!(outcome(rule, facts), (REFUSED, vec![because]), "{rule}");
}

fn admitted(rule: &str, facts: &Facts) {
    assert_eq!(outcome(rule, facts), ("admitted", vec![]), "{rule}");
}

pub(crate) fn require(condition: &str) -> String {
    format!("[rule.require]\n{condition}")
}

#[test]
fn each_operator_admits_what_it_says_and_refuses_the_rest() {
    let (a1, a2, a3) = (hex(0xa1), hex(0xa2), hex(0xa3));
    let db = |byte: u8| format!("x509:{}", hex(byte));
    let apps: &dyn Fn(&[&str]) -> Facts = &|values| with("tpm.boot.applications", values);
    for (condition, good, bad, because) in [
        (
            "tpm.secure_boot.enabled = true".to_owned(),
            machine(),
            with("tpm.secure_boot.enabled", &["false"]),
            "policy.fact.differs",
        ),
        (
            "tpm.firmware_version = \"7.85.4555\"".to_owned(),
            machine(),
            with("tpm.firmware_version", &["7.85.4555.1"]),
            "policy.fact.differs",
        ),
        (
            "tpm.firmware_version = { one_of = [\"7.85.4555\", \"8\"] }".to_owned(),
            machine(),
            with("tpm.firmware_version", &["8.1"]),
            "policy.fact.not_allowed",
        ),
        (
            "tpm.firmware_version = { none_of = [\"7.84\"] }".to_owned(),
            machine(),
            with("tpm.firmware_version", &["7.84"]),
            "policy.fact.denied",
        ),
        (
            "tpm.firmware_version = { at_least = \"7.85\" }".to_owned(),
            machine(),
            with("tpm.firmware_version", &["7.84.9999"]),
            "policy.fact.below_minimum",
        ),
        (
            "tpm.firmware_version = { at_most = \"8\" }".to_owned(),
            machine(),
            with("tpm.firmware_version", &["8.0.0.1"]),
            "policy.fact.above_maximum",
        ),
        (
            "tpm.firmware_version = { each_at_least = \"7.80\" }".to_owned(),
            machine(),
            with("tpm.firmware_version", &["8.79"]),
            "policy.fact.below_minimum",
        ),
        (
            format!("tpm.boot.applications = {{ sequence = [{a1:?}, {a2:?}] }}"),
            machine(),
            apps(&[&a2, &a1]),
            "policy.fact.differs",
        ),
        (
            format!("tpm.boot.applications = {{ exactly = [{a2:?}, {a1:?}] }}"),
            machine(),
            apps(&[&a1, &a2, &a3]),
            "policy.fact.differs",
        ),
        (
            format!("tpm.boot.applications = {{ exactly = [{a2:?}, {a1:?}] }}"),
            apps(&[&a2, &a1]),
            apps(&[&a1]),
            "policy.fact.differs",
        ),
        (
            format!("tpm.boot.applications = {{ subset_of = [{a1:?}, {a2:?}, {a3:?}] }}"),
            machine(),
            apps(&[&a1, &hex(9)]),
            "policy.fact.not_allowed",
        ),
        (format!("tpm.boot.applications = {{ any_of = [{a2:?}] }}"), machine(), apps(&[&a1]), "policy.fact.lacks"),
        (
            format!("tpm.secure_boot.db = {{ subset_of = [\"{}\", \"{}\"] }}", db(0xdb), db(0xdc)),
            machine(),
            with("tpm.secure_boot.db", &[&db(0xdb), &db(1)]),
            "policy.fact.not_allowed",
        ),
        (
            format!("tpm.secure_boot.dbx = {{ superset_of = [\"sha256:{}\"] }}", hex(2)),
            machine(),
            with("tpm.secure_boot.dbx", &[&format!("sha256:{}", hex(1))]),
            "policy.fact.lacks",
        ),
        (
            format!("tpm.secure_boot.db = {{ none_of = [\"{}\"] }}", db(9)),
            machine(),
            with("tpm.secure_boot.db", &[&db(0xdb), &db(9)]),
            "policy.fact.denied",
        ),
        (
            "tpm.boot.command_lines = { exactly = [\"root=/dev/sda1 ro\"] }".to_owned(),
            machine(),
            with("tpm.boot.command_lines", &["root=/dev/sda1 ro init=/bin/sh"]),
            "policy.fact.differs",
        ),
    ] {
        admitted(&require(&condition), &good);
        refused(&require(&condition), &bad, because);
    }
}

#[test]
fn a_label_is_part_of_its_digest() {
    let rule =
        require(&format!("tpm.secure_boot.db = {{ subset_of = [\"x509:{}\", \"x509:{}\"] }}", hex(0xdb), hex(0xdc)));
    admitted(&rule, &machine());
    refused(&rule, &with("tpm.secure_boot.db", &[&format!("sha256:{}", hex(0xdb))]), "policy.fact.not_allowed");
}

#[test]
fn a_fact_that_is_not_proven_passes_no_condition() {
    for condition in [
        format!("tpm.boot.applications = {{ none_of = [{:?}] }}", hex(9)),
        format!("tpm.boot.applications = {{ subset_of = [{:?}] }}", hex(0xa1)),
        format!("tpm.boot.applications = {{ exactly = [{:?}] }}", hex(0xa1)),
    ] {
        refused(&require(&condition), &without("tpm.boot.applications"), "policy.fact.not_proven");
    }
}

#[test]
fn an_empty_set_that_was_found_is_no_subset() {
    let nothing = with("tpm.boot.applications", &[]);
    refused(
        &require(&format!("tpm.boot.applications = {{ subset_of = [{:?}] }}", hex(0xa1))),
        &nothing,
        "policy.fact.lacks",
    );
    refused(
        &require(&format!("tpm.boot.applications = {{ any_of = [{:?}] }}", hex(0xa1))),
        &nothing,
        "policy.fact.lacks",
    );
    admitted(&require(&format!("tpm.boot.applications = {{ none_of = [{:?}] }}", hex(0xa1))), &nothing);
}

#[test]
fn several_operators_of_one_fact_must_all_hold() {
    let rule = require("tpm.firmware_version = { at_least = \"7.85\", at_most = \"7.86\" }");
    admitted(&rule, &machine());
    refused(&rule, &with("tpm.firmware_version", &["7.84"]), "policy.fact.below_minimum");
    refused(&rule, &with("tpm.firmware_version", &["7.87"]), "policy.fact.above_maximum");
}

#[test]
fn a_machine_that_the_inventory_does_not_list_is_refused() {
    let policy = policy("");
    let because = vec!["policy.ownership.not_in_inventory"];
    assert_eq!(codes(&judge(&policy, &machine(), &Ownership::unknown())), (REFUSED, because.clone()));
    let mut not_listed = listed();
    not_listed.inventory[0].listing = Listing::NotListed;
    assert_eq!(codes(&judge(&policy, &machine(), &not_listed)), (REFUSED, because));
}

#[test]
fn an_answer_about_an_ek_that_was_not_proven_counts_for_nothing() {
    let mut ownership = Ownership::unknown();
    ownership.inventory = vec![InventoryAnswer { digest: [0x77; 32], listing: Listing::Listed }];
    let verdict = judge(&policy(""), &machine(), &ownership);
    assert_eq!(codes(&verdict), (REFUSED, vec!["policy.ownership.not_in_inventory"]));
    assert_eq!(codes(&judge(&policy(""), &without("tpm.ek.spki_sha256"), &listed())).0, REFUSED);
}

#[test]
fn one_listed_ek_of_several_is_enough() {
    let facts = with("tpm.ek.spki_sha256", &[&hex(0x01), &hex(0xe1)]);
    assert_eq!(codes(&judge(&policy(""), &facts, &listed())).0, "admitted");
}

#[test]
fn approval_is_awaited_only_where_everything_else_holds() {
    let text = policy_text(&require("tpm.secure_boot.enabled = true")).replace("\"inventory\"", "\"approval\"");
    let policy = parse(&text).unwrap();
    let with_approval = |approval| Ownership { approval, ..Ownership::unknown() };
    let verdict = judge(&policy, &machine(), &with_approval(Approval::NotGiven));
    assert!(matches!(&verdict, Verdict::AwaitsApproval(r) if r.code == "policy.ownership.approval_awaited"));
    assert_eq!(codes(&judge(&policy, &machine(), &with_approval(Approval::Given))).0, "admitted");
    let off = with("tpm.secure_boot.enabled", &["false"]);
    let verdict = judge(&policy, &off, &with_approval(Approval::NotGiven));
    assert_eq!(codes(&verdict).1, ["policy.ownership.approval_awaited", "policy.fact.differs"]);
    assert!(matches!(verdict, Verdict::Refuse(_)));
}

#[test]
fn a_machine_that_an_operator_turned_down_is_refused_by_every_rule() {
    let ownership = Ownership { approval: Approval::Denied, ..listed() };
    assert_eq!(codes(&judge(&policy(""), &machine(), &ownership)).0, "policy.ownership.approval_denied");
}

#[test]
fn inventory_and_approval_together_are_both_needed() {
    let policy = parse(&policy_text("").replace("\"inventory\"", "[\"inventory\", \"approval\"]")).unwrap();
    let approved = Ownership { approval: Approval::Given, ..Ownership::unknown() };
    assert_eq!(codes(&judge(&policy, &machine(), &approved)).0, REFUSED);
    assert!(matches!(judge(&policy, &machine(), &listed()), Verdict::AwaitsApproval(_)));
    let both = Ownership { approval: Approval::Given, ..listed() };
    assert_eq!(codes(&judge(&policy, &machine(), &both)).0, "admitted");
}

#[test]
fn a_class_that_the_rule_does_not_name_is_refused() {
    refused("", &with("tpm.class", &["simulated"]), "policy.trust_class");
    refused("", &with("tpm.class", &["firmware", "vtpm"]), "policy.trust_class");
    refused("", &with("tpm.class", &[]), "policy.trust_class");
    refused("", &without("tpm.class"), "policy.evidence.missing");
}

#[test]
fn a_pcr_that_no_event_explains_needs_its_value_in_the_policy() {
    refused("", &unexplained(9), "policy.pcr.unexplained");
    let given = require(&format!("tpm.pcr.9 = {:?}", hex(0x99)));
    admitted(&given, &unexplained(9));
    refused(
        &given,
        &{
            let mut f = unexplained(9);
            set(&mut f, "tpm.pcr.9", &[hex(0x98)]);
            f
        },
        "policy.fact.differs",
    );
    refused(
        &require(&format!("tpm.pcr.9 = {{ none_of = [{:?}] }}", hex(1))),
        &unexplained(9),
        "policy.pcr.unexplained",
    );
    refused(
        &require(&format!("tpm.pcr.8 = {:?}", hex(0x99))),
        &{
            let mut f = unexplained(9);
            set(&mut f, "tpm.pcr.8", &[hex(0x99)]);
            f
        },
        "policy.pcr.unexplained",
    );
}

fn two_kernels(first: &str, second: &str) -> String {
    format!(
        "[[rule.alternative]]\nname = \"old\"\n{first}\n[rule.alternative.require]\ntpm.boot.applications = {{ sequence = [{:?}, {:?}] }}\n\
         [[rule.alternative]]\nname = \"new\"\n{second}\n[rule.alternative.require]\ntpm.boot.applications = {{ sequence = [{:?}, {:?}] }}",
        hex(0xa1),
        hex(0xa2),
        hex(0xa1),
        hex(0xa3)
    )
}

#[test]
fn alternatives_count_within_their_dates() {
    let new = with("tpm.boot.applications", &[&hex(0xa1), &hex(0xa3)]);
    let both = two_kernels("", "");
    admitted(&both, &machine());
    admitted(&both, &new);
    let over = two_kernels("valid_until = 2026-06-01T00:00:00Z", "");
    refused(&over, &machine(), "policy.alternative.not_valid_any_more");
    admitted(&over, &new);
    admitted(&two_kernels("valid_until = 2026-06-01T00:00:01Z", ""), &machine());
    // Nor does the identity outlive the date.
    let soon = judge(&policy(&two_kernels("valid_until = 2026-06-01T00:00:01Z", "")), &machine(), &listed());
    let Verdict::Admit(grant) = soon else { panic!("not admitted") };
    assert_eq!(grant.evidence_expires, NOW.plus(1));
    refused(&two_kernels("", "valid_from = 2026-06-01T00:00:01Z"), &new, "policy.alternative.not_yet_valid");
    admitted(&two_kernels("", "valid_from = 2026-06-01T00:00:00Z"), &new);
}

#[test]
fn a_refusal_names_the_nearest_alternative_and_what_else_was_considered() {
    let facts = with("tpm.boot.applications", &[&hex(0xa1), &hex(0xa9)]);
    let rule = format!(
        "{}\n[rule.require]\ntpm.secure_boot.enabled = true",
        two_kernels("valid_until = 2026-01-01T00:00:00Z", "")
    );
    let Verdict::Refuse(rejection) = judge(&policy(&rule), &facts, &listed()) else { panic!("admitted") };
    assert_eq!((rejection.rule.as_deref(), rejection.alternative.as_deref()), (Some("rack"), Some("new")));
    let [difference] = rejection.differences.as_slice() else { panic!("{rejection}") };
    assert_eq!((difference.fact.as_deref(), difference.values.len()), (Some("tpm.boot.applications"), 1));
    assert_eq!(difference.values[0].expected, Some(hex(0xa3)));
    assert_eq!(difference.values[0].found, Some(hex(0xa9)));
    assert_eq!(rejection.others.len(), 1);
    assert_eq!(rejection.others[0].codes, ["policy.alternative.not_valid_any_more", "policy.fact.differs"]);
}

#[test]
fn the_place_of_an_event_that_was_slipped_in_is_found() {
    let facts = with("tpm.boot.applications", &[&hex(0xa1), &hex(0x66), &hex(0xa2)]);
    let rule = require(&format!("tpm.boot.applications = {{ sequence = [{:?}, {:?}] }}", hex(0xa1), hex(0xa2)));
    let Verdict::Refuse(rejection) = judge(&policy(&rule), &facts, &listed()) else { panic!("admitted") };
    let [value] = rejection.differences[0].values.as_slice() else { panic!("{rejection}") };
    assert_eq!((value.expected.as_deref(), value.found.as_deref()), (None, Some(hex(0x66).as_str())));
}

const DENY: &str = "[[deny]]\nname = \"tpm-fail\"\nreason = \"leaks its key\"\n[deny.when]\n";

#[test]
fn a_deny_list_refuses_whatever_the_rules_say() {
    let rule = format!(
        "{DENY}tpm.manufacturer = {{ any_of = [\"id:53544D20\"] }}\ntpm.firmware_version = {{ at_most = \"73.8\" }}"
    );
    admitted(&rule, &machine());
    let st = with("tpm.manufacturer", &["id:53544D20"]);
    assert_eq!(outcome(&rule, &st), ("policy.denied", vec!["policy.denied"; 2]));
    let mut fixed = st.clone();
    set(&mut fixed, "tpm.firmware_version", &["74.0".to_owned()]);
    admitted(&rule, &fixed);
}

#[test]
fn what_a_deny_list_speaks_of_cannot_be_withheld() {
    let rule = format!("{DENY}tpm.boot.applications = {{ any_of = [{:?}] }}", hex(0x66));
    admitted(&rule, &machine());
    assert_eq!(outcome(&rule, &without("tpm.boot.applications")).0, "policy.deny_undecided");
}

#[test]
fn a_rule_that_needs_other_evidence_than_came_is_not_satisfied() {
    for evidence in
        ["[\"tpm\", \"snp\"]", "\"nitro\"\n[rule.issue]\nnode_id = \"/holdfast/node/nitro/{nitro.module_id}\""]
    {
        refused(&format!("evidence = {evidence}"), &machine(), "policy.evidence.missing");
    }
    admitted("evidence = [\"tpm\"]", &machine());
}

#[test]
fn evidence_of_a_class_that_the_rule_does_not_name_is_refused_whatever_kind_it_is() {
    refused("", &with("snp.class", &["simulated"]), "policy.trust_class");
    admitted("", &with("snp.class", &["firmware"]));
}
