//! What is known of an instance once its virtual TPM's quote is verified. Says nothing about admission.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::instance::Instance;
use crate::key::ProvenKey;
use crate::tpm::QuotedBoot;
use crate::x509::{RootIdentity, VerifiedPath};
use crate::{Provenance, TrustClass};

/// Verified claims of a Google Cloud instance; worth something inside [`Verified`](crate::Verified) only.
#[derive(Clone, Debug)]
pub struct GcpClaims {
    /// Who it is.
    pub instance: Instance,
    /// SHA-256 of the attestation key's `SubjectPublicKeyInfo`.
    pub ak_spki_sha256: [u8; 32],
    /// What the quote proves.
    pub boot: QuotedBoot,
    /// The path above the attestation key's certificate: keep it for the next quote of this instance.
    pub path: Arc<VerifiedPath>,
    /// The root that the certificate ends at.
    pub root: RootIdentity,
    /// The node key.
    pub node_key: ProvenKey,
    /// The earliest end of any certificate of the chain.
    pub not_after: UnixTime,
}

impl GcpClaims {
    /// The root's trust class.
    #[must_use]
    pub const fn class(&self) -> TrustClass {
        self.root.class
    }

    /// Who vouches for what is said here: the provider, or a simulator.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        match self.root.class {
            TrustClass::Simulated => Provenance::Simulated,
            TrustClass::Discrete | TrustClass::Firmware | TrustClass::Vtpm | TrustClass::Cloud => Provenance::Provider,
        }
    }
}
