//! What policies make of a verified guest: a command line by its digest, a bar that moves, a launch that nobody announced.

use holdfast_appraisal::decision::{Decision, InventoryAnswer, Listing, VerifiedItem};
use holdfast_appraisal::{Appraiser, Document, Ownership, Policy};
use holdfast_evidence::Verified;
use holdfast_evidence::tdx::TdxClaims;
use holdfast_identity::UnixTime;

use crate::attested;
use crate::log::{OPTIONS, boot};
use crate::td::{NOW, Td};

fn policy(conditions: &str) -> Policy {
    let text = format!(
        r#"api_version = "holdfast/1"
kind = "policy"
name = "guests"
description = "guests of a test"
[issue]
node_id = "/holdfast/node/tdx/{{tdx.instance}}"
selectors = ["tdx.tcb.status", "tdx.boot.command_lines"]
[[rule]]
name = "registered"
evidence = ["tdx"]
ownership = "launch"
trust_classes = ["firmware"]
[rule.require]
{conditions}
"#
    );
    let parsed = Policy::parse(Document { name: "guests.toml", text: &text }, &[]);
    parsed.unwrap_or_else(|findings| panic!("{findings:#?}"))
}

fn decide(conditions: &str, guest: &Verified<TdxClaims>, registered: bool) -> Result<String, &'static str> {
    let answer = InventoryAnswer { digest: guest.claims().launch().digest(), listing: Listing::Listed };
    let inventory = if registered { vec![answer] } else { Vec::new() };
    let ownership = Ownership { inventory, ..Ownership::unknown() };
    let appraiser = Appraiser::new("example.org".parse().unwrap());
    match appraiser.appraise(&policy(conditions), &[VerifiedItem::Tdx(guest)], &ownership, NOW) {
        Decision::Admitted(node) => Ok(node.grant().spiffe_id.to_string()),
        Decision::AwaitsApproval(rejection) | Decision::Refused(rejection) => Err(rejection.code),
    }
}

#[test]
fn a_registered_guest_gets_the_name_of_its_launch() {
    let guest = attested(Td::v4(), None);
    let launch = hex::encode(guest.claims().launch().digest());
    let admitted = decide("tdx.tcb.status = \"UpToDate\"", &guest, true).unwrap();
    assert_eq!(admitted, format!("spiffe://example.org/holdfast/node/tdx/{launch}"));
    assert_eq!(decide("tdx.tcb.status = \"UpToDate\"", &guest, false), Err("policy.no_rule_matched"));
}

/// The log holds no text of what the kernel's stub measured: the policy's text is compared by its digest, in SHA-384
/// whatever bank the policy asks of TPMs.
#[test]
fn a_command_line_is_compared_by_its_digest() {
    let guest = attested(Td::v4(), Some(&boot()));
    let lines =
        |options: &str| format!("tdx.boot.command_lines = {{ exactly = [\"/vmlinuz ro quiet\", \"{options}\"] }}");
    assert!(decide(&lines(OPTIONS), &guest, true).is_ok());
    assert_eq!(decide(&lines("root=/dev/vda1 rw"), &guest, true), Err("policy.no_rule_matched"));
}

#[test]
fn the_bar_and_its_grace_are_the_policys() {
    let behind = attested(Td::v4().with(|td| td.extension.cpu_svn[0] = 2), None);
    let refused = Err("policy.no_rule_matched");
    assert_eq!(decide("tdx.tcb.status = \"UpToDate\"", &behind, true), refused);
    let hardening = "tdx.tcb.status = { one_of = [\"UpToDate\", \"SWHardeningNeeded\"] }";
    assert!(decide(hardening, &behind, true).is_ok());
    for (condition, holds) in [
        ("tdx.tcb.advisories = { none_of = [\"INTEL-SA-00615\"] }", false),
        ("tdx.tcb.advisories = { subset_of = [\"INTEL-SA-00615\", \"INTEL-SA-00828\"] }", true),
        ("tdx.tcb.evaluation_number = { at_least = 17 }", true),
        ("tdx.tcb.evaluation_number = { at_least = 18 }", false),
        ("tdx.tcb.date = { at_least = 20240313 }", true),
        ("tdx.tcb.date = { at_least = 20240314 }", false),
        ("tdx.tcb.age_days = { at_most = 659 }", true),
        ("tdx.tcb.age_days = { at_most = 658 }", false),
        ("tdx.fmspc = { one_of = [\"50806f000000\"] }", true),
        ("tdx.piid = { none_of = [\"22222222222222222222222222222222\"] }", false),
        ("tdx.platform.smt = false", false),
    ] {
        let decided = decide(&format!("{hardening}\n{condition}"), &behind, true);
        assert_eq!(decided.is_ok(), holds, "{condition}");
    }
}

/// The identity lives no longer than collateral and certificates.
#[test]
fn evidence_ends_with_its_collateral() {
    let guest = attested(Td::v4().with(|td| td.tcb_info["nextUpdate"] = "2026-01-01T00:10:00Z".into()), None);
    assert_eq!(guest.claims().not_after, UnixTime(NOW.seconds() + 600));
    let ownership = Ownership {
        inventory: vec![InventoryAnswer { digest: guest.claims().launch().digest(), listing: Listing::Listed }],
        ..Ownership::unknown()
    };
    let appraiser = Appraiser::new("example.org".parse().unwrap());
    let decision = appraiser.appraise(&policy("tdx.service_td = false"), &[VerifiedItem::Tdx(&guest)], &ownership, NOW);
    let Decision::Admitted(node) = decision else { panic!("{decision:?}") };
    assert_eq!(node.grant().evidence_expires, NOW.plus(600));
}
