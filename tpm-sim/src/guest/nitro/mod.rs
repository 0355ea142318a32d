//! A simulated Nitro hypervisor: a chain from a root to a leaf of three hours, and attestation documents (COSE_Sign1,
//! ES384) as AWS's "nitro enclaves NSM API" describes them, for enclaves and for instances with a NitroTPM.

mod cbor;
mod document;
mod pki;
mod spec;

pub(crate) use document::respond;
pub use document::{Asked, Measured, answer, document, enclave_document};
pub use pki::Hypervisor;
pub(crate) use spec::new_instance;
pub use spec::{DocumentSpec, Lie, NitroSpec};
