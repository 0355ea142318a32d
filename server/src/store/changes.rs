//! Changes as they happen: a revision to watch, and one notice per change, so that a push costs per change.

use super::Held;
use super::entries::{Parent, SharedEntry};
use super::nodes::NodeNumber;
use super::revocations::IssuerKeyId;
use holdfast_identity::{SpiffeId, TrustDomain};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// Notices held for a slow subscriber. One who falls further behind is told so and asks for the changes since his
/// revision instead.
pub const NOTICES_HELD: usize = 1024;

/// Verbs about changes.
pub trait Changes: Send + Sync {
    /// The present revision. Reads no disk.
    fn revision(&self) -> Revision;
    /// Everything from now on, in the order of commits.
    fn changes(&self) -> Subscription;
    /// Whether the store answers: a read, for health checks.
    fn ping(&self) -> Held<'_, ()>;
}

/// A point in this store's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Drawn when the database was made; another epoch is another history.
    pub epoch: [u8; 16],
    /// Rises with every change that a node or policy could notice; updated in the change's own transaction.
    pub n: u64,
}

/// What a subscriber holds.
#[derive(Debug)]
pub struct Subscription {
    /// The latest revision.
    pub revision: watch::Receiver<Revision>,
    /// Each change. `Lagged` means: ask for the changes since the revision you hold.
    pub notices: broadcast::Receiver<Arc<Notice>>,
}

/// One change that was committed.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An entry was created, changed, deleted or expired.
    Entry {
        /// The revision that it made.
        n: u64,
        /// Its ID.
        id: String,
        /// The entry now; `None` if it is gone.
        entry: Option<SharedEntry>,
        /// The parent that it had before, if it existed.
        before: Option<Parent>,
    },
    /// A node's standing changed.
    Node {
        /// The revision that it made.
        n: u64,
        /// Which node.
        node: NodeNumber,
        /// Its name, if it has one.
        spiffe_id: Option<SpiffeId>,
        /// What happened.
        event: NodeEvent,
    },
    /// Another policy version is in force, or is observed.
    Policy {
        /// The revision that it made.
        n: u64,
    },
    /// The inventory changed: ownership may be judged otherwise now.
    Inventory {
        /// The revision that it made.
        n: u64,
        /// Whether keys were taken out: whoever has one of them shows again what it is.
        removed: bool,
    },
    /// Roots, intermediates or CRLs changed.
    Endorsements {
        /// The revision that it made.
        n: u64,
    },
    /// The trust bundle changed.
    Bundle {
        /// The revision that it made.
        n: u64,
    },
    /// Something is new of a foreign trust domain.
    Federation {
        /// The revision in which that happened; it makes none.
        n: u64,
        /// Of which.
        trust_domain: TrustDomain,
    },
    /// Certificates were withdrawn that these have signed: their lists are to be made anew.
    Revoked {
        /// The revision in which that happened; it makes none.
        n: u64,
        /// Who signed them.
        issuers: BTreeSet<IssuerKeyId>,
    },
    /// JWT-SVIDs were withdrawn.
    TokensWithdrawn {
        /// The revision in which that happened; it makes none.
        n: u64,
    },
    /// There are other revocation lists now. They have numbers of their own.
    RevocationLists {
        /// The revision in which that happened; it makes none.
        n: u64,
    },
}

impl Notice {
    /// The revision that the change made.
    #[must_use]
    pub const fn n(&self) -> u64 {
        match self {
            Self::Entry { n, .. }
            | Self::Node { n, .. }
            | Self::Policy { n }
            | Self::Inventory { n, .. }
            | Self::Endorsements { n }
            | Self::Bundle { n }
            | Self::Federation { n, .. }
            | Self::Revoked { n, .. }
            | Self::TokensWithdrawn { n }
            | Self::RevocationLists { n } => *n,
        }
    }
}

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// Admitted for the first time, or again after it did not stand; or with another name or other selectors.
    Admitted,
    /// Its last genuine quote was refused: its identities end.
    Refused,
    /// Waits for an operator.
    AwaitsApproval,
    /// An operator approved it: it may try again.
    Approved,
    /// An operator said no: its identities end.
    Denied,
    /// Its identities end; it must enrol from the start.
    Evicted,
    /// Its identities end.
    Banned,
    /// May try again.
    Unbanned,
    /// Its identities end; its pins are forgotten.
    Reset,
    /// Its identities end.
    Frozen,
}

impl NodeEvent {
    /// Whether open streams of this node must end.
    #[must_use]
    pub const fn ends_identity(self) -> bool {
        match self {
            Self::Refused
            | Self::AwaitsApproval
            | Self::Denied
            | Self::Evicted
            | Self::Banned
            | Self::Reset
            | Self::Frozen => true,
            Self::Admitted | Self::Approved | Self::Unbanned => false,
        }
    }
}
