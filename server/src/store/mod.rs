//! What the server remembers, as verbs of its domain: one trait per subject, and [`Store`] for all of them together.
//!
//! Nothing here decides policy. A verb that changes something returns after the change is on disk, together with its
//! entry in the record; a refusal of the domain is a value, and only a fault of ours is an error.

pub mod attempts;
pub mod bodies;
pub mod changes;
#[cfg(test)]
pub(crate) mod conformance;
pub mod endorsements;
pub mod entries;
pub mod entry_rules;
pub mod entry_sets;
pub mod exchanges;
pub mod federations;
pub mod issuances;
pub mod jwt_authorities;
pub mod ledger;
pub mod nodes;
pub mod policies;
pub mod proposals;
pub mod reports;
pub mod revocations;
pub mod rollouts;
pub mod sinks;
pub mod sqlite;
pub mod x509_authorities;

use futures_util::future::BoxFuture;
use std::fmt;

pub use attempts::{
    AWAITS_APPROVAL, Admission, Attempt, AttemptFilter, AttemptId, AttemptRecord, Attempts, Candidate, ClockReading,
    JudgedFiles, Outcome, Progress, Subject, Verdict, Way, WhenBarred,
};
pub use bodies::{BODIES_AT_ONCE, Bodies, Dropped, Evidence, KeptBody, KindUsage, Retention, Usage};
pub use changes::{Changes, NodeEvent, Notice, Revision, Subscription};
pub use endorsements::{
    Authority, BundleState, Endorsement, EndorsementCount, EndorsementDraft, EndorsementRole, EndorsementSource,
    Endorsements, Serves, Which,
};
pub use entries::{
    Entries, Entry, EntryChanges, EntryDraft, EntryFilter, EntryLives, EntryNumber, EntryRefusal, Parent, SelectorMatch,
};
pub use entry_sets::{Applied, Doing, EntrySet, EntrySets, Foreign, Others, SetProblem, Step};
pub use exchanges::{ExchangeIssuance, Exchanges, NotExchanged, RecordedExchange};
pub use federations::{
    BundleDocument, Endpoint, EndpointProfile, Federation, FederationDraft, FederationRefusal, Federations,
    FetchFailure, Kept, Named,
};
pub use issuances::{Issuance, Issuances, NotRecorded, Origin, Recorded};
pub use jwt_authorities::{JwtAuthorities, JwtAuthority, RecordedToken, TokenIssuance};
pub use ledger::{Actor, KeptCheckpoint, Ledger, LedgerEntry, LedgerHead, Operation, StrangerLine};
pub use nodes::{
    Allowed, Fleet, InventoryEntry, Mark, Marks, Node, NodeAction, NodeFilter, NodeNumber, NodeRefusal, NodeState,
    NodeTarget, Nodes, Ownership, Remark, Standing,
};
pub use policies::{Document, Mode, Policies, PolicyDigest, PolicyDraft, PolicyVersion};
pub use proposals::{Proposal, ProposalDraft, ProposalState, Proposed};
pub use reports::{Activity, Reports, WaiverInForce};
pub use revocations::{
    GRANTS_MAX, IssuerKeyId, LIST_SERIALS_MAX, ListDraft, ListValidity, LiveSvid, RevocationList, RevocationReason,
    Revocations, Revoked, ShownSvid, SvidFilter, SvidPlace, WithdrawnGrant, WithdrawnGrants,
};
pub use rollouts::{
    AnnouncedWaiver, FactBody, KeptFacts, KeptFactsOf, NewVersion, NextRollout, NodeFacts, PolicySignature, Rollout,
    RolloutRefusal, RolloutState, Rollouts, Scope,
};
pub use sinks::{Sink, SinkStart, Sinks};
pub use x509_authorities::{
    AuthorityMark, ListedAuthority, ServerId, X509Authorities, X509Authority, X509Change, X509State,
};

/// What every verb returns: the result, or a fault of ours.
pub type Held<'a, T> = BoxFuture<'a, Result<T, StoreFault>>;

/// Everything the server remembers. Object-safe: the program holds an `Arc<dyn Store>`.
pub trait Store:
    Attempts
    + Bodies
    + Changes
    + Endorsements
    + Entries
    + Federations
    + EntrySets
    + Exchanges
    + Issuances
    + JwtAuthorities
    + KeptFactsOf
    + Ledger
    + Nodes
    + Policies
    + Reports
    + Revocations
    + Rollouts
    + Sinks
    + X509Authorities
    + Send
    + Sync
    + 'static
{
    /// Finishes what was accepted, and refuses what comes later.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A fault of ours: never a verdict on a node, always a reason to try again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreFault {
    /// The database said no.
    #[error("store cannot {verb}: {reason}")]
    Database {
        /// What was being done.
        verb: &'static str,
        /// The database's own words, for the operator alone.
        reason: String,
    },
    /// A row does not read back as it was written.
    #[error("store holds an unreadable {what}")]
    Corrupt {
        /// Which column.
        what: &'static str,
    },
    /// An entry of the record is longer than any may be.
    #[error("entry of the record has {bytes} bytes, limit {}", holdfast_record::LEAF_BYTES_MAX)]
    EntryTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// More work is queued than the writer may hold, or it has ended.
    #[error("store is closed or its queue is full")]
    Unavailable,
}

impl StoreFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Database { .. } => "store.database",
            Self::Corrupt { .. } => "store.corrupt",
            Self::EntryTooLong { .. } => "store.entry_too_long",
            Self::Unavailable => "store.unavailable",
        }
    }
}

/// SHA-256 of something named by the field that holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        Self(digest)
    }

    /// Reads 64 hexadecimal digits, as `sha256sum` prints them; colons between bytes are allowed.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| *c != ':').collect();
        let bytes = hex::decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}
