//! What goes wrong with an upstream authority: ours, its own, or in what it answered.

use std::path::PathBuf;

use crate::authority::chain::ChainFault;

/// Why there is no new intermediate.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamFault {
    /// A file of its cannot be used.
    #[error(transparent)]
    File(#[from] Box<crate::authority::AuthorityFault>),
    /// The key cannot sign, or not for us.
    #[error("upstream key in {}: {reason}", path.display())]
    Key {
        /// Where the key is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The request does not verify: a fault of ours.
    #[error("the request for an intermediate does not verify")]
    Request,
    /// The program could not be run.
    #[error("upstream command {program} cannot be run: {reason}")]
    NotRun {
        /// The program.
        program: String,
        /// What the system said.
        reason: String,
    },
    /// The program said no.
    #[error("upstream command {program} ended with {status}: {stderr}")]
    Refused {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The beginning of what it said.
        stderr: String,
    },
    /// It took too long.
    #[error("upstream authority did not answer within {seconds} s")]
    Timeout {
        /// How long it had.
        seconds: u64,
    },
    /// It answered with something else than certificates.
    #[error(
        "upstream authority answered with {found}, expected PEM certificates: the new one first, then those above it"
    )]
    Answer {
        /// What came.
        found: String,
    },
    /// The token would not.
    #[error("PKCS#11 token {token:?} cannot {action}: {reason}")]
    Token {
        /// The token's label.
        token: String,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the library said.
        reason: String,
    },
    /// What it answered does not hold.
    #[error("upstream authority's answer is refused: {0}")]
    Chain(#[from] ChainFault),
}

impl UpstreamFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(fault) => fault.code(),
            Self::Key { .. } => "authority.upstream.key",
            Self::Request => "authority.upstream.request",
            Self::NotRun { .. } => "authority.upstream.not_run",
            Self::Refused { .. } => "authority.upstream.refused",
            Self::Timeout { .. } => "authority.upstream.timeout",
            Self::Answer { .. } => "authority.upstream.answer",
            Self::Token { .. } => "authority.upstream.token",
            Self::Chain(fault) => fault.code(),
        }
    }
}
