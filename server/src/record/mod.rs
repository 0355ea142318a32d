//! The record: an append-only chain of every decision, issuance and act, each written before it takes effect.
//!
//! Pure: what an entry's bytes are, how entries are chained, and how a chain is audited. Where it is kept is the
//! store's part; strangers, who never write to it, are counted by the desk.

pub mod audit;
pub mod chain;
pub mod leaf;

pub use audit::{Audit, AuditReport, CertificateContent, Finding, FoundCertificate};
pub use chain::ChainHead;
pub use leaf::{Leaf, MalformedLeaf};
