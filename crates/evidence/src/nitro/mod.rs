//! Evidence of kind `nitro`: attestation documents of AWS Nitro Enclaves. What they share with NitroTPM's (envelope,
//! payload, certificates) is here too.

mod cbor;
mod cose;
mod document;
mod kind;
mod module;

pub use cose::{Algorithm, CoseSign1, DOCUMENT_BYTES_MAX, SIGNATURE_BYTES};
pub use document::{CABUNDLE_MAX, Document, PCRS_MAX, Pcrs};
pub use kind::DocumentKind;
pub use module::ModuleId;
