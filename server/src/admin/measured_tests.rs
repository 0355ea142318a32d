//! What is known beforehand of a policy about measured files: what was found in a node's list while the policy was observed,
//! and of nobody else's.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_appraisal::facts::{Explained, Fact, FactId, Facts, HeldFacts, LogFacts};
use holdfast_appraisal::ima::{ImaReason, ImaState, Tally};
use holdfast_appraisal::{Document, Policy, Value, digest_of};
use holdfast_evidence::Provenance;
use holdfast_evidence::crypto::{Digest, HashAlg};
use holdfast_evidence::tpm::ima::{Counters, Hashing, Resume};
use holdfast_protocol::admin;
use holdfast_protocol::admin::what_if_answer::Answer;
use tokio_stream::StreamExt as _;

use super::harness::operated_with;
use super::rollout_tests::expires;
use crate::admin_clients::policies_client::PoliciesClient;
use crate::rollout::RolloutSettings;
use crate::store::conformance::enrolment_of;
use crate::store::{Allowed, Attempt, FactBody, JudgedFiles, KeptFacts, Outcome, Sha256, Store};

const FILES: &str = "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"files\"\n[issue]\n\
    node_id = \"/holdfast/node/tpm/{tpm.machine}\"\n[[rule]]\nname = \"rack\"\nownership = \"inventory\"\n\
    trust_classes = [\"discrete\"]\n[rule.ima]\ndigests = \"good.digests\"\n";
const ANY: &str = "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"any\"\n[issue]\n\
    node_id = \"/holdfast/node/tpm/{tpm.machine}\"\n[[rule]]\nname = \"rack\"\nownership = \"inventory\"\n\
    trust_classes = [\"discrete\"]\n";

fn documents(digit: &str) -> Vec<admin::PolicyDocument> {
    let one = |name: &str, text: String| admin::PolicyDocument { name: name.to_owned(), text };
    vec![one("files.toml", FILES.to_owned()), one("good.digests", format!("{}\n", digit.repeat(64)))]
}

fn version(documents: &[admin::PolicyDocument]) -> String {
    let texts: Vec<_> = documents.iter().map(|one| Document { name: &one.name, text: &one.text }).collect();
    Policy::parse(texts[0], &texts[1..]).unwrap().version().digest.clone()
}

fn pcr() -> Digest {
    Digest::ones(HashAlg::Sha256)
}

/// What a policy of this version found: a good file, and perhaps a bad one, in a list that leads to this PCR 10.
fn found(policy: &str, refused: BTreeMap<ImaReason, u64>, pcr: Digest) -> ImaState {
    let counters = Counters { resets: 1, restarts: 0 };
    let resume = Resume {
        bank: HashAlg::Sha256,
        hashing: Hashing::OfBank,
        counters,
        boot: [0; 32],
        offset: 200,
        entries: 2,
        pcr,
    };
    let tally = Tally { refused, first: Vec::new(), vouched_for: 1 };
    let rules = BTreeMap::from([("rack".to_owned(), tally)]);
    ImaState { policy: policy.to_owned(), resume, violations: 0, aggregates: 1, rules }
}

async fn node(store: &Arc<dyn Store>, n: u8, state: Option<ImaState>) {
    let enforced = store.policy_in(crate::store::Mode::Enforce).await.unwrap().unwrap().digest;
    let key = Sha256::of(&[n]);
    let digest = Value::Digest(digest_of(&key.0).unwrap());
    let mut facts = Facts::with_log(Arc::new(LogFacts::new()));
    for (id, value) in [
        (FactId::Machine, digest.clone()),
        (FactId::EkSpki, digest),
        (FactId::Class, Value::text("discrete")),
        (FactId::Pcr(10), Value::Digest(pcr())),
    ] {
        facts.insert(id, Fact::of(Provenance::Hardware, vec![value]));
    }
    for pcr in 0..10 {
        facts.quoted_pcr(pcr, Explained::ByEvents);
    }
    facts.quoted_pcr(10, Explained::Not);
    let held = HeldFacts { facts, bank: Some(HashAlg::Sha256) };
    let mut attempt = Attempt {
        policy: Some(enforced),
        facts: Some(KeptFacts { own: FactBody::new(held.own_body().unwrap()), log: None }),
        measured_files: state.map(|state| JudgedFiles {
            states: serde_json::json!([state.encode()]).to_string(),
            offset: 0,
            length: 0,
        }),
        ..enrolment_of(key, "tpm:manufacturer:id:MAKER")
    };
    expires(&mut attempt, crate::clock::now().plus(3600));
    assert!(matches!(store.record_attempt(attempt).await.unwrap(), Outcome::Admitted { .. }));
    let allowed = vec![Allowed { digest: key, label: String::new() }];
    store.allow(allowed, crate::store::Actor::Server, crate::clock::now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_observed_policy_found_in_lists_is_known_and_nothing_else() {
    let operated = operated_with(crate::config::Simulated::Refused, RolloutSettings::default()).await;
    let mut policies = PoliciesClient::new(operated.channel.clone());
    let any = admin::PolicyDocument { name: "any.toml".to_owned(), text: ANY.to_owned() };
    let apply = |documents, mode: &str| admin::ApplyPolicyRequest {
        documents,
        mode: mode.into(),
        message: "so".into(),
        signature: Vec::new(),
        accept_refusals: None,
    };
    policies.apply(apply(vec![any], "enforce")).await.unwrap();
    let (ours, others) = (documents("a"), documents("b"));
    let version = version(&ours);
    let bad = BTreeMap::from([(ImaReason::NotAllowed, 3)]);
    let store = &operated.store;
    node(store, 1, Some(found(&version, BTreeMap::new(), pcr()))).await;
    node(store, 2, Some(found(&version, bad, pcr()))).await;
    // Nothing was found in its list, or in a list that led elsewhere than the quote on record.
    node(store, 3, None).await;
    node(store, 4, Some(found(&version, BTreeMap::new(), Digest::zero(HashAlg::Sha256)))).await;
    let mut effects = async |documents: Vec<admin::PolicyDocument>| {
        let request = admin::WhatIfRequest { documents, nodes: true, ..admin::WhatIfRequest::default() };
        let mut answers = policies.what_if(request).await.unwrap().into_inner();
        while let Some(answer) = answers.next().await {
            if let Answer::Summary(summary) = answer.unwrap().answer.unwrap() {
                return summary.effects;
            }
        }
        panic!("no summary");
    };
    let known = effects(ours).await;
    assert_eq!((known["still-admitted"], known["newly-refused"], known["newly-unknown"]), (1, 1, 2), "{known:?}");
    // Another version of the same policy has judged nobody's list.
    let unknown = effects(others).await;
    assert_eq!(unknown["newly-unknown"], 4, "{unknown:?}");
}
