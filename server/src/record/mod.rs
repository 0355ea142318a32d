//! The record: an append-only chain of every decision, issuance and act, each written before it takes effect.
//!
//! Pure: what an entry's bytes are, how entries are chained, how a chain is audited, and how strangers are counted
//! outside of it. Where it is kept is the store's part.

pub mod audit;
pub mod chain;
pub mod leaf;
pub mod strangers;

pub use audit::{Audit, AuditReport, CertificateContent, Finding, FoundCertificate};
pub use chain::ChainHead;
pub use leaf::{Leaf, MalformedLeaf};
pub use strangers::Strangers;
