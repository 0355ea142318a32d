//! The appraiser's part: which items belong together, what the quote must cover, who is named how.

use holdfast_appraisal::decision::{
    Appraiser, Approval, Decision, InventoryAnswer, Listing, MachineRecord, Ownership, Rejection, VerifiedItem,
};
use holdfast_appraisal::facts::{HeldFacts, LogFacts};
use holdfast_appraisal::{AppraisedNode, Document, Policy, Verdict};
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::TpmClaims;
use holdfast_evidence::{TrustClass, Verified};
use holdfast_identity::UnixTime;

use crate::pki::{Ca, NOW};
use crate::stage::{Stage, select};
use crate::virtual_tpm::{EndorsementKey, Event, VirtualTpm};

fn policy(rule: &str) -> Policy {
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"test\"\n\
         [issue]\nnode_id = \"/holdfast/node/tpm/{{tpm.machine}}\"\nselectors = [\"tpm.secure_boot.enabled\", \"tpm.class\"]\n\
         [[rule]]\nname = \"rack\"\nownership = \"inventory\"\ntrust_classes = [\"discrete\"]\n{rule}\n"
    );
    Policy::parse(Document { name: "p.toml", text: &text }, &[]).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

fn image(bytes: &[u8]) -> String {
    hex::encode(sha256(&[bytes]))
}

/// Exactly the boot applications of the virtual firmware.
fn measured() -> Policy {
    let digests = [&b"shim image"[..], b"grub image", b"kernel image"].map(image).join("\", \"");
    policy(&format!(
        "[rule.require]\ntpm.secure_boot.enabled = true\ntpm.boot.applications = {{ sequence = [\"{digests}\"] }}"
    ))
}

fn listed(claims: &TpmClaims) -> Ownership {
    let answer = |spki: [u8; 32]| InventoryAnswer { digest: spki, listing: Listing::Listed };
    let inventory = claims.eks.iter().map(|ek| answer(ek.spki_sha256)).collect();
    Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New }
}

fn appraise(policy: &Policy, verified: &Verified<TpmClaims>) -> Decision {
    let ownership = listed(verified.claims());
    appraiser().appraise(policy, &[VerifiedItem::Tpm(verified)], &ownership, NOW)
}

fn appraiser() -> Appraiser {
    Appraiser::new("example.org".parse().unwrap())
}

fn admitted(decision: Decision) -> AppraisedNode {
    match decision {
        Decision::Admitted(node) => node,
        other => panic!("{other:#?}"),
    }
}

fn refused(decision: Decision) -> Rejection {
    match decision {
        Decision::Refused(rejection) => rejection,
        other => panic!("{other:#?}"),
    }
}

fn enrolled(stage: &Stage) -> Verified<TpmClaims> {
    stage.enrol_with(|_| {}).unwrap()
}

#[test]
fn verified_evidence_of_our_machine_becomes_a_node_with_the_key_that_was_proven() {
    let stage = Stage::new();
    let verified = enrolled(&stage);
    let node = admitted(appraise(&measured(), &verified));
    let ek = hex::encode(verified.claims().eks[0].spki_sha256);
    assert_eq!(node.spiffe_id().as_str(), format!("spiffe://example.org/holdfast/node/tpm/{ek}"));
    assert_eq!(node.node_key_spki(), stage.tpm.node_key.spki());
    let selectors: Vec<String> = node.selectors().iter().map(ToString::to_string).collect();
    assert_eq!(selectors, ["tpm:class:discrete", "tpm:secure_boot:true"]);
    assert_eq!((node.svid_ttl(), node.evidence_expires()), (7_200, NOW.plus(7_200)));
}

#[test]
fn a_changed_kernel_is_refused_with_index_type_and_digests_of_its_event() {
    let mut stage = Stage::new();
    let at = stage.tpm.firmware.events.iter().position(|event| event.data == b"kernel").unwrap();
    stage.tpm.firmware.events[at] = Event::application("kernel", b"another image");
    let rejection = refused(appraise(&measured(), &enrolled(&stage)));
    assert_eq!(rejection.code, "policy.no_rule_matched");
    let [difference] = rejection.differences.as_slice() else { panic!("{rejection}") };
    let [value] = difference.values.as_slice() else { panic!("{rejection}") };
    assert_eq!(value.expected, Some(image(b"kernel image")));
    assert_eq!(value.found, Some(image(b"another image")));
    let event = value.event.as_ref().unwrap();
    assert_eq!((event.index as usize, event.pcr), (at + 1, 4), "the Spec ID event is number 0");
    assert_eq!(event.kind, "EV_EFI_BOOT_SERVICES_APPLICATION");
    assert_eq!(event.digest, image(b"another image"));
}

#[test]
fn an_unlisted_machine_is_refused() {
    let verified = enrolled(&Stage::new());
    let decision = appraiser().appraise(&measured(), &[VerifiedItem::Tpm(&verified)], &Ownership::unknown(), NOW);
    assert_eq!(refused(decision).because().collect::<Vec<_>>(), ["policy.ownership.not_in_inventory"]);
}

#[test]
fn no_evidence_is_no_admission() {
    let ownership = Ownership::unknown();
    assert_eq!(refused(appraiser().appraise(&policy(""), &[], &ownership, NOW)).code, "policy.evidence.none");
}

#[test]
fn items_of_two_attestations_are_not_joined() {
    let stage = Stage::new();
    let (one, other) = (enrolled(&stage), enrolled(&stage));
    let items = [VerifiedItem::Tpm(&one), VerifiedItem::Tpm(&other)];
    let decision = appraiser().appraise(&policy(""), &items, &listed(one.claims()), NOW);
    assert_eq!(refused(decision).code, "policy.evidence.two_bindings");
}

#[test]
fn one_kind_counts_once() {
    let verified = enrolled(&Stage::new());
    let items = [VerifiedItem::Tpm(&verified), VerifiedItem::Tpm(&verified)];
    let decision = appraiser().appraise(&policy(""), &items, &listed(verified.claims()), NOW);
    assert_eq!(refused(decision).code, "policy.evidence.kind_twice");
}

const COMMAND_LINE: &str = "[rule.require]\ntpm.boot.command_lines = { exactly = [\"ro quiet\"] }";

#[test]
fn a_quote_must_cover_every_pcr_that_the_policy_rests_on() {
    let mut stage = Stage::new();
    let policy = policy(COMMAND_LINE);
    assert_eq!(refused(appraise(&policy, &enrolled(&stage))).code, "policy.evidence.not_quoted");
    stage.wanted.selection = select(&[8, 9]);
    assert_eq!(refused(appraise(&policy, &enrolled(&stage))).code, "policy.evidence.not_quoted");
    stage.wanted.selection.pcrs = policy.required_pcrs();
    admitted(appraise(&policy, &enrolled(&stage)));
}

#[test]
fn a_quote_of_another_bank_is_refused() {
    let mut stage = Stage::new();
    stage.wanted.selection.bank = holdfast_evidence::tpm::Bank::Sha384;
    assert_eq!(refused(appraise(&policy(""), &enrolled(&stage))).code, "policy.evidence.not_quoted");
}

#[test]
fn a_second_command_line_is_refused() {
    let mut stage = Stage::new();
    let policy = policy(COMMAND_LINE);
    stage.wanted.selection.pcrs = policy.required_pcrs();
    stage.tpm.firmware.events.push(Event::command_line("init=/bin/sh"));
    assert_eq!(refused(appraise(&policy, &enrolled(&stage))).because().collect::<Vec<_>>(), ["policy.fact.differs"]);
}

#[test]
fn a_pcr_that_no_log_covers_is_refused_unless_the_policy_gives_its_value() {
    let mut stage = Stage::new();
    stage.tpm.firmware.later.push((14, b"after hand-over".to_vec()));
    let rule = |value: &str| policy(&format!("[rule.require]\ntpm.pcr.14 = {value}"));
    let pcr14 = stage.tpm.pcrs(holdfast_evidence::tpm::Bank::Sha256);
    let pcr14 = pcr14.iter().find(|(pcr, _)| pcr.get() == 14).unwrap().1.as_bytes().to_vec();
    let given = rule(&format!("\"{}\"", hex::encode(&pcr14)));
    stage.wanted.selection.pcrs = given.required_pcrs();
    let verified = stage.enrol_with(|answer| answer.claims.push((14, pcr14.clone()))).unwrap();
    admitted(appraise(&given, &verified));
    let not_given = rule(&format!("{{ none_of = [\"{}\"] }}", "00".repeat(32)));
    assert_eq!(refused(appraise(&not_given, &verified)).because().collect::<Vec<_>>(), ["policy.pcr.unexplained"]);
}

#[test]
fn what_was_quoted_for_another_policy_refuses_nobody() {
    let mut stage = Stage::new();
    stage.tpm.firmware.later.push((14, b"after hand-over".to_vec()));
    let pcr14 = stage.tpm.pcrs(holdfast_evidence::tpm::Bank::Sha256);
    let pcr14 = pcr14.iter().find(|(pcr, _)| pcr.get() == 14).unwrap().1.as_bytes().to_vec();
    let observed = policy(&format!("[rule.require]\ntpm.pcr.14 = {{ none_of = [\"{}\"] }}", "00".repeat(32)));
    stage.wanted.selection.pcrs = observed.required_pcrs();
    let verified = stage.enrol_with(|answer| answer.claims.push((14, pcr14.clone()))).unwrap();
    assert_eq!(refused(appraise(&observed, &verified)).because().collect::<Vec<_>>(), ["policy.pcr.unexplained"]);
    admitted(appraise(&policy(""), &verified));
}

#[test]
fn facts_that_were_kept_earn_what_the_evidence_earned() {
    let mut stage = Stage::new();
    let observed = measured();
    stage.wanted.selection.pcrs = observed.required_pcrs();
    let verified = enrolled(&stage);
    let (items, ownership) = ([VerifiedItem::Tpm(&verified)], listed(verified.claims()));
    let held = appraiser().held(&items, &ownership).unwrap();
    let log = LogFacts::read_back(&held.log().unwrap().body().unwrap()).unwrap();
    let read = HeldFacts::read_back(&held.own_body().unwrap(), log.into()).unwrap();
    assert_eq!(read, held);
    for policy in [measured(), policy(""), policy("[rule.require]\ntpm.secure_boot.enabled = false")] {
        let judged = appraiser().judge_held(&policy, &read, &ownership, NOW);
        match (appraise(&policy, &verified), judged) {
            (Decision::Admitted(node), Verdict::Admit(grant)) => assert_eq!(node.grant(), &grant),
            (Decision::Refused(was), Verdict::Refuse(is)) => assert_eq!(was, is),
            (was, is) => panic!("{was:#?} {is:#?}"),
        }
    }
    let elsewhere =
        policy("[rule.require]\ntpm.pcr.16 = { none_of = [\"00\"] }".replace("00", &"00".repeat(32)).as_str());
    match appraiser().judge_held(&elsewhere, &read, &ownership, NOW) {
        Verdict::Refuse(rejection) => assert_eq!(rejection.code, "policy.evidence.not_quoted"),
        other => panic!("{other:#?}"),
    }
}

#[test]
fn one_simulated_key_makes_the_machine_simulated() {
    let mut stage = Stage::new();
    let simulator = Ca::root("simulator");
    stage.roots.add(holdfast_evidence::tpm::endorsement::Anchor::new(&simulator.der, TrustClass::Simulated).unwrap());
    stage.tpm.eks.push(EndorsementKey::new(&simulator));
    assert_eq!(refused(appraise(&policy(""), &enrolled(&stage))).because().collect::<Vec<_>>(), ["policy.trust_class"]);
}

#[test]
fn a_machine_has_one_name_whichever_of_its_keys_it_shows() {
    let mut stage = Stage::new();
    stage.tpm.eks.push(EndorsementKey::new(&stage.ca));
    let both = enrolled(&stage);
    let name = admitted(appraise(&policy(""), &both)).spiffe_id().clone();
    stage.tpm.eks.reverse();
    assert_eq!(*admitted(appraise(&policy(""), &enrolled(&stage))).spiffe_id(), name);

    let identity = both.claims().eks.iter().map(|ek| ek.spki_sha256).min().unwrap();
    stage.tpm.eks.retain(|ek| sha256(&[&ek.public.key().spki()]) != identity);
    let one = enrolled(&stage);
    let ownership = Ownership { machine: MachineRecord::Known { identity }, ..listed(one.claims()) };
    let node = admitted(appraiser().appraise(&policy(""), &[VerifiedItem::Tpm(&one)], &ownership, NOW));
    assert_eq!(*node.spiffe_id(), name, "the record remembers by which key it is named");
}

#[test]
fn two_machines_never_have_one_name() {
    let mut stage = Stage::new();
    let first = admitted(appraise(&policy(""), &enrolled(&stage))).spiffe_id().clone();
    stage.tpm = VirtualTpm::new(&stage.ca);
    assert_ne!(*admitted(appraise(&policy(""), &enrolled(&stage))).spiffe_id(), first);
}

#[test]
fn a_log_that_is_known_by_its_digest_leads_to_the_same_decision() {
    let mut stage = Stage::new();
    let appraiser = appraiser();
    let decide = |policy: &Policy, verified: &Verified<TpmClaims>| {
        appraiser.appraise(policy, &[VerifiedItem::Tpm(verified)], &listed(verified.claims()), UnixTime(NOW.0))
    };
    let first = enrolled(&stage);
    let log = first.claims().log.clone().unwrap();
    stage.keep(&log);
    let second = enrolled(&stage);
    assert_eq!(decide(&measured(), &first), decide(&measured(), &second));
    let other = policy(&format!("[rule.require]\ntpm.boot.applications = {{ exactly = [\"{}\"] }}", image(b"x")));
    let (before, after) = (refused(decide(&other, &first)), refused(decide(&other, &second)));
    assert_eq!(before, after);
    assert!(before.differences[0].values.iter().all(|value| value.event.is_some() || value.found.is_none()));
}
