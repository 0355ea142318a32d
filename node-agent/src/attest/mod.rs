//! Who is at the other end of a Unix socket: selectors of a workload, by the kernel's word alone.
//!
//! Issues nothing and knows no registration entry. One file for each kind of attestor; a new kind is one more
//! [`Attestor`] in the list that [`Attestors`] is built of.

mod discovery;
mod executable;
mod gate;
mod names;
mod peer;
mod process;
mod unix;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use holdfast_identity::Selector;

pub use discovery::Discovery;
pub use peer::{Peer, PeerFault, Pin};
pub use unix::Unix;

/// Longest time that all attestors together may take for one workload, after which it is asked to come again.
const ATTEST_TIME_MAX: Duration = Duration::from_secs(10);

/// One way to learn a workload's properties.
pub trait Attestor: Send + Sync {
    /// The type of the selectors that it gives: `unix`, `k8s`, …
    fn kind(&self) -> &'static str;

    /// The selectors of `peer` at this moment. What may not be read (another user's executable, say) is left out; what
    /// could not be read this time is a fault.
    fn attest<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>>;
}

/// Why a workload's selectors are not known. None of these is a refusal.
#[derive(Debug, thiserror::Error)]
pub enum AttestFault {
    /// The process has exited.
    #[error("process {pid} has exited")]
    Exited {
        /// Its number while it lived.
        pid: i32,
    },
    /// The process does not have the credentials any more that it connected with.
    #[error("process {pid} connected as {connected_uid}:{connected_gid} and is {uid}:{gid} now")]
    CredentialsChanged {
        /// The process.
        pid: i32,
        /// User of the `connect`.
        connected_uid: u32,
        /// Group of the `connect`.
        connected_gid: u32,
        /// Effective user now.
        uid: u32,
        /// Effective group now.
        gid: u32,
    },
    /// Something of the process could not be read.
    #[error("{what} of process {pid} could not be read")]
    Unreadable {
        /// The process.
        pid: i32,
        /// What it was: `status`, `executable`.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An attestor took too long.
    #[error("{kind} took longer than {} s", limit.as_secs())]
    TimedOut {
        /// The attestor.
        kind: &'static str,
        /// What it may take.
        limit: Duration,
    },
}

impl AttestFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exited { .. } => "attest.exited",
            Self::CredentialsChanged { .. } => "attest.credentials_changed",
            Self::Unreadable { .. } => "attest.unreadable",
            Self::TimedOut { .. } => "attest.timed_out",
        }
    }

    /// Whether the connection itself is spent: what comes over it is not from the one who made it.
    #[must_use]
    pub const fn ends_connection(&self) -> bool {
        match self {
            Self::Exited { .. } | Self::CredentialsChanged { .. } => true,
            Self::Unreadable { .. } | Self::TimedOut { .. } => false,
        }
    }
}

/// All attestors of this agent; a workload has the selectors of each.
pub struct Attestors(Vec<Box<dyn Attestor>>);

impl Attestors {
    /// These attestors.
    #[must_use]
    pub fn new(attestors: Vec<Box<dyn Attestor>>) -> Self {
        Self(attestors)
    }

    /// The selectors of `peer` at this moment.
    ///
    /// # Errors
    /// [`AttestFault`] of the first attestor that has one: half of the selectors would be another workload's.
    pub async fn attest(&self, peer: &Peer) -> Result<BTreeSet<Selector>, AttestFault> {
        let all = self.0.iter().map(|attestor| async {
            tokio::time::timeout(ATTEST_TIME_MAX, attestor.attest(peer))
                .await
                .unwrap_or(Err(AttestFault::TimedOut { kind: attestor.kind(), limit: ATTEST_TIME_MAX }))
        });
        let selectors = try_join_all(all).await?.into_iter().flatten().collect();
        // A process that exited while it was being read is not whom the answer would go to.
        if peer.has_exited() { Err(AttestFault::Exited { pid: peer.pid() }) } else { Ok(selectors) }
    }
}

impl Default for Attestors {
    /// The Unix attestor.
    fn default() -> Self {
        Self::new(vec![Box::new(Unix::default())])
    }
}
