//! The record as the store keeps it: who did what, the tree's head and tiles, what was signed of it, and the bounded sample of strangers.

use super::Held;
use crate::record::{Hash, SignedCheckpoint, Tile, VerifierKey};
use holdfast_identity::UnixTime;
use std::fmt;

/// Verbs about the record. Attempts, issuances and operators' acts write to it by their own verbs.
pub trait Ledger: Send + Sync {
    /// Records what the server itself did: made an intermediate, started, raised an alarm. Returns the entry's index.
    fn record_operation(&self, operation: Operation, by: Actor, at: UnixTime) -> Held<'_, u64>;
    /// How many entries there are, and the root over them.
    fn head(&self) -> Held<'_, LedgerHead>;
    /// Entries from `from` on, at most `limit` (limit 10,000).
    fn ledger_entries(&self, from: u64, limit: u32) -> Held<'_, Vec<LedgerEntry>>;
    /// The hashes of tiles, each cut to what there is of it; from one moment.
    fn tiles(&self, tiles: Vec<Tile>) -> Held<'_, Vec<(Tile, Vec<Hash>)>>;
    /// Remembers what was signed. Of old ones, the last of each day stays.
    fn keep_checkpoint(&self, checkpoint: KeptCheckpoint) -> Held<'_, ()>;
    /// What was signed, newest first.
    fn checkpoints(&self, limit: u32) -> Held<'_, Vec<KeptCheckpoint>>;
    /// Serial numbers of the node SVIDs that the nodes hold, for the audit.
    fn node_serials(&self) -> Held<'_, Vec<[u8; 16]>>;
    /// Keeps lines about strangers; the oldest go when the sample is full. Not part of the record.
    fn keep_strangers(&self, lines: Vec<StrangerLine>) -> Held<'_, ()>;
    /// The sample, newest first.
    fn strangers(&self, limit: u32) -> Held<'_, Vec<StrangerLine>>;
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The peer of the admin socket.
    Operator {
        /// User ID as the kernel says.
        uid: u32,
        /// Its name in the server's user database; empty if it has none.
        name: String,
    },
    /// The server itself.
    Server,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator { uid, name } if name.is_empty() => write!(f, "uid {uid}"),
            Self::Operator { uid, name } => write!(f, "{name} (uid {uid})"),
            Self::Server => f.write_str("server"),
        }
    }
}

/// Something the server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What, such as `authority.intermediate`.
    pub action: &'static str,
    /// To whom or what.
    pub subject: String,
    /// JSON object with the rest; at most 16 KiB.
    pub detail: serde_json::Value,
}

/// How far the record has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    /// Entries in the record.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// One entry of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Its place, from 0.
    pub index: u64,
    /// Its bytes.
    pub leaf: Vec<u8>,
    /// Its hash as it is kept.
    pub hash: Hash,
}

/// A checkpoint that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCheckpoint {
    /// When.
    pub at: UnixTime,
    /// By which key.
    pub log: VerifierKey,
    /// What.
    pub checkpoint: SignedCheckpoint,
}

/// One line about strangers: one source in one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrangerLine {
    /// Start of the minute.
    pub minute: UnixTime,
    /// Address (of IPv6 the first 64 bits), or `others` beyond the bound.
    pub source: String,
    /// Count by code, in order of codes.
    pub counts: Vec<(String, u64)>,
}
