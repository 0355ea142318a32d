//! The record as the store keeps it: who did what, the chain's head, and the bounded sample of strangers.

use super::Held;
use holdfast_identity::UnixTime;
use std::fmt;

/// Verbs about the record. Attempts, issuances and operators' acts write to it by their own verbs.
pub trait Ledger: Send + Sync {
    /// Records what the server itself did: made an intermediate, started, raised an alarm. Returns the entry's index.
    fn record_operation(&self, operation: Operation, by: Actor, at: UnixTime) -> Held<'_, u64>;
    /// The newest entry's place and chain hash.
    fn head(&self) -> Held<'_, LedgerHead>;
    /// Entries from `from` on, at most `limit` (limit 10,000).
    fn ledger_entries(&self, from: u64, limit: u32) -> Held<'_, Vec<LedgerEntry>>;
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

/// The newest entry of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    /// Entries in the record.
    pub size: u64,
    /// Chain hash of the last one; zero for an empty record.
    pub hash: [u8; 32],
}

/// One entry of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Its place, from 0.
    pub index: u64,
    /// Its bytes.
    pub leaf: Vec<u8>,
    /// Chain hash up to and including it.
    pub hash: [u8; 32],
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
