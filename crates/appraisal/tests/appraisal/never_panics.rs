//! Whatever stands in a document, reading it ends in a value or in findings.

use holdfast_appraisal::case::{Case, Evidence};
use holdfast_appraisal::policy::referenced_files;
use holdfast_appraisal::{Document, Policy, ReferenceValues};
use proptest::prelude::*;

use crate::machine::policy_text;

const RULE: &str = r#"
ownership_reason = "x"
[rule.require]
tpm.secure_boot.enabled = true
tpm.secure_boot.db = { subset_of = "@set" }
tpm.firmware_version = { at_least = "1.2", at_most = "2", each_at_least = "1" }
[[rule.alternative]]
name = "one"
valid_from = 2026-01-01T00:00:00Z
[rule.alternative.require]
tpm.boot.applications = { sequence = ["aaaa", { value = "bb", note = "c" }] }
tpm.pcr.7 = "00"
[sets]
set = ["x509:00"]
[[deny]]
name = "d"
reason = "r"
when = { tpm.class = { any_of = ["vtpm"] } }
"#;

fn read(text: &str) {
    let document = Document { name: "p.toml", text };
    let _ = Policy::parse(document, &[document]);
    let _ = ReferenceValues::parse(document);
    let _ = referenced_files(document);
    let _ = Case::files(document);
    let _ = Case::parse(document, Some(document), Evidence::Log(text.as_bytes()));
    if let Err(findings) = Policy::parse(document, &[]) {
        for finding in findings {
            assert!(finding.line >= 1 && finding.column >= 1, "{finding}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
        read(&text);
    }

    #[test]
    fn a_policy_with_a_piece_replaced_is_read_without_a_panic(
        at in 0_usize..900, length in 0_usize..40, piece in "[a-z@{}\\[\\]=\"'.,:#0-9\\n é]{0,12}",
    ) {
        let text = policy_text(RULE);
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.min(characters.len());
        let end = (at + length).min(characters.len());
        characters.splice(at..end, piece.chars());
        read(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn tables_of_any_shape_under_a_rule_are_read_without_a_panic(
        keys in proptest::collection::vec("(tpm|secure_boot|boot|pcr|7|enabled|exactly|value|x)", 1..8),
        value in "(true|1|-1|1.5|\"x\"|\"@x\"|\"@@x\"|\\[\\]|\\[\"x\"\\]|\\[\\[\\]\\]|\\{\\}|\\{value=\"x\"\\}|2026-01-01|inf)",
    ) {
        read(&policy_text(&format!("[rule.require]\n{} = {value}", keys.join("."))));
        read(&policy_text(&format!("{} = {value}", keys.join("."))));
    }
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let deep = format!("x = {}{}", open.repeat(20_000), close.repeat(20_000));
        read(&deep);
    }
    read(&format!("[rule.require]\n{}x = 1", "a.".repeat(20_000)));
}
