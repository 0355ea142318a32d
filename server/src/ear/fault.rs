//! Why no attestation result is issued.

use holdfast_identity::UnixTime;

use crate::store::StoreFault;

/// Why no attestation result is issued.
#[derive(Debug, thiserror::Error)]
pub enum EarRefused {
    /// The nonce has a length that EAT does not allow.
    #[error("nonce of {found} bytes, expected 8 to 64")]
    Nonce {
        /// Its length.
        found: usize,
    },
    /// The decision was made before results were kept, or its evidence was never taken apart.
    #[error("the decision of this attempt holds nothing that could be told a relying party")]
    NothingToTell,
    /// The evidence is too old to speak of today.
    #[error("the evidence counted until {}, ask for a newer attempt, or for a result of ended evidence", ends.seconds())]
    Ended {
        /// Until when it counted.
        ends: UnixTime,
    },
    /// The node has never attested.
    #[error("no attempt of this node is on record")]
    NoAttempt,
    /// The key does not sign.
    #[error("the key does not sign")]
    Signing,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl EarRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Nonce { .. } => "ear.nonce",
            Self::NothingToTell => "ear.nothing_to_tell",
            Self::Ended { .. } => "ear.evidence_ended",
            Self::NoAttempt => "ear.no_attempt",
            Self::Signing => "ear.signing",
            Self::Store(fault) => fault.code(),
        }
    }
}
