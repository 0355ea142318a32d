//! What it means when the server does not admit us. A refusal ends the node's identity; everything else is a setback
//! that time or another try may cure, and ends nothing.

use std::time::Duration;

use tonic::{Code, Status};

use crate::backoff::retry_after;
use crate::collect::CollectFault;
use crate::connection::ConnectionFault;
use crate::trust::TrustFault;

/// The server's answer is no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// It waits for an operator's approval; otherwise it is plainly refused.
    pub awaits_approval: bool,
    /// The attempt in the server's record, for the operator to look up.
    pub attempt: Option<String>,
}

/// Why an attestation did not end in an admission.
#[derive(Debug, thiserror::Error)]
pub enum Setback {
    /// No.
    #[error("server refuses this node{}", attempt(.0))]
    Refused(Refusal),
    /// The server does not know this attestation key: come with all endorsement keys.
    #[error("server does not know this node: it must enrol")]
    Unknown,
    /// The challenge was void, or the connection lost its standing: begin again.
    #[error("server asks to begin again")]
    Again,
    /// The server says that it cannot, or says nothing.
    #[error("server did not decide: {code:?}")]
    Server {
        /// gRPC's word for it.
        code: Code,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// Someone on the way, or the connection itself, said so; our server says more.
    #[error("connection to the server broke off: {code:?}")]
    Broken {
        /// gRPC's word for it.
        code: Code,
    },
    /// The server did not answer in time.
    #[error("server did not answer {step} within {seconds} s")]
    Timeout {
        /// Which request.
        step: &'static str,
        /// How long we waited.
        seconds: u64,
    },
    /// The server's answer is not what the protocol says.
    #[error("server's answer cannot be understood: {0}")]
    Answer(&'static str),
    /// The connection could not be opened.
    #[error(transparent)]
    Connection(#[from] ConnectionFault),
    /// The server's bundle cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustFault),
    /// Evidence could not be gathered.
    #[error(transparent)]
    Collect(#[from] CollectFault),
    /// The state directory cannot be used.
    #[error("state directory: {0}")]
    State(#[from] crate::state::StateFault),
}

fn attempt(refusal: &Refusal) -> String {
    let wait = if refusal.awaits_approval { " until an operator approves it" } else { "" };
    match &refusal.attempt {
        Some(attempt) => format!("{wait} (attempt {attempt})"),
        None => wait.to_owned(),
    }
}

impl Setback {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(Refusal { awaits_approval: true, .. }) => "agent.enrol.awaits_approval",
            Self::Refused(_) => "agent.enrol.refused",
            Self::Unknown => "agent.enrol.unknown",
            Self::Again => "agent.enrol.again",
            Self::Server { .. } => "agent.enrol.server",
            Self::Broken { .. } => "agent.enrol.broken",
            Self::Timeout { .. } => "agent.enrol.timeout",
            Self::Answer(_) => "agent.enrol.answer",
            Self::Connection(fault) => fault.code(),
            Self::Trust(fault) => fault.code(),
            Self::Collect(fault) => fault.code(),
            Self::State(fault) => fault.code(),
        }
    }

    /// How long the server asked us to wait, where it did.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<&Status> for Setback {
    fn from(status: &Status) -> Self {
        let word = status.metadata().get("holdfast-reason").and_then(|word| word.to_str().ok());
        let attempt = status.metadata().get("holdfast-attempt").and_then(|id| id.to_str().ok());
        let attempt = attempt.filter(|id| id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
        let refused = |awaits_approval| Self::Refused(Refusal { awaits_approval, attempt: attempt.map(str::to_owned) });
        match (status.code(), word) {
            (Code::PermissionDenied, Some("again" | "attest")) => Self::Again,
            (Code::PermissionDenied, Some("enrol")) => Self::Unknown,
            (Code::PermissionDenied, Some("approval")) => refused(true),
            // A message of ours that it cannot read says nothing about the machine.
            (Code::PermissionDenied, Some("malformed")) => {
                Self::Server { code: Code::InvalidArgument, retry_after: None }
            }
            // A word that this agent does not know, from a newer server: no is no.
            (Code::PermissionDenied, Some(_)) => refused(false),
            (code, Some(_)) => Self::Server { code, retry_after: retry_after(status) },
            (Code::ResourceExhausted, None) => {
                Self::Server { code: Code::ResourceExhausted, retry_after: retry_after(status) }
            }
            // Without the word it was not our server that said so: a broken connection, a proxy, a wrong address.
            (code, None) => Self::Broken { code },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: Code, word: Option<&'static str>) -> &'static str {
        let mut status = Status::new(code, "");
        if let Some(word) = word {
            status.metadata_mut().insert("holdfast-reason", word.parse().unwrap());
        }
        Setback::from(&status).code()
    }

    #[test]
    fn only_the_servers_own_no_is_a_refusal() {
        for (code, word, expected) in [
            (Code::PermissionDenied, Some("refused"), "agent.enrol.refused"),
            (Code::PermissionDenied, Some("something-new"), "agent.enrol.refused"),
            (Code::PermissionDenied, Some("approval"), "agent.enrol.awaits_approval"),
            (Code::PermissionDenied, Some("enrol"), "agent.enrol.unknown"),
            (Code::PermissionDenied, Some("again"), "agent.enrol.again"),
            (Code::PermissionDenied, Some("attest"), "agent.enrol.again"),
            (Code::PermissionDenied, Some("malformed"), "agent.enrol.server"),
            (Code::PermissionDenied, None, "agent.enrol.broken"),
            (Code::Unavailable, Some("unavailable"), "agent.enrol.server"),
            (Code::ResourceExhausted, Some("busy"), "agent.enrol.server"),
            (Code::Unknown, None, "agent.enrol.broken"),
            (Code::Unavailable, None, "agent.enrol.broken"),
        ] {
            assert_eq!(told(code, word), expected, "{code:?} {word:?}");
        }
    }

    #[test]
    fn an_attempts_name_is_kept_only_if_it_looks_like_one() {
        let refusal = |attempt: &str| {
            let mut status = Status::permission_denied("");
            status.metadata_mut().insert("holdfast-reason", "refused".parse().unwrap());
            status.metadata_mut().insert("holdfast-attempt", attempt.parse().unwrap());
            match Setback::from(&status) {
                Setback::Refused(refusal) => refusal.attempt,
                other => panic!("{other}"),
            }
        };
        assert_eq!(refusal("ab12").as_deref(), Some("ab12"));
        assert_eq!(refusal("<script>"), None);
    }
}
