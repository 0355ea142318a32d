//! The machine's TPM: one thread owns it, everyone else asks through [`Tpm`].
//!
//! Gathers evidence and signs with the keys that live in the chip. Judges nothing.

mod actor;
mod attestation;
mod chip;
mod endorsement;
mod fault;
mod identity;
mod keys;
mod leftovers;
mod nv;
mod ownership;
mod templates;

use std::path::PathBuf;

use zeroize::Zeroizing;

pub use actor::{Patience, Stall, Tpm};
pub use attestation::Signed;
pub use endorsement::EndorsementKey;
pub(crate) use endorsement::certificate::split as certificates;
pub use fault::TpmFault;
pub use identity::TpmIdentity;
pub use ownership::{DeviceKey, DevicePlace, Offer, Owned, Ownership};
pub use templates::name_of;

/// TPMT_PUBLIC of the RSA endorsement key's standard template (TCG EK Credential Profile, L-1).
pub(crate) fn endorsement_template() -> Vec<u8> {
    templates::Template::endorsement(templates::EkKind::Rsa2048, &[]).bytes()
}

/// How the chip is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interface {
    /// A character device: `/dev/tpmrm0`, or `/dev/tpm0` where nobody else uses it.
    Device(PathBuf),
    /// A software TPM of swtpm's protocol over TCP; its control port is `port + 1`.
    Swtpm {
        /// Name or address.
        host: String,
        /// The data port.
        port: u16,
    },
}

impl Interface {
    /// Whether someone between us and the chip swaps objects and sessions in and out, and cleans up after us: the
    /// kernel does on `/dev/tpmrm*`.
    #[must_use]
    pub fn has_resource_manager(&self) -> bool {
        match self {
            Self::Device(path) => path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tpmrm")),
            Self::Swtpm { .. } => false,
        }
    }
}

/// What the agent must know to use the chip.
#[derive(Debug, Clone)]
pub struct Access {
    /// Where it is.
    pub interface: Interface,
    /// Persistent handle of the attestation key.
    pub ak_handle: u32,
    /// Persistent handle of the node key.
    pub node_key_handle: u32,
    /// The owner hierarchy's authorisation value; `None` where none was configured, which is the empty value.
    pub owner_auth: Option<Zeroizing<Vec<u8>>>,
    /// The same for the endorsement hierarchy.
    pub endorsement_auth: Option<Zeroizing<Vec<u8>>>,
    /// What is offered beside the endorsement keys, and where it is.
    pub ownership: Ownership,
}

impl std::fmt::Display for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(path) => write!(f, "{}", path.display()),
            Self::Swtpm { host, port } => write!(f, "swtpm at {host}:{port}"),
        }
    }
}
