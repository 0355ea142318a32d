//! Challenge, binding, proven keys; parsing and verifying of hardware evidence, one folder per kind.
//!
//! Pure: no I/O, no clock, no global randomness, no `unsafe`. Time comes in as [`holdfast_identity::UnixTime`],
//! randomness as [`crypto::SecureRandom`]. A check that happened is a value that only the checker makes:
//!
//! ```text
//! Challenge::draw ─seal─▶ (travels with the agent) ─open─▶ Challenge ─answer(ClaimedKey)─▶ Binding
//! Evidence::parse ───────────────────────────────────────── verify(&Binding) ─▶ Verified<Claims> (ProvenKey inside)
//! ```
//!
//! Decides nothing about admission: that is `crates/appraisal`.
#![forbid(unsafe_code)]

mod class;
pub mod crypto;
mod error;
pub mod reader;
pub mod tpm;

pub use class::{EvidenceKind, Provenance, TrustClass, UnknownName};
pub use error::{Defect, Malformed, Structure};
