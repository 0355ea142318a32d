//! Puts a proof together: everything that the store keeps of one attempt, to be checked by whoever reads it. Judges
//! nothing, and leaves out nothing that is there.

use std::collections::BTreeSet;

use holdfast_appraisal::policy::{Bundle, BundleFile};
use holdfast_proof::{
    Blob, Bodies as BodyTable, Digest, Manifest, PROOF_BODIES_MAX, PROOF_MEDIA_TYPE, ProofBody, ProofBundle,
    TrustDocument,
};
use holdfast_record::{InclusionProof, SignedCheckpoint};

use crate::store::{AttemptId, BODIES_AT_ONCE, PolicyDigest, PolicyVersion, Sha256, Store, StoreFault};

/// What is kept of one attempt.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its entry's place in the record.
    pub index: u64,
    /// The entry's bytes.
    pub entry: Vec<u8>,
    decision: Option<String>,
    manifest: Option<Vec<u8>>,
    policies: Vec<Bundle>,
    bodies: Vec<ProofBody>,
}

impl Kept {
    /// Reads what is kept; `None` if there is no such attempt.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn read(store: &dyn Store, attempt: AttemptId) -> Result<Option<Self>, StoreFault> {
        let Some(record) = store.attempt(attempt).await? else { return Ok(None) };
        let entry = store.ledger_entries(record.index, 1).await?.into_iter().next();
        let entry = entry.filter(|entry| entry.index == record.index);
        let entry = entry.ok_or(StoreFault::Corrupt { what: "attempt without its entry" })?;
        let mut kept = Self {
            index: record.index,
            entry: entry.leaf,
            decision: Some(record.decision).filter(|decision| !decision.is_empty()),
            manifest: None,
            policies: Vec::new(),
            bodies: Vec::new(),
        };
        kept.add_policy(store, record.policy).await?;
        let Some(digest) = record.manifest else { return Ok(Some(kept)) };
        let Some((_, bytes)) = store.bodies(vec![digest]).await?.into_iter().next() else { return Ok(Some(kept)) };
        if let Ok(manifest) = Manifest::parse(&bytes) {
            let observed = manifest.observed.map(|digest| Sha256(digest.0));
            if observed != record.policy {
                kept.add_policy(store, observed).await?;
            }
            kept.add_bodies(store, &manifest).await?;
        }
        kept.manifest = Some(bytes);
        Ok(Some(kept))
    }

    /// The proof that the entry in `inclusion` was judged so.
    #[must_use]
    pub fn proof(self, inclusion: InclusionProof, checkpoint: SignedCheckpoint) -> ProofBundle {
        ProofBundle {
            media_type: PROOF_MEDIA_TYPE.to_owned(),
            entry: Blob(self.entry),
            inclusion,
            checkpoint,
            decision: self.decision,
            manifest: self.manifest.map(Blob),
            policies: self.policies,
            bodies: self.bodies,
        }
    }

    async fn add_policy(&mut self, store: &dyn Store, digest: Option<PolicyDigest>) -> Result<(), StoreFault> {
        let Some(digest) = digest else { return Ok(()) };
        self.policies.extend(store.policy(digest).await?.and_then(bundle));
        Ok(())
    }

    /// What the manifest names, and what its trust documents name.
    async fn add_bodies(&mut self, store: &dyn Store, manifest: &Manifest) -> Result<(), StoreFault> {
        let mut table = BodyTable::default();
        let trusts = manifest.trusts();
        read(store, trusts.iter().copied(), &mut table).await?;
        let mut named: BTreeSet<Digest> = manifest.names().into_iter().collect();
        for trust in &trusts {
            named.extend(TrustDocument::read(trust, &table).iter().flat_map(TrustDocument::names));
        }
        read(store, named.iter().copied().take(PROOF_BODIES_MAX), &mut table).await?;
        let found = named.iter().filter_map(|digest| Some((*digest, table.get(digest)?)));
        self.bodies = found.map(|(sha256, bytes)| ProofBody { sha256, content: Blob(bytes.to_vec()) }).collect();
        Ok(())
    }
}

async fn read(
    store: &dyn Store,
    digests: impl Iterator<Item = Digest>,
    table: &mut BodyTable,
) -> Result<(), StoreFault> {
    let wanted: Vec<Sha256> = digests.map(|digest| Sha256(digest.0)).collect();
    for some in wanted.chunks(BODIES_AT_ONCE) {
        for (_, bytes) in store.bodies(some.to_vec()).await? {
            table.add(bytes);
        }
    }
    Ok(())
}

/// A version as policies are carried; `None` for one without documents, which compiles nowhere.
fn bundle(version: PolicyVersion) -> Option<Bundle> {
    let mut files =
        version.documents.into_iter().map(|document| BundleFile { name: document.name, text: document.text });
    Some(Bundle { policy: files.next()?, references: files.collect() })
}
