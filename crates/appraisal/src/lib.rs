//! Says whether verified evidence satisfies a policy, and what identity it earns: facts, reference values, the policy
//! language, the decision.
//!
//! Pure: reads no file, no clock, no network. Verifies no signature: that is `holdfast-evidence`.

#![forbid(unsafe_code)]

pub mod case;
pub mod decision;
mod document;
pub mod ear;
pub mod facts;
pub mod finding;
pub mod ima;
pub mod policy;
pub mod reference;
mod value;

pub use decision::{AppraisedNode, Appraiser, Decision, Grant, Ownership, Rejection, Verdict};
pub use document::{DOCUMENT_BYTES_MAX, Document};
pub use facts::{Fact, FactId, Facts};
pub use finding::{Finding, Severity};
pub use policy::Policy;
pub use reference::ReferenceValues;
pub use value::{Labelled, TEXT_BYTES_MAX, Value, ValueType, Version, digest_from_hex, digest_of};

/// The version of the policy language, as `api_version` spells it.
pub const API_VERSION: &str = "holdfast/1";
