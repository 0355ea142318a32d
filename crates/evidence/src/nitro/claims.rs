//! What is known of an enclave once its document is verified. Says nothing about admission.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::chain::VerifiedChain;
use super::document::Pcrs;
use super::module::ModuleId;
use crate::crypto::Digest;
use crate::key::ProvenKey;
use crate::x509::RootIdentity;
use crate::{Provenance, TrustClass};

/// Verified claims of an enclave; worth something inside [`Verified`](crate::Verified) only.
#[derive(Clone, Debug)]
pub struct NitroClaims {
    /// The enclave, one launch of it: names a node.
    pub module_id: ModuleId,
    /// The region, where the certificate says it.
    pub region: Option<String>,
    /// When the document was made, milliseconds since 1970.
    pub timestamp: u64,
    /// Every PCR that the document has, ascending. All zero means that nothing was measured there.
    pub pcrs: Vec<(u8, Digest)>,
    /// A key that the enclave asked to have signed along.
    pub public_key: Option<Vec<u8>>,
    /// The chain: keep it for the next document of this enclave.
    pub chain: Arc<VerifiedChain>,
    /// The root that the chain ends at.
    pub root: RootIdentity,
    /// The node key.
    pub node_key: ProvenKey,
    /// The earliest end of any certificate of the chain: at most three hours away.
    pub not_after: UnixTime,
}

impl NitroClaims {
    /// The root's trust class.
    #[must_use]
    pub const fn class(&self) -> TrustClass {
        self.root.class
    }

    /// Who vouches for what is said here.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        provenance(self.class())
    }
}

/// The Nitro hypervisor is the provider's software, whatever class its root was given; or a simulator.
pub(crate) const fn provenance(class: TrustClass) -> Provenance {
    match class {
        TrustClass::Simulated => Provenance::Simulated,
        TrustClass::Discrete | TrustClass::Firmware | TrustClass::Vtpm | TrustClass::Cloud => Provenance::Provider,
    }
}

/// The PCRs of a document whose sizes were checked.
pub(crate) fn digests(pcrs: &Pcrs<'_>) -> Vec<(u8, Digest)> {
    pcrs.iter().map(|(number, value)| (number, Digest::copied(value))).collect()
}
