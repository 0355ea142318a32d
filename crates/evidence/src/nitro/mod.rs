//! Evidence of kind `nitro`: attestation documents of AWS Nitro Enclaves. What they share with NitroTPM's (envelope,
//! payload, certificates) is here too.

mod cbor;
mod chain;
pub mod checks;
mod claims;
mod cose;
mod document;
mod error;
mod item;
mod kind;
mod module;
mod refusal;
mod verify;

pub use chain::{VerifiedChain, chain_id, verify_chain};
pub use claims::NitroClaims;
pub use cose::{Algorithm, CoseSign1, DOCUMENT_BYTES_MAX, SIGNATURE_BYTES};
pub use document::{CABUNDLE_MAX, Document, PCRS_MAX, Pcrs};
pub use error::Unverified;
pub use item::NitroItem;
pub use kind::DocumentKind;
pub use module::ModuleId;
pub use refusal::{ChainRefused, DocumentRefused};
pub use verify::{NitroEndorsements, NitroEvidence, NitroWants};

pub(crate) use claims::{digests, provenance};
pub(crate) use item::{encode as encode_item, parse as parse_item};
pub(crate) use verify::verify_document;
