//! Entries as files declare them: the whole set of one owner at once, and what that changes. Names no file and no format.

use super::Held;
use super::entries::{Entry, EntryDraft};
use super::ledger::Actor;
use holdfast_identity::UnixTime;

/// Entries in one set: the writer does nothing else while it compares them.
pub const SET_ENTRIES_MAX: usize = 10_000;
/// Bytes of an owner's name.
pub const OWNER_BYTES_MAX: usize = 64;
/// Problems that one answer names; the rest are counted by whoever reads them, once these are solved.
pub const PROBLEMS_MAX: usize = 100;

/// Verbs about sets of entries.
pub trait EntrySets: Send + Sync {
    /// Makes the entries of one owner what the set says, all of it in one transaction, or says why nothing was done.
    fn apply_entries(&self, set: EntrySet, by: Actor, at: UnixTime) -> Held<'_, Result<Applied, Vec<SetProblem>>>;
}

/// What somebody declares.
#[derive(Clone, Debug)]
pub struct EntrySet {
    /// Whose entries these are; whatever the set creates or adopts bears this mark.
    pub owner: String,
    /// The entries; the ID of each is its name for ever, and never empty.
    pub drafts: Vec<EntryDraft>,
    /// What becomes of the owner's entries that are not in the set.
    pub others: Others,
    /// What becomes of entries in the set that are not the owner's.
    pub foreign: Foreign,
    /// Whether anything is done.
    pub doing: Doing,
}

/// What becomes of the owner's entries that the set does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Kept,
    /// They are deleted.
    Pruned,
}

/// What becomes of an entry that the set names and somebody else owns, or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Nothing is done at all.
    Refused,
    /// It is the owner's from now on.
    Adopted,
}

/// Whether a set is written, or only compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It is written.
    Written,
    /// What would be done is said.
    Planned,
}

/// What a set changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// In the order of the set; deletions last.
    pub steps: Vec<Step>,
    /// Entries of the set that are already what it says.
    pub unchanged: u64,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new entry. A planned one has the number 0.
    Create(Entry),
    /// Other content, or another owner.
    Update {
        /// What it was.
        before: Entry,
        /// What it is.
        after: Box<Entry>,
    },
    /// An entry that is gone.
    Delete(Entry),
}

/// Why a set cannot be applied: one entry of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetProblem {
    /// The entry's ID; empty for the set as a whole.
    pub id: String,
    /// What is wrong with it.
    pub refusal: super::entries::EntryRefusal,
}
