//! What the record keeps of an attempt beside its entry: collects, while the evidence is verified, everything that it is
//! verified with, and writes the manifest of it. Decides nothing.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use holdfast_evidence::azure::AzureEndorsements;
use holdfast_evidence::snp::SnpEndorsements;
use holdfast_evidence::tdx::{KnownCollateral, TdxEndorsements};
use holdfast_evidence::x509::Roots;
use holdfast_evidence::{Challenge, EvidenceKind};
use holdfast_identity::UnixTime;
use holdfast_proof::{
    Body, BodyKind, Cut, Digest, ItemRecord, MANIFEST_VERSION, MakersBelieved, Manifest, MeasuredFilesRecord, NodeKey,
    Offered, OwnershipRecord, TrustDocument, VerifiedWith, cut_challenge, cut_item, cut_measured_files, whole,
};

use super::Desk;
use super::allowance::{Granted, Wanted};
use super::complete::Examined;
use super::evidence::Machine;
use super::measured_files::MeasuredFiles;
use super::offers::Offer;
use super::rules::Rules;
use super::whose::Owned;
use crate::store::{Attempt, Evidence, KeptBody, Sha256, Subject};

/// Sets of roots whose documents are kept ready: one a kind of evidence, and those of before the last change.
const TRUSTS_KEPT: usize = 24;

/// What was gathered of one attempt.
#[derive(Debug)]
pub(super) struct Gathered {
    challenge: Cut,
    key: KeyAsClaimed,
    pub(super) offer: Option<Offer>,
    pub(super) items: Vec<GatheredItem>,
}

/// The node key as claimed.
#[derive(Debug)]
pub(super) enum KeyAsClaimed {
    Request(Vec<u8>),
    PublicKey(Vec<u8>),
}

/// One item, and what it was verified with; `None` if it was not looked at.
#[derive(Debug)]
pub(super) struct GatheredItem {
    pub(super) kind: EvidenceKind,
    pub(super) bytes: Bytes,
    pub(super) with: Option<With>,
}

/// What one item is verified with.
#[derive(Debug, Default)]
pub(super) struct With {
    pub(super) at: UnixTime,
    pub(super) roots: Option<Arc<Roots>>,
    pub(super) known_log: Option<[u8; 32]>,
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) collateral: Option<Vec<u8>>,
}

impl Gathered {
    pub(super) fn new(challenge: &Challenge, key: KeyAsClaimed, items: &[(EvidenceKind, Bytes)]) -> Self {
        let items =
            items.iter().map(|(kind, bytes)| GatheredItem { kind: *kind, bytes: bytes.clone(), with: None }).collect();
        Self { challenge: cut_challenge(challenge), key, offer: None, items }
    }

    /// Takes note of what the item of this kind is verified with.
    pub(super) fn note(&mut self, kind: EvidenceKind, with: With) {
        if let Some(item) = self.items.iter_mut().find(|item| item.kind == kind) {
            item.with = Some(with);
        }
    }
}

impl With {
    pub(super) fn note_snp(&mut self, endorsements: &SnpEndorsements) {
        self.roots = Some(Arc::clone(&endorsements.roots));
        let verified = endorsements.verified.iter().flat_map(|vek| vek.certificates().iter().cloned());
        self.certificates = verified.chain(endorsements.certificates.iter().cloned()).collect();
    }

    pub(super) fn note_tdx(&mut self, endorsements: &TdxEndorsements) {
        self.roots = Some(Arc::clone(&endorsements.roots));
        self.collateral = match &endorsements.collateral {
            KnownCollateral::None => None,
            KnownCollateral::Fetched(collateral) => Some(collateral.encode()),
            KnownCollateral::Checked(checked) => Some(checked.collateral().encode()),
        };
    }

    pub(super) fn note_azure(&mut self, endorsements: &AzureEndorsements) {
        self.note_snp(&endorsements.snp);
        self.note_tdx(&endorsements.tdx);
        self.roots = Some(Arc::clone(&endorsements.roots));
    }
}

/// Documents about sets of roots, ready made: the sets change when an operator imports something.
#[derive(Debug, Default)]
pub(super) struct KnownTrust(Mutex<Vec<Known>>);

#[derive(Clone, Debug)]
struct Known {
    roots: Arc<Roots>,
    document: Digest,
    bodies: Arc<[KeptBody]>,
}

impl KnownTrust {
    fn of(&self, roots: &Arc<Roots>) -> Known {
        let find = |known: &[Known]| known.iter().find(|known| Arc::ptr_eq(&known.roots, roots)).cloned();
        if let Some(known) = find(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return known;
        }
        let (document, bodies) = TrustDocument::of(roots);
        let known = Known { roots: Arc::clone(roots), document, bodies: bodies.into_iter().map(kept).collect() };
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= TRUSTS_KEPT {
            table.remove(0);
        }
        table.push(known.clone());
        known
    }
}

impl Desk {
    /// What is kept of an attempt that is judged: its manifest, and what that names, as far as there is room.
    pub(super) fn keep_evidence(
        &self,
        examined: &Examined,
        attempt: &Attempt,
        owned: &Owned,
        rules: &Rules,
        files: &MeasuredFiles,
    ) -> Evidence {
        let ownership = Machine::ownership(&owned.held);
        let list = examined.measured_files.as_ref().map(|(offset, list)| (*offset, list.as_ref(), files));
        let mut evidence = evidence(&examined.gathered, attempt, &ownership, rules, &self.trusts, list);
        let granted = self.granted(&evidence, examined, attempt, owned);
        let reason = if self.space.is_low() { "storage_low" } else { "allowance" };
        if granted != Granted::All {
            // The entry says by what it was judged; the room that is left is for entries.
            metrics::counter!("holdfast_evidence_not_kept_total", "reason" => reason).increment(1);
            evidence.bodies.clear();
            evidence.keeps_text = granted == Granted::Text;
        }
        evidence
    }

    /// What of it the machine may have kept today. A decision's text may be as long as what the machine shows, and a new one
    /// each time.
    fn granted(&self, evidence: &Evidence, examined: &Examined, attempt: &Attempt, owned: &Owned) -> Granted {
        let proven = match &attempt.subject {
            Subject::Proven(marks) => marks.proven.first(),
            Subject::Known(_) => None,
        };
        let mark = proven.or_else(|| owned.held.node.as_ref()?.marks.first()).map(|mark| mark.digest);
        // Who has no mark at all is whoever renews on that connection.
        let machine = mark.unwrap_or_else(|| Sha256::of(format!("{:?}", examined.renewing).as_bytes()));
        let text = attempt.decision.as_bytes();
        let wanted = Wanted {
            evidence: (!self.space.is_low()).then(|| machines_own(evidence)),
            text: (Sha256::of(text), text.len() as u64),
        };
        self.allowance.take(machine, owned.whose(), wanted, attempt.at)
    }
}

/// Writes the manifest of an attempt, with all that it names.
fn evidence(
    gathered: &Gathered,
    attempt: &Attempt,
    ownership: &holdfast_appraisal::Ownership,
    rules: &Rules,
    trusts: &KnownTrust,
    list: Option<(u64, &[u8], &MeasuredFiles)>,
) -> Evidence {
    let mut bodies: Vec<KeptBody> = gathered.challenge.bodies.iter().cloned().map(kept).collect();
    let mut named = |cut: Cut| {
        bodies.extend(cut.bodies.into_iter().map(kept));
        cut.pieces
    };
    let node_key = match &gathered.key {
        KeyAsClaimed::Request(csr) => NodeKey::Request(named(whole(BodyKind::Evidence, csr))),
        KeyAsClaimed::PublicKey(spki) => NodeKey::PublicKey(named(whole(BodyKind::Evidence, spki))),
    };
    let mut items = Vec::with_capacity(gathered.items.len());
    for item in &gathered.items {
        let pieces = named(cut_item(item.kind, &item.bytes));
        items.push(ItemRecord { kind: item.kind.as_str().to_owned(), pieces, verified: None });
    }
    let measured_files = list.map(|(offset, list, files)| MeasuredFilesRecord {
        offset,
        list: named(cut_measured_files(list)),
        before: files.before.clone(),
    });
    for (record, item) in items.iter_mut().zip(&gathered.items) {
        record.verified = item.with.as_ref().map(|with| verified_with(with, trusts, &mut bodies));
    }
    let offered = gathered.offer.as_ref().map(|offer| {
        let mut believed = |roots| {
            let trust = trusts.of(roots);
            bodies.extend(trust.bodies.iter().cloned());
            trust.document
        };
        let trust = believed(&offer.roots);
        let makers = offer.makers.as_ref().map(|makers| MakersBelieved {
            platforms: believed(&makers.platforms),
            devices: believed(&makers.devices),
        });
        let material = Body::new(BodyKind::Material, offer.material.clone());
        let offered = Offered { material: material.digest, trust, makers, verified_at: offer.at.seconds() };
        bodies.push(kept(material));
        offered
    });
    let observed = rules.observed().filter(|_| attempt.policy.is_some());
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        attempt: attempt.id.to_string(),
        judged_at: attempt.at.seconds(),
        challenge: gathered.challenge.pieces.clone(),
        node_key,
        offered,
        items,
        measured_files,
        ownership: OwnershipRecord::of(ownership),
        policy: attempt.policy.map(|digest| Digest(digest.0)),
        observed: observed.map(|observed| Digest(observed.digest.0)),
        decision: Digest::of(attempt.decision.as_bytes()),
    };
    let manifest = kept(Body::new(BodyKind::Manifest, manifest.encode()));
    let digest = manifest.digest;
    bodies.push(manifest);
    Evidence { manifest: digest, bodies, keeps_text: true }
}

/// Bytes that the machine itself brought, or that are about this attempt alone; what vendors and operators say is shared.
fn machines_own(evidence: &Evidence) -> u64 {
    let shared = [BodyKind::Trust, BodyKind::Authority, BodyKind::RevocationList, BodyKind::Collateral];
    let own = evidence.bodies.iter().filter(|body| shared.iter().all(|kind| kind.as_str() != body.kind));
    own.filter_map(|body| body.bytes.as_ref()).map(|bytes| bytes.len() as u64).sum()
}

fn verified_with(with: &With, trusts: &KnownTrust, bodies: &mut Vec<KeptBody>) -> VerifiedWith {
    let mut keep = |kind, bytes: &[u8]| {
        let body = Body::new(kind, bytes.to_vec());
        let digest = body.digest;
        bodies.push(kept(body));
        digest
    };
    let certificates = with.certificates.iter().map(|der| keep(BodyKind::Certificates, der)).collect();
    let collateral = with.collateral.as_ref().map(|text| keep(BodyKind::Collateral, text));
    let trust = with.roots.as_ref().map(|roots| trusts.of(roots));
    bodies.extend(trust.iter().flat_map(|trust| trust.bodies.iter().cloned()));
    // Its bytes are held since the machine sent them; it is used again.
    bodies.extend(with.known_log.map(|log| KeptBody {
        kind: BodyKind::EventLog.as_str(),
        digest: Sha256(log),
        bytes: None,
    }));
    VerifiedWith {
        at: with.at.seconds(),
        trust: trust.map(|trust| trust.document),
        known_log: with.known_log.map(Digest),
        certificates,
        collateral,
    }
}

fn kept(body: Body) -> KeptBody {
    KeptBody { kind: body.kind.as_str(), digest: Sha256(body.digest.0), bytes: Some(body.bytes.into()) }
}
