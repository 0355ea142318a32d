//! Evidence that does not parse or verify, of whatever kind. Says what the operator sees; `failure` says what the peer
//! does.

use holdfast_evidence::tpm;
use holdfast_evidence::{EvidenceKind, Malformed};

/// Why evidence is refused before any policy is asked.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceRefused {
    /// It does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Evidence of a TPM does not verify.
    #[error(transparent)]
    Tpm(Box<tpm::Unverified>),
    /// A root that vouched for the machine is not trusted any more.
    #[error("the root {root} above evidence of kind {kind} is not trusted any more")]
    RootWithdrawn {
        /// Of which kind.
        kind: EvidenceKind,
        /// The name under which it was imported.
        root: String,
    },
}

impl From<tpm::Unverified> for EvidenceRefused {
    fn from(unverified: tpm::Unverified) -> Self {
        Self::Tpm(Box::new(unverified))
    }
}

impl EvidenceRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Tpm(unverified) => unverified.code(),
            Self::RootWithdrawn { kind: EvidenceKind::Tpm, .. } => "tpm.ek.root_withdrawn",
            Self::RootWithdrawn { .. } => "evidence.root_withdrawn",
        }
    }

    /// Whether the hardware vouched for what was refused: its signature over our binding was good, and something that
    /// it signed is not as it must be. Anybody who knows public keys can cause the other failures.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        match self {
            Self::RootWithdrawn { .. } => true,
            Self::Malformed(_) => false,
            Self::Tpm(unverified) => super::tpm::is_genuine(unverified),
        }
    }
}
