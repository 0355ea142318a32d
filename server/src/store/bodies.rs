//! Bodies: what attempts were judged by, kept by digest until its time is over. Reads nothing into them.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::{Held, Sha256};

/// Bodies in one answer.
pub const BODIES_AT_ONCE: usize = 256;

/// Verbs about bodies.
pub trait Bodies: Send + Sync {
    /// Those that are held of at most [`BODIES_AT_ONCE`], with their digests.
    fn bodies(&self, digests: Vec<Sha256>) -> Held<'_, Vec<(Sha256, Vec<u8>)>>;
    /// How long bodies are kept, and rows of attempts a day longer.
    fn retention(&self) -> Retention;
    /// What is kept, by kind.
    fn body_usage(&self, now: UnixTime) -> Held<'_, Usage>;
    /// Lets some go whose time is over at `before`; how many, and whether that was all.
    fn drop_bodies(&self, before: UnixTime) -> Held<'_, Dropped>;
}

/// One body to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptBody {
    /// What it is, for the account.
    pub kind: &'static str,
    /// SHA-256 of the bytes.
    pub digest: Sha256,
    /// The bytes; `None` where they are held already, and only used again.
    pub bytes: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for KeptBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.bytes.as_ref().map_or(0, |bytes| bytes.len());
        write!(f, "KeptBody({}, {}, {bytes} bytes)", self.kind, self.digest)
    }
}

/// Everything that one attempt was judged by.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// SHA-256 of the manifest; the entry in the record carries it.
    pub manifest: Sha256,
    /// The manifest itself, and what it names.
    pub bodies: Vec<KeptBody>,
    /// Whether the decision's text is kept too; its SHA-256 is in the entry either way.
    pub keeps_text: bool,
}

/// How long bodies are kept, in seconds. Rows of attempts go with what they were judged by; entries of the record never go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Of enrolments, returns, refusals, and whatever waits for approval.
    pub evidence: i64,
    /// Of admitted renewals: the same machine in the same state, again and again.
    pub renewals: i64,
}

impl Default for Retention {
    /// 400 days, so that a year's audit finds everything; 90 days for renewals.
    fn default() -> Self {
        Self { evidence: 400 * 86_400, renewals: 90 * 86_400 }
    }
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By kind.
    pub kinds: Vec<KindUsage>,
    /// Attempts of the last 24 hours.
    pub attempts_a_day: u64,
    /// Nodes that made them.
    pub nodes_a_day: u64,
}

/// What is kept of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindUsage {
    /// The kind.
    pub kind: String,
    /// How many.
    pub bodies: u64,
    /// Bytes as they were.
    pub size: u64,
    /// Bytes as they are kept.
    pub stored: u64,
    /// Of these, bytes that are kept since the last whole day began.
    pub stored_lately: u64,
}

/// What was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Bodies.
    pub bodies: u64,
    /// Bytes as they were kept.
    pub stored: u64,
    /// Whether more of them wait.
    pub more: bool,
}
