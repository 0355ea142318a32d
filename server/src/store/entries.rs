//! Registration entries: which workloads of which nodes get which SPIFFE ID.

use super::Held;
use super::changes::Revision;
use super::ledger::Actor;
use super::nodes::NodeNumber;
use holdfast_identity::{Selector, SpiffeId, TrustDomain, UnixTime};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Selectors in one entry, node selectors included.
pub const ENTRY_SELECTORS_MAX: usize = 64;
/// DNS names in one entry.
pub const ENTRY_DNS_NAMES_MAX: usize = 32;
/// Bytes of an entry's ID, as in SPIRE.
pub const ENTRY_ID_BYTES_MAX: usize = 255;
/// Bytes of a hint.
pub const HINT_BYTES_MAX: usize = 1024;

/// Verbs about entries.
pub trait Entries: Send + Sync {
    /// Creates an entry. An ID is drawn where the draft has none.
    fn create_entry(&self, draft: EntryDraft, by: Actor, at: UnixTime) -> Held<'_, Result<Entry, EntryRefusal>>;
    /// Replaces an entry's content; with `revision`, only if it still has that revision number.
    fn update_entry(
        &self,
        id: String,
        draft: EntryDraft,
        revision: Option<u64>,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Entry, EntryRefusal>>;
    /// Deletes an entry and returns what it was.
    fn delete_entry(&self, id: String, by: Actor, at: UnixTime) -> Held<'_, Result<Entry, EntryRefusal>>;
    /// One entry.
    fn entry(&self, id: String) -> Held<'_, Option<Entry>>;
    /// Entries in order of creation.
    fn entries(&self, filter: EntryFilter) -> Held<'_, Vec<Entry>>;
    /// How many entries there are.
    fn count_entries(&self, filter: EntryFilter) -> Held<'_, u64>;
    /// The entries whose parent this node is now, unexpired, oldest first, and the revision at which this is so.
    /// Nothing for a node that does not stand.
    fn entries_for_node(&self, node: NodeNumber, now: UnixTime) -> Held<'_, (Revision, Vec<Entry>)>;
    /// Those of the entries `ids` whose parent this node is now, unexpired, and a revision of which this is so unless the
    /// world has moved since. Costs what is asked for, however many entries the node has.
    fn entries_of_node(
        &self,
        node: NodeNumber,
        ids: BTreeSet<String>,
        now: UnixTime,
    ) -> Held<'_, (Revision, Vec<Entry>)>;
    /// How many entries have this node as their parent now, unexpired, by the lives that they name for SVIDs. Nothing for a
    /// node that does not stand.
    fn entry_lives(&self, node: NodeNumber, now: UnixTime) -> Held<'_, Vec<EntryLives>>;
    /// What changed for this node since `since`; the full state where that is unknown, pruned away, in the future, or
    /// where the node's own selectors or name changed in between.
    fn entry_changes(&self, node: NodeNumber, since: Option<Revision>, now: UnixTime) -> Held<'_, EntryChanges>;
    /// Deletes what expired, recording each; returns how many. Also forgets challenges that are void and changes
    /// older than the history that is kept.
    fn prune(&self, now: UnixTime) -> Held<'_, u64>;
}

/// An entry's number in this store; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryNumber(pub u64);

/// On which nodes an entry is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// On the node with this SPIFFE ID.
    Id(SpiffeId),
    /// On every node that has all of these selectors; never empty.
    Selectors(BTreeSet<Selector>),
}

impl Parent {
    /// Whether the node with this name and these selectors is the parent.
    #[must_use]
    pub fn is(&self, spiffe_id: &SpiffeId, selectors: &BTreeSet<Selector>) -> bool {
        match self {
            Self::Id(id) => id == spiffe_id,
            Self::Selectors(wanted) => !wanted.is_empty() && wanted.is_subset(selectors),
        }
    }
}

/// What an operator writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryDraft {
    /// The operator's own ID for it; empty to have one drawn. At most 255 bytes of `[a-zA-Z0-9._-]`.
    pub id: String,
    /// The identity that it grants; never below `/holdfast/`.
    pub spiffe_id: SpiffeId,
    /// On which nodes.
    pub parent: Parent,
    /// A workload must have them all; never empty.
    pub selectors: BTreeSet<Selector>,
    /// Seconds; 0 means the server's default.
    pub x509_svid_ttl: i64,
    /// Seconds of a JWT-SVID; 0 means the server's default.
    pub jwt_svid_ttl: i64,
    /// DNS SANs; the first one also stands in the subject's CN.
    pub dns_names: Vec<String>,
    /// What the workload is told to tell its identities apart.
    pub hint: String,
    /// After this moment it is as if deleted.
    pub expires_at: Option<UnixTime>,
    /// Foreign trust domains whose bundles its workloads get.
    pub federates_with: BTreeSet<TrustDomain>,
}

/// A registration entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number here.
    pub number: EntryNumber,
    /// What the operator wrote; `draft.id` is its ID.
    pub draft: EntryDraft,
    /// Starts at 0 and rises with every update.
    pub revision_number: u64,
    /// When it was created: the oldest wins a duplicate hint.
    pub created_at: UnixTime,
    /// Whoever applied it from files; empty for an entry made by hand.
    pub owner: String,
}

impl Entry {
    /// Its ID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.draft.id
    }

    /// Whether it has expired.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.draft.expires_at.is_some_and(|end| end <= now)
    }
}

/// Entries that name the same lives for SVIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryLives {
    /// Seconds; 0 means the server's default.
    pub x509_svid_ttl: i64,
    /// Seconds of a JWT-SVID; 0 means the server's default.
    pub jwt_svid_ttl: i64,
    /// How many they are.
    pub entries: u64,
}

/// Why an entry was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryRefusal {
    /// No such entry.
    #[error("no such entry")]
    Unknown,
    /// The ID is taken.
    #[error("an entry with this ID exists")]
    IdTaken,
    /// Another entry has the same parent, SPIFFE ID and selectors.
    #[error("entry {existing} has the same parent, SPIFFE ID and selectors")]
    Similar {
        /// The other's ID.
        existing: String,
    },
    /// There are as many as the configuration allows.
    #[error("there are {limit} entries, the configured limit")]
    Full {
        /// `limits.entries`.
        limit: u64,
    },
    /// The entry is not of whoever applies it.
    #[error("the entry belongs to {owner:?}; adopt it, or leave it out")]
    NotOwned {
        /// Whose it is; empty for an entry made by hand.
        owner: String,
    },
    /// It was changed in between.
    #[error("entry has revision {found}, expected {expected}")]
    Changed {
        /// Its revision now.
        found: u64,
        /// The revision that the caller saw.
        expected: u64,
    },
    /// Something in it is not allowed.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which field, in the operator's words.
        field: &'static str,
        /// What was expected and found.
        reason: String,
    },
}

impl EntryRefusal {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "entry.unknown",
            Self::IdTaken => "entry.id_taken",
            Self::Similar { .. } => "entry.similar",
            Self::Full { .. } => "entry.limit",
            Self::NotOwned { .. } => "entry.not_owned",
            Self::Changed { .. } => "entry.changed",
            Self::Invalid { .. } => "entry.invalid",
        }
    }
}

/// How the selectors of a filter meet those of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelectorMatch {
    /// The entry has at least these.
    #[default]
    Superset,
    /// The entry has at most these: what a workload with these selectors would get.
    Subset,
    /// The entry has exactly these.
    Exact,
    /// The entry has one of these.
    Any,
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Granting this identity.
    pub spiffe_id: Option<SpiffeId>,
    /// On this node ID.
    pub parent_id: Option<SpiffeId>,
    /// With these selectors.
    pub selectors: Option<(BTreeSet<Selector>, SelectorMatch)>,
    /// With this hint.
    pub hint: Option<String>,
    /// With a number above this one: for paging.
    pub after: Option<EntryNumber>,
    /// At most this many; 0 means 100, limit 1000.
    pub limit: u32,
}

/// What changed for one node.
#[derive(Clone, Debug)]
pub struct EntryChanges {
    /// The state after these changes.
    pub revision: Revision,
    /// The entries below are all there are.
    pub full: bool,
    /// New and changed entries, oldest first.
    pub entries: Vec<Entry>,
    /// IDs of entries that are the node's no longer.
    pub removed: Vec<String>,
}

/// An entry as a notice carries it: shared by every stream that looks at it.
pub type SharedEntry = Arc<Entry>;
