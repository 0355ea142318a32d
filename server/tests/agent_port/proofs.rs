//! What the record keeps of an attempt proves its decision to a stranger: from the checkpoint to the last difference.

use std::collections::BTreeSet;

use holdfast_evidence::crypto::Zeroizing;
use holdfast_proof::{Conclusion, Digest, ProofBundle, Reader, Report, State, check};
use holdfast_record::{Checkpoint, Hash, InclusionProof, Node, SigningKey, proof};
use holdfast_server::clock;
use holdfast_server::proving::Kept;
use holdfast_server::store::{AttemptRecord, Document, Mode, NodeAction, PolicyDraft};

use crate::house::{BY, House, POLICY, word};
use crate::virtual_tpm::{Boot, Spoil, VirtualTpm};

const SECURE_BOOT_OFF: &str = "
[rule.require]
tpm.secure_boot.enabled = { equals = false }
";

fn log_key() -> SigningKey {
    SigningKey::from_seed("example.org/record", Zeroizing::new([7; 32])).unwrap()
}

fn hash(leaves: &[Hash], node: Node) -> Option<Hash> {
    if node.level == 0 {
        return leaves.get(usize::try_from(node.index).ok()?).copied();
    }
    let below = |index| hash(leaves, Node { level: node.level - 1, index });
    Some(Hash::node(&below(node.index * 2)?, &below(node.index * 2 + 1)?))
}

/// The proof as a server makes it.
pub(crate) async fn proof_of(house: &House, attempt: &AttemptRecord) -> ProofBundle {
    let kept = Kept::read(house.store.as_ref(), attempt.id).await.unwrap().unwrap();
    let entries = house.store.ledger_entries(0, 10_000).await.unwrap();
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(&entry.leaf)).collect();
    let size = leaves.len() as u64;
    let root = proof::root(size, |node| hash(&leaves, node)).unwrap();
    let inclusion = InclusionProof::new(kept.index, size, |node| hash(&leaves, node)).unwrap();
    let checkpoint = Checkpoint { origin: "example.org/record".to_owned(), size, root };
    let proof = kept.proof(inclusion, checkpoint.sign(&log_key()).unwrap());
    ProofBundle::parse(&proof.encode()).unwrap()
}

pub(crate) fn checked(bundle: &ProofBundle) -> Report {
    check(bundle, &Reader { log: log_key().verifier(), roots: None })
}

fn vouched(report: &Report) -> Vec<&str> {
    let vouched = report.steps.iter().filter(|step| step.state == State::Vouched);
    vouched.map(|step| step.detail.as_str()).collect()
}

pub(crate) async fn latest(house: &House) -> AttemptRecord {
    house.attempts().await.into_iter().next().unwrap()
}

#[tokio::test]
async fn an_enrolment_a_renewal_and_a_return_are_proven_from_what_is_kept() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let admitted = house.enrol(&mut tpm).await;
    let enrolment = checked(&proof_of(&house, &latest(&house).await).await);
    assert_eq!(enrolment.conclusion, Conclusion::Proven, "{enrolment:#?}");
    assert_eq!((enrolment.verdict.as_str(), enrolment.way.as_str()), ("admitted", "enrol"));
    assert_eq!(enrolment.spiffe_id.as_deref(), Some(admitted.spiffe_id.as_str()));
    assert!(enrolment.steps.iter().any(|step| step.what == "endorsement keys" && step.state == State::Holds));
    assert!(vouched(&enrolment).iter().any(|detail| detail.contains("activated the credentials")));
    assert_eq!(enrolment.roots.len(), 1);

    let own = house.own(&tpm, &admitted).await;
    own.renew(&mut tpm, &house.boot).await.unwrap();
    let renewal = checked(&proof_of(&house, &latest(&house).await).await);
    assert_eq!((renewal.conclusion, renewal.way.as_str()), (Conclusion::Proven, "renew"), "{renewal:#?}");
    assert!(vouched(&renewal).iter().any(|detail| detail.contains("when the TPM enrolled")));

    let stranger = house.stranger().await;
    let begun = stranger.begin_with(tpm.ak_alone().encode()).await.unwrap();
    stranger.answer(&begun, &mut tpm, &house.boot).await.unwrap();
    let returned = checked(&proof_of(&house, &latest(&house).await).await);
    assert_eq!((returned.conclusion, returned.way.as_str()), (Conclusion::Proven, "return"), "{returned:#?}");
}

#[tokio::test]
async fn renewals_of_a_machine_in_one_state_share_their_decisions_text_and_each_is_proven_with_its_own_end() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    let admitted = house.enrol(&mut tpm).await;
    let own = house.own(&tpm, &admitted).await;
    let (mut texts, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..3 {
        own.renew(&mut tpm, &house.boot).await.unwrap();
        let attempt = latest(&house).await;
        let report = checked(&proof_of(&house, &attempt).await);
        assert_eq!(report.conclusion, Conclusion::Proven, "{report:#?}");
        let kept = house.store.attempt(attempt.id).await.unwrap().unwrap();
        assert_eq!(kept.evidence_expires, Some(house.node(&admitted.spiffe_id).await.evidence_expires));
        let whole: serde_json::Value = serde_json::from_str(&kept.decision_in_full()).unwrap();
        assert_eq!(whole["explanation"]["at"].as_i64(), Some(kept.at.seconds()));
        assert_eq!(whole["evidence_expires"].as_i64(), kept.evidence_expires.map(|ends| ends.seconds()));
        texts.insert(kept.decision);
        ends.insert(kept.evidence_expires);
        // Until the clock shows another second.
        let began = clock::now();
        while clock::now() == began {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    assert_eq!((texts.len(), ends.len()), (1, 3));
    let usage = house.store.body_usage(clock::now()).await.unwrap();
    let decisions = usage.kinds.iter().find(|kind| kind.kind == "decision").unwrap();
    assert!(decisions.bodies <= 2, "one of the enrolment, one of all renewals: {decisions:?}");
}

#[tokio::test]
async fn refusals_are_proven_with_their_reasons() {
    let house = House::open().await;
    // By the policy, by the evidence, by ownership, and by the record alone.
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    house.apply(SECURE_BOOT_OFF).await;
    house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
    let by_policy = checked(&proof_of(&house, &latest(&house).await).await);
    assert_eq!((by_policy.conclusion, by_policy.verdict.as_str()), (Conclusion::Proven, "refused"), "{by_policy:#?}");
    assert!(by_policy.explanation.contains("tpm.secure_boot.enabled"), "{}", by_policy.explanation);

    house.apply(POLICY).await;
    let mut spoilt = house.machine().await;
    spoilt.spoil = Spoil::QuoteSignature;
    house.stranger().await.attest(&mut spoilt, &house.boot).await.unwrap_err();
    let by_evidence = checked(&proof_of(&house, &latest(&house).await).await);
    assert_eq!((by_evidence.conclusion, by_evidence.code.as_str()), (Conclusion::Proven, "tpm.quote.signature"));

    let mut unlisted = VirtualTpm::new(&house.vendor);
    house.stranger().await.attest(&mut unlisted, &house.boot).await.unwrap_err();
    let by_ownership = checked(&proof_of(&house, &latest(&house).await).await);
    assert_eq!((by_ownership.conclusion, by_ownership.verdict.as_str()), (Conclusion::Proven, "refused"));

    let admitted = house.enrol(&mut tpm).await;
    house.act(&admitted.spiffe_id, NodeAction::Ban { reason: "lost".to_owned() }).await;
    house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
    let by_the_record = checked(&proof_of(&house, &latest(&house).await).await);
    assert_eq!((by_the_record.conclusion, by_the_record.code.as_str()), (Conclusion::Proven, "node.banned"));
    assert!(vouched(&by_the_record).iter().any(|detail| detail.contains("node.banned")), "{by_the_record:#?}");
}

#[tokio::test]
async fn a_decision_is_proven_by_the_policy_of_then_and_the_observed_one_beside_it() {
    let house = House::open().await;
    let text = "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"next\"\n\
                [issue]\nnode_id = \"/holdfast/node/tpm/{tpm.machine}\"\n\
                [[rule]]\nname = \"rack\"\nownership = \"inventory\"\ntrust_classes = [\"discrete\"]\n\
                [rule.require]\ntpm.secure_boot.enabled = { equals = false }\n";
    let documents = vec![Document { name: "next.toml".to_owned(), text: text.to_owned() }];
    let draft = PolicyDraft { name: "next".to_owned(), documents, mode: Mode::Observe, message: String::new() };
    house.store.apply_policy(draft, BY, clock::now()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let mut tpm = house.machine().await;
    house.enrol(&mut tpm).await;
    let attempt = latest(&house).await;
    house.apply(SECURE_BOOT_OFF).await;
    let bundle = proof_of(&house, &attempt).await;
    assert_eq!(bundle.policies.len(), 2);
    let report = checked(&bundle);
    assert_eq!((report.conclusion, report.verdict.as_str()), (Conclusion::Proven, "admitted"), "{report:#?}");
    assert!(report.steps.iter().any(|step| step.what == "observed policy" && step.state == State::Holds));

    // With the text of another version nothing is proven.
    let mut exchanged = bundle.clone();
    exchanged.policies.truncate(1);
    assert!(checked(&exchanged).failures().contains(&"proof.policy"));
}

#[tokio::test]
async fn roots_are_named_and_compared_with_those_of_the_reader() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    house.enrol(&mut tpm).await;
    let bundle = proof_of(&house, &latest(&house).await).await;
    let key = log_key();
    let with = |roots: &BTreeSet<Digest>| check(&bundle, &Reader { log: key.verifier(), roots: Some(roots) });
    let ours = BTreeSet::from([Digest::of(house.vendor.root())]);
    let known = with(&ours);
    assert_eq!((known.conclusion, known.roots[0].trusted_by_reader), (Conclusion::Proven, Some(true)));
    let unknown = with(&BTreeSet::from([Digest::of(b"another")]));
    assert_eq!(unknown.failures(), ["proof.root_unknown"]);
    assert!(vouched(&checked(&bundle)).iter().any(|detail| detail.contains("vendor discrete")));
}

#[tokio::test]
async fn what_is_gone_by_retention_is_said_and_the_rest_is_still_proven() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    house.enrol(&mut tpm).await;
    let attempt = latest(&house).await;
    while house.store.drop_bodies(clock::now().plus(500 * 86_400)).await.unwrap().more {}
    let report = checked(&proof_of(&house, &attempt).await);
    assert_eq!(report.conclusion, Conclusion::Incomplete, "{report:#?}");
    let of = |state| report.steps.iter().filter(move |step| step.state == state).map(|step| step.what);
    assert!(of(State::Holds).any(|what| what == "inclusion"));
    assert!(of(State::Holds).any(|what| what == "decision"));
    assert_eq!(of(State::Gone).collect::<Vec<_>>(), ["manifest"]);
}

#[tokio::test]
async fn every_change_to_a_proof_is_found() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    house.enrol(&mut tpm).await;
    let bundle = proof_of(&house, &latest(&house).await).await;
    assert_eq!(checked(&bundle).conclusion, Conclusion::Proven);
    let refuted = |changed: &ProofBundle, what: &str| {
        let report = checked(changed);
        assert_eq!(report.conclusion, Conclusion::Refuted, "{what}: {report:#?}");
    };
    for at in 0..bundle.entry.0.len() {
        let mut changed = bundle.clone();
        changed.entry.0[at] ^= 1;
        refuted(&changed, "entry");
    }
    for place in 0..bundle.inclusion.path.len() {
        for at in 0..32 {
            let mut changed = bundle.clone();
            changed.inclusion.path[place].0[at] ^= 0x80;
            refuted(&changed, "inclusion");
        }
    }
    let manifest = bundle.manifest.clone().unwrap();
    for at in (0..manifest.0.len()).step_by(3) {
        let mut changed = bundle.clone();
        changed.manifest.as_mut().unwrap().0[at] ^= 1;
        refuted(&changed, "manifest");
    }
    for place in 0..bundle.bodies.len() {
        let length = bundle.bodies[place].content.0.len();
        for at in (0..length).step_by(length / 40 + 1) {
            let mut changed = bundle.clone();
            changed.bodies[place].content.0[at] ^= 1;
            refuted(&changed, "body");
            // Under its new name nothing names it, and what was named is missing.
            changed.bodies[place].sha256 = Digest::of(&changed.bodies[place].content.0);
            refuted(&changed, "renamed body");
        }
        let mut twice = bundle.clone();
        twice.bodies.push(bundle.bodies[place].clone());
        refuted(&twice, "body twice");
    }
    let decision = bundle.decision.clone().unwrap();
    for at in (0..decision.len()).filter(|at| decision.is_char_boundary(*at)).step_by(7) {
        let mut changed = decision.clone().into_bytes();
        changed[at] ^= 1;
        let changed = ProofBundle { decision: String::from_utf8(changed).ok(), ..bundle.clone() };
        assert_ne!(checked(&changed).conclusion, Conclusion::Proven);
    }
    let text = bundle.policies[0].policy.text.clone();
    for at in 0..text.len() {
        let mut changed = bundle.clone();
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        changed.policies[0].policy.text = String::from_utf8(bytes).unwrap();
        refuted(&changed, "policy");
    }
}

#[tokio::test]
async fn every_changed_byte_of_the_file_is_found() {
    let house = House::open().await;
    let mut tpm = house.machine().await;
    tpm.spoil = Spoil::QuoteSignature;
    house.stranger().await.attest(&mut tpm, &Boot::of("shim-grub")).await.unwrap_err();
    let file = proof_of(&house, &latest(&house).await).await.encode();
    assert_eq!(checked(&ProofBundle::parse(&file).unwrap()).conclusion, Conclusion::Proven);
    // Every byte in the small parts, and a sample of the log.
    for at in (0..file.len()).step_by(53) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let still = ProofBundle::parse(&changed).is_ok_and(|bundle| checked(&bundle).conclusion == Conclusion::Proven);
        assert!(!still, "byte {at}: {}", String::from_utf8_lossy(&file[at.saturating_sub(20)..at + 20]));
    }
    for cut in (0..file.len()).step_by(211) {
        assert!(ProofBundle::parse(&file[..cut]).is_err());
    }
}

#[tokio::test]
async fn without_room_known_machines_go_on_and_new_ones_come_back() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    house.space.set_low(true);
    let own = house.own(&tpm, &admitted).await;
    own.renew(&mut tpm, &house.boot).await.unwrap();
    let renewal = latest(&house).await;
    assert_eq!((renewal.way.as_str(), renewal.verdict.as_str()), ("renew", "admitted"));
    let report = checked(&proof_of(&house, &renewal).await);
    assert_eq!(report.conclusion, Conclusion::Incomplete, "it is recorded, and its evidence is not kept");
    house.enrol(&mut tpm).await;

    let before = house.attempts().await.len();
    let mut new = house.machine().await;
    let told = house.stranger().await.attest(&mut new, &house.boot).await.unwrap_err();
    assert_eq!(told.code(), tonic::Code::ResourceExhausted, "{told:?}");
    assert_eq!(word(&told), "busy", "no verdict on the machine");
    assert_eq!(house.attempts().await.len(), before);
    house.space.set_low(false);
    let mut another = house.machine().await;
    house.enrol(&mut another).await;
    assert_eq!(checked(&proof_of(&house, &latest(&house).await).await).conclusion, Conclusion::Proven);
}
