//! What asking a whole fleet costs: another policy over the stored facts of 10,000 nodes of twenty builds, every tenth of
//! which it refuses, from a store on disk, on every core.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_appraisal::facts::{Event, Explained, Fact, FactId, Facts, HeldFacts, LogFacts};
use holdfast_appraisal::{Appraiser, Document, Policy, Value, Version, digest_of};
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::{Provenance, crypto};
use holdfast_identity::UnixTime;
use holdfast_server::clock;
use holdfast_server::fleet::{Effect, Question, what_if};
use holdfast_server::store::sqlite::{SqliteStore, StoreLimits};
use holdfast_server::store::{
    Actor, Admission, Allowed, Attempt, AttemptId, Attempts as _, Candidate, FactBody, KeptFacts, Mark, Mode,
    Nodes as _, Policies as _, PolicyDigest, PolicyDraft, RolloutState, Sha256, Store as _, Subject, Verdict, Way,
    WhenBarred,
};

use crate::report::{Row, median};

const NODES: u32 = 10_000;
const BUILDS: u32 = 20;
/// Events of each log, as of a machine with shim, GRUB and a few dozen files.
const EVENTS: u32 = 120;
const ROUNDS: usize = 3;
/// Attempts that are handed to the store at a time.
const AT_ONCE: usize = 500;

fn policy(name: &str, require: &str) -> anyhow::Result<Policy> {
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"{name}\"\n[issue]\nnode_id = \
         \"/holdfast/node/tpm/{{tpm.machine}}\"\nselectors = [\"tpm.manufacturer\"]\n[[rule]]\nname = \"rack\"\n\
         ownership = \"inventory\"\ntrust_classes = [\"discrete\"]\n[rule.require]\n{require}\n"
    );
    Policy::parse(Document { name, text: &text }, &[]).map_err(|findings| anyhow::anyhow!("{findings:?}"))
}

fn digest(what: &str, number: u32) -> Value {
    Value::Digest(digest_of(&crypto::sha256(&[what.as_bytes(), &number.to_be_bytes()])).expect("32 bytes"))
}

/// The facts of a build's log.
fn log(build: u32) -> Arc<LogFacts> {
    let mut log = LogFacts::new();
    let mut values = Vec::new();
    for index in 0..EVENTS {
        let Value::Digest(found) = digest("event", build * EVENTS + index) else { unreachable!() };
        let hint = Some("PciRoot(0x0)/Pci(0x1,0x2)/NVMe/HD(1,GPT)/\\EFI\\debian\\shimx64.efi".into());
        log.push_event(Event { index, pcr: 4, kind: "EV_EFI_BOOT_SERVICES_APPLICATION".into(), digest: found, hint });
        values.push(Value::Digest(found));
    }
    let fact = Fact { provenance: Provenance::Hardware, values, events: (0..EVENTS).collect() };
    log.insert(FactId::BootApplications, fact);
    let line = Value::text("BOOT_IMAGE=/vmlinuz root=/dev/mapper/root ro quiet");
    log.insert(FactId::CommandLines, Fact::of(Provenance::Hardware, vec![line]));
    Arc::new(log)
}

fn attempt(n: u32, log: &(Arc<LogFacts>, FactBody)) -> anyhow::Result<(Attempt, Sha256)> {
    let key = Sha256(crypto::sha256(&[b"machine", &n.to_be_bytes()]));
    let mut facts = Facts::with_log(log.0.clone());
    let mut add = |id, value| facts.insert(id, Fact::of(Provenance::Hardware, vec![value]));
    let own = Value::Digest(digest_of(&key.0).expect("32 bytes"));
    add(FactId::Machine, own.clone());
    add(FactId::EkSpki, own);
    add(FactId::Class, Value::text("discrete"));
    add(FactId::Manufacturer, Value::text("id:MAKER"));
    add(FactId::FirmwareVersion, Value::Version(Version([if n.is_multiple_of(10) { 1 } else { 2 }, 0, 0, 0])));
    for pcr in 0..16 {
        add(FactId::Pcr(pcr), digest("pcr", n * 16 + u32::from(pcr)));
    }
    (0..16).for_each(|pcr| facts.quoted_pcr(pcr, Explained::ByEvents));
    let held = HeldFacts { facts, bank: Some(Bank::Sha256) };
    let now = clock::now();
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    let admission = Admission {
        candidate: Candidate {
            trust_class: "discrete".to_owned(),
            copyable: false,
            ak_name: key.0.to_vec(),
            known: vec![0; 600],
            description: "maker model".to_owned(),
        },
        spiffe_id: format!("spiffe://bench.test/holdfast/node/tpm/{key}").parse()?,
        node_key_spki: key.0.to_vec(),
        selectors: BTreeSet::from(["tpm:manufacturer:id:MAKER".parse()?]),
        fixed: BTreeSet::from(["tpm:manufacturer:id:MAKER".parse()?]),
        rule: "rack".to_owned(),
        waivers: Vec::new(),
        evidence_expires: now.plus(7200),
        firmware_log: None,
        issuance: None,
    };
    let attempt = Attempt {
        id: AttemptId(id),
        at: now,
        way: Way::Enrol,
        kinds: BTreeSet::from(["tpm".to_owned()]),
        source: "192.0.2.1".to_owned(),
        challenge_id: id,
        challenge_expires: now.plus(60),
        subject: Subject::Proven(vec![Mark { kind: "ek.spki".to_owned(), digest: key }].into()),
        clock: None,
        policy: None,
        verdict: Verdict::Admit(Box::new(admission)),
        when_barred: WhenBarred::Written,
        decision: "{}".to_owned(),
        evidence: None,
        measured_files: None,
        facts: Some(KeptFacts { own: FactBody::new(held.own_body()?), log: Some(log.1.clone()) }),
    };
    Ok((attempt, key))
}

/// The row of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let limits = StoreLimits::default();
    let store = SqliteStore::open(&directory.path().join("bench.sqlite"), "bench.test".parse()?, limits).await?;
    let bodies = (0..BUILDS).map(|build| {
        let log = log(build);
        let body = FactBody::new(log.body()?);
        anyhow::Ok((log, body))
    });
    let bodies: Vec<(Arc<LogFacts>, FactBody)> = bodies.collect::<Result<_, _>>()?;
    let mut keys = Vec::new();
    let numbers: Vec<u32> = (0..NODES).collect();
    for part in numbers.chunks(AT_ONCE) {
        let mut under_way = Vec::new();
        for n in part {
            let (attempt, key) = attempt(*n, &bodies[(n % BUILDS) as usize])?;
            keys.push(Allowed { digest: key, label: String::new() });
            under_way.push(store.record_attempt(attempt));
        }
        for outcome in futures_util::future::join_all(under_way).await {
            outcome?;
        }
    }
    store.allow(keys, Actor::Server, clock::now()).await?;
    let draft = |name: &str| PolicyDraft {
        name: name.to_owned(),
        documents: Vec::new(),
        mode: Mode::Enforce,
        message: String::new(),
    };
    let (now, then) = (draft("now"), draft("then"));
    store.apply_policy(now.clone(), Actor::Server, UnixTime(0)).await?;
    let policies: BTreeMap<PolicyDigest, Arc<Policy>> = BTreeMap::from([
        (now.digest(), Arc::new(policy("now", "tpm.boot.command_lines = { none_of = [\"quiet\"] }")?)),
        (then.digest(), Arc::new(policy("then", "tpm.firmware_version = { at_least = \"2.0.0.0\" }")?)),
    ]);
    let state = RolloutState::default().enforce(now.digest(), BTreeSet::new());
    let question = Arc::new(Question {
        then: state.enforce(then.digest(), BTreeSet::new()),
        now: state,
        policies,
        floors: Vec::new(),
        appraiser: Appraiser::new("bench.test".parse()?),
        at: clock::now(),
        lists_within: None,
    });
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let fleet = what_if(&store, question.clone(), None).await?;
        let effects = fleet.effects();
        anyhow::ensure!(effects[&Effect::NewlyRefused] == u64::from(NODES / 10), "{effects:?}");
        anyhow::ensure!(fleet.logs == u64::from(BUILDS), "{} logs", fleet.logs);
        seconds.push(fleet.milliseconds as f64 / 1e3);
    }
    store.close().await;
    let note = format!("{NODES} nodes, {BUILDS} logs of {EVENTS} events, {} refused; aim 10", NODES / 10);
    Ok(vec![Row::new("what_if", median(&mut seconds), "s").note(note)])
}
