//! What policies make of Azure machines: whose paravisor is believed, and which items never stand beside each other.

use holdfast_appraisal::decision::{
    Appraiser, Approval, Decision, InventoryAnswer, Listing, MachineRecord, Ownership, VerifiedItem,
};
use holdfast_appraisal::facts::owner_marks;
use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::azure::AzureEvidence;
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::snp::{SnpEvidence, SnpItem};
use holdfast_evidence::{Challenge, Commitment, Evidence as _, EvidenceKind, ItemState, Purpose};
use ring::rand::SystemRandom;

use crate::guest::{Guest, NOW};
use crate::machine::{Machine, asked, node_key};
use crate::paravisor::Ak;

fn text(rule: &str) -> String {
    format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"test\"\n\
         [issue]\nnode_id = \"/holdfast/node/azure/{{azure.instance}}\"\nselectors = [\"azure.vm_unique_id\"]\n\
         [[rule]]\nname = \"machines\"\nevidence = [\"azure\"]\n{rule}\n"
    )
}

/// The codes of all errors, or none.
fn findings(rule: &str) -> Vec<&'static str> {
    let parsed = Policy::parse(Document { name: "p.toml", text: &text(rule) }, &[]);
    parsed.err().unwrap_or_default().into_iter().map(|finding| finding.code).collect()
}

const UNPINNED: [&str; 1] = ["policy.lint.unpinned_paravisor"];
const SEPT_VE: &str = "\ntdx.attributes.sept_ve_disable = true";
const OURS: &str = "ownership = \"inventory\"\ntrust_classes = [\"firmware\"]\n";

/// Whoever has a genuine processor writes a paravisor that names one of our machines.
#[test]
fn a_rule_that_takes_any_paravisors_word_is_a_finding() {
    let key = "44".repeat(48);
    assert_eq!(findings(&format!("{OURS}[rule.require]\nazure.secure_boot = true")), UNPINNED);
    // not these is no pin, nor is what the paravisor says of itself, nor anything about the hardware alone
    for said in [
        format!("snp.measurement = {{ none_of = [\"{key}\"] }}"),
        "snp.vmpl = 0".to_owned(),
        "snp.id_block = true".to_owned(),
        "azure.vm_unique_id = \"26f8bc30-774e-4290-8e7a-535f3b672aee\"".to_owned(),
        "azure.ak.subject = \"x.ConfidentialVM.Azure.windows.net\"".to_owned(),
        "tdx.tcb.status = \"UpToDate\"".to_owned(),
    ] {
        assert_eq!(findings(&format!("{OURS}[rule.require]\n{said}")), UNPINNED, "{said}");
    }
    for pin in ["snp.measurement", "snp.id_key_digest", "snp.author_key_digest", "tdx.mrtd"] {
        let more = if pin == "tdx.mrtd" { SEPT_VE } else { "" };
        assert!(findings(&format!("{OURS}[rule.require]\n{pin} = \"{key}\"{more}")).is_empty(), "{pin}");
        let one_of = format!("{pin} = {{ one_of = [\"{key}\"] }}");
        assert!(findings(&format!("{OURS}[rule.require]\n{one_of}{more}")).is_empty(), "{pin}");
    }
    // in each way to satisfy the rule, or in none
    let alternative = |name: &str, line: &str| {
        format!("[[rule.alternative]]\nname = \"{name}\"\n[rule.alternative.require]\n{line}\n")
    };
    let (pinned, open) = (format!("snp.measurement = \"{key}\""), "azure.secure_boot = true".to_owned());
    let both = |a: &str, b: &str| findings(&format!("{OURS}{}{}", alternative("a", a), alternative("b", b)));
    assert!(both(&pinned, &format!("tdx.mrtd = \"{key}\"{SEPT_VE}")).is_empty());
    assert_eq!(both(&pinned, &open), UNPINNED);
    // a launch that was registered is one that nobody else can have made
    let launch = "ownership = \"launch\"\ntrust_classes = [\"firmware\"]\n[rule.require]\nazure.secure_boot = true";
    assert!(findings(&format!("{launch}{SEPT_VE}")).is_empty());
    // the provider's certificate is no paravisor's word, and a simulator is nobody's
    let cloud = "ownership = \"approval\"\ntrust_classes = [\"cloud\"]\n[rule.require]\nazure.hardware = \"none\"";
    assert!(findings(cloud).is_empty());
    assert_eq!(findings(&cloud.replace("[\"cloud\"]", "[\"cloud\", \"firmware\"]")), UNPINNED);
    assert!(findings(&cloud.replace("cloud", "simulated")).is_empty());
}

#[test]
fn a_registered_launch_on_azure_is_warned_of() {
    let rule = format!(
        "ownership = \"launch\"\ntrust_classes = [\"firmware\"]\n[rule.require]\nsnp.measurement = \"{}\"",
        "44".repeat(48)
    );
    let policy = Policy::parse(Document { name: "p.toml", text: &text(&rule) }, &[]).unwrap();
    let codes: Vec<_> = policy.warnings().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["policy.lint.azure_launch"]);
}

fn policy() -> Policy {
    // what the operating system extends has no event: its value must be given
    let eleven = hex::encode(&Machine::snp().claims[0].1);
    let rule = format!("{OURS}[rule.require]\nsnp.measurement = \"{}\"\ntpm.pcr.11 = \"{eleven}\"", "44".repeat(48));
    let text = text(&rule);
    Policy::parse(Document { name: "p.toml", text: &text }, &[]).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

fn listed(items: &[VerifiedItem<'_>]) -> Ownership {
    let facts: Vec<_> = items.iter().map(|item| item.described(&Ownership::unknown())).collect();
    let marks = facts.iter().flat_map(owner_marks);
    let inventory = marks.map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed }).collect();
    Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New }
}

fn appraise(items: &[VerifiedItem<'_>]) -> Decision {
    Appraiser::new("example.org".parse().unwrap()).appraise(&policy(), items, &listed(items), NOW)
}

#[test]
fn a_machine_of_ours_under_the_pinned_paravisor_is_admitted_and_named_by_its_instance() {
    let verified = Machine::snp().verify().unwrap();
    let Decision::Admitted(node) = appraise(&[VerifiedItem::Azure(&verified)]) else { panic!("not admitted") };
    let instance = hex::encode(verified.claims().instance());
    assert_eq!(node.spiffe_id().to_string(), format!("spiffe://example.org/holdfast/node/azure/{instance}"));
    let strange = Machine::snp().with(|machine| machine.guest().put(0x90, &[0x45])).verify().unwrap();
    assert!(matches!(appraise(&[VerifiedItem::Azure(&strange)]), Decision::Refused(_)));
}

/// Two reports in the words of `snp` would leave nobody knowing which of them is meant.
#[test]
fn an_azure_item_and_a_report_of_its_own_kind_are_not_joined() {
    let mut machine = Machine::snp();
    let log = machine.firmware.log();
    let items =
        vec![ItemState::Report { kind: EvidenceKind::Snp }, ItemState::plain(EvidenceKind::Azure, asked()).unwrap()];
    let domain = "example.org".parse().unwrap();
    let challenge = Challenge::draw(domain, Purpose::Enrol, items, NOW, 60, &SystemRandom::new()).unwrap();
    let report = Commitment { kind: EvidenceKind::Snp, item: &[1], firmware_log: None, ak_spki_sha256: None };
    let quote = Commitment {
        kind: EvidenceKind::Azure,
        item: &[2],
        firmware_log: Some(sha256(&[&log])),
        ak_spki_sha256: Some(sha256(&[&Ak::own().key().spki()])),
    };
    let binding = challenge.answer(node_key(), &[report, quote]).unwrap();
    // the report of a better machine
    let guest = Guest::milan().with(|guest| guest.put(0x50, &[0; 64]));
    let guest = guest.with(|guest| guest.put(0x50, binding.digest_of(EvidenceKind::Snp).unwrap()));
    let item = SnpItem { report: &guest.report_bytes(), certificates: &[] }.encode();
    let mut endorsements = guest.endorsements();
    endorsements.certificates = guest.certificates();
    let snp = SnpEvidence::parse(&item).unwrap().verify(&endorsements, &binding, NOW).unwrap();
    let item = machine.item(binding.digest_of(EvidenceKind::Azure).unwrap());
    let azure = AzureEvidence::parse(&item).unwrap().verify(&machine.endorsements(), &binding, NOW).unwrap();
    let items = [VerifiedItem::Snp(&snp), VerifiedItem::Azure(&azure)];
    let Decision::Refused(rejection) = appraise(&items) else { panic!("joined") };
    assert_eq!(rejection.code, "policy.evidence.kind_twice");
    assert!(matches!(appraise(&items[1..]), Decision::Admitted(_)));
}
