//! Proofs of what the agent and the simulator bring along: the maker's word about a machine, and its list of measured files.

use holdfast_evidence::crypto::Zeroizing;
use holdfast_evidence::tpm::IdentityMaterial;
use holdfast_proof::{Bodies, Conclusion, Digest, Manifest, ProofBundle, Reader, Report, State, check, join};
use holdfast_record::{Checkpoint, Hash, InclusionProof, Node, SigningKey, proof};
use holdfast_server::proving::Kept;
use holdfast_server::store::{AttemptFilter, AttemptRecord};
use holdfast_tpm_sim::Maker;

use super::measured_files::{attempt, measuring};
use super::ownership::platform;
use super::world::{World, now};

const LOG: &str = "example.org/record";

fn log_key() -> SigningKey {
    SigningKey::from_seed(LOG, Zeroizing::new([7; 32])).unwrap()
}

fn hash(leaves: &[Hash], node: Node) -> Option<Hash> {
    if node.level == 0 {
        return leaves.get(usize::try_from(node.index).ok()?).copied();
    }
    let below = |index| hash(leaves, Node { level: node.level - 1, index });
    Some(Hash::node(&below(node.index * 2)?, &below(node.index * 2 + 1)?))
}

impl World {
    /// The proof as a server makes it.
    async fn proof_of(&self, attempt: &AttemptRecord) -> ProofBundle {
        let kept = Kept::read(self.store(), attempt.id).await.unwrap().unwrap();
        let entries = self.store().ledger_entries(0, 10_000).await.unwrap();
        let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(&entry.leaf)).collect();
        let size = leaves.len() as u64;
        let root = proof::root(size, |node| hash(&leaves, node)).unwrap();
        let inclusion = InclusionProof::new(kept.index, size, |node| hash(&leaves, node)).unwrap();
        let checkpoint = Checkpoint { origin: LOG.to_owned(), size, root };
        let proof = kept.proof(inclusion, checkpoint.sign(&log_key()).unwrap());
        ProofBundle::parse(&proof.encode()).unwrap()
    }

    async fn first_and_last(&self) -> (AttemptRecord, AttemptRecord) {
        let attempts = self.store().attempts(AttemptFilter::default()).await.unwrap();
        let read = async |at: usize| self.store().attempt(attempts[at].id).await.unwrap().unwrap();
        (read(attempts.len() - 1).await, read(0).await)
    }
}

fn checked(bundle: &ProofBundle) -> Report {
    check(bundle, &Reader { log: log_key().verifier(), roots: None })
}

fn proven(bundle: &ProofBundle) -> Report {
    let report = checked(bundle);
    assert_eq!(report.conclusion, Conclusion::Proven, "{report:#?}");
    report
}

fn step<'r>(report: &'r Report, what: &str) -> Vec<(State, &'r str)> {
    let steps = report.steps.iter().filter(|step| step.what == what);
    steps.map(|step| (step.state, step.detail.as_str())).collect()
}

fn manifest(bundle: &ProofBundle) -> Manifest {
    Manifest::parse(&bundle.manifest.as_ref().unwrap().0).unwrap()
}

/// Leads the manifest and the entry to what was changed, as a log's own keeper could, and signs a log of this entry alone.
fn sealed_again(mut bundle: ProofBundle, manifest: &Manifest) -> ProofBundle {
    let bytes = manifest.encode();
    let mut entry: serde_json::Value = serde_json::from_slice(&bundle.entry.0[1..]).unwrap();
    entry["manifest"] = Digest::of(&bytes).to_string().into();
    bundle.entry.0.truncate(1);
    bundle.entry.0.extend_from_slice(entry.to_string().as_bytes());
    bundle.manifest.as_mut().unwrap().0 = bytes;
    let root = Hash::leaf(&bundle.entry.0);
    bundle.inclusion = InclusionProof::new(0, 1, |_| Some(root)).unwrap();
    bundle.checkpoint = Checkpoint { origin: LOG.to_owned(), size: 1, root }.sign(&log_key()).unwrap();
    bundle
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_ours_by_its_makers_word_is_proven_offline() {
    let (world, maker) = (World::new().await, Maker::ephemeral().unwrap());
    world.trust(&maker).await;
    let (machine, report) = world.made(0, &maker, "HF-0001", None);
    world.list(platform(&report)).await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;
    let (enrolment, renewal) = world.first_and_last().await;
    let bundle = world.proof_of(&enrolment).await;
    let found = proven(&bundle);
    assert!(found.explanation.contains("inventory"), "{}", found.explanation);
    let [(State::Holds, word)] = step(&found, "maker's word")[..] else { panic!("{found:#?}") };
    for factor in ["platform certificate", "IAK certificate", "IDevID certificate"] {
        assert!(word.contains(factor), "{word}");
    }
    assert_eq!(found.roots.len(), 2, "of the TPM's vendor and of the machine's maker: {:?}", found.roots);
    if renewal.id != enrolment.id {
        proven(&world.proof_of(&renewal).await);
    }

    // A changed byte anywhere in what it offered is found by its digest; and where the digests are led to it, by the
    // certificates.
    let written = manifest(&bundle);
    let material = written.offered.clone().unwrap().material;
    let place = bundle.bodies.iter().position(|body| body.sha256 == material).unwrap();
    let offered = bundle.bodies[place].content.0.clone();
    let certificate = IdentityMaterial::parse(&offered).unwrap().ownership.platform.unwrap();
    let begins = offered.windows(certificate.len()).position(|window| window == certificate).unwrap();
    // Behind it may be what the NV index is larger.
    let length = 4 + usize::from(u16::from_be_bytes([certificate[2], certificate[3]]));
    for at in (begins..begins + length).step_by(7) {
        let mut changed = bundle.clone();
        changed.bodies[place].content.0[at] ^= 1;
        assert!(checked(&changed).failures().contains(&"proof.body"));
        let digest = Digest::of(&changed.bodies[place].content.0);
        changed.bodies[place].sha256 = digest;
        let mut manifest = written.clone();
        manifest.offered.as_mut().unwrap().material = digest;
        let report = checked(&sealed_again(changed, &manifest));
        let codes = report.failures();
        assert!(codes.contains(&"proof.maker") || codes.contains(&"proof.endorsement_keys"), "byte {at}: {codes:?}");
    }
    // The maker's roots cannot be left out, nor exchanged for each other's or the vendor's.
    for change in [
        |manifest: &mut Manifest| manifest.offered.as_mut().unwrap().makers = None,
        |manifest: &mut Manifest| {
            let offered = manifest.offered.as_mut().unwrap();
            offered.makers.as_mut().unwrap().platforms = offered.trust;
        },
        |manifest: &mut Manifest| {
            let offered = manifest.offered.as_mut().unwrap();
            offered.makers.as_mut().unwrap().devices = offered.trust;
        },
    ] {
        let mut manifest = written.clone();
        change(&mut manifest);
        let report = checked(&sealed_again(bundle.clone(), &manifest));
        assert_eq!(report.conclusion, Conclusion::Refuted, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_measured_files_are_judged_again_first_whole_then_from_where_they_were_left() {
    let (world, machine) = measuring().await;
    let first = attempt(&world, &machine).await;
    machine.measure("/usr/bin/b", b"b").unwrap();
    let second = attempt(&world, &machine).await;
    machine.measure("/tmp/evil", b"evil").unwrap();
    let third = attempt(&world, &machine).await;

    let of_before = "what the list of measured files held before the part that came with this attestation (state ";
    let goes_on = |report: &Report| {
        let mut details = report.steps.iter().filter(|step| step.state == State::Vouched).map(|step| &step.detail);
        details.find_map(|detail| detail.strip_prefix(of_before)?.strip_suffix(')').map(str::to_owned))
    };
    let leads_to = |report: &Report| {
        let [(State::Holds, detail)] = step(report, "measured files")[..] else { panic!("{report:#?}") };
        detail.rsplit(' ').next().map(str::to_owned)
    };
    let bundle = world.proof_of(&first).await;
    let before = leads_to(&proven(&bundle));
    assert_eq!(goes_on(&proven(&bundle)), None);
    assert_eq!(manifest(&bundle).measured_files.unwrap().offset, 0);

    let bundle = world.proof_of(&second).await;
    let report = proven(&bundle);
    assert_eq!(report.verdict, "admitted");
    assert_eq!(goes_on(&report), before, "one proof leads to the other");
    let before = leads_to(&report);
    assert!(manifest(&bundle).measured_files.unwrap().offset > 0);

    let bundle = world.proof_of(&third).await;
    let report = proven(&bundle);
    assert_eq!(report.verdict, "refused");
    assert_eq!(goes_on(&report), before);
    assert!(report.explanation.contains("/tmp/evil"), "{}", report.explanation);

    // A list without its last file, one with a changed byte, and a state of before that is another: none is proven, even
    // where every digest was led to it.
    let written = manifest(&bundle);
    let files = written.measured_files.clone().unwrap();
    let mut bodies = Bodies::default();
    bundle.bodies.iter().for_each(|body| {
        bodies.add(body.content.0.clone());
    });
    let list = join(&files.list, &bodies).unwrap();
    // Behind the number of the register is the digest for PCRs of SHA-1, which is about nothing here.
    for at in (0..list.len()).filter(|at| !(4..24).contains(at)) {
        let mut list = list.clone();
        list[at] ^= 1;
        let mut changed = written.clone();
        changed.measured_files.as_mut().unwrap().list = holdfast_proof::cut_measured_files(&list).pieces;
        let report = checked(&sealed_again(bundle.clone(), &changed));
        assert_eq!(report.conclusion, Conclusion::Refuted, "byte {at}: {report:#?}");
    }
    for change in [
        |files: &mut holdfast_proof::MeasuredFilesRecord| files.list.clear(),
        |files: &mut holdfast_proof::MeasuredFilesRecord| files.before.clear(),
        |files: &mut holdfast_proof::MeasuredFilesRecord| files.offset += 1,
        |files: &mut holdfast_proof::MeasuredFilesRecord| files.offset = 0,
    ] {
        let mut changed = written.clone();
        change(changed.measured_files.as_mut().unwrap());
        let report = checked(&sealed_again(bundle.clone(), &changed));
        assert_eq!(report.conclusion, Conclusion::Refuted, "{report:#?}");
    }

    // What retention has dropped is said, and the rest holds.
    while world.store().drop_bodies(now().plus(500 * 86_400)).await.unwrap().more {}
    assert_eq!(checked(&world.proof_of(&second).await).conclusion, Conclusion::Incomplete);
}
