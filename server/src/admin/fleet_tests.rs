//! `Fleets`, over a real socket, on a real store.

use std::collections::BTreeSet;

use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use tonic::Code;

use super::harness::{Operated, operated};
use crate::admin_clients::{fleets_client::FleetsClient, policies_client::PoliciesClient};
use crate::config::Simulated;
use crate::record::Leaf;
use crate::store::conformance::enrolment;
use crate::store::{
    Attempt, EndorsementDraft, EndorsementRole, EndorsementSource, Mode, NodeNumber, NodeTarget, Outcome, Subject,
    Verdict, Way,
};

const CHIP: &str = "0707";

/// Admits a machine of that kind whose decision says so of its TCB.
async fn admit(operated: &Operated, n: u8, kind: &str, tcb: &[(&str, &str)]) {
    let mut attempt = enrolment(n);
    attempt.kinds = BTreeSet::from([kind.to_owned()]);
    let facts: serde_json::Map<_, _> = tcb
        .iter()
        .map(|(name, value)| ((*name).to_owned(), serde_json::json!({ "values": [value], "provenance": "hardware" })))
        .collect();
    let machine = [serde_json::json!({ "kind": kind, "facts": facts })];
    attempt.decision = serde_json::json!({ "verdict": "admitted", "machine": machine, "n": n }).to_string();
    let admitted = operated.store.record_attempt(attempt).await.unwrap();
    assert!(matches!(admitted, Outcome::Admitted { .. }), "{admitted:?}");
}

/// What a node sends on its own connection that does not even parse: refused, and nothing ends.
async fn junk(operated: &Operated, n: u8, node: NodeNumber) {
    let junk = Attempt {
        way: Way::Renew,
        subject: Subject::Known(node),
        verdict: Verdict::Refuse { code: "evidence.malformed".to_owned(), genuine: false },
        decision: "{}".to_owned(),
        clock: None,
        ..enrolment(n)
    };
    assert!(matches!(operated.store.record_attempt(junk).await.unwrap(), Outcome::Refused { .. }));
}

async fn admit_milan(operated: &Operated, n: u8, snp: &str) {
    let chip = CHIP.repeat(32);
    let tcb = [
        ("snp.product", "Milan"),
        ("snp.signing_key", "vcek"),
        ("snp.chip_id", chip.as_str()),
        ("snp.tcb.reported.bootloader", "4"),
        ("snp.tcb.reported.tee", "0"),
        ("snp.tcb.reported.snp", snp),
        ("snp.tcb.reported.microcode", "219"),
    ];
    admit(operated, n, "snp", &tcb).await;
}

async fn tcb(operated: &Operated, floors: &[&str]) -> Result<Vec<admin::NodeTcb>, tonic::Status> {
    let mut client = FleetsClient::new(operated.channel.clone());
    let floors = floors.iter().map(|floor| (*floor).to_owned()).collect();
    let mut stream = client.tcb(admin::FleetTcbRequest { floors }).await?.into_inner();
    let mut nodes = Vec::new();
    while let Some(node) = stream.message().await? {
        nodes.push(node);
    }
    Ok(nodes)
}

#[tokio::test]
async fn a_floor_names_whom_it_would_refuse() {
    let operated = operated(Simulated::Refused).await;
    admit_milan(&operated, 1, "24").await;
    admit_milan(&operated, 2, "8").await;
    admit(&operated, 3, "tpm", &[]).await;
    admit(&operated, 4, "snp", &[]).await;
    // Whoever stands hides nothing by what it sends later.
    let node = operated.store.node(NodeTarget::AkName(vec![2; 34])).await.unwrap().unwrap();
    junk(&operated, 2, node.number).await;
    let nodes = tcb(&operated, &["snp.tcb.reported.snp=24"]).await.unwrap();
    let below: Vec<&[String]> = nodes.iter().map(|node| node.below.as_slice()).collect();
    assert_eq!(below, [&[][..], &["snp.tcb.reported.snp 8".to_owned()], &[], &[]]);
    assert_eq!(nodes.iter().map(|node| node.facts.len()).collect::<Vec<_>>(), [7, 7, 0, 0]);
    assert_eq!(nodes.iter().map(|node| node.unknown).collect::<Vec<_>>(), [false, false, false, true]);
    let entries = operated.store.ledger_entries(0, 100).await.unwrap();
    let Leaf::Act(act) = Leaf::parse(&entries.last().unwrap().leaf).unwrap() else { panic!("no act") };
    assert_eq!((&act["action"], &act["detail"]["tcb"][0]), (&"evidence.read".into(), &"fleet".into()));
    assert!(tcb(&operated, &[]).await.unwrap().iter().all(|node| node.below.is_empty()));
    let refused = tcb(&operated, &["snp.measurement=00"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_first_end_of_what_a_machine_rests_on_is_shown() {
    let operated = operated(Simulated::Refused).await;
    admit_milan(&operated, 1, "24").await;
    admit(&operated, 2, "tdx", &[("tdx.fmspc", "90C06F000000")]).await;
    admit_milan(&operated, 3, "8").await;
    let draft = |role, about: String, end: i64| EndorsementDraft {
        role,
        serves: EvidenceKind::Snp.into(),
        content: about.clone().into_bytes(),
        class: String::new(),
        name: String::new(),
        subject: String::new(),
        about,
        not_after: UnixTime(end),
        source: EndorsementSource::Service,
        fetched_at: UnixTime(1),
    };
    let vek = format!("vcek/Milan/{}/bl=4,tee=0,snp=24,ucode=219", CHIP.repeat(32));
    let drafts = vec![
        draft(EndorsementRole::Vek, vek.clone(), 500),
        draft(EndorsementRole::Collateral, "tdx/90c06f000000/platform/any".to_owned(), 300),
        draft(EndorsementRole::Collateral, "tdx/90c06f000000/platform/standard".to_owned(), 400),
    ];
    operated.store.keep_endorsements(drafts, UnixTime(1)).await.unwrap();
    let nodes = tcb(&operated, &[]).await.unwrap();
    let ends: Vec<(&str, i64)> =
        nodes.iter().map(|node| (node.endorsement.as_str(), node.endorsements_end_at)).collect();
    assert_eq!(ends, [(vek.as_str(), 500), ("tdx/90c06f000000/platform/standard", 400), ("", 0)]);
}

#[tokio::test]
async fn a_report_lists_the_waivers_of_the_policy_in_force_whether_or_not_they_are_taken() {
    let operated = operated(Simulated::Refused).await;
    let text = r#"
api_version = "holdfast/1"
kind = "policy"
name = "rack"
[issue]
node_id = "/holdfast/node/tpm/{tpm.machine}"
[[rule]]
name = "ours"
ownership = "inventory"
trust_classes = ["discrete"]
[rule.require]
tpm.secure_boot.enabled = true
tpm.firmware_version = { at_least = "2.0.0.0" }
[[waiver]]
name = "taken"
reason = "no update before spring"
owner = "jane"
valid_until = 2094-04-01T00:00:00Z
node = "/holdfast/node/tpm/7"
rule = "ours"
facts = ["tpm.firmware_version"]
[[waiver]]
name = "idle"
reason = "another"
owner = "jane"
valid_until = 2094-04-02T00:00:00Z
node = "/holdfast/node/tpm/8"
rule = "ours"
facts = ["tpm.firmware_version"]
[[waiver]]
name = "over"
reason = "past"
owner = "jane"
valid_until = 2024-04-02T00:00:00Z
node = "/holdfast/node/tpm/8"
rule = "ours"
facts = ["tpm.firmware_version"]
"#;
    let documents = vec![admin::PolicyDocument { name: "rack.toml".into(), text: text.into() }];
    let apply = admin::ApplyPolicyRequest { documents, mode: "enforce".into(), ..admin::ApplyPolicyRequest::default() };
    PoliciesClient::new(operated.channel.clone()).apply(apply).await.unwrap();
    let mut attempt = enrolment(1);
    attempt.policy = Some(operated.store.policy_in(Mode::Enforce).await.unwrap().unwrap().digest);
    // 2094-04-01T00:00:00Z.
    let until = 3920918400_i64;
    let taken = serde_json::json!({ "kind": "waiver", "name": "taken", "owner": "jane", "facts": ["tpm.firmware_version"],
        "reason": "no update before spring", "valid_until": until });
    let former = serde_json::json!({ "kind": "waiver", "name": "former", "owner": "bob", "facts": ["tpm.model"],
        "reason": "of a version before", "valid_until": until });
    attempt.decision = serde_json::json!({ "verdict": "admitted", "waivers": [taken, former] }).to_string();
    let Verdict::Admit(admission) = &mut attempt.verdict else { panic!("{attempt:?}") };
    admission.evidence_expires = crate::clock::now().plus(7200);
    let Outcome::Admitted { node, .. } = operated.store.record_attempt(attempt).await.unwrap() else { panic!() };
    junk(&operated, 1, node.number).await;

    let mut fleets = FleetsClient::new(operated.channel.clone());
    let report = fleets.report(admin::FleetReportRequest::default()).await.unwrap().into_inner();
    let listed: Vec<(&str, u64, &[String], &[String])> = report
        .waivers
        .iter()
        .map(|one| (one.name.as_str(), one.nodes, one.policies.as_slice(), one.facts.as_slice()))
        .collect();
    let (in_force, firmware) = (["rack v1".to_owned()], ["tpm.firmware_version".to_owned()]);
    assert_eq!(
        listed,
        [
            ("former", 1, &[][..], &["tpm.model".to_owned()][..]),
            ("taken", 1, &in_force[..], &firmware[..]),
            ("idle", 0, &in_force[..], &firmware[..]),
        ]
    );
    assert!(report.made_by.contains("uid "), "{}", report.made_by);
}
