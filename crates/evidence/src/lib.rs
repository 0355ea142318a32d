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
//! The same checks can be made again from what a record kept: [`RecordedChallenge`] leads to [`Replayed`], of which no
//! identity comes.
//!
//! Decides nothing about admission: that is `crates/appraisal`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests draw their own randomness and read vectors"))]

mod asked;
pub mod azure;
pub mod binding;
pub mod challenge;
mod class;
pub mod crypto;
mod error;
mod evidence;
pub mod gcp;
pub mod json;
pub mod key;
mod launch;
pub mod nitro;
pub mod nitrotpm;
pub mod reader;
pub mod recorded;
pub mod snp;
pub mod tdx;
pub mod tpm;
pub mod x509;

pub use binding::{Binding, BindingFields, binding_digest};
pub use challenge::{AnsweringKey, Challenge, ChallengeRefused, Commitment, ItemState, Purpose, SealRing};
pub use class::{EvidenceKind, Provenance, TrustClass, UnknownName};
pub use error::{Defect, Malformed, Structure};
pub use evidence::{Evidence, Verified};
pub use key::{ClaimedKey, ProvenKey, Unproven};
pub use launch::{SnpLaunch, TdxLaunch};
pub use recorded::{RecordedBinding, RecordedChallenge, Replayed};
