//! How policies are rolled out here: what the configuration demands of a change, and who signed it. Keeps nothing: the
//! states are in the store, the operator's services in `admin`.

mod signature;

pub use signature::{BadKey, NotSigned, PolicyKey, signed_message};

use crate::store::{NewVersion, PolicyDraft, PolicySignature};

/// What a change of policy needs.
#[derive(Clone, Debug)]
pub struct RolloutSettings {
    /// Whether another operator than the author must approve it.
    pub approval: Approval,
    /// Seconds that a proposal waits.
    pub proposal_lifetime: i64,
    /// How many of a thousand admitted nodes it may refuse unasked.
    pub lost_max_per_mille: u64,
    /// One of these must have signed it; of an empty list, nobody must.
    pub signing_keys: Vec<PolicyKey>,
}

/// How many operators a change needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Its author.
    OnePerson,
    /// Its author, and another who approves it.
    TwoPersons,
}

impl Default for RolloutSettings {
    fn default() -> Self {
        Self {
            approval: Approval::OnePerson,
            proposal_lifetime: 86_400,
            lost_max_per_mille: 50,
            signing_keys: Vec::new(),
        }
    }
}

impl RolloutSettings {
    /// The version with its signature, if one is demanded.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn check_signature(&self, draft: PolicyDraft, signature: &[u8]) -> Result<NewVersion, NotSigned> {
        let verified = match (self.signing_keys.as_slice(), signature) {
            ([], []) => None,
            // Nobody would look at it, and the record would not say who signed.
            ([], _) => return Err(NotSigned::NoKeys),
            (_, []) => return Err(NotSigned::Missing),
            (keys, bytes) => {
                let message = signed_message(&draft.digest());
                let key = keys.iter().find(|key| key.verifies(&message, bytes)).ok_or(NotSigned::Signature)?;
                Some(PolicySignature { key: key.id().to_owned(), bytes: bytes.to_vec() })
            }
        };
        Ok(NewVersion { draft, signature: verified, waivers: Vec::new() })
    }
}
