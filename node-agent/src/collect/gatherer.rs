//! One attestation's items: gathered in the order of a composite, each over a binding of its own that covers the items
//! before it.

use std::time::Instant;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::binding::{BindingFields, binding_digest};
use holdfast_identity::TrustDomain;

use super::{CollectFault, Collector, Extras, Part, Signed, TpmCollector};
use crate::node_key::NodeKey;
use crate::tpm::Tpm;

/// Bytes of one kind: its material, what was asked of it, or its item.
pub type Item = (EvidenceKind, Vec<u8>);

/// The kinds that this machine attests with, and the key that its certificate is for.
pub struct Gatherer {
    collectors: Vec<Box<dyn Collector>>,
    node_key: NodeKey,
    trust_domain: TrustDomain,
}

impl Gatherer {
    /// A gatherer of these kinds.
    #[must_use]
    pub fn new(mut collectors: Vec<Box<dyn Collector>>, node_key: NodeKey, trust_domain: TrustDomain) -> Self {
        collectors.sort_by_key(|collector| collector.kind());
        Self { collectors, node_key, trust_domain }
    }

    /// A gatherer of a TPM's evidence alone.
    #[must_use]
    pub fn tpm(tpm: &Tpm, firmware_log: super::FirmwareLogFile, trust_domain: TrustDomain) -> Self {
        let collector = TpmCollector::new(tpm.clone(), firmware_log);
        Self::new(vec![Box::new(collector)], NodeKey::Tpm(tpm.clone()), trust_domain)
    }

    /// The kinds, in the order of a composite.
    #[must_use]
    pub fn kinds(&self) -> Vec<EvidenceKind> {
        self.collectors.iter().map(|collector| collector.kind()).collect()
    }

    /// The node key.
    #[must_use]
    pub const fn node_key(&self) -> &NodeKey {
        &self.node_key
    }

    /// What the machine says about itself, kind by kind.
    ///
    /// # Errors
    /// [`CollectFault`] of the first kind that fails.
    pub async fn materials(&self, enrols: bool) -> Result<Vec<Item>, CollectFault> {
        let mut materials = Vec::with_capacity(self.collectors.len());
        for collector in &self.collectors {
            materials.push((collector.kind(), collector.material(enrols).await?));
        }
        Ok(materials)
    }

    /// The items that answer `asks`: of our kinds, those that the server wants, in our order. What it does not want is
    /// not gathered, and bound to nothing.
    ///
    /// # Errors
    /// [`CollectFault`] of the first kind that fails; [`CollectFault::Asks`] for asks that are none of ours.
    pub async fn items(&self, asks: &[Item], nonce: &[u8; 32], extras: Extras) -> Result<Vec<Item>, CollectFault> {
        let kinds: Vec<EvidenceKind> = asks.iter().map(|(kind, _)| *kind).collect();
        if kinds.is_empty() || !kinds.is_sorted_by(|former, latter| former < latter) {
            return Err(CollectFault::Asks);
        }
        let node_key_spki = self.node_key.spki().await?;
        let mut prepared = Vec::with_capacity(kinds.len());
        for (kind, ask) in asks {
            prepared.push(self.collector(*kind)?.prepare(ask, extras).await?);
        }
        let parts: Vec<Part> = prepared.iter().map(|item| item.part()).collect();
        // At most one item has a TPM's key and selection in it.
        let tpm = parts.iter().find(|part| !part.selection.is_empty()).cloned().unwrap_or_default();
        let mut others: Vec<[u8; 32]> = Vec::with_capacity(kinds.len());
        let mut items = Vec::with_capacity(kinds.len());
        for ((kind, part), item) in kinds.iter().zip(&parts).zip(prepared) {
            let binding = binding_digest(&BindingFields {
                trust_domain: &self.trust_domain,
                kinds: &kinds,
                nonce,
                ak_name: &tpm.ak_name,
                node_key_spki: &node_key_spki,
                ek_certificates: &tpm.ek_certificates,
                selection: &tpm.selection,
                firmware_log: part.firmware_log.as_ref(),
                others: &others,
            });
            let started = Instant::now();
            let bytes = item.finish(Signed { binding, nonce: *nonce }).await?;
            metrics::histogram!("holdfast_agent_evidence_seconds", "kind" => kind.as_str())
                .record(started.elapsed().as_secs_f64());
            others.push(sha256(&bytes));
            items.push((*kind, bytes));
        }
        Ok(items)
    }

    /// The item of one kind alone, over a binding that is given and bound to nothing else.
    ///
    /// # Errors
    /// [`CollectFault`]; [`CollectFault::Asks`] for a kind that is not among ours.
    pub async fn alone(&self, kind: EvidenceKind, ask: &[u8], signed: Signed) -> Result<Vec<u8>, CollectFault> {
        self.collector(kind)?.prepare(ask, Extras::default()).await?.finish(signed).await
    }

    fn collector(&self, kind: EvidenceKind) -> Result<&dyn Collector, CollectFault> {
        let collector = self.collectors.iter().find(|collector| collector.kind() == kind);
        collector.map(AsRef::as_ref).ok_or(CollectFault::Asks)
    }

    /// An answer with `extras` was admitted.
    pub fn learn(&self, extras: Extras) {
        self.collectors.iter().for_each(|collector| collector.learn(extras));
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}
