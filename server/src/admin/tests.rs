//! The operator's services, over a real socket, on a real store.

use holdfast_protocol::admin::{self, node_target::Target};
use tonic::{Code, Status};

use super::harness::operated;
use super::refusal::CODE_METADATA;
use crate::admin_clients::{
    attempts_client::AttemptsClient, bundles_client::BundlesClient, endorsements_client::EndorsementsClient,
    entries_client::EntriesClient, nodes_client::NodesClient, policies_client::PoliciesClient,
    proofs_client::ProofsClient, record_client::RecordClient, server_client::ServerClient,
};
use crate::config::Simulated;
use crate::record::{Held, Source, verify};
use crate::store::Actor;

pub(super) fn code(status: &Status) -> &str {
    status.metadata().get(CODE_METADATA).unwrap().to_str().unwrap()
}

fn entry(spiffe_id: &str) -> admin::Entry {
    admin::Entry {
        spiffe_id: spiffe_id.to_owned(),
        parent_id: "spiffe://td/holdfast/node/tpm/1".to_owned(),
        selectors: vec!["unix:uid:1".to_owned(), "unix:gid:2".to_owned()],
        x509_svid_ttl: 300,
        jwt_svid_ttl: 0,
        dns_names: vec!["a.example.org".to_owned()],
        hint: "internal".to_owned(),
        ..admin::Entry::default()
    }
}

fn create(entry: admin::Entry) -> admin::CreateEntryRequest {
    admin::CreateEntryRequest { entry: Some(entry) }
}

#[tokio::test]
async fn an_entry_goes_through_its_whole_life() {
    let operated = operated(Simulated::Refused).await;
    let mut entries = EntriesClient::new(operated.channel.clone());
    let created = entries.create(create(entry("spiffe://td/a"))).await.unwrap().into_inner();
    assert_eq!((created.revision_number, created.hint.as_str()), (0, "internal"));
    let by_selectors = admin::Entry {
        parent_id: String::new(),
        node_selectors: vec!["tpm:secure_boot:on".to_owned()],
        ..created.clone()
    };
    let update = admin::UpdateEntryRequest { entry: Some(by_selectors), only_if_unchanged: true };
    let updated = entries.update(update.clone()).await.unwrap().into_inner();
    assert_eq!((updated.revision_number, updated.parent_id.as_str()), (1, ""));
    let stale = entries.update(update).await.unwrap_err();
    assert_eq!((stale.code(), code(&stale)), (Code::Aborted, "entry.changed"));
    let get = admin::GetEntryRequest { id: created.id.clone() };
    assert_eq!(entries.get(get.clone()).await.unwrap().into_inner(), updated);
    let list = entries.list(admin::ListEntriesRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.entries, [updated]);
    let count = entries.count(admin::CountEntriesRequest::default()).await.unwrap().into_inner();
    assert_eq!(count.count, 1);
    entries.delete(admin::DeleteEntryRequest { id: created.id }).await.unwrap();
    assert_eq!(entries.get(get).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_an_entry_may_not_say_is_refused_with_its_field_and_code() {
    let operated = operated(Simulated::Refused).await;
    let mut entries = EntriesClient::new(operated.channel.clone());
    for (broken, expected, field) in [
        (entry("spiffe://td/holdfast/x"), "entry.invalid", "spiffe_id"),
        (entry("spiffe://td/a/"), "spiffe_id.path.empty_segment", "spiffe_id"),
        (entry(""), "admin.argument", "spiffe_id"),
        (admin::Entry { parent_id: String::new(), ..entry("spiffe://td/a") }, "admin.argument", "parent_id"),
        (admin::Entry { node_selectors: vec!["a:b".into()], ..entry("spiffe://td/a") }, "admin.argument", "parent_id"),
        (admin::Entry { selectors: vec!["unix".into()], ..entry("spiffe://td/a") }, "selector.no_type", "selectors"),
        (admin::Entry { selectors: vec![], ..entry("spiffe://td/a") }, "entry.invalid", "selectors"),
        (admin::Entry { expires_at: 5, ..entry("spiffe://td/a") }, "entry.invalid", "expires_at"),
    ] {
        let refused = entries.create(create(broken)).await.unwrap_err();
        assert_eq!((refused.code(), code(&refused)), (Code::InvalidArgument, expected));
        assert!(refused.message().starts_with(field), "{}", refused.message());
    }
    assert_eq!(operated.store.head().await.unwrap().size, 1, "the signer's own act");
}

#[tokio::test]
async fn a_match_says_what_a_workload_gets_and_what_it_just_misses() {
    let operated = operated(Simulated::Refused).await;
    let mut entries = EntriesClient::new(operated.channel.clone());
    entries.create(create(entry("spiffe://td/both"))).await.unwrap();
    let uid = admin::Entry { selectors: vec!["unix:uid:1".into()], ..entry("spiffe://td/uid") };
    entries.create(create(uid)).await.unwrap();
    let ask = admin::MatchEntriesRequest { selectors: vec!["unix:uid:1".into()], ..Default::default() };
    let found = entries.r#match(ask).await.unwrap().into_inner();
    assert_eq!(found.entries.iter().map(|entry| entry.spiffe_id.as_str()).collect::<Vec<_>>(), ["spiffe://td/uid"]);
    assert_eq!(found.near[0].missing, ["unix:gid:2"]);
}

fn key(byte: u8) -> admin::NodeTarget {
    admin::NodeTarget { target: Some(Target::EkSha256(vec![byte; 32])) }
}

#[tokio::test]
async fn nodes_are_allowed_banned_and_shown_and_the_record_names_the_operator() {
    let operated = operated(Simulated::Refused).await;
    let mut nodes = NodesClient::new(operated.channel.clone());
    let keys = vec![admin::AllowedKey { digest: vec![7; 32], label: "rack 7".into() }];
    assert_eq!(nodes.allow(admin::AllowRequest { keys }).await.unwrap().into_inner().new, 1);
    let short = vec![admin::AllowedKey { digest: vec![7; 31], label: String::new() }];
    let refused = nodes.allow(admin::AllowRequest { keys: short }).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused)), (Code::InvalidArgument, "admin.argument"));
    let act = |action: admin::NodeAction, reason: &str| admin::ActOnNodeRequest {
        target: Some(key(7)),
        action: action.into(),
        reason: reason.into(),
    };
    let banned = nodes.act(act(admin::NodeAction::Ban, "stolen")).await.unwrap().into_inner();
    assert_eq!((banned.state.as_str(), banned.labels.as_slice()), ("banned", ["rack 7".to_owned()].as_slice()));
    assert_eq!(banned.ban.unwrap().reason, "stolen");
    let approve = nodes.act(act(admin::NodeAction::Approve, "")).await.unwrap_err();
    assert_eq!((approve.code(), code(&approve)), (Code::FailedPrecondition, "node.banned"));
    let nothing = nodes.act(act(admin::NodeAction::Unspecified, "")).await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
    let list = admin::ListNodesRequest { state: "banned".into(), ..Default::default() };
    assert_eq!(nodes.list(list).await.unwrap().into_inner().nodes.len(), 1);
    let wrong = admin::ListNodesRequest { state: "sleepy".into(), ..Default::default() };
    assert_eq!(nodes.list(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    let inventory = nodes.list_inventory(admin::ListInventoryRequest::default()).await.unwrap().into_inner();
    assert_eq!((inventory.entries[0].label.as_str(), inventory.entries[0].node), ("rack 7", 1));
    assert_eq!(nodes.get(key(9)).await.unwrap_err().code(), Code::NotFound);
    let leaf = operated.store.ledger_entries(1, 1).await.unwrap().remove(0).leaf;
    let uid = rustix::process::getuid().as_raw();
    assert!(String::from_utf8_lossy(&leaf).contains(&format!("uid {uid})")), "{leaf:?}");
}

#[tokio::test]
async fn a_policy_with_errors_is_answered_by_findings_and_changes_nothing() {
    let operated = operated(Simulated::Refused).await;
    let mut policies = PoliciesClient::new(operated.channel.clone());
    let apply = |text: &str, mode: &str| admin::ApplyPolicyRequest {
        documents: vec![admin::PolicyDocument { name: "p.toml".into(), text: text.into() }],
        mode: mode.into(),
        message: "first".into(),
        ..Default::default()
    };
    let answer = policies.apply(apply("api_version = \"holdfast/9\"", "enforce")).await.unwrap().into_inner();
    assert!(answer.policy.is_none());
    assert!(answer.findings.iter().any(|finding| finding.severity == "error" && finding.line == 1));
    assert_eq!(policies.apply(apply("", "later")).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(policies.list(admin::ListPoliciesRequest {}).await.unwrap().into_inner().policies.is_empty());
    let get = admin::GetPolicyRequest { name: "enforce".into() };
    assert_eq!(policies.get(get).await.unwrap_err().code(), Code::NotFound);
}

fn root() -> admin::EndorsementFile {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let der = params.self_signed(&key).unwrap().der().to_vec();
    admin::EndorsementFile { name: "root.der".into(), content: der }
}

#[tokio::test]
async fn a_simulators_root_needs_the_configurations_consent() {
    let import = |class: &str| admin::ImportEndorsementsRequest {
        files: vec![root()],
        class: class.into(),
        ..Default::default()
    };
    let refusing = operated(Simulated::Refused).await;
    let mut endorsements = EndorsementsClient::new(refusing.channel.clone());
    let refused = endorsements.import(import("simulated")).await.unwrap_err();
    assert_eq!(code(&refused), "endorsements.simulated_not_allowed");
    let refused = endorsements.import(import("royal")).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused)), (Code::InvalidArgument, "admin.argument"));
    let answer = endorsements.import(import("discrete")).await.unwrap().into_inner();
    assert_eq!((answer.new, answer.endorsements[0].role.as_str()), (1, "root"));
    let sha256 = answer.endorsements[0].sha256.clone();
    endorsements.withdraw(admin::WithdrawEndorsementRequest { sha256: sha256.clone() }).await.unwrap();
    let gone = endorsements.withdraw(admin::WithdrawEndorsementRequest { sha256 }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);

    let allowing = operated(Simulated::Allowed).await;
    let mut endorsements = EndorsementsClient::new(allowing.channel.clone());
    endorsements.import(import("simulated")).await.unwrap();
}

#[tokio::test]
async fn one_bad_endorsement_keeps_all_of_them_out() {
    let operated = operated(Simulated::Refused).await;
    let mut endorsements = EndorsementsClient::new(operated.channel.clone());
    let junk = admin::EndorsementFile { name: "junk.der".into(), content: vec![1, 2, 3] };
    let import =
        admin::ImportEndorsementsRequest { files: vec![root(), junk], class: "discrete".into(), ..Default::default() };
    let refused = endorsements.import(import).await.unwrap_err();
    assert_eq!(code(&refused), "endorsements.not_a_certificate");
    assert!(refused.message().starts_with("junk.der"), "{}", refused.message());
    assert!(
        endorsements
            .list(admin::ListEndorsementsRequest::default())
            .await
            .unwrap()
            .into_inner()
            .endorsements
            .is_empty()
    );
}

#[tokio::test]
async fn an_auditor_verifies_the_record_by_himself() {
    let operated = operated(Simulated::Refused).await;
    let mut entries = EntriesClient::new(operated.channel.clone());
    for n in 0..25 {
        entries.create(create(entry(&format!("spiffe://td/{n}")))).await.unwrap();
    }
    let mut record = RecordClient::new(operated.channel.clone());
    let signed = record.checkpoint(admin::RecordCheckpointRequest { sign: true }).await.unwrap().into_inner();
    let mut source = Source::Server(record);
    let held = Held { log: Some(signed.vkey.parse().unwrap()), earlier: Vec::new() };
    let report = verify(&mut source, &held, |_, _| {}).await.unwrap();
    assert_eq!((report.entries, report.acts, report.checkpoints), (26, 26, 1));
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn an_entry_is_proven_to_whoever_has_the_logs_key() {
    use holdfast_record::{Hash, InclusionProof, SignedCheckpoint};
    let operated = operated(Simulated::Refused).await;
    let mut entries = EntriesClient::new(operated.channel.clone());
    for n in 0..5 {
        entries.create(create(entry(&format!("spiffe://td/{n}")))).await.unwrap();
    }
    let mut record = RecordClient::new(operated.channel.clone());
    let proven = record.prove(admin::ProveEntryRequest { index: 3 }).await.unwrap().into_inner();
    let checkpoint: SignedCheckpoint = proven.checkpoint.parse().unwrap();
    let checkpoint = checkpoint.verify(&proven.vkey.parse().unwrap()).unwrap();
    let path = proven.path.iter().map(|hash| Hash::from_bytes(hash).unwrap()).collect();
    let proof = InclusionProof { index: 3, size: proven.size, path };
    assert_eq!(proof.verify(Hash::leaf(&proven.leaf), checkpoint.root), Ok(()));
    let unknown = record.prove(admin::ProveEntryRequest { index: 6 }).await.unwrap_err();
    assert_eq!((unknown.code(), code(&unknown)), (Code::NotFound, "record.no_entry"));
}

#[tokio::test]
async fn status_bundle_and_attempts_of_an_empty_server() {
    let operated = operated(Simulated::Refused).await;
    operated.store.publish_authority(vec![1, 2, 3], Actor::Server, crate::clock::now()).await.unwrap();
    let mut server = ServerClient::new(operated.channel.clone());
    let status = server.status(admin::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.trust_domain.as_str(), status.entries, status.policy), ("td", 0, None));
    let mut bundles = BundlesClient::new(operated.channel.clone());
    let bundle = bundles.show(admin::ShowBundleRequest {}).await.unwrap().into_inner();
    assert_eq!((bundle.sequence, bundle.x509_authorities), (1, vec![vec![1, 2, 3]]));
    let mut attempts = AttemptsClient::new(operated.channel.clone());
    assert!(attempts.list(admin::ListAttemptsRequest::default()).await.unwrap().into_inner().attempts.is_empty());
    let mut proofs = ProofsClient::new(operated.channel.clone());
    for (id, expected) in [("0011", Code::NotFound), ("zz", Code::InvalidArgument)] {
        let refused = attempts.get(admin::GetAttemptRequest { id: id.into() }).await.unwrap_err();
        assert_eq!(refused.code(), expected, "{id}");
        let refused = proofs.prove(admin::ProveRequest { attempt: id.into() }).await.unwrap_err();
        assert_eq!(refused.code(), expected, "{id}");
    }
    let mut policies = PoliciesClient::new(operated.channel.clone());
    for (version, said) in [
        ("observe", "no such policy that is observed"),
        ("enforce", "no such policy that is enforced for all nodes"),
        ("77", "no such policy version"),
    ] {
        let request = admin::WhatIfRequest { version: version.into(), ..admin::WhatIfRequest::default() };
        assert_eq!(policies.what_if(request).await.unwrap_err().message(), said);
    }
}

#[tokio::test]
async fn a_request_beyond_its_bound_is_refused() {
    let operated = operated(Simulated::Refused).await;
    let mut policies = PoliciesClient::new(operated.channel.clone());
    let text = "#".repeat(super::POLICY_REQUEST_BYTES_MAX + 1);
    let documents = vec![admin::PolicyDocument { name: "p.toml".into(), text }];
    let request =
        admin::ApplyPolicyRequest { documents, mode: "enforce".into(), message: String::new(), ..Default::default() };
    assert!(policies.apply(request).await.is_err());
    let mut nodes = NodesClient::new(operated.channel.clone());
    let keys = vec![admin::AllowedKey { digest: vec![1; 32], label: String::new() }; 10_001];
    assert_eq!(nodes.allow(admin::AllowRequest { keys }).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_bundle_goes_out_of_one_server_and_into_another() {
    use holdfast_protocol::admin::ImportBundleRequest;
    let (here, there) = (operated(Simulated::Refused).await, operated(Simulated::Refused).await);
    let import = admin::ImportEndorsementsRequest {
        files: vec![root(), root()],
        class: "cloud".into(),
        serves: vec!["gcp".into()],
        ..Default::default()
    };
    EndorsementsClient::new(here.channel.clone()).import(import).await.unwrap();
    let mut endorsements = EndorsementsClient::new(here.channel.clone());
    let mut parts = endorsements.export(admin::ExportEndorsementsRequest {}).await.unwrap().into_inner();
    let mut bundle = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        bundle.extend(part.bytes);
    }
    let send = |accept_roots: bool| {
        let part = |bytes: &[u8]| ImportBundleRequest { bytes: bytes.to_vec(), accept_roots };
        tokio_stream::iter(bundle.chunks(700).map(part).collect::<Vec<_>>())
    };
    let mut endorsements = EndorsementsClient::new(there.channel.clone());
    let refused = endorsements.import_bundle(send(false)).await.unwrap_err();
    assert_eq!(code(&refused), "endorsements.unknown_root");
    let answer = endorsements.import_bundle(send(true)).await.unwrap().into_inner();
    assert_eq!((answer.new, answer.endorsements.len()), (2, 2));
    let held = endorsements.list(admin::ListEndorsementsRequest::default()).await.unwrap().into_inner().endorsements;
    assert!(held.iter().all(|held| (held.serves.as_str(), held.source.as_str()) == ("gcp", "bundle")));
    assert_eq!(
        there.store.head().await.unwrap().size,
        3,
        "beside the signer's key, each import is an act of the operator"
    );
    let cut = ImportBundleRequest { bytes: bundle[..bundle.len() / 2].to_vec(), accept_roots: true };
    let refused = endorsements.import_bundle(tokio_stream::iter([cut])).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused)), (Code::InvalidArgument, "endorsements.bundle_digest"));
}

#[tokio::test]
async fn nothing_is_wanted_of_an_empty_server_and_what_it_cannot_fetch_fails() {
    let operated = operated(Simulated::Refused).await;
    let mut endorsements = EndorsementsClient::new(operated.channel.clone());
    let wanted = endorsements.list_wanted(admin::ListWantedRequest {}).await.unwrap().into_inner();
    assert!(wanted.wanted.is_empty());
    let about = vec!["tdx/90c06f000000/platform/standard".to_owned(), "what/is/that".to_owned()];
    let request = admin::RefreshEndorsementsRequest { about };
    let mut refreshed = endorsements.refresh(request).await.unwrap().into_inner();
    let mut codes = Vec::new();
    while let Some(one) = refreshed.message().await.unwrap() {
        codes.push((one.outcome, one.code));
    }
    assert_eq!(codes, vec![("failed".to_owned(), "endorse.missing".to_owned()); 2]);
}

#[tokio::test]
async fn a_set_of_entries_is_applied_whole_and_every_problem_is_the_answer() {
    let operated = operated(Simulated::Refused).await;
    let mut entries = EntriesClient::new(operated.channel.clone());
    let named = |id: &str| admin::Entry { id: id.to_owned(), ..entry(&format!("spiffe://td/{id}")) };
    let set = |list: Vec<admin::Entry>| admin::ApplyEntriesRequest {
        entries: list,
        owner: "team".to_owned(),
        ..admin::ApplyEntriesRequest::default()
    };
    let broken = admin::Entry { selectors: vec!["unix".into()], ..named("broken") };
    let answer = entries.apply(set(vec![named("a"), broken])).await.unwrap().into_inner();
    let found = &answer.problems[0];
    assert_eq!((found.id.as_str(), found.code.as_str(), answer.steps.len()), ("broken", "selector.no_type", 0));
    let reserved = admin::Entry { parent_id: "spiffe://td/holdfast/server".into(), ..named("b") };
    let answer = entries.apply(set(vec![named("a"), reserved])).await.unwrap().into_inner();
    assert_eq!((answer.problems[0].id.as_str(), answer.problems[0].code.as_str()), ("b", "entry.invalid"));
    assert_eq!(entries.count(admin::CountEntriesRequest::default()).await.unwrap().into_inner().count, 0);
    let answer = entries.apply(set(vec![named("a")])).await.unwrap().into_inner();
    let step = &answer.steps[0];
    assert_eq!((step.before.is_none(), step.after.as_ref().unwrap().owner.as_str()), (true, "team"));
}

#[tokio::test]
async fn a_miss_of_another_user_is_near_and_says_what_is_there_instead() {
    let operated = operated(Simulated::Refused).await;
    let mut entries = EntriesClient::new(operated.channel.clone());
    let uid = admin::Entry { selectors: vec!["unix:uid:1".into()], ..entry("spiffe://td/uid") };
    entries.create(create(uid)).await.unwrap();
    let ask = |selector: &str| admin::MatchEntriesRequest { selectors: vec![selector.into()], ..Default::default() };
    let found = entries.r#match(ask("unix:uid:2")).await.unwrap().into_inner();
    let lacking = &found.near[0].lacking[0];
    assert_eq!((lacking.selector.as_str(), lacking.instead.as_slice()), ("unix:uid:1", &["unix:uid:2".to_owned()][..]));
    let far = entries.r#match(ask("k8s:ns:shop")).await.unwrap().into_inner();
    assert_eq!((far.entries.len(), far.near.len()), (0, 0));
}
