//! What a challenge asks of each item, what an item answers it with, and for which key. Judges nothing.

use crate::EvidenceKind;
use crate::key::{ClaimedKey, ProvenKey};
use crate::tpm::{PcrSelection, TpmExpectation};

/// What one kind of evidence must show, drawn up when the challenge was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// For a TPM. Boxed for its size.
    Tpm(Box<TpmExpectation>),
    /// For a virtual TPM, `azure` or `gcp`: its quote must cover this.
    Quote {
        /// [`EvidenceKind::Azure`] or [`EvidenceKind::Gcp`].
        kind: EvidenceKind,
        /// What the quote must cover.
        selection: PcrSelection,
    },
    /// For a report or document that says everything itself: `snp`, `tdx`, `nitro`, `nitrotpm`.
    Report {
        /// Its kind.
        kind: EvidenceKind,
    },
}

impl ItemState {
    /// The kind it is for.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Tpm(_) => EvidenceKind::Tpm,
            Self::Quote { kind, .. } | Self::Report { kind } => *kind,
        }
    }

    /// What is expected of a TPM's evidence.
    #[must_use]
    pub fn tpm(&self) -> Option<&TpmExpectation> {
        match self {
            Self::Tpm(expected) => Some(expected),
            Self::Quote { .. } | Self::Report { .. } => None,
        }
    }

    /// What must be quoted, where PCRs are.
    #[must_use]
    pub fn selection(&self) -> Option<PcrSelection> {
        match self {
            Self::Tpm(expected) => Some(expected.selection()),
            Self::Quote { selection, .. } => Some(*selection),
            Self::Report { .. } => None,
        }
    }

    /// The item of another kind than a TPM, as a challenge asks for it; `None` for [`EvidenceKind::Tpm`], which is
    /// invited by name.
    #[must_use]
    pub const fn plain(kind: EvidenceKind, selection: PcrSelection) -> Option<Self> {
        match kind {
            EvidenceKind::Tpm => None,
            EvidenceKind::Azure | EvidenceKind::Gcp => Some(Self::Quote { kind, selection }),
            EvidenceKind::Snp | EvidenceKind::Tdx | EvidenceKind::Nitro | EvidenceKind::NitroTpm => {
                Some(Self::Report { kind })
            }
        }
    }
}

/// What one item contributes to the binding, computed from its very bytes by the item itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment<'a> {
    /// The item's kind.
    pub kind: EvidenceKind,
    /// The bytes that it was read from; empty for one that was built in process, which cannot be part of a composite.
    pub item: &'a [u8],
    /// SHA-256 of the firmware log (or CC event log), where there is one: of the bytes sent, or the digest of the log
    /// that the server knows already.
    pub firmware_log: Option<[u8; 32]>,
    /// SHA-256 of the `SubjectPublicKeyInfo` of a virtual TPM's attestation key; `None` for every other kind.
    pub ak_spki_sha256: Option<[u8; 32]>,
}

/// The node key that an answer is for, and how far it is proven.
#[derive(Clone, Debug)]
pub enum AnsweringKey {
    /// By a certificate request that it signed.
    Proven(ProvenKey),
    /// Not yet: a TPM must certify it, or the connection's own certificate must carry it.
    Claimed(ClaimedKey),
}

impl AnsweringKey {
    /// The key as claimed.
    #[must_use]
    pub fn claimed(&self) -> ClaimedKey {
        match self {
            Self::Proven(proven) => proven.clone().into(),
            Self::Claimed(claimed) => claimed.clone(),
        }
    }
}

impl From<ClaimedKey> for AnsweringKey {
    fn from(key: ClaimedKey) -> Self {
        Self::Claimed(key)
    }
}

impl From<ProvenKey> for AnsweringKey {
    fn from(key: ProvenKey) -> Self {
        Self::Proven(key)
    }
}
