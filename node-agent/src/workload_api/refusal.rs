//! Why a workload gets no answer, and the one place that says what it learns of it.

use holdfast_svid::audience::BadAudience;
use tonic::Status;

/// What ends a call or an open stream. The operator's words are in the log; these go to the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// `workload.spiffe.io: true` is not there exactly once.
    #[error("security header missing from request")]
    NoSecurityHeader,
    /// No entry is for this workload, or this node may issue nothing any more.
    #[error("no identity issued")]
    NoIdentity,
    /// The agent has nothing to give yet.
    #[error("the agent is starting: no identity is ready yet")]
    Starting,
    /// The agent ends.
    #[error("the agent is stopping")]
    Stopping,
    /// The agent could not find out who calls.
    #[error("the caller could not be attested")]
    Unattested,
    /// The process or its user holds all it may.
    #[error("too many open streams or requests of this process or user")]
    Overloaded,
    /// The server did not sign a JWT-SVID in time.
    #[error("no JWT-SVID could be signed now")]
    Unsigned,
    /// What was asked for has no audience, or too many or too long ones.
    #[error("audience: {0}")]
    Audience(BadAudience),
    /// What was asked for is no SPIFFE ID.
    #[error("spiffe_id is no SPIFFE ID")]
    Id,
    /// A token was to be validated, and there is none.
    #[error("svid must be set")]
    NoToken,
    /// This profile is not served.
    #[error("this profile of the Workload API is not served")]
    NotServed,
}

impl Refusal {
    /// Stable code, for logs and metrics.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::NoSecurityHeader => "workload_api.security_header",
            Self::NoIdentity => "workload_api.no_identity",
            Self::Starting => "workload_api.starting",
            Self::Stopping => "workload_api.stopping",
            Self::Unattested => "workload_api.unattested",
            Self::Overloaded => "workload_api.overloaded",
            Self::Unsigned => "workload_api.unsigned",
            Self::Audience(bad) => bad.code(),
            Self::Id => "workload_api.spiffe_id",
            Self::NoToken => "workload_api.no_token",
            Self::NotServed => "workload_api.not_served",
        }
    }
}

impl From<Refusal> for Status {
    /// SPIFFE Workload Endpoint, section 6: `InvalidArgument` and `Unimplemented` are final, a client comes again after
    /// the others. Shedding load is `Unavailable` too.
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NoSecurityHeader | Refusal::Audience(_) | Refusal::Id | Refusal::NoToken => {
                Self::invalid_argument(text)
            }
            Refusal::NoIdentity => Self::permission_denied(text),
            Refusal::Starting | Refusal::Stopping | Refusal::Unattested | Refusal::Overloaded | Refusal::Unsigned => {
                Self::unavailable(text)
            }
            Refusal::NotServed => Self::unimplemented(text),
        }
    }
}
