//! What an audit says: findings with stable codes, and the counts beside them.

use serde::Serialize;

use crate::hash::Hash;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable code.
    pub code: &'static str,
    /// The entry's index, where it is about one.
    pub index: Option<u64>,
    /// In words.
    pub detail: String,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Entries read.
    pub entries: u64,
    /// Of these, issuances of certificates.
    pub issuances: u64,
    /// Of these, JWT-SVIDs.
    pub tokens: u64,
    /// Of these, attempts.
    pub attempts: u64,
    /// Of these, acts of operators and of the server.
    pub acts: u64,
    /// Root of the tree over all of them.
    pub root: Hash,
    /// Checkpoints that were compared.
    pub checkpoints: u64,
    /// Certificates looked up.
    pub certificates: u64,
    /// What must not be.
    pub findings: Vec<Finding>,
    /// Findings beyond the first hundred.
    pub more_findings: u64,
}

/// What kind of thing must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    Gap,
    LeafHash,
    Tile,
    Missing,
    Form,
    Head,
    Checkpoint,
    Inconsistent,
    Truncated,
    Fork,
    Origin,
    Signature,
    SerialTwice,
    NoAttempt,
    NoEntry,
    Differs,
    TokenKey,
    TokenOutlives,
}

impl Breach {
    /// Stable code for operators and programs.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Gap => "audit.entry_missing",
            Self::LeafHash => "audit.leaf_hash",
            Self::Tile => "audit.tile_differs",
            Self::Missing => "audit.missing",
            Self::Form => "audit.entry_malformed",
            Self::Head => "audit.head_differs",
            Self::Checkpoint => "audit.checkpoint_differs",
            Self::Inconsistent => "audit.inconsistent",
            Self::Truncated => "audit.truncated",
            Self::Fork => "audit.forked",
            Self::Origin => "audit.origin_differs",
            Self::Signature => "audit.checkpoint_signature",
            Self::SerialTwice => "audit.serial_twice",
            Self::NoAttempt => "audit.issuance_without_attempt",
            Self::NoEntry => "audit.issuance_without_entry",
            Self::Differs => "audit.issuance_differs",
            Self::TokenKey => "audit.token_without_authority",
            Self::TokenOutlives => "audit.token_outlives_authority",
        }
    }
}
