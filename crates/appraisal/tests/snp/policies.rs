//! What policies may say of SNP guests, what lint finds in them, and how a refusal reads.

use holdfast_appraisal::decision::{Appraiser, Approval, InventoryAnswer, Listing, MachineRecord, Ownership, Verdict};
use holdfast_appraisal::facts::{Facts, Ownable, owner_marks, snp};
use holdfast_appraisal::finding::Finding;
use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::snp::{Product, VekKind};

use crate::guest::{Guest, NOW};

/// A policy of one rule, which is `ownership` and these lines.
pub(crate) fn text(ownership: &str, lines: &str) -> String {
    format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"guests\"\n\
         [issue]\nnode_id = \"/holdfast/node/snp/{{snp.report_id}}\"\n\
         [[rule]]\nname = \"guests\"\nevidence = [\"snp\"]\nownership = \"{ownership}\"\n\
         trust_classes = [\"firmware\"]\n{lines}\n"
    )
}

pub(crate) fn parse(text: &str) -> Result<Policy, Vec<Finding>> {
    Policy::parse(Document { name: "p.toml", text }, &[])
}

/// The codes of what is wrong with a rule of these lines.
fn lint(lines: &str) -> Vec<&'static str> {
    parse(&text("launch", lines)).err().unwrap_or_default().iter().map(|finding| finding.code).collect()
}

/// What the facts earn where the operator listed everything of that sort.
pub(crate) fn judge(facts: &Facts, text: &str, listed: Option<Ownable>) -> Verdict {
    let policy = parse(text).unwrap_or_else(|findings| panic!("{findings:#?}"));
    let answers = owner_marks(facts).filter(|mark| Some(mark.ownable) == listed);
    let inventory = answers.map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed }).collect();
    let ownership = Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New };
    Appraiser::new("example.org".parse().unwrap()).judge(&policy, facts, &ownership, NOW)
}

/// `admitted`, or the codes of what differs in the nearest alternative.
pub(crate) fn outcome(facts: &Facts, ownership: &str, lines: &str, listed: Option<Ownable>) -> Vec<String> {
    match judge(facts, &text(ownership, lines), listed) {
        Verdict::Admit(_) => vec!["admitted".to_owned()],
        Verdict::AwaitsApproval(rejection) | Verdict::Refuse(rejection) => {
            let mut codes = vec![rejection.code.to_owned()];
            codes.extend(
                rejection
                    .differences
                    .iter()
                    .map(|one| format!("{} {}", one.code, one.fact.as_deref().unwrap_or_default())),
            );
            codes
        }
    }
}

#[test]
fn a_registered_launch_is_admitted_and_named_by_its_report_id() {
    let facts = snp(&Guest::milan().verify().unwrap());
    let measurement = format!("[rule.require]\nsnp.measurement = \"{}\"", "44".repeat(48));
    let Verdict::Admit(grant) = judge(&facts, &text("launch", &measurement), Some(Ownable::Launch)) else { panic!() };
    let id = serde_json::to_value(&grant).unwrap()["spiffe_id"].as_str().unwrap().to_owned();
    assert_eq!(id, format!("spiffe://example.org/holdfast/node/snp/{}", "77".repeat(32)));
    assert_eq!(outcome(&facts, "launch", &measurement, None)[0], "policy.no_rule_matched");
    // a listed chip is no registered launch, nor the other way round
    assert_ne!(outcome(&facts, "launch", &measurement, Some(Ownable::Inventory))[0], "admitted");
    assert_ne!(outcome(&facts, "inventory", &measurement, Some(Ownable::Launch))[0], "admitted");
    assert_eq!(outcome(&facts, "inventory", &measurement, Some(Ownable::Inventory)), ["admitted"]);
}

/// Two guests of one image on one chip: each has a report id of its own.
#[test]
fn two_guests_of_one_image_on_one_chip_are_two_nodes() {
    let ids: Vec<String> = [0x77, 0x78]
        .map(|report_id| {
            let guest = Guest::milan().with(|guest| guest.put(0x140, &[report_id; 32]));
            let facts = snp(&guest.verify().unwrap());
            let Verdict::Admit(grant) = judge(&facts, &text("inventory", ""), Some(Ownable::Inventory)) else {
                panic!()
            };
            serde_json::to_value(&grant).unwrap()["spiffe_id"].as_str().unwrap().to_owned()
        })
        .into();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_chip_is_no_name_for_a_node() {
    let policy = text("launch", "").replace("{snp.report_id}", "{snp.chip_id}");
    let codes: Vec<_> = parse(&policy).unwrap_err().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["policy.lint.template_fact"]);
}

#[test]
fn all_bits_of_a_mask_must_be_set() {
    let turin = Guest::new(Product::Turin, VekKind::Vcek);
    let facts = snp(&turin.verify().unwrap());
    for (mask, holds) in [("0x3b", true), ("1", true), ("0x3f", false), ("4", false), ("0x8000000000000000", false)] {
        let lines = format!("[rule.require]\nsnp.mitigations.current = {{ all_bits = {mask} }}");
        let found = outcome(&facts, "launch", &lines, Some(Ownable::Launch));
        let refused = ["policy.no_rule_matched", "policy.fact.lacks snp.mitigations.current"];
        assert_eq!(found, if holds { &["admitted"][..] } else { &refused }, "{mask}");
    }
    // an older report has no mask: not proven
    let milan = snp(&Guest::milan().verify().unwrap());
    let found =
        outcome(&milan, "launch", "[rule.require]\nsnp.mitigations.current = { all_bits = 1 }", Some(Ownable::Launch));
    assert_eq!(found[1], "policy.fact.not_proven snp.mitigations.current");
}

#[test]
fn a_mask_has_no_order_and_an_empty_one_demands_nothing() {
    for (lines, code) in [
        ("snp.mitigations.current = { at_least = 3 }", "policy.lint.operator_does_not_fit"),
        ("snp.vmpl = { all_bits = 1 }", "policy.lint.operator_does_not_fit"),
        ("snp.mitigations.current = { all_bits = 0 }", "policy.lint.empty_requirement"),
        ("snp.mitigations.current = { all_bits = \"3\" }", "policy.lint.bad_value"),
        ("snp.mitigations.current = { all_bits = [1] }", "policy.lint.bad_value"),
    ] {
        assert_eq!(lint(&format!("[rule.require]\n{lines}")), [code], "{lines}");
    }
    assert!(lint("[rule.require]\nsnp.mitigations.current = { all_bits = 0x3f, one_of = [0x3f, 0x7f] }").is_empty());
}

#[test]
fn a_weaker_mask_makes_a_later_rule_unreachable() {
    let two = |first: &str, second: &str| {
        let rule = |name: &str, mask: &str| {
            format!(
                "[[rule]]\nname = \"{name}\"\nevidence = [\"snp\"]\nownership = \"launch\"\n\
                 trust_classes = [\"firmware\"]\nrequire.snp.mitigations.current = {{ all_bits = {mask} }}\n"
            )
        };
        let head = text("launch", "");
        let head = head.split("[[rule]]").next().unwrap();
        parse(&format!("{head}{}{}", rule("a", first), rule("b", second))).err().map(|findings| findings[0].code)
    };
    assert_eq!(two("1", "3"), Some("policy.lint.unreachable_rule"));
    assert_eq!(two("3", "1"), None);
}

/// Anybody makes an id key, signs an ID block with it and writes any guest SVN into it.
#[test]
fn a_guest_svn_without_a_pinned_id_key_is_a_finding() {
    const UNPINNED: &str = "policy.lint.unpinned_id_key";
    let key = "0ad79ceb".repeat(12);
    let pin = format!("snp.id_key_digest = \"{key}\"");
    for said in ["snp.guest_svn = { at_least = 2 }", "snp.family_id = \"01\"", "snp.image_id = \"02\""] {
        assert_eq!(lint(&format!("[rule.require]\n{said}")), [UNPINNED], "{said}");
        assert!(lint(&format!("[rule.require]\n{said}\n{pin}")).is_empty());
        assert!(
            lint(&format!("[rule.require]\n{said}\nsnp.author_key_digest = {{ one_of = [\"{key}\"] }}")).is_empty()
        );
        // not these is no pin
        assert_eq!(
            lint(&format!("[rule.require]\n{said}\nsnp.id_key_digest = {{ none_of = [\"{key}\"] }}")),
            [UNPINNED]
        );
        assert_eq!(lint(&format!("[rule.require]\n{said}\nsnp.id_block = true")), [UNPINNED]);
    }
    let alternative = |name: &str, lines: &str| {
        format!("[[rule.alternative]]\nname = \"{name}\"\n[rule.alternative.require]\n{lines}\n")
    };
    let svn = "snp.guest_svn = { at_least = 2 }";
    let vmpl = "snp.vmpl = 0";
    // pinned in each way to satisfy the rule, or in none
    assert!(lint(&format!("[rule.require]\n{pin}\n{}", alternative("a", svn))).is_empty());
    assert!(lint(&format!("[rule.require]\n{svn}\n{}", alternative("a", &pin))).is_empty());
    assert!(lint(&alternative("a", &format!("{svn}\n{pin}"))).is_empty());
    assert_eq!(
        lint(&format!("[rule.require]\n{svn}\n{}{}", alternative("a", &pin), alternative("b", vmpl))),
        [UNPINNED]
    );
    assert_eq!(lint(&format!("{}{}", alternative("a", svn), alternative("b", &pin))), [UNPINNED]);
    // a deny list may name it: denying more is no risk
    let deny = "[[deny]]\nname = \"old\"\nreason = \"old\"\n[deny.when]\nsnp.guest_svn = { at_most = 3 }";
    assert!(lint(deny).is_empty());
}

#[test]
fn a_rule_for_snp_guests_must_say_that_it_needs_snp_evidence() {
    let lines = text("launch", "[rule.require]\nsnp.vmpl = 0").replace("evidence = [\"snp\"]\n", "");
    let codes: Vec<_> = parse(&lines).unwrap_err().iter().map(|finding| finding.code).collect();
    // Neither the condition nor the node's name can be met.
    assert_eq!(codes, ["policy.lint.evidence_lacks"; 2]);
}

#[test]
fn a_simulated_root_is_admitted_nowhere_by_accident() {
    let facts =
        snp(&Guest::milan().with(|guest| guest.class = holdfast_evidence::TrustClass::Simulated).verify().unwrap());
    let found = outcome(&facts, "launch", "", Some(Ownable::Launch));
    assert_eq!(found, ["policy.no_rule_matched", "policy.trust_class snp.class"]);
}
