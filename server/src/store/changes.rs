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

/// Changes of entries in one transaction that are told one by one. More, as from a set in a file, would push everything
/// else out of what is held for a slow subscriber, who then has to look at the whole world again.
pub const ENTRY_NOTICES_MAX: usize = 256;

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
    /// So many entries changed in one transaction that each is not told: whoever follows them asks for the changes since
    /// his revision.
    Entries {
        /// The last revision that they made.
        n: u64,
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
            | Self::Entries { n }
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

/// The notices of one transaction as they are told: many entries as one, and all withdrawals as one. Of those there may be as
/// many as entries or nodes, and each told by itself would push everything else out of what is held for a slow subscriber.
#[must_use]
pub fn gathered(notices: Vec<Notice>) -> Vec<Notice> {
    let is_entry = |notice: &&Notice| matches!(notice, Notice::Entry { .. });
    let as_one = notices.iter().filter(is_entry).count() > ENTRY_NOTICES_MAX;
    let (mut told, mut entries, mut withdrawn, mut listed, mut of_tokens) =
        (Vec::new(), None, BTreeSet::new(), 0, false);
    for notice in notices {
        match notice {
            Notice::Entry { n, .. } if as_one => entries = Some(n),
            Notice::Revoked { n, issuers } => {
                listed = n;
                withdrawn.extend(issuers);
            }
            // Whoever hears of it reads all that is new: it stays where it was told first, before what withdraws.
            Notice::TokensWithdrawn { .. } if std::mem::replace(&mut of_tokens, true) => {}
            other => told.push(other),
        }
    }
    told.extend(entries.map(|n| Notice::Entries { n }));
    if !withdrawn.is_empty() {
        told.push(Notice::Revoked { n: listed, issuers: withdrawn });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: usize) -> impl Iterator<Item = Notice> {
        (1..=count as u64).map(|n| Notice::Entry { n, id: n.to_string(), entry: None, before: None })
    }

    #[test]
    fn many_entries_of_one_transaction_are_one_notice_and_nothing_else_is_lost() {
        let few: Vec<_> = entries(ENTRY_NOTICES_MAX).collect();
        assert_eq!(gathered(few).len(), ENTRY_NOTICES_MAX);
        let revoked = |key: u8| Notice::Revoked { n: 0, issuers: BTreeSet::from([IssuerKeyId([key; 20])]) };
        let many: Vec<_> =
            entries(NOTICES_HELD * 2).chain([Notice::Bundle { n: 9 }, revoked(1), revoked(2), revoked(1)]).collect();
        let told = gathered(many);
        assert!(matches!(told[..2], [Notice::Bundle { n: 9 }, Notice::Entries { n: 2048 }]), "{told:?}");
        assert!(matches!(&told[2..], [Notice::Revoked { issuers, .. }] if issuers.len() == 2), "{told:?}");
    }

    #[test]
    fn withdrawals_of_one_transaction_are_one_notice_of_each_kind_however_few_entries_changed() {
        let withdrawal = |n: u64| {
            let issuers = BTreeSet::from([IssuerKeyId([u8::try_from(n % 2).unwrap(); 20])]);
            [Notice::TokensWithdrawn { n }, Notice::Revoked { n, issuers }]
        };
        let many = (0..NOTICES_HELD as u64).flat_map(withdrawal).chain(entries(1)).collect();
        let told = gathered(many);
        let is_as_expected = matches!(
            &told[..],
            [Notice::TokensWithdrawn { .. }, Notice::Entry { .. }, Notice::Revoked { issuers, .. }] if issuers.len() == 2
        );
        assert!(is_as_expected, "{told:?}");
    }
}
