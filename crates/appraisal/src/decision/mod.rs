//! The decision: admitted, waiting for an operator, or refused with every difference named.

mod appraiser;
mod code;
mod engine;
mod explain;
pub mod explanation;
mod explanation_text;
mod item;
mod node;
mod ownership;
mod pairing;
mod question;
mod rejection;
mod remedy;
mod retraced;
mod tree;
mod waived;

use std::fmt;

pub use appraiser::Appraiser;
pub use explanation::{Explanation, Origin};
pub use item::{ReplayedItem, VerifiedItem};
pub use node::{AppraisedNode, Grant};
pub use ownership::{Approval, InventoryAnswer, Listing, MachineRecord, Ownership};
pub use rejection::{Considered, Difference, EventFound, Rejection, ValueDifference};
pub use retraced::RetracedDecision;
use serde::Serialize;
pub use waived::WaiverUsed;

/// Whether one condition of a policy holds, as the decision sees it.
pub(crate) fn holds_now(condition: &crate::policy::Condition, facts: &crate::facts::Facts) -> bool {
    engine::holds(condition, facts) == engine::Holds::Yes
}

/// Which policy decided: its name, and the digest of its text and of all files that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyVersion {
    /// Name, as the policy gives it.
    pub name: String,
    /// SHA-256 in hex.
    pub digest: String,
}

/// What verified evidence earns under a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Decision {
    /// An identity.
    Admitted(AppraisedNode),
    /// Everything holds but an operator's approval, which nobody has given yet.
    AwaitsApproval(Rejection),
    /// Nothing.
    Refused(Rejection),
}

/// What facts would earn under a policy. The same as [`Decision`] without the proof: no identity comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The policy is satisfied.
    Admit(Grant),
    /// Everything holds but an operator's approval, which nobody has given yet.
    AwaitsApproval(Rejection),
    /// The policy is not satisfied.
    Refuse(Rejection),
}

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.digest.get(..12).unwrap_or(&self.digest))
    }
}
