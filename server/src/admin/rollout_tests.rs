//! What operators do with policies over a fleet of some hundred nodes: observe, ask, promote, roll back.

use std::sync::Arc;

use holdfast_appraisal::facts::{Fact, FactId, Facts, HeldFacts, LogFacts};
use holdfast_appraisal::{Value, Version, digest_of};
use holdfast_evidence::Provenance;
use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use holdfast_protocol::admin::what_if_answer::Answer;
use tokio_stream::StreamExt as _;

use super::harness::{Operated, operated_with};
use crate::admin::WHAT_IFS_MAX;
use crate::admin_clients::policies_client::PoliciesClient;
use crate::clock;
use crate::record::Leaf;
use crate::rollout::{Approval, RolloutSettings};
use crate::store::conformance::enrolment_of;
use crate::store::{
    Actor, Allowed, Attempt, Document, FactBody, KeptFacts, Mode, NodeTarget, Outcome, PolicyDraft, Sha256, Store,
    Subject, Verdict, Way,
};

const NODES: u16 = 300;

pub(super) fn policy(name: &str, require: &str) -> admin::PolicyDocument {
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"{name}\"\n[issue]\nnode_id = \
         \"/holdfast/node/tpm/{{tpm.machine}}\"\nselectors = [\"tpm.manufacturer\"]\n[[rule]]\nname = \"rack\"\n\
         ownership = \"inventory\"\ntrust_classes = [\"discrete\"]\n[rule.require]\n{require}\n"
    );
    admin::PolicyDocument { name: format!("{name}.toml"), text }
}

pub(super) const MILD: &str = "tpm.manufacturer = { subset_of = [\"id:MAKER\"] }";
pub(super) const STRICT: &str = "tpm.firmware_version = { at_least = \"2.0.0.0\" }";
const NEW_PCR: &str =
    "tpm.pcr.14 = { none_of = [\"0000000000000000000000000000000000000000000000000000000000000000\"] }";

pub(super) fn apply(document: admin::PolicyDocument, mode: &str, accept: Option<u64>) -> admin::ApplyPolicyRequest {
    admin::ApplyPolicyRequest {
        documents: vec![document],
        mode: mode.into(),
        message: "so".into(),
        signature: Vec::new(),
        accept_refusals: accept,
    }
}

/// Nodes of one maker, every tenth with an old firmware, as attestations under the policy in force leave them.
pub(super) async fn fleet(store: &Arc<dyn Store>, selector: &str) {
    let enforced = store.policy_in(Mode::Enforce).await.unwrap().unwrap().digest;
    let mut keys = Vec::new();
    for n in 0..NODES {
        let key = Sha256::of(&n.to_be_bytes());
        keys.push(Allowed { digest: key, label: String::new() });
        let digest = Value::Digest(digest_of(&key.0).unwrap());
        let mut facts = Facts::with_log(Arc::new(LogFacts::new()));
        let mut add = |id, value| facts.insert(id, Fact::of(Provenance::Hardware, vec![value]));
        add(FactId::Machine, digest.clone());
        add(FactId::EkSpki, digest);
        add(FactId::Class, Value::text("discrete"));
        add(FactId::Manufacturer, Value::text("id:MAKER"));
        let firmware = if n % 10 == 0 { 1 } else { 2 };
        add(FactId::FirmwareVersion, Value::Version(Version([firmware, 0, 0, 0])));
        for pcr in 0..8 {
            facts.quoted_pcr(pcr, holdfast_appraisal::facts::Explained::ByEvents);
        }
        let held = HeldFacts { facts, bank: Some(holdfast_evidence::tpm::Bank::Sha256) };
        let body = FactBody::new(held.own_body().unwrap());
        let which = if n < 100 { selector } else { "tpm:manufacturer:other" };
        let mut attempt = Attempt {
            policy: Some(enforced),
            facts: Some(KeptFacts { own: body, log: None }),
            ..enrolment_of(key, which)
        };
        expires(&mut attempt, clock::now().plus(3600));
        assert!(matches!(store.record_attempt(attempt).await.unwrap(), Outcome::Admitted { .. }));
    }
    store.allow(keys, Actor::Server, clock::now()).await.unwrap();
}

pub(super) fn expires(attempt: &mut Attempt, at: UnixTime) {
    let Verdict::Admit(admission) = &mut attempt.verdict else { panic!("{attempt:?}") };
    admission.evidence_expires = at;
}

pub(super) async fn asked(
    policies: &mut PoliciesClient<tonic::transport::Channel>,
    request: admin::WhatIfRequest,
) -> (admin::WhatIfSummary, Vec<admin::WhatIfGroup>, Vec<admin::WhatIfNode>, u64) {
    let mut answers = policies.what_if(request).await.unwrap().into_inner();
    let (mut groups, mut nodes, mut progress, mut summary) = (Vec::new(), Vec::new(), 0, None);
    while let Some(answer) = answers.next().await {
        match answer.unwrap().answer.unwrap() {
            Answer::Progress(at) => progress = at.done,
            Answer::Node(node) => nodes.push(node),
            Answer::Group(group) => groups.push(group),
            Answer::Summary(sum) => summary = Some(sum),
            Answer::Findings(found) => panic!("{found:?}"),
        }
    }
    (summary.unwrap(), groups, nodes, progress)
}

pub(super) async fn with(settings: RolloutSettings) -> (Operated, PoliciesClient<tonic::transport::Channel>) {
    let operated = operated_with(crate::config::Simulated::Refused, settings).await;
    let policies = PoliciesClient::new(operated.channel.clone());
    (operated, policies)
}

pub(super) fn code<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, tonic::Status>) -> String {
    answer.unwrap_err().metadata().get("holdfast-code").unwrap().to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_policy_would_refuse_is_known_before_and_more_than_a_share_must_be_accepted() {
    let (operated, mut policies) = with(RolloutSettings::default()).await;
    policies.apply(apply(policy("mild", MILD), "enforce", None)).await.unwrap();
    fleet(&operated.store, "tpm:manufacturer:id:MAKER").await;
    let request = |require: &str| admin::WhatIfRequest {
        documents: vec![policy("next", require)],
        nodes: true,
        ..admin::WhatIfRequest::default()
    };
    let (summary, groups, nodes, progress) = asked(&mut policies, request(STRICT)).await;
    assert_eq!((summary.lost, summary.admitted, summary.lost_per_mille), (30, 300, 100));
    assert_eq!((progress, nodes.len()), (300, 30));
    let refused = groups.iter().find(|group| group.effect == "newly-refused").unwrap();
    let then = refused.then.as_ref().unwrap();
    assert_eq!((refused.nodes, refused.samples.len(), then.rule.as_str()), (30, 5, "rack"));
    assert_eq!(
        (then.causes[0].code.as_str(), then.causes[0].fact.as_str()),
        ("policy.fact.below_minimum", "tpm.firmware_version")
    );
    assert_eq!(groups.iter().map(|group| group.nodes).sum::<u64>(), 300);
    // What nobody asked the machines for is not known, and counts as lost.
    let (summary, groups, ..) = asked(&mut policies, request(NEW_PCR)).await;
    assert_eq!((summary.lost, groups[0].effect.as_str()), (300, "newly-unknown"));
    // Too many for the share, and for what was accepted; nothing is kept of it.
    let head = operated.store.head().await.unwrap();
    assert_eq!(
        code(policies.apply(apply(policy("strict", STRICT), "enforce", None)).await),
        "rollout.too_many_refused"
    );
    let few = policies.apply(apply(policy("strict", STRICT), "enforce", Some(29))).await;
    assert_eq!(code(few), "rollout.more_than_accepted");
    assert_eq!(operated.store.head().await.unwrap(), head);
    assert_eq!(operated.store.policies().await.unwrap().len(), 1);
    let done = policies.apply(apply(policy("strict", STRICT), "enforce", Some(30))).await.unwrap().into_inner();
    let rollout = done.outcome.unwrap().rollout.unwrap();
    assert_eq!((rollout.refused, rollout.enforced.unwrap().name.as_str()), (30, "strict"));
    // They stand until they attest again: the milder one lets nobody in who is out.
    let (summary, ..) = asked(&mut policies, request(MILD)).await;
    assert_eq!((summary.lost, summary.effects["still-admitted"]), (0, 300));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_nodes_that_stand_are_lost_and_those_that_no_version_admits_stand_all_the_same() {
    let (operated, mut policies) = with(RolloutSettings::default()).await;
    policies.apply(apply(policy("mild", MILD), "enforce", None)).await.unwrap();
    fleet(&operated.store, "tpm:manufacturer:id:MAKER").await;
    let enforced = operated.store.policy_in(Mode::Enforce).await.unwrap().unwrap().digest;
    // Every machine with the old firmware has left long ago, but for the first.
    for n in (10..NODES).step_by(10) {
        let key = Sha256::of(&n.to_be_bytes());
        let node = operated.store.node(NodeTarget::Mark(key)).await.unwrap().unwrap();
        let which = if n < 100 { "tpm:manufacturer:id:MAKER" } else { "tpm:manufacturer:other" };
        let mut last = Attempt { policy: Some(enforced), ..enrolment_of(key, which) };
        (last.way, last.subject) = (Way::Renew, Subject::Known(node.number));
        expires(&mut last, clock::now().plus(-1));
        assert!(matches!(operated.store.record_attempt(last).await.unwrap(), Outcome::Admitted { .. }));
    }
    let request =
        |require: &str| admin::WhatIfRequest { documents: vec![policy("next", require)], ..Default::default() };
    let (summary, ..) = asked(&mut policies, request(STRICT)).await;
    assert_eq!((summary.lost, summary.admitted, summary.effects["expired"]), (1, 271, 29));
    // A policy that the facts of now do not meet either refuses whom the record admits.
    let none = "tpm.manufacturer = { subset_of = [\"id:NOBODY\"] }";
    policies.apply(apply(policy("none", none), "enforce", Some(271))).await.unwrap();
    let nobody = "tpm.manufacturer = { subset_of = [\"id:NOBODY ELSE\"] }";
    let (summary, ..) = asked(&mut policies, request(nobody)).await;
    assert_eq!((summary.lost, summary.admitted), (271, 271));
    let again = policies.apply(apply(policy("nobody", nobody), "enforce", None)).await;
    assert_eq!(code(again), "rollout.too_many_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_and_was_shown_what_was_found_stands_in_the_record_and_few_ask_at_a_time() {
    let (operated, mut policies) = with(RolloutSettings::default()).await;
    policies.apply(apply(policy("mild", MILD), "enforce", None)).await.unwrap();
    fleet(&operated.store, "tpm:manufacturer:id:MAKER").await;
    let before = operated.store.head().await.unwrap().size;
    let request = || admin::WhatIfRequest { documents: vec![policy("next", STRICT)], ..Default::default() };
    let (summary, groups, ..) = asked(&mut policies, request()).await;
    assert!(!summary.found_withheld);
    let then = groups.iter().find_map(|group| group.then.as_ref().filter(|then| !then.causes.is_empty())).unwrap();
    assert_eq!(then.causes[0].found, "1.0.0.0");
    let entries = operated.store.ledger_entries(before, 10).await.unwrap();
    let Ok(Leaf::Act(act)) = Leaf::parse(&entries[0].leaf) else { panic!("{entries:?}") };
    assert_eq!((entries.len(), act["action"].as_str()), (1, Some("evidence.read")));
    assert_eq!(act["detail"]["what-if"][0].as_str().unwrap().len(), 64, "{act}");
    let turns = operated.what_ifs.clone().acquire_many_owned(WHAT_IFS_MAX as u32).await.unwrap();
    assert_eq!(code(policies.what_if(request()).await), "rollout.what_if_busy");
    drop(turns);
    asked(&mut policies, request()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_from_observed_to_some_nodes_to_all_and_back() {
    let (operated, mut policies) = with(RolloutSettings::default()).await;
    let first = policies.apply(apply(policy("strict", STRICT), "observe", None)).await.unwrap().into_inner();
    let outcome = first.outcome.unwrap();
    assert!(outcome.notes[0].contains("known-machines"), "{:?}", outcome.notes);
    let state = outcome.rollout.unwrap();
    assert_eq!(state.enforced.unwrap().name, "known-machines");
    assert_eq!(state.observed.unwrap().name, "strict");
    fleet(&operated.store, "tpm:manufacturer:id:MAKER").await;
    let promote = |selectors: &[&str], accept| admin::PromotePolicyRequest {
        version: "observe".into(),
        selectors: selectors.iter().map(|text| (*text).to_owned()).collect(),
        message: String::new(),
        accept_refusals: accept,
    };
    // What a machine can change or leave out does not choose what judges it.
    for changeable in ["tpm:secure_boot:true", "tpm:ek:00", "tpm:root:00", "snp:csp_id:x"] {
        assert_eq!(code(policies.promote(promote(&[changeable], None)).await), "rollout.selector");
    }
    let scope = ["tpm:manufacturer:id:MAKER"];
    let done = policies.promote(promote(&scope, None)).await.unwrap().into_inner().rollout.unwrap();
    assert_eq!((done.refused, done.scopes.len(), done.enforced.unwrap().name.as_str()), (10, 1, "known-machines"));
    assert_eq!(code(policies.promote(promote(&[], None)).await), "rollout.too_many_refused");
    let all = policies.promote(promote(&[], Some(30))).await.unwrap().into_inner().rollout.unwrap();
    assert_eq!((all.scopes.len(), all.enforced.unwrap().name.as_str()), (0, "strict"));
    let back = admin::RollbackPolicyRequest::default();
    let once = policies.rollback(back.clone()).await.unwrap().into_inner().rollout.unwrap();
    assert_eq!((once.restored, once.scopes.len()), (2, 1));
    assert_eq!(once.action, "policy.rollback");
    // Observing another one in between does not turn the next rollback round; and it is a change like any other.
    policies.apply(apply(policy("mild", MILD), "observe", None)).await.unwrap();
    let twice = policies.rollback(back.clone()).await.unwrap().into_inner().rollout.unwrap();
    assert_eq!((twice.restored, twice.scopes.len(), twice.action.as_str()), (1, 0, "policy.restore"));
    assert_eq!(code(policies.rollback(back).await), "rollout.nothing_before");
    let forth = |accept_refusals| admin::RollbackPolicyRequest { to: 3, accept_refusals, ..Default::default() };
    assert_eq!(code(policies.rollback(forth(None)).await), "rollout.too_many_refused");
    let forth = policies.rollback(forth(Some(30))).await.unwrap().into_inner().rollout.unwrap();
    assert_eq!((forth.enforced.unwrap().name.as_str(), forth.refused), ("strict", 30));
    let history = policies.history(admin::PolicyHistoryRequest { before: 0, limit: 0 }).await.unwrap().into_inner();
    assert_eq!(history.rollouts.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_persons_are_two_users() {
    let settings = RolloutSettings { approval: Approval::TwoPersons, ..RolloutSettings::default() };
    let (operated, mut policies) = with(settings).await;
    let proposed = policies.apply(apply(policy("mild", MILD), "enforce", None)).await.unwrap().into_inner();
    let proposal = proposed.outcome.unwrap().proposal.unwrap();
    assert_eq!((proposed.policy, proposal.state.as_str()), (None, "open"));
    assert!(proposal.what.starts_with("enforce a new version of mild"), "{}", proposal.what);
    let kept = vec![Document { name: "mild.toml".into(), text: policy("mild", MILD).text }];
    let draft = PolicyDraft { name: "mild".into(), documents: kept, mode: Mode::Enforce, message: String::new() };
    assert!(proposal.what.contains(&draft.digest().to_string()), "{}", proposal.what);
    assert_eq!(operated.store.rollout().await.unwrap().state.number, 0);
    let number = || admin::ProposalRequest { number: proposal.number };
    // Every client of this test is the same user, however often it connects.
    assert_eq!(code(policies.approve(number()).await), "rollout.proposal.own");
    let withdrawn = policies.withdraw(number()).await.unwrap().into_inner();
    assert_eq!(withdrawn.state, "withdrawn");
    assert_eq!(code(policies.approve(number()).await), "rollout.proposal.closed");
    assert_eq!(operated.store.policies().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_evidence_is_lost_only_by_what_decides_about_it() {
    let operated = operated_with(crate::config::Simulated::Refused, RolloutSettings::default()).await;
    let mut policies = PoliciesClient::new(operated.channel.clone());
    policies.apply(apply(policy("mild", MILD), "enforce", None)).await.unwrap();
    let enforced = operated.store.policy_in(Mode::Enforce).await.unwrap().unwrap().digest;
    let mut attempt = Attempt { policy: Some(enforced), ..enrolment_of(Sha256([7; 32]), "tpm:manufacturer:other") };
    expires(&mut attempt, clock::now().plus(3600));
    assert!(matches!(operated.store.record_attempt(attempt).await.unwrap(), Outcome::Admitted { .. }));
    for (selectors, effect, lost) in
        [(vec!["tpm:manufacturer:id:MAKER".to_owned()], "still-admitted", 0), (Vec::new(), "no-evidence", 1)]
    {
        let documents = vec![policy("strict", STRICT)];
        let request = admin::WhatIfRequest { documents, selectors, ..admin::WhatIfRequest::default() };
        let (summary, ..) = asked(&mut policies, request).await;
        assert_eq!((summary.effects.get(effect), summary.lost), (Some(&1), lost), "{:?}", summary.effects);
    }
}
