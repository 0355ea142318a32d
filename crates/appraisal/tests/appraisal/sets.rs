//! Sets, reference-value files, bundles, and what follows from a whole policy.

use holdfast_appraisal::finding::Finding;
use holdfast_appraisal::policy::{Bundle, BundleFile, referenced_files};
use holdfast_appraisal::{Document, Policy};

use crate::language::check;
use crate::machine::{codes, hex, judge, listed, policy, policy_text, with};

#[test]
fn needed_pcrs_follow_from_the_facts() {
    let pcrs = |rule: &str| policy(rule).required_pcrs().iter().map(|pcr| pcr.get()).collect::<Vec<_>>();
    let firmware = [0, 1, 2, 3, 4, 5, 6, 7];
    assert_eq!(pcrs(""), firmware);
    assert_eq!(
        pcrs("[rule.require]\ntpm.boot.command_lines = { any_of = [\"x\"] }"),
        [&firmware[..], &[8, 9, 12]].concat()
    );
    assert_eq!(
        pcrs(&format!("[rule.require]\ntpm.events.14 = {{ any_of = [{:?}] }}", hex(1))),
        [&firmware[..], &[14]].concat()
    );
    assert_eq!(pcrs("[rule.issue]\nselectors = \"tpm.pcr.23\""), [&firmware[..], &[23]].concat());
    let deny = format!("[[deny]]\nname = \"d\"\nreason = \"r\"\nwhen.tpm.pcr.10 = {:?}", hex(1));
    assert_eq!(pcrs(&deny), [&firmware[..], &[10]].concat());
}

const SETS: &str = "[rule.require]\ntpm.secure_boot.db = { subset_of = \"@good\" }\ntpm.boot.applications = { sequence = \"@kernel\" }\n";

fn with_reference(rule: &str, values: &str) -> Result<Policy, Vec<Finding>> {
    let text = policy_text(rule).replace("name = \"test\"", "name = \"test\"\nreference_values = [\"k.toml\"]");
    let values =
        format!("api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = \"kernel\"\n[values]\n{values}");
    Policy::parse(Document { name: "p.toml", text: &text }, &[Document { name: "k.toml", text: &values }])
}

#[test]
fn sets_and_reference_files_are_used_by_name() {
    let applications = format!("tpm.boot.applications = [{:?}]", hex(1));
    let sets = format!("{SETS}[sets]\ngood = [\"x509:{}\"]", hex(1));
    assert_eq!(with_reference(&sets, &applications).unwrap().warnings(), []);
    let error = |rule: &str, values: &str| {
        let findings = with_reference(rule, values).unwrap_err();
        (findings[0].file.clone(), findings[0].code, findings[0].line)
    };
    assert_eq!(error(&sets, "tpm.boot.application = []"), ("k.toml".to_owned(), "policy.lint.unknown_fact", 5));
    let one = "tpm.secure_boot.enabled = true";
    assert_eq!(error(&sets, one), ("p.toml".to_owned(), "policy.lint.unknown_set", 13));
    assert_eq!(error(&sets.replace("@good", "@goood"), &applications).1, "policy.lint.unknown_set");
    let twice = with_reference(&sets.replace("good = [", "kernel = ["), &applications).unwrap_err();
    assert!(twice.iter().any(|finding| finding.code == "policy.lint.duplicate_name"));
}

#[test]
fn what_is_defined_and_not_used_is_warned_of() {
    let applications = format!("tpm.boot.applications = [{:?}]", hex(1));
    let policy = with_reference(&format!("[sets]\nspare = [\"x509:{}\"]", hex(1)), &applications).unwrap();
    let codes: Vec<&str> = policy.warnings().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["policy.lint.reference_file_unused", "policy.lint.set_unused"]);
}

#[test]
fn a_reference_file_that_is_not_given_is_an_error() {
    let text = policy_text("").replace("name = \"test\"", "name = \"test\"\nreference_values = [\"k.toml\"]");
    check(&text, "policy.lint.reference_file_missing", 4, 21);
    assert_eq!(referenced_files(Document { name: "p.toml", text: &text }).unwrap(), ["k.toml"]);
}

#[test]
fn arrays_mix_values_and_sets_and_a_text_may_begin_with_at() {
    let rule = "[rule.require]\ntpm.boot.command_lines = { subset_of = [\"@lines\", \"@@home\", { value = \"c\", note = \"why\" }] }\n[sets]\nlines = [\"a\"]";
    let policy = policy(rule);
    for (line, code) in
        [("a", "admitted"), ("@home", "admitted"), ("c", "admitted"), ("@@home", "policy.no_rule_matched")]
    {
        let facts = with("tpm.boot.command_lines", &[line]);
        assert_eq!(codes(&judge(&policy, &facts, &listed())).0, code, "{line}");
    }
}

#[test]
fn the_digest_covers_every_file_of_the_bundle() {
    let file = |name: &str, text: String| BundleFile { name: name.to_owned(), text };
    let bundle = |comment: &str, other: &str| Bundle {
        policy: file(
            "p.toml",
            policy_text(&format!("# {comment}"))
                .replace("name = \"test\"", "name = \"test\"\nreference_values = \"k.toml\""),
        ),
        references: vec![file(
            "k.toml",
            format!(
                "api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = \"k\"\nsource = \"{other}\"\nvalues.tpm.secure_boot.enabled = true"
            ),
        )],
    };
    let digest = |comment: &str, other: &str| bundle(comment, other).parse().unwrap().version().digest.clone();
    assert_eq!(digest("a", "b"), digest("a", "b"));
    assert_ne!(digest("a", "b"), digest("b", "b"));
    assert_ne!(digest("a", "b"), digest("a", "c"));
    let json = serde_json::to_string(&bundle("a", "b")).unwrap();
    assert_eq!(serde_json::from_str::<Bundle>(&json).unwrap(), bundle("a", "b"));
}

#[test]
fn no_document_is_larger_than_its_limit() {
    let text = format!("{}# {}", policy_text(""), "x".repeat(holdfast_appraisal::DOCUMENT_BYTES_MAX));
    check(&text, "policy.lint.too_large", 1, 1);
}
