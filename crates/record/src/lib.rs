//! The record: an append-only Merkle log (RFC 6962) of every decision, issuance and act, each written before it takes
//! effect; what is published of it follows the C2SP formats, so that existing witnesses and monitors can follow it.
//!
//! Pure: what an entry's bytes are, how entries hash, what proves that they are in the tree, what a checkpoint says and
//! who signed it, and how a whole log is audited. Keeps nothing, fetches nothing and knows no clock; where the log is
//! kept and when it is signed is the server's part.
//!
//! ```text
//! Leaf ─▶ leaf hash ─▶ Frontier ─▶ root ─▶ Checkpoint ─▶ SignedCheckpoint        InclusionProof, ConsistencyProof
//!              └─▶ tiles, entry bundles ────────────────────────┴─▶ Audit                       └─▶ verify
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read files"))]

pub mod audit;
pub mod checkpoint;
mod frontier;
mod hash;
pub mod leaf;
pub mod note;
pub mod proof;
pub mod tile;
mod tree;

pub use audit::{Audit, AuditReport, CertificateContent, Claim, Finding, FoundCertificate};
pub use checkpoint::{BadCheckpoint, Checkpoint, SignedCheckpoint};
pub use frontier::{BadFrontier, Frontier};
pub use hash::Hash;
pub use leaf::{LEAF_BYTES_MAX, Leaf, MalformedLeaf, Origin};
pub use note::{BadKey, SigningKey, VerifierKey};
pub use proof::{BadProof, ConsistencyProof, InclusionProof};
pub use tile::{Resource, Tile, TileHashes, Tiler};
pub use tree::Node;
