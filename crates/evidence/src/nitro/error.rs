//! Why evidence of an enclave is refused. Every variant blames the evidence and has a stable code; none repeats its bytes.

use super::checks::INSTANCE_PCR;
use super::kind::DocumentKind;
use super::refusal::{ChainRefused, DocumentRefused};
use crate::error::Malformed;

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A check that the documents of both kinds share.
    #[error(transparent)]
    Document(#[from] DocumentRefused),
    /// The document lacks a PCR that every enclave has.
    #[error("document lacks PCR {pcr}")]
    MissingPcr {
        /// Which.
        pcr: u8,
    },
    /// The enclave runs in debug mode: its parent instance reads its console and memory.
    #[error("enclave is in debug mode: PCR {pcr} is all zero")]
    Debug {
        /// The first that is.
        pcr: u8,
    },
    /// PCR 4 was measured of another instance than the module's name says.
    #[error("PCR {INSTANCE_PCR} is not that of the instance in module_id")]
    Instance,
    /// Nobody has shown yet that the node holds its key, and a document certifies none.
    #[error("node key is not proven: the request must be signed with it")]
    NodeKeyUnproven,
    /// The binding has no enclave in it.
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
            Self::Document(refused) => refused.code(DocumentKind::Enclave),
            Self::MissingPcr { .. } => "nitro.pcr.missing",
            Self::Debug { .. } => "nitro.pcr.debug",
            Self::Instance => "nitro.pcr.instance",
            Self::NodeKeyUnproven => "nitro.node_key_unproven",
            Self::OtherBinding => "nitro.item.other_binding",
            Self::Expired { .. } => "challenge.expired",
        }
    }

    /// Whether the hypervisor did sign our binding, up to a trusted root, and the refusal is for something else.
    #[must_use]
    pub const fn is_genuine(&self) -> bool {
        match self {
            Self::Document(refused) => refused.is_genuine(),
            Self::MissingPcr { .. } | Self::Debug { .. } | Self::Instance | Self::NodeKeyUnproven => true,
            Self::OtherBinding | Self::Expired { .. } => false,
        }
    }
}
