//! Why nothing was exchanged: everything for operators, one of a few words for whoever asked.

use holdfast_svid::audience::BadAudience;
use holdfast_svid::jws::BadToken;
use hyper::StatusCode;

use super::rule::Differs;
use crate::authority::AuthorityFault;
use crate::budget::OverBudget;
use crate::store::StoreFault;

/// Why a request got no JWT-SVID.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The request is not one.
    #[error("request: {0}")]
    Form(&'static str),
    /// Another grant.
    #[error("expected grant_type to be that of token exchange")]
    GrantType,
    /// A token of a type that is not read, or not given.
    #[error("expected subject_token_type to be jwt or id_token, and requested_token_type jwt or nothing")]
    TokenType,
    /// Delegation, resources or scopes.
    #[error("expected no actor_token, resource or scope")]
    Unsupported,
    /// No rule knows the issuer.
    #[error("no rule is about tokens of {claimed:?}")]
    Issuer {
        /// What the token says, cut.
        claimed: String,
    },
    /// The token is not believed.
    #[error("token of {issuer}: {problem}")]
    Token {
        /// The issuer's name in the configuration.
        issuer: String,
        /// Why not.
        problem: BadToken,
    },
    /// The token lives longer than any that is taken.
    #[error("token of {issuer} ends in {seconds} s, limit {limit}")]
    Lifetime {
        /// The issuer's name.
        issuer: String,
        /// Until then.
        seconds: i64,
        /// At most so many.
        limit: i64,
    },
    /// The token is genuine, and no rule is for it.
    #[error("token of {issuer} with subject {subject:?} meets no rule")]
    NoRule {
        /// The issuer's name.
        issuer: String,
        /// Its subject.
        subject: String,
        /// The rule that it comes nearest, and what it does not meet of it.
        nearest: Option<(String, Vec<Differs>)>,
    },
    /// The JWT-SVID would be for somebody whom the rule does not name.
    #[error("rule {rule} gives no token for {audience:?}")]
    Target {
        /// The rule.
        rule: String,
        /// For whom it was asked.
        audience: String,
    },
    /// Audiences that no token may have.
    #[error("audience: {0}")]
    Audience(BadAudience),
    /// The token was exchanged as often as its rule allows.
    #[error("token was exchanged {uses} times, as often as rule {rule} allows")]
    Replayed {
        /// The rule.
        rule: String,
        /// How often.
        uses: u32,
    },
    /// Too much from one source, or from all.
    #[error(transparent)]
    Budget(OverBudget),
    /// The issuer's keys cannot be had.
    #[error("keys of {issuer} cannot be had: {problem}")]
    Keys {
        /// The issuer's name.
        issuer: String,
        /// Why not.
        problem: String,
    },
    /// A fault of the store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A fault of the authority, or a key that has just ended: ask again.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
}

/// What whoever asked is told (RFC 6749, section 5.2; RFC 8693, section 2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The status.
    pub status: StatusCode,
    /// `error`.
    pub error: &'static str,
}

impl Refused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "exchange.form",
            Self::GrantType => "exchange.grant_type",
            Self::TokenType => "exchange.token_type",
            Self::Unsupported => "exchange.unsupported",
            Self::Issuer { .. } => "exchange.issuer",
            Self::Token { problem, .. } => problem.code(),
            Self::Lifetime { .. } => "exchange.lifetime",
            Self::NoRule { .. } => "exchange.no_rule",
            Self::Target { .. } => "exchange.target",
            Self::Audience(bad) => bad.code(),
            Self::Replayed { .. } => "exchange.replayed",
            Self::Budget(_) => "exchange.budget",
            Self::Keys { .. } => "exchange.keys",
            Self::Store(fault) => fault.code(),
            Self::Authority(fault) => fault.code(),
        }
    }

    /// What a stranger may learn: nothing of rules, of other tokens, or of what is wrong with this one.
    #[must_use]
    pub const fn told(&self) -> Told {
        let (status, error) = match self {
            Self::GrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::Form(_)
            | Self::TokenType
            | Self::Unsupported
            | Self::Issuer { .. }
            | Self::Token { .. }
            | Self::Lifetime { .. }
            | Self::NoRule { .. }
            | Self::Replayed { .. } => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::Target { .. } | Self::Audience(_) => (StatusCode::BAD_REQUEST, "invalid_target"),
            Self::Budget(_) => (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"),
            Self::Keys { .. } | Self::Store(_) | Self::Authority(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
            }
        };
        Told { status, error }
    }

    /// Whether the token behind it was verified: only of those is more kept than a count.
    #[must_use]
    pub const fn is_of_genuine_token(&self) -> bool {
        match self {
            Self::Lifetime { .. } | Self::NoRule { .. } | Self::Target { .. } | Self::Replayed { .. } => true,
            Self::Form(_)
            | Self::GrantType
            | Self::TokenType
            | Self::Unsupported
            | Self::Issuer { .. }
            | Self::Token { .. }
            | Self::Audience(_)
            | Self::Budget(_)
            | Self::Keys { .. }
            | Self::Store(_)
            | Self::Authority(_) => false,
        }
    }
}
