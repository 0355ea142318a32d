//! Why a token is not believed.

use holdfast_identity::{InvalidId, UnixTime};

use crate::jws::TOKEN_BYTES_MAX;
use holdfast_evidence::json::BadJson;

/// Why a token is not believed. Carries nothing of its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Longer than we read.
    #[error("token of {0} bytes, limit {TOKEN_BYTES_MAX}")]
    TooLong(usize),
    /// Not the compact form.
    #[error("expected a compact JWS: header, claims and signature in base64url, with dots between them")]
    Form,
    /// The header cannot be read.
    #[error("header: {0}")]
    Header(BadJson),
    /// A member that a JWT-SVID's header does not have.
    #[error("expected only alg, kid and typ in the header")]
    HeaderMember,
    /// Something in the header must be understood, and is not.
    #[error("the header has crit, of which nothing is understood")]
    Critical,
    /// No algorithm, or one that may not sign.
    #[error("expected alg to be RS, ES or PS with 256, 384 or 512")]
    Algorithm,
    /// Another type of token.
    #[error("expected typ to be JWT or JOSE, or not to be there")]
    Type,
    /// No key id, or none that can be one.
    #[error("expected kid to be the id of the signing key")]
    KeyId,
    /// The claims cannot be read.
    #[error("claims: {0}")]
    Claims(BadJson),
    /// No subject.
    #[error("expected sub to be a SPIFFE ID")]
    SubjectMissing,
    /// A subject that is no SPIFFE ID.
    #[error("expected sub to be a SPIFFE ID")]
    Subject(#[source] InvalidId),
    /// The subject is a trust domain's own ID, which names no workload.
    #[error("expected sub to be the SPIFFE ID of a workload, with a path")]
    SubjectPathless,
    /// No audience, or one of another form.
    #[error("expected aud to be a string, or a list of strings that is not empty")]
    AudienceMissing,
    /// For somebody else.
    #[error("aud names other audiences than the one expected")]
    Audience,
    /// No end.
    #[error("expected exp to be seconds since 1970")]
    Expiry,
    /// It ended.
    #[error("ended at {at}")]
    Expired {
        /// Its end.
        at: UnixTime,
    },
    /// Its start is none.
    #[error("expected nbf to be seconds since 1970, or not to be there")]
    NotBefore,
    /// It has not started.
    #[error("starts at {at}")]
    NotYet {
        /// Its start.
        at: UnixTime,
    },
    /// Of another issuer.
    #[error("expected iss to be the issuer whose keys verify it")]
    Issuer,
    /// The keys are those of another trust domain than the subject's.
    #[error("the keys are those of another trust domain than the subject's")]
    TrustDomain,
    /// Nobody published this key.
    #[error("no key with this kid among the published ones")]
    KeyUnknown,
    /// The key cannot have signed by this algorithm.
    #[error("the key with this kid does not sign by this alg")]
    KeyAlgorithm,
    /// It was withdrawn before its end.
    #[error("it was withdrawn by the server that signed it")]
    Withdrawn,
    /// The key did not sign it.
    #[error("the signature is not that of the key")]
    Signature,
}

impl BadToken {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "jwt.too_long",
            Self::Form => "jwt.form",
            Self::Header(_) => "jwt.header.form",
            Self::HeaderMember => "jwt.header.member",
            Self::Critical => "jwt.header.crit",
            Self::Algorithm => "jwt.header.alg",
            Self::Type => "jwt.header.typ",
            Self::KeyId => "jwt.header.kid",
            Self::Claims(_) => "jwt.claims.form",
            Self::SubjectMissing | Self::Subject(_) => "jwt.claims.sub",
            Self::SubjectPathless => "jwt.claims.sub_path",
            Self::AudienceMissing => "jwt.claims.aud",
            Self::Audience => "jwt.claims.other_audience",
            Self::Expiry => "jwt.claims.exp",
            Self::Expired { .. } => "jwt.expired",
            Self::NotBefore => "jwt.claims.nbf",
            Self::NotYet { .. } => "jwt.not_yet",
            Self::Issuer => "jwt.claims.iss",
            Self::TrustDomain => "jwt.trust_domain",
            Self::KeyUnknown => "jwt.key.unknown",
            Self::KeyAlgorithm => "jwt.key.algorithm",
            Self::Withdrawn => "jwt.withdrawn",
            Self::Signature => "jwt.signature",
        }
    }
}
