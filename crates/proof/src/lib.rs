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
mod bundle;
mod bytes;
mod check;
mod compare;
mod enrolment;
mod entry;
mod manifest;
mod measured_files;
mod pieces;
mod replay;
mod report;
mod retold;
mod retrace;
mod trust;

pub use body::{BODY_BYTES_MAX, Bodies, Body, BodyKind, BodyMissing};
pub use bundle::{MalformedProof, PROOF_BODIES_MAX, PROOF_BYTES_MAX, PROOF_MEDIA_TYPE, ProofBody, ProofBundle};
pub use bytes::{Blob, Digest};
pub use check::{Reader, check};
pub use enrolment::{Endorsed, endorsed};
pub use entry::AttemptEntry;
pub use manifest::{
    ApprovalRecord, ItemRecord, MANIFEST_BYTES_MAX, MANIFEST_VERSION, MakersBelieved, MalformedManifest, Manifest,
    MeasuredFilesRecord, NodeKey, Offered, OwnershipRecord, VerifiedWith,
};
pub use pieces::{Cut, Piece, Unjoined, WHOLE_BYTES_MAX, cut_challenge, cut_item, cut_measured_files, join, whole};
pub use replay::{RecordedFacts, RefusedEvidence, Replay, ReplayedEvidence, Unreplayable, replay};
pub use report::{Conclusion, Report, RootGround, RootSeen, State, Step};
pub use retold::retell;
pub use trust::{TrustDocument, TrustUnread, TrustedRoot};
