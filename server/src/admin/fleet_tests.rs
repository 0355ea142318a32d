//! `Fleets`, over a real socket, on a real store.

use std::collections::BTreeSet;

use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use tonic::Code;

use super::harness::{Operated, operated};
use crate::admin_clients::fleets_client::FleetsClient;
use crate::config::Simulated;
use crate::store::conformance::enrolment;
use crate::store::{EndorsementDraft, EndorsementRole, EndorsementSource, Outcome};

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
    let nodes = tcb(&operated, &["snp.tcb.reported.snp=24"]).await.unwrap();
    let below: Vec<&[String]> = nodes.iter().map(|node| node.below.as_slice()).collect();
    assert_eq!(below, [&[][..], &["snp.tcb.reported.snp 8".to_owned()], &[], &[]]);
    assert_eq!(nodes.iter().map(|node| node.facts.len()).collect::<Vec<_>>(), [7, 7, 0, 0]);
    assert_eq!(nodes.iter().map(|node| node.unknown).collect::<Vec<_>>(), [false, false, false, true]);
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
