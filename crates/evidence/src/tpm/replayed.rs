//! A firmware log after all its work is done, kept by its digest: an unchanged log costs the next attestation nothing.

use std::sync::Arc;

use super::event_log::{BootFacts, EventLog, Replay};
use super::pcr::Bank;
use super::{PcrSet, Unverified};
use crate::crypto;

/// A log that was parsed and replayed in one bank, with the facts that it proves where `facts.proven` are proven.
/// Servers keep these by [`digest`](Self::digest) and bank; the bytes are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedLog {
    digest: [u8; 32],
    replay: Replay,
    facts: BootFacts,
}

/// The log behind a digest that an agent answered with, as the server has it.
#[derive(Clone, Debug, Default)]
pub enum KnownLog {
    /// The server has none.
    #[default]
    None,
    /// Its bytes, from the store; hashed, parsed and replayed again.
    Bytes(Vec<u8>),
    /// A former attestation's result, from memory.
    Replayed(Arc<ReplayedLog>),
}

impl ReplayedLog {
    /// Derives the facts of a replayed log for the PCRs that a quote has proven.
    pub(crate) fn derive(
        digest: [u8; 32],
        log: &EventLog<'_>,
        replay: Replay,
        proven: PcrSet,
    ) -> Result<Self, Unverified> {
        let facts = BootFacts::derive(log, replay.bank(), proven)?;
        Ok(Self { digest, replay, facts })
    }

    /// Parses and replays a log whose PCRs in `proven` are taken to be proven: for a server that fills its memory
    /// from its store. Claims come from `verify` alone, which checks that its quote proves the same PCRs.
    ///
    /// # Errors
    /// [`Unverified::Log`], [`Unverified::Boot`].
    pub fn load(bytes: &[u8], bank: Bank, proven: PcrSet) -> Result<Self, Unverified> {
        let log = EventLog::parse(bytes)?;
        let replay = log.replay(bank)?;
        let proven = proven.intersection(replay.extended());
        Self::derive(crypto::sha256(&[bytes]), &log, replay, proven)
    }

    /// SHA-256 of its bytes.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The registers that it leads to.
    #[must_use]
    pub const fn replay(&self) -> &Replay {
        &self.replay
    }

    /// What it proves, for the PCRs that it was derived for.
    #[must_use]
    pub const fn facts(&self) -> &BootFacts {
        &self.facts
    }
}
