//! Issuances: what is to be signed is in the record first, and [`Recorded`] is the proof that it is.

use super::attempts::AttemptId;
use super::entries::EntryNumber;
use super::nodes::NodeNumber;
use super::revocations::IssuerKeyId;
use super::{Held, Sha256};
use holdfast_identity::{SpiffeId, UnixTime};

/// Verbs about issuances.
pub trait Issuances: Send + Sync {
    /// Writes workload SVIDs, or the server's own, to the record, in one group commit with whatever else is under way.
    /// `judged_at` is the revision at which the caller found each request good; if the world moved since, every
    /// request is judged again inside the transaction. One answer per request, in order.
    fn record_issuances(
        &self,
        requests: Vec<Issuance>,
        judged_at: u64,
        at: UnixTime,
    ) -> Held<'_, Vec<Result<Recorded, NotRecorded>>>;
}

/// A certificate as it will be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// Who will sign it.
    pub issuer: IssuerKeyId,
    /// Serial number, 16 random bytes, the first bit clear.
    pub serial: [u8; 16],
    /// The one URI SAN.
    pub spiffe_id: SpiffeId,
    /// SHA-256 over the DER SubjectPublicKeyInfo.
    pub spki_sha256: Sha256,
    /// Start of validity.
    pub not_before: UnixTime,
    /// End of validity.
    pub not_after: UnixTime,
    /// On what grounds.
    pub origin: Origin,
}

/// On what grounds a certificate is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A node SVID, by the attempt that admitted the node.
    Node {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A workload SVID, by an entry, through a node.
    Workload {
        /// The node that asked.
        node: NodeNumber,
        /// The entry.
        entry: EntryNumber,
        /// The entry's revision that was judged.
        revision: u64,
    },
    /// The server's own listener.
    Server,
}

/// Proof that an issuance is on disk in the record. Made by the store alone, consumed by the signer; not `Clone`.
#[derive(Debug)]
#[must_use = "an entry without an issuance is harmless, but was it meant?"]
pub struct Recorded {
    issuance: Issuance,
    index: u64,
}

impl Recorded {
    /// Only the store says so.
    pub(in crate::store) const fn new(issuance: Issuance, index: u64) -> Self {
        Self { issuance, index }
    }

    /// A token without a record, for tests of what happens after one.
    #[cfg(test)]
    pub(crate) const fn pretended(issuance: Issuance) -> Self {
        Self { issuance, index: 0 }
    }

    /// What was recorded: nothing else may be signed with this.
    #[must_use]
    pub const fn issuance(&self) -> &Issuance {
        &self.issuance
    }

    /// Index of its entry in the record.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Redeems the token.
    #[must_use]
    pub fn redeem(self) -> Issuance {
        self.issuance
    }
}

/// Why a workload SVID was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// The entry is gone, expired, or has another revision or parent.
    #[error("entry is gone, expired or changed")]
    EntryGone,
    /// The node is banned, frozen, evicted, refused, unknown, or its evidence expired.
    #[error("node does not stand")]
    NodeNotStanding,
    /// The SVID would outlive the node's evidence.
    #[error("SVID would outlive the node's evidence")]
    OutlivesEvidence,
    /// The authority that was to sign signs no more, or ends before the SVID would.
    #[error("authority does not sign any more")]
    AuthorityGone,
    /// More of the node's tokens are withdrawn than it has room for, and have not ended.
    #[error("too much of the node's is withdrawn and has not ended")]
    TooMuchWithdrawn,
}

impl NotRecorded {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EntryGone => "issuance.entry_gone",
            Self::NodeNotStanding => "issuance.node_not_standing",
            Self::OutlivesEvidence => "issuance.outlives_evidence",
            Self::AuthorityGone => "issuance.authority_gone",
            Self::TooMuchWithdrawn => "issuance.too_much_withdrawn",
        }
    }
}
