//! Which kinds this machine attests with: as configured, or found out once and remembered, so that a device that comes
//! up late or breaks is a fault and not weaker evidence.

use std::sync::Arc;

use holdfast_evidence::EvidenceKind;
use holdfast_identity::TrustDomain;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::azure::AzureCollector;
use super::detect::detect;
use super::gcp::GcpCollector;
use super::nitro::NitroCollector;
use super::nitrotpm::NitroTpmCollector;
use super::snp::{SnpCollector, sev_guest};
use super::sources::{Sources, Wanted};
use super::tdx::TdxCollector;
use super::tsm::{self, Tsm};
use super::{CollectFault, Collector, FirmwareLogFile, Gatherer, TpmCollector, blocking, nsm};
use crate::node_key::NodeKey;
use crate::state::StateDir;
use crate::tpm::{Access, Tpm};

/// The file in the state directory.
const FILE: &str = "evidence.json";

/// What the state directory remembers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// The kinds that the server has admitted this machine with.
    kinds: Vec<String>,
}

/// Puts the gatherer together when it is first needed.
pub struct Assembly {
    parts: Option<Parts>,
    built: Mutex<Option<Arc<Gatherer>>>,
}

/// What collectors are made of.
struct Parts {
    sources: Sources,
    access: Access,
    tpm: Tpm,
    firmware_log: FirmwareLogFile,
    trust_domain: TrustDomain,
    state: StateDir,
    /// Made once: a machine that is assembled anew keeps its key.
    memory_key: Mutex<Option<NodeKey>>,
}

impl Assembly {
    /// Always this gatherer.
    #[must_use]
    pub fn fixed(gatherer: Gatherer) -> Self {
        Self { parts: None, built: Mutex::new(Some(Arc::new(gatherer))) }
    }

    /// As `sources` say. `tpm` is used for kind `tpm` alone; the other kinds on a TPM open it themselves.
    #[must_use]
    pub fn new(
        sources: Sources,
        access: Access,
        tpm: Tpm,
        firmware_log: FirmwareLogFile,
        trust_domain: TrustDomain,
        state: StateDir,
    ) -> Self {
        let memory_key = Mutex::new(None);
        let parts = Parts { sources, access, tpm, firmware_log, trust_domain, state, memory_key };
        Self { parts: Some(parts), built: Mutex::new(None) }
    }

    /// The gatherer of this machine's kinds.
    ///
    /// # Errors
    /// [`CollectFault`] where the machine has nothing, or something that cannot be used.
    pub async fn gatherer(&self) -> Result<Arc<Gatherer>, CollectFault> {
        let mut built = self.built.lock().await;
        if let Some(gatherer) = built.as_ref() {
            return Ok(Arc::clone(gatherer));
        }
        let Some(parts) = &self.parts else { return Err(CollectFault::Nothing) };
        let kinds = parts.kinds().await?;
        let gatherer = Arc::new(parts.gatherer(&kinds).await?);
        let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
        tracing::info!(kinds = names.join(","), node_key = ?gatherer.node_key(), "evidence of this machine");
        *built = Some(Arc::clone(&gatherer));
        Ok(gatherer)
    }

    /// The server admitted the machine with these kinds: from now on it attests with them, and not with less.
    pub fn admitted(&self, kinds: &[EvidenceKind]) {
        let Some(parts) = self.parts.as_ref().filter(|parts| parts.sources.wanted == Wanted::Auto) else { return };
        if parts.remembered().as_deref() == Some(kinds) {
            return;
        }
        let kinds = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
        if let Err(fault) = parts.state.write(FILE, &Remembered { kinds }) {
            tracing::warn!(code = fault.code(), error = %fault, "kinds of evidence not remembered");
        }
    }

    /// The server refused the machine: what it has is looked for anew.
    pub async fn refused(&self) {
        let Some(parts) = self.parts.as_ref().filter(|parts| parts.sources.wanted == Wanted::Auto) else { return };
        if let Err(fault) = parts.state.remove(FILE) {
            tracing::warn!(code = fault.code(), error = %fault, "kinds of evidence not forgotten");
        }
        *self.built.lock().await = None;
    }
}

impl Parts {
    async fn kinds(&self) -> Result<Vec<EvidenceKind>, CollectFault> {
        if let Wanted::These(kinds) = &self.sources.wanted {
            return Ok(kinds.clone());
        }
        if let Some(kinds) = self.remembered() {
            return Ok(kinds);
        }
        let (sources, access) = (self.sources.clone(), self.access.clone());
        blocking(move || detect(&sources, &access).chosen(&sources.wanted)).await
    }

    /// `None` for a file that is not there, or not ours: the machine is looked at instead.
    fn remembered(&self) -> Option<Vec<EvidenceKind>> {
        let kinds = self.state.read::<Remembered>(FILE).ok().flatten()?.kinds;
        match kinds.join(",").parse() {
            Ok(Wanted::These(kinds)) => Some(kinds),
            Ok(Wanted::Auto) | Err(_) => None,
        }
    }

    async fn gatherer(&self, kinds: &[EvidenceKind]) -> Result<Gatherer, CollectFault> {
        let node_key = if kinds.contains(&EvidenceKind::Tpm) {
            NodeKey::Tpm(self.tpm.clone())
        } else {
            let mut made = self.memory_key.lock().await;
            match made.as_ref() {
                Some(key) => key.clone(),
                None => made.insert(NodeKey::in_memory()?).clone(),
            }
        };
        let collectors = kinds.iter().map(|kind| self.collector(*kind)).collect();
        Ok(Gatherer::new(collectors, node_key, self.trust_domain.clone()))
    }

    fn collector(&self, kind: EvidenceKind) -> Box<dyn Collector> {
        let (sources, access, log) = (&self.sources, self.access.clone(), self.firmware_log.clone());
        let tsm = || Tsm::new(tsm::files(&sources.tsm));
        match kind {
            EvidenceKind::Snp => Box::new(SnpCollector::new(tsm(), sev_guest(&sources.sev_guest))),
            EvidenceKind::Tdx => Box::new(TdxCollector::new(tsm(), &sources.tdx_event_log)),
            EvidenceKind::Nitro => Box::new(NitroCollector(nsm::device(&sources.nsm))),
            EvidenceKind::Tpm => Box::new(TpmCollector::new(self.tpm.clone(), log)),
            EvidenceKind::NitroTpm => Box::new(NitroTpmCollector::new(access, sources.nitrotpm_program.clone())),
            EvidenceKind::Azure => Box::new(AzureCollector::new(access, log, sources.azure_imds.clone())),
            EvidenceKind::Gcp => Box::new(GcpCollector::new(access, log)),
        }
    }
}
