//! What the operator's records say about a machine: the part of a decision that no evidence can prove.

use serde::Serialize;

/// The records about the machine whose evidence is appraised. Looked up by the caller, for *verified* EKs only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Answers of the inventory and of the registered launches; what has no answer is not listed.
    pub inventory: Vec<InventoryAnswer>,
    /// What the operator said about this machine.
    pub approval: Approval,
    /// Whether the machine has a node identity on record.
    pub machine: MachineRecord,
}

/// What the inventory says about one key, chip, instance or launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InventoryAnswer {
    /// The digest that the inventory has it under: see [`crate::facts::owner_digest`].
    pub digest: [u8; 32],
    /// The answer.
    pub listing: Listing,
}

/// Whether something is in the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// The operator allowed it.
    Listed,
    /// The operator allowed it when a digest was listed without saying of what: an endorsement key, a platform certificate, an
    /// IAK or an IDevID.
    ListedBare,
    /// Nobody allowed it.
    NotListed,
}

impl Listing {
    /// Whether the operator allowed it, one way or the other.
    #[must_use]
    pub const fn is_listed(self) -> bool {
        match self {
            Self::Listed | Self::ListedBare => true,
            Self::NotListed => false,
        }
    }
}

/// What an operator said about one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// Nobody was asked, or nobody answered yet.
    NotGiven,
    /// Approved, and the approval stands.
    Given,
    /// Turned down; no rule admits the machine.
    Denied,
}

/// Whether the machine is known, and by which of its EKs it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineRecord {
    /// Never admitted: it is named by the smallest of its EKs.
    New,
    /// Known: it keeps its name, whichever of its EKs it shows today.
    Known {
        /// `tpm.machine` of its first admission.
        identity: [u8; 32],
    },
}

impl Ownership {
    /// A machine that no record mentions.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { inventory: Vec::new(), approval: Approval::NotGiven, machine: MachineRecord::New }
    }
}
