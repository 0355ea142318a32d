//! Lists of measured files that are kept, judged again by a policy that judged none of them: once for each distinct list,
//! however many machines have it.

use std::sync::Arc;
use std::time::Duration;

use holdfast_appraisal::facts::{Explained, Fact, FactId, Facts, HeldFacts, LogFacts};
use holdfast_appraisal::ima::{ImaState, judge};
use holdfast_appraisal::{Document as Text, Policy, Value, digest_of};
use holdfast_evidence::Provenance;
use holdfast_evidence::crypto::{Digest, HashAlg, sha256};
use holdfast_evidence::tpm::ima::{Counters, Quoted, leads_to};
use holdfast_evidence::tpm::{PcrIndex, PcrValues};
use holdfast_proof::{
    ApprovalRecord, Body, BodyKind, Cut, MANIFEST_VERSION, Manifest, MeasuredFilesRecord, NodeKey, OwnershipRecord,
    cut_measured_files,
};
use holdfast_tpm_sim::log::ima::MeasuredEntry;

use super::gate::compiled;
use super::harness::{Operated, operated};
use super::rollout_tests::expires;
use crate::config::Simulated;
use crate::fleet::{Effect, Heard, WhatIf, what_if};
use crate::store::conformance::enrolment_of;
use crate::store::{
    Actor, Allowed, Attempt, Document, Evidence, FactBody, JudgedFiles, KeptBody, KeptFacts, Mode, NewVersion,
    NodeNumber, Outcome, PolicyDraft, Sha256, Subject, Way,
};

/// The boot that every machine here had.
fn boot() -> PcrValues {
    let mut pcrs = PcrValues::new(HashAlg::Sha256);
    for index in 0..10_u32 {
        pcrs.set(PcrIndex::new(index).unwrap(), HashAlg::Sha256.digest(&[&index.to_le_bytes()]));
    }
    pcrs
}

/// A list: what it began with, and files of these digests.
fn list(files: &[u8]) -> Vec<Vec<u8>> {
    let values: Vec<Digest> = boot().iter().map(|(_, value)| *value).collect();
    let aggregate = sha256(&values.iter().map(Digest::as_bytes).collect::<Vec<_>>());
    let first = MeasuredEntry::file("boot_aggregate", &aggregate).bytes;
    let file = |byte: &u8| MeasuredEntry::file(&format!("/file/{byte}"), &[*byte; 32]).bytes;
    std::iter::once(first).chain(files.iter().map(file)).collect()
}

/// A policy that lists the files of these digests.
fn documents(name: &str, files: &[u8]) -> Vec<Document> {
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"{name}\"\n[issue]\n\
         node_id = \"/holdfast/node/tpm/{{tpm.machine}}\"\n[[rule]]\nname = \"rack\"\nownership = \"inventory\"\n\
         trust_classes = [\"discrete\"]\n[rule.ima]\ndigests = \"good.digests\"\n"
    );
    let digests = files.iter().map(|byte| format!("{}\n", format!("{byte:02x}").repeat(32))).collect();
    let one = |name: &str, text| Document { name: name.to_owned(), text };
    vec![one("files.toml", text), one("good.digests", digests)]
}

fn policy(documents: &[Document]) -> Policy {
    let texts: Vec<_> = documents.iter().map(|one| Text { name: &one.name, text: &one.text }).collect();
    Policy::parse(texts[0], &texts[1..]).unwrap()
}

fn quoted(entries: &[Vec<u8>]) -> (Quoted, PcrValues) {
    let mut pcrs = boot();
    let pcr = leads_to(&entries.concat(), HashAlg::Sha256).unwrap();
    pcrs.set(PcrIndex::IMA, pcr);
    let counters = Counters { resets: 1, restarts: 0 };
    (Quoted { bank: HashAlg::Sha256, pcr, counters, boot: Quoted::boot(&pcrs) }, pcrs)
}

/// What the record keeps of an attempt that brought this part of a list.
fn kept(part: &[u8], offset: u64, salt: u8) -> Evidence {
    let Cut { pieces, bodies } = cut_measured_files(part);
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        attempt: format!("{salt:02x}").repeat(16),
        judged_at: 0,
        challenge: Vec::new(),
        node_key: NodeKey::PublicKey(Vec::new()),
        offered: None,
        items: Vec::new(),
        measured_files: Some(MeasuredFilesRecord { offset, list: pieces, before: Vec::new() }),
        ownership: OwnershipRecord {
            listed: Vec::new(),
            listed_as_such: Vec::new(),
            approval: ApprovalRecord::NotGiven,
            machine: None,
        },
        policy: None,
        observed: None,
        decision: holdfast_proof::Digest([0; 32]),
    };
    let manifest = Body::new(BodyKind::Manifest, manifest.encode());
    let digest = Sha256(manifest.digest.0);
    let body = |body: Body| KeptBody {
        kind: body.kind.as_str(),
        digest: Sha256(body.digest.0),
        bytes: Some(body.bytes.into()),
    };
    let bodies = bodies.into_iter().chain([manifest]).map(body).collect();
    Evidence { manifest: digest, bodies, keeps_text: true }
}

/// A machine that brings its list in so many parts, judged by the policy in force.
async fn machine(operated: &Operated, n: u8, entries: &[Vec<u8>], parts: usize) -> NodeNumber {
    machine_with(operated, n, entries, parts, &[]).await
}

/// One that sends this behind each part, which nothing proves.
async fn machine_with(operated: &Operated, n: u8, entries: &[Vec<u8>], parts: usize, behind: &[u8]) -> NodeNumber {
    let store = &operated.store;
    let enforced = store.policy_in(Mode::Enforce).await.unwrap().unwrap();
    let policy = policy(&enforced.documents);
    let key = Sha256::of(&[n]);
    let (mut state, mut offset, mut number): (Option<ImaState>, u64, Option<NodeNumber>) = (None, 0, None);
    for (place, part) in entries.chunks(entries.len().div_ceil(parts)).enumerate() {
        let so_far = &entries[..entries.len().div_ceil(parts) * place + part.len()];
        let (quoted, pcrs) = quoted(so_far);
        let part = part.concat();
        let judged = judge(&policy, &part, state.as_ref(), &quoted, &pcrs).unwrap();
        let digest = Value::Digest(digest_of(&key.0).unwrap());
        let mut facts = Facts::with_log(Arc::new(LogFacts::new()));
        let mut add = |id, value| facts.insert(id, Fact::of(Provenance::Hardware, vec![value]));
        add(FactId::Machine, digest.clone());
        add(FactId::EkSpki, digest);
        add(FactId::Class, Value::text("discrete"));
        for (index, value) in pcrs.iter() {
            add(FactId::Pcr(index.get()), Value::Digest(*value));
        }
        for pcr in 0..10 {
            facts.quoted_pcr(pcr, Explained::ByEvents);
        }
        facts.quoted_pcr(10, Explained::Not);
        let held = HeldFacts { facts, bank: Some(HashAlg::Sha256) };
        let states = serde_json::json!([judged.encode()]).to_string();
        let mut attempt = Attempt {
            policy: Some(enforced.digest),
            facts: Some(KeptFacts { own: FactBody::new(held.own_body().unwrap()), log: None }),
            measured_files: Some(JudgedFiles { states, offset, length: part.len() as u64 }),
            evidence: Some(kept(&[part.as_slice(), behind].concat(), offset, n)),
            ..enrolment_of(key, "tpm:manufacturer:id:MAKER")
        };
        if let Some(number) = number {
            (attempt.way, attempt.subject) = (Way::Renew, Subject::Known(number));
        }
        expires(&mut attempt, crate::clock::now().plus(3600));
        let outcome = store.record_attempt(attempt).await.unwrap();
        let Outcome::Admitted { node, .. } = outcome else { panic!("{outcome:?}") };
        (number, offset, state) = (Some(node.number), judged.resume.offset, Some(judged));
    }
    store.allow(vec![Allowed { digest: key, label: String::new() }], Actor::Server, crate::clock::now()).await.unwrap();
    number.unwrap()
}

async fn in_force(files: &[u8]) -> Operated {
    let operated = operated(Simulated::Refused).await;
    let draft = PolicyDraft {
        name: "first".to_owned(),
        documents: documents("first", files),
        mode: Mode::Enforce,
        message: String::new(),
    };
    operated.store.apply_policy(draft, Actor::Server, crate::clock::now()).await.unwrap();
    operated
}

/// What another version would do, and how often it was heard how far that has come.
async fn asked(operated: &Operated, files: &[u8]) -> (WhatIf, usize) {
    asked_within(operated, files, None).await
}

async fn asked_within(operated: &Operated, files: &[u8], within: Option<Duration>) -> (WhatIf, usize) {
    let draft = PolicyDraft {
        name: "second".to_owned(),
        documents: documents("second", files),
        mode: Mode::Retired,
        message: String::new(),
    };
    compiled(&draft.documents).unwrap();
    let now = operated.store.rollout().await.unwrap().state;
    let then = now.enforce(draft.digest(), std::collections::BTreeSet::new());
    let versions = [NewVersion { draft, signature: None, waivers: Vec::new() }];
    let policies = operated.admin.policies_of(&[&now, &then], &versions).await.unwrap();
    let mut question = operated.admin.question(&now, &then, policies, Vec::new());
    question.lists_within = within;
    let question = Arc::new(question);
    let (hear, mut heard) = tokio::sync::mpsc::channel(1_000);
    let fleet = what_if(operated.store.as_ref(), question, Some(hear)).await.unwrap();
    let mut progress = 0;
    while let Some(one) = heard.recv().await {
        progress += usize::from(matches!(one, Heard::Progress(..)));
    }
    (fleet, progress)
}

fn effects(fleet: &WhatIf) -> Vec<(Effect, u64)> {
    fleet.effects().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_on_record_are_judged_by_a_policy_that_judged_none_of_them_once_for_all_that_share_one() {
    let operated = in_force(&[1, 2, 3]).await;
    // Three machines: two have one list, however it came; the third has another.
    machine(&operated, 1, &list(&[1, 2]), 1).await;
    machine(&operated, 2, &list(&[1, 2]), 3).await;
    machine(&operated, 3, &list(&[1, 3]), 2).await;
    let (fleet, progress) = asked(&operated, &[1, 2]).await;
    assert_eq!(effects(&fleet), [(Effect::NewlyRefused, 1), (Effect::StillAdmitted, 2)]);
    assert_eq!((fleet.lists, progress), (2, 3), "a list of two, a list of one, and the page");
    let ((_, then), _) = fleet.groups.iter().find(|((effect, _), _)| *effect == Effect::NewlyRefused).unwrap();
    assert_eq!(then.causes[0].code, "policy.ima.not_allowed");
    let (fleet, _) = asked(&operated, &[1, 2, 3]).await;
    assert_eq!(effects(&fleet), [(Effect::StillAdmitted, 3)]);
    let (fleet, _) = asked(&operated, &[7]).await;
    assert_eq!(effects(&fleet), [(Effect::NewlyRefused, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_which_a_part_is_gone_or_that_is_none_of_the_quote_on_record_stays_unknown() {
    let operated = in_force(&[1, 2, 3]).await;
    let whole = machine(&operated, 1, &list(&[1, 2]), 2).await;
    assert_eq!(operated.store.list_parts(whole).await.unwrap().len(), 2);
    // By retention.
    let later = crate::clock::now().plus(92 * 86_400);
    while operated.store.drop_bodies(later).await.unwrap().more {}
    let (fleet, _) = asked(&operated, &[1, 2]).await;
    assert_eq!((effects(&fleet), fleet.lists), (vec![(Effect::NewlyUnknown, 1)], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_for_which_there_is_no_time_are_unknown_and_keep_nobody_from_a_change() {
    let operated = in_force(&[1, 2, 3]).await;
    machine(&operated, 1, &list(&[1, 2]), 1).await;
    machine(&operated, 2, &list(&[1, 3]), 2).await;
    let (fleet, _) = asked_within(&operated, &[1, 2, 3], Some(Duration::ZERO)).await;
    assert_eq!((effects(&fleet), fleet.lists, fleet.lists_left), (vec![(Effect::NewlyUnknown, 2)], 0, 2));
    assert_eq!(fleet.lost(), 2, "who is unknown counts as lost");
    // What judged a list keeps knowing it, however little time there is.
    let now = operated.store.rollout().await.unwrap().state;
    let policies = operated.admin.policies_of(&[&now], &[]).await.unwrap();
    let mut question = operated.admin.question(&now, &now, policies, Vec::new());
    question.lists_within = Some(Duration::ZERO);
    let fleet = what_if(operated.store.as_ref(), Arc::new(question), None).await.unwrap();
    assert_eq!((effects(&fleet), fleet.lists_left), (vec![(Effect::StillAdmitted, 2)], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_machine_that_sends_the_same_again_and_again_only_so_much_is_read() {
    let operated = in_force(&[1, 2, 3]).await;
    // Eight parts of 20 MiB each, of which an entry each is proven: together more than four times the longest list.
    let entries = list(&[1, 2, 3, 1, 2, 3, 1]);
    let junk = vec![0xff; 20 << 20];
    machine_with(&operated, 1, &entries, entries.len(), &junk).await;
    let (fleet, _) = asked(&operated, &[1, 2, 3]).await;
    assert_eq!((effects(&fleet), fleet.lists), (vec![(Effect::NewlyUnknown, 1)], 0));
}
