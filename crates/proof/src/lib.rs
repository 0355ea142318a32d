//! What the record keeps of an attempt beside its entry, and how the decision is made again from that alone: a year later,
//! offline, by somebody who believes neither the server nor its operator.
//!
//! ```text
//! record: entry ─SHA-256─▶ Manifest ─SHA-256─▶ bodies (evidence, keys, certificates, lists, collateral)
//! proof:  entry + inclusion + checkpoint + Manifest + bodies + policies + decision ─▶ replay ─▶ retrace ─▶ the same?
//! ```
//!
//! Pure: no I/O, no clock. Nothing that may be issued for comes of it: see [`holdfast_evidence::Replayed`].
#![forbid(unsafe_code)]

mod body;
mod bytes;
mod enrolment;
mod manifest;
mod pieces;
mod replay;
mod trust;

pub use body::{BODY_BYTES_MAX, Bodies, Body, BodyKind, BodyMissing};
pub use bytes::{Blob, Digest};
pub use enrolment::{Endorsed, endorsed};
pub use manifest::{
    ApprovalRecord, ItemRecord, MANIFEST_BYTES_MAX, MANIFEST_VERSION, MalformedManifest, Manifest, NodeKey, Offered,
    OwnershipRecord, VerifiedWith,
};
pub use pieces::{Cut, Piece, cut_challenge, cut_item, join, whole};
pub use replay::{RecordedFacts, RefusedEvidence, Replay, ReplayedEvidence, Unreplayable, replay};
pub use trust::{TrustDocument, TrustUnread, TrustedRoot};
