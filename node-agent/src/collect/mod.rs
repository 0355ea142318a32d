//! Gathers this machine's evidence: one folder a kind, each behind [`Collector`]; what a machine has of them is found by
//! [`detect`], and [`Gatherer`] puts the items of one attestation together. Knows no server. Judges nothing.

mod assembly;
mod azure;
pub mod detect;
mod fault;
mod firmware_log;
mod gatherer;
mod gcp;
mod items;
pub mod launch;
mod measured_files;
mod nitro;
mod nitrotpm;
pub mod nsm;
mod quote;
mod simulated;
pub mod snp;
pub mod sources;
mod tdx;
mod tpm;
pub mod tsm;

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;

pub use assembly::Assembly;
pub use azure::ImdsFault;
pub use fault::CollectFault;
pub use firmware_log::FirmwareLogFile;
pub use gatherer::{Gatherer, Item};
pub use measured_files::MeasuredFilesFile;
pub use tpm::TpmCollector;

/// What the server wants beside the usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// The values of all PCRs asked, as claims.
    pub all_pcr_values: bool,
    /// The firmware log itself, though the server named its digest.
    pub firmware_log: bool,
    /// The list of measured files from its first byte.
    pub measured_files: bool,
}

/// Evidence of one kind on this machine.
pub trait Collector: Send + Sync {
    /// Which.
    fn kind(&self) -> EvidenceKind;

    /// What the machine says about itself before it is challenged. With `enrols`, everything by which a server that has
    /// never seen it can know it. Most kinds have nothing to say: their evidence names the machine.
    fn material(&self, enrols: bool) -> BoxFuture<'_, Result<Vec<u8>, CollectFault>> {
        let _ = enrols;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Reads what must be read before anything is signed, and says what that adds to the binding.
    fn prepare<'a>(
        &'a self,
        ask: &'a [u8],
        extras: Extras,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared + 'a>, CollectFault>>;

    /// An answer with `extras` was admitted.
    fn learn(&self, extras: Extras) {
        let _ = extras;
    }
}

/// An item that only waits for its binding.
pub trait Prepared: Send {
    /// What it adds to the binding.
    fn part(&self) -> Part;

    /// Has the binding signed, and returns the item as it travels.
    fn finish<'a>(self: Box<Self>, signed: Signed) -> BoxFuture<'a, Result<Vec<u8>, CollectFault>>
    where
        Self: 'a;
}

/// What one item adds to the binding of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Name of a TPM's attestation key; of a virtual one, SHA-256 of its SubjectPublicKeyInfo. Empty for other kinds.
    pub ak_name: Vec<u8>,
    /// SHA-256 of endorsement certificates, as the ask has them.
    pub ek_certificates: Vec<[u8; 32]>,
    /// TPML_PCR_SELECTION asked; empty where no PCRs are quoted.
    pub selection: Vec<u8>,
    /// SHA-256 of the firmware's log, where there is one.
    pub firmware_log: Option<[u8; 32]>,
}

/// What an item signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// The digest over everything that the attestation is about.
    pub binding: [u8; 32],
    /// The server's nonce, for evidence with a field of its own for it; the binding covers it too.
    pub nonce: [u8; 32],
}

impl Signed {
    /// The binding in 64 bytes of report data; the rest is zero.
    #[must_use]
    pub fn report_data(&self) -> [u8; 64] {
        let mut data = [0; 64];
        let (start, _) = data.split_at_mut(self.binding.len());
        start.copy_from_slice(&self.binding);
        data
    }
}

/// Runs something that blocks on a device, where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CollectFault> + Send + 'static,
) -> Result<T, CollectFault> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(CollectFault::Ended))
}
