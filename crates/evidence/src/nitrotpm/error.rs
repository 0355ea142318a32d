//! Why evidence of a NitroTPM is refused. Every variant blames the evidence and has a stable code; none repeats its bytes.

use crate::error::Malformed;
use crate::nitro::{ChainRefused, DocumentKind, DocumentRefused};

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A check that the documents of both kinds share.
    #[error(transparent)]
    Document(#[from] DocumentRefused),
    /// The document lacks a PCR that firmware extends.
    #[error("document lacks PCR {pcr}")]
    MissingPcr {
        /// Which.
        pcr: u8,
    },
    /// The document has a PCR that no TPM has.
    #[error("document has PCR {pcr}, a TPM has 0 to 23")]
    UnknownPcr {
        /// Which.
        pcr: u8,
    },
    /// PCR 0 to 7 are all zero: firmware does not extend them.
    #[error("PCR 0 to 7 are all zero: firmware does not extend them")]
    BankUnextended,
    /// Nobody has shown yet that the node holds its key, and a document certifies none.
    #[error("node key is not proven: the request must be signed with it")]
    NodeKeyUnproven,
    /// The binding has no NitroTPM in it.
    #[error("evidence item does not belong to this binding")]
    OtherBinding,
    /// The challenge became void while it was being answered.
    #[error("challenge expired {seconds} seconds ago")]
    Expired {
        /// Since when.
        seconds: i64,
    },
}

impl From<Malformed> for Unverified {
    fn from(malformed: Malformed) -> Self {
        Self::Document(malformed.into())
    }
}

impl From<ChainRefused> for Unverified {
    fn from(refused: ChainRefused) -> Self {
        Self::Document(refused.into())
    }
}

impl Unverified {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Document(refused) => refused.code(DocumentKind::Tpm),
            Self::MissingPcr { .. } => "nitrotpm.pcr.missing",
            Self::UnknownPcr { .. } => "nitrotpm.pcr.unknown",
            Self::BankUnextended => "nitrotpm.pcr.bank_unextended",
            Self::NodeKeyUnproven => "nitrotpm.node_key_unproven",
            Self::OtherBinding => "nitrotpm.item.other_binding",
            Self::Expired { .. } => "challenge.expired",
        }
    }

    /// Whether the hypervisor did sign our binding, up to a trusted root, and the refusal is for something else.
    #[must_use]
    pub const fn is_genuine(&self) -> bool {
        match self {
            Self::Document(refused) => refused.is_genuine(),
            Self::MissingPcr { .. } | Self::UnknownPcr { .. } | Self::BankUnextended | Self::NodeKeyUnproven => true,
            Self::OtherBinding | Self::Expired { .. } => false,
        }
    }
}
