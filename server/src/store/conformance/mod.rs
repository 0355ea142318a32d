//! What every store must do, as sentences; each runs on each store. The file that opens a store is one line below.

mod attempts;
mod bodies;
mod endorsements;
mod entries;
mod entry_sets;
mod federations;
mod jwt_authorities;
mod ledger;
mod nodes;
mod others;
mod revocations;
mod rollouts;
mod svids;
mod token_grants;
mod unwritten;

use super::sqlite::{SqliteStore, StoreLimits};
use super::*;
use holdfast_identity::{Selector, SpiffeId, UnixTime};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs each named sentence on a fresh store of each engine.
macro_rules! on_each_store {
    ($($sentence:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $sentence() {
                let directory = tempfile::tempdir().unwrap();
                super::$sentence(crate::store::conformance::sqlite(directory.path()).await).await;
            })+
        }
    };
}
pub(super) use on_each_store;

pub(super) const NOW: UnixTime = UnixTime(1_700_000_000);

/// Who signs whatever is issued here.
pub(super) const ISSUER: IssuerKeyId = IssuerKeyId([7; 20]);

const LIMITS: StoreLimits =
    StoreLimits { entries_max: 30, retention: Retention { evidence: 400 * 86_400, renewals: 90 * 86_400 } };

pub(super) async fn sqlite(directory: &std::path::Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&directory.join("store.sqlite"), "td".parse().unwrap(), LIMITS).await.unwrap())
}

pub(super) fn operator() -> Actor {
    Actor::Operator { uid: 1000, name: "ada".to_owned() }
}

pub(super) fn id(path: &str) -> SpiffeId {
    format!("spiffe://td{path}").parse().unwrap()
}

pub(super) fn selectors(texts: &[&str]) -> BTreeSet<Selector> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

static DRAWN: AtomicU64 = AtomicU64::new(1);

pub(super) fn draw() -> [u8; 16] {
    u128::from(DRAWN.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

/// A fresh store in a directory that lives as long as its first part.
pub(crate) async fn open() -> (tempfile::TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = sqlite(directory.path()).await;
    (directory, store)
}

/// The marks of the endorsement key that `n` stands for.
pub(super) fn ek(n: u8) -> Vec<Mark> {
    Mark::endorsement_key(Sha256([n; 32]), Sha256([n | 0x80; 32])).to_vec()
}

/// What the inventory may list of that machine.
pub(super) fn digests(n: u8) -> Vec<Sha256> {
    ek(n).iter().map(|mark| mark.digest).collect()
}

pub(super) fn issuance(spiffe_id: &SpiffeId, origin: Origin) -> Issuance {
    Issuance {
        issuer: ISSUER,
        serial: draw(),
        spiffe_id: spiffe_id.clone(),
        spki_sha256: Sha256([3; 32]),
        not_before: NOW.plus(-60),
        not_after: NOW.plus(3600),
        origin,
    }
}

pub(super) fn clock(reset_count: u32, clock: u64) -> ClockReading {
    ClockReading { clock, reset_count, restart_count: 0, safe: true }
}

/// A good first attempt of the machine that `n` stands for.
pub(crate) fn enrolment(n: u8) -> Attempt {
    let attempt = AttemptId(draw());
    let spiffe_id = id(&format!("/holdfast/node/tpm/{n}"));
    Attempt {
        id: attempt,
        at: NOW,
        way: Way::Enrol,
        kinds: BTreeSet::from(["tpm".to_owned()]),
        source: "192.0.2.1".to_owned(),
        challenge_id: draw(),
        challenge_expires: NOW.plus(60),
        subject: Subject::Proven(ek(n).into()),
        clock: Some(clock(5, 1000)),
        policy: None,
        verdict: Verdict::Admit(Box::new(Admission {
            candidate: Candidate {
                trust_class: "discrete".to_owned(),
                copyable: false,
                ak_name: vec![n; 34],
                known: vec![1, 2, 3],
                description: "maker model".to_owned(),
            },
            spiffe_id: spiffe_id.clone(),
            node_key_spki: vec![n; 91],
            selectors: selectors(&["tpm:secure_boot:on"]),
            fixed: selectors(&["tpm:manufacturer:maker"]),
            rule: "known-machines".to_owned(),
            waivers: Vec::new(),
            evidence_expires: NOW.plus(7200),
            firmware_log: None,
            issuance: Some(issuance(&spiffe_id, Origin::Node { attempt })),
        })),
        when_barred: WhenBarred::Written,
        decision: "{\"rule\":\"known-machines\"}".to_owned(),
        facts: None,
        measured_files: None,
        evidence: None,
    }
}

/// A good first attempt of the machine with this key, of which this stands for its life.
pub(crate) fn enrolment_of(key: Sha256, selector: &str) -> Attempt {
    let mut attempt = enrolment(1);
    attempt.subject = Subject::Proven(vec![Mark { kind: "ek.spki".to_owned(), digest: key }].into());
    let admission = admission(&mut attempt);
    admission.spiffe_id = id(&format!("/holdfast/node/tpm/{key}"));
    admission.candidate.ak_name = key.0.to_vec();
    admission.node_key_spki = key.0.to_vec();
    admission.fixed = selectors(&[selector]);
    admission.issuance = None;
    attempt
}

/// Changes the admission inside an attempt.
/// That machine, refused by the policy, or by what anybody could have sent.
pub(super) fn refuse(n: u8, genuine: bool) -> Attempt {
    Attempt { verdict: Verdict::Refuse { code: "policy.no_rule_matched".to_owned(), genuine }, ..enrolment(n) }
}

pub(super) fn admission(attempt: &mut Attempt) -> &mut Admission {
    match &mut attempt.verdict {
        Verdict::Admit(admission) => admission,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn admit(store: &dyn Store, attempt: Attempt) -> Node {
    match store.record_attempt(attempt).await.unwrap() {
        Outcome::Admitted { node, .. } => *node,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn refusal(store: &dyn Store, attempt: Attempt) -> String {
    match store.record_attempt(attempt).await.unwrap() {
        Outcome::Refused { code } => code,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn entry(name: &str, parent: Parent) -> EntryDraft {
    EntryDraft {
        id: name.to_owned(),
        spiffe_id: id(&format!("/{name}")),
        parent,
        selectors: selectors(&["unix:uid:1000", "unix:gid:1000"]),
        x509_svid_ttl: 0,
        jwt_svid_ttl: 0,
        dns_names: Vec::new(),
        hint: String::new(),
        expires_at: None,
        federates_with: BTreeSet::new(),
    }
}

/// The codes of the notices that came, so far.
pub(super) fn heard(subscription: &mut Subscription) -> Vec<Arc<Notice>> {
    std::iter::from_fn(|| subscription.notices.try_recv().ok()).collect()
}

/// Audits the whole record.
pub(super) async fn audit(store: &dyn Store) -> crate::record::AuditReport {
    let held = store.node_serials().await.unwrap().into_iter().map(|serial| holdfast_record::FoundCertificate {
        whence: "node".to_owned(),
        serial,
        content: None,
    });
    let mut audit = crate::record::Audit::of(held);
    let LedgerHead { size, root } = store.head().await.unwrap();
    audit.claim(size, root, crate::record::Claim::Head, "the store");
    let mut full = Vec::new();
    loop {
        let page = store.ledger_entries(audit.size(), 1000).await.unwrap();
        if page.is_empty() {
            break;
        }
        for entry in page {
            audit.entry(entry.index, &entry.leaf, Some(entry.hash), |tile, hashes| full.push((tile, hashes)));
        }
    }
    full.extend(audit.partial_tiles());
    for (tile, hashes) in full {
        let kept = store.tiles(vec![tile]).await.unwrap().remove(0).1;
        audit.tile(tile, &hashes, Some(&kept));
    }
    audit.finish()
}
