//! What a peer is told when the answer is no: one of a few words and the attempt's name. Nothing else leaves.

use std::fmt;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::budget::OverBudget;
use crate::store::AttemptId;

/// Metadata key of the word.
pub const REASON_KEY: &str = "holdfast-reason";
/// Metadata key of the attempt's name.
pub const ATTEMPT_KEY: &str = "holdfast-attempt";
/// Metadata key of the seconds to wait.
pub const RETRY_AFTER_KEY: &str = "retry-after";

/// All that a peer learns of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The answer is no. The operator knows why.
    Refused,
    /// This server does not know the node, or not any more: come with all endorsement keys.
    Enrol,
    /// An operator must approve the machine first.
    Approval,
    /// The challenge is void or was answered: begin again.
    Again,
    /// This connection has not passed a quote, or its standing is over: attest.
    Attest,
    /// The message is not what the protocol says.
    Malformed,
}

impl Word {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Enrol => "enrol",
            Self::Approval => "approval",
            Self::Again => "again",
            Self::Attest => "attest",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `PERMISSION_DENIED` with the word, and the attempt's name where there is one.
#[must_use]
pub fn refused(word: Word, attempt: Option<AttemptId>) -> Status {
    status(Code::PermissionDenied, word.as_str(), attempt)
}

/// `RESOURCE_EXHAUSTED` with the seconds to wait.
#[must_use]
pub fn over_budget(over: OverBudget) -> Status {
    let mut status = status(Code::ResourceExhausted, "busy", None);
    let seconds = over.retry_after.as_secs();
    status.metadata_mut().insert(RETRY_AFTER_KEY, MetadataValue::from(seconds));
    status
}

/// `UNAVAILABLE`: a fault of ours, and no verdict.
#[must_use]
pub fn unavailable(attempt: Option<AttemptId>) -> Status {
    status(Code::Unavailable, "unavailable", attempt)
}

fn status(code: Code, word: &'static str, attempt: Option<AttemptId>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(REASON_KEY, MetadataValue::from_static(word));
    let message = match attempt {
        Some(attempt) => {
            if let Ok(value) = MetadataValue::try_from(attempt.to_string()) {
                metadata.insert(ATTEMPT_KEY, value);
            }
            format!("{word} (attempt {attempt})")
        }
        None => word.to_owned(),
    };
    Status::with_metadata(code, message, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_one_word_and_the_attempts_name() {
        let status = refused(Word::Refused, Some(AttemptId([0xab; 16])));
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.message(), format!("refused (attempt {})", "ab".repeat(16)));
        assert_eq!(status.metadata().get(REASON_KEY).unwrap(), "refused");
        assert_eq!(status.metadata().get(ATTEMPT_KEY).unwrap(), &"ab".repeat(16));
    }

    #[test]
    fn whoever_is_over_budget_is_told_when_to_come_back() {
        let status = over_budget(OverBudget { retry_after: std::time::Duration::from_secs(7) });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get(RETRY_AFTER_KEY).unwrap(), "7");
    }
}
