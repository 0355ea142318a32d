//! What keeps the server from having an endorsement. Always ours or a service's fault: no verdict on any machine
//! follows from it, and no admission either.

use std::time::Duration;

use crate::budget::OverBudget;
use crate::store::StoreFault;

/// Why an endorsement could not be had, and when to ask again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EndorseFault {
    /// Nobody has it, and no service is configured that could.
    #[error("{about} is not held here, and no service is configured for it")]
    Missing {
        /// What was wanted.
        about: String,
    },
    /// The service does not answer, or answers that it cannot.
    #[error("{service} cannot be asked for {about}: {reason}")]
    Unreachable {
        /// Which service, by its host.
        service: String,
        /// What was wanted.
        about: String,
        /// The system's or the service's word for it.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// The service wants to be left alone for a while.
    #[error("{service} limits how often it is asked, {} s to go", retry_after.as_secs())]
    RateLimited {
        /// Which service, by its host.
        service: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// What the service answered is not what was asked for, or not signed by whom it must be.
    #[error("{service} answered with something else than {about}: {reason}")]
    BadAnswer {
        /// Which service, by its host.
        service: String,
        /// What was wanted.
        about: String,
        /// What is wrong with it.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// It is being fetched.
    #[error("{about} is being fetched")]
    Pending {
        /// What was wanted.
        about: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// Whoever has proven nothing yet would cost more than he may.
    #[error("strangers have used up what may be fetched for them: {0}")]
    Strangers(OverBudget),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl EndorseFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "endorse.missing",
            Self::Unreachable { .. } => "endorse.unreachable",
            Self::RateLimited { .. } => "endorse.rate_limited",
            Self::BadAnswer { .. } => "endorse.bad_answer",
            Self::Pending { .. } => "endorse.pending",
            Self::Strangers(_) => "endorse.strangers",
            Self::Store(fault) => fault.code(),
        }
    }

    /// When the machine may come back, jitter included.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Missing { .. } => OverBudget::after(MISSING).retry_after,
            Self::Unreachable { retry_after, .. }
            | Self::RateLimited { retry_after, .. }
            | Self::BadAnswer { retry_after, .. }
            | Self::Pending { retry_after, .. } => OverBudget::after(*retry_after).retry_after,
            Self::Strangers(over) => over.retry_after,
            Self::Store(_) => OverBudget::after(Duration::from_secs(5)).retry_after,
        }
    }
}

/// An operator must bring it: nothing changes within seconds.
const MISSING: Duration = Duration::from_secs(60);
