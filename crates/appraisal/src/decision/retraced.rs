//! A decision made again from a record. Reads as the one that was made then, and no identity comes of it.

use serde::Serialize;

use super::node::as_hex;
use super::{Grant, Rejection, Verdict};

/// What was decided by the same rules on the same evidence. Its JSON is that of a [`Decision`](super::Decision), field by
/// field, so that the two can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum RetracedDecision {
    /// An identity, then.
    Admitted {
        /// What was granted.
        #[serde(flatten)]
        grant: Box<Grant>,
        /// DER of the SubjectPublicKeyInfo of the node key.
        #[serde(serialize_with = "as_hex")]
        node_key_spki: Vec<u8>,
    },
    /// Everything held but an operator's approval.
    AwaitsApproval(Rejection),
    /// Nothing.
    Refused(Rejection),
}

impl RetracedDecision {
    pub(super) fn new(verdict: Verdict, node_key_spki: Vec<u8>) -> Self {
        match verdict {
            Verdict::Admit(grant) => Self::Admitted { grant: Box::new(grant), node_key_spki },
            Verdict::AwaitsApproval(rejection) => Self::AwaitsApproval(rejection),
            Verdict::Refuse(rejection) => Self::Refused(rejection),
        }
    }

    /// `admitted`, `awaits-approval` or `refused`.
    #[must_use]
    pub const fn verdict(&self) -> &'static str {
        match self {
            Self::Admitted { .. } => "admitted",
            Self::AwaitsApproval(_) => "awaits-approval",
            Self::Refused(_) => "refused",
        }
    }

    /// Why not, where it is no admission.
    #[must_use]
    pub const fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Admitted { .. } => None,
            Self::AwaitsApproval(rejection) | Self::Refused(rejection) => Some(rejection),
        }
    }
}
