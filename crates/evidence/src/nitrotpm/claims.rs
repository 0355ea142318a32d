//! What is known of an EC2 instance once its NitroTPM's document is verified. Says nothing about admission.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use crate::crypto::Digest;
use crate::key::ProvenKey;
use crate::nitro::{ModuleId, VerifiedChain, provenance};
use crate::x509::RootIdentity;
use crate::{Provenance, TrustClass};

/// Verified claims of a NitroTPM; worth something inside [`Verified`](crate::Verified) only.
#[derive(Clone, Debug)]
pub struct NitroTpmClaims {
    /// The module: its instance id names a node.
    pub module_id: ModuleId,
    /// The region, where the certificate says it.
    pub region: Option<String>,
    /// When the document was made, milliseconds since 1970.
    pub timestamp: u64,
    /// Every PCR that the document has, SHA-384, ascending.
    pub pcrs: Vec<(u8, Digest)>,
    /// A key that somebody on the instance asked to have signed along. Nothing says that it lives in the TPM.
    pub public_key: Option<Vec<u8>>,
    /// The chain: keep it for the next document of this instance.
    pub chain: Arc<VerifiedChain>,
    /// The root that the chain ends at.
    pub root: RootIdentity,
    /// The node key.
    pub node_key: ProvenKey,
    /// The earliest end of any certificate of the chain: at most three hours away.
    pub not_after: UnixTime,
}

impl NitroTpmClaims {
    /// The root's trust class.
    #[must_use]
    pub const fn class(&self) -> TrustClass {
        self.root.class
    }

    /// Who vouches for what is said here: the provider's hypervisor, or a simulator.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        provenance(self.class())
    }
}
