//! Why nothing came from a foreign bundle endpoint. What we have of its trust domain stays.

use holdfast_svid::bundle::BadBundle;

use super::url::BadUrl;
use crate::http::NoAnswer;

/// Why there is no newer bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFault {
    /// No connection, no such identity, no answer in time, or too long a one.
    #[error("no answer of {url}: {why}")]
    NoAnswer {
        /// Who was asked.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// An answer that is neither a bundle nor a redirect.
    #[error("{url} answered with status {status}, expected 200")]
    Status {
        /// Who was asked.
        url: String,
        /// What it said.
        status: u16,
    },
    /// A redirect to where no bundle may come from.
    #[error("{url} redirects to where no bundle may come from: {why}")]
    Redirect {
        /// Who was asked.
        url: String,
        /// What is wrong with it.
        why: BadUrl,
    },
    /// One redirect after another.
    #[error("{url} redirects more than {limit} times")]
    Redirects {
        /// Who was asked first.
        url: String,
        /// How often is followed.
        limit: usize,
    },
    /// What came is no bundle.
    #[error("{url} sent no bundle: {why}")]
    Document {
        /// Who was asked.
        url: String,
        /// What it is.
        why: BadBundle,
    },
    /// What came is older than what we have.
    #[error("{url} sent an older bundle than the one there is; `bundle set` takes one whatever its sequence")]
    Older {
        /// Who was asked.
        url: String,
    },
    /// Nothing to know the endpoint by.
    #[error("there is no authority of {trust_domain} to know the endpoint by: bring its bundle with `bundle set`")]
    NoAuthority {
        /// Whose SVID the endpoint shows.
        trust_domain: String,
    },
    /// TLS itself.
    #[error("TLS cannot be spoken: {0}")]
    Tls(String),
}

impl FetchFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "federation.fetch.no_answer",
            Self::Status { .. } => "federation.fetch.status",
            Self::Redirect { .. } => "federation.fetch.redirect",
            Self::Redirects { .. } => "federation.fetch.redirects",
            Self::Document { .. } => "federation.fetch.document",
            Self::Older { .. } => "federation.fetch.older",
            Self::NoAuthority { .. } => "federation.fetch.no_authority",
            Self::Tls(_) => "federation.fetch.tls",
        }
    }

    pub(super) fn no_answer(url: &str, why: NoAnswer) -> Self {
        Self::NoAnswer { url: url.to_owned(), why: why.0 }
    }
}
