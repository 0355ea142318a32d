//! A simulated Nitro hypervisor: a chain from a root to a leaf of three hours, and attestation documents (COSE_Sign1,
//! ES384) as AWS's "nitro enclaves NSM API" describes them.

mod document;
mod pki;
mod spec;

pub use document::answer;
pub use pki::Hypervisor;
pub use spec::NitroSpec;
