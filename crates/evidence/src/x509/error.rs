//! Why no path leads from a certificate to a root, and why a root, intermediate or CRL that an operator imports is
//! refused.

use std::fmt;

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Seconds since 1970 as a refusal writes them: `2026-01-31T12:00:00Z`, where there is such a date.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Date(pub(crate) i64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = OffsetDateTime::from_unix_timestamp(self.0).ok().and_then(|date| date.format(&Rfc3339).ok());
        match date {
            Some(date) => f.write_str(&date),
            None => write!(f, "@{}", self.0),
        }
    }
}

/// No path from a certificate to an anchor holds. Carries no text of the certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathRefused {
    /// A critical extension that we do not understand, in any issuer of the path.
    #[error("certificate {depth} of the path has a critical extension that is not understood")]
    CriticalExtension {
        /// 0 is the leaf.
        depth: usize,
    },
    /// An issuer is not valid yet, or no more.
    #[error("issuer {depth} of the path is valid from {} to {}, now is {}", Date(*not_before), Date(*not_after), Date(*now))]
    IssuerExpired {
        /// 1 is the issuer of the leaf.
        depth: usize,
        /// Start, seconds since 1970.
        not_before: i64,
        /// End, seconds since 1970.
        not_after: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// No imported root or intermediate is the issuer.
    #[error("no imported root leads to issuer {depth} of the certificate")]
    NoPath {
        /// 1 is the issuer of the leaf.
        depth: usize,
    },
    /// The signature on a certificate does not verify under any issuer of that name.
    #[error("signature on certificate {depth} of the path does not verify")]
    Signature {
        /// 0 is the leaf.
        depth: usize,
    },
    /// A signature algorithm or issuer key that we do not verify.
    #[error("certificate {depth} of the path is signed by an algorithm that is not supported")]
    SignatureAlgorithm {
        /// 0 is the leaf.
        depth: usize,
    },
    /// A SHA-1 signature below a root that was not imported with SHA-1 accepted.
    #[error("certificate {depth} of the path is signed with SHA-1")]
    Sha1 {
        /// 0 is the leaf.
        depth: usize,
    },
    /// An issuer is no CA, or may not sign certificates.
    #[error("issuer {depth} of the path may not issue certificates")]
    NotCa {
        /// 1 is the issuer of the leaf.
        depth: usize,
    },
    /// An issuer allows fewer certificates below it than there are.
    #[error("issuer {depth} of the path allows no more than {allowed} issuers below it")]
    PathLength {
        /// 1 is the issuer of the leaf.
        depth: usize,
        /// Its limit.
        allowed: u32,
    },
    /// The path would be longer than we follow, or takes more signature checks than we spend.
    #[error("path from the certificate to a root is too long")]
    TooDeep,
    /// A certificate of the path is on its issuer's CRL.
    #[error("certificate {depth} of the path is revoked")]
    Revoked {
        /// 0 is the leaf.
        depth: usize,
    },
    /// There is a CRL for the issuer, and its signature does not verify under the issuer's key.
    #[error("CRL of issuer {depth} does not verify")]
    CrlSignature {
        /// 1 is the issuer of the leaf.
        depth: usize,
    },
}

impl PathRefused {
    /// The stable code of this refusal. A kind of evidence may give it another of its own.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CriticalExtension { .. } => "chain.critical_extension",
            Self::IssuerExpired { .. } => "chain.issuer_expired",
            Self::NoPath { .. } => "chain.untrusted",
            Self::Signature { .. } => "chain.signature",
            Self::SignatureAlgorithm { .. } => "chain.algorithm",
            Self::Sha1 { .. } => "chain.sha1",
            Self::NotCa { .. } => "chain.issuer_not_ca",
            Self::PathLength { .. } | Self::TooDeep => "chain.path_length",
            Self::Revoked { .. } => "chain.revoked",
            Self::CrlSignature { .. } => "chain.crl_signature",
        }
    }
}

/// A root, intermediate or CRL that cannot be imported. The operator's file is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadEndorsement {
    /// No DER certificate, or more than one.
    #[error("not exactly one DER certificate")]
    NotACertificate,
    /// The certificate says that it is no CA, or may not sign certificates.
    #[error("certificate is no CA certificate")]
    NotCa,
    /// A critical extension that we do not understand.
    #[error("certificate has a critical extension that is not understood")]
    CriticalExtension,
    /// No DER CRL.
    #[error("not a DER certificate revocation list")]
    NotACrl,
}

impl BadEndorsement {
    /// The stable code of this refusal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotACertificate => "endorsements.not_a_certificate",
            Self::NotCa => "endorsements.not_ca",
            Self::CriticalExtension => "endorsements.critical_extension",
            Self::NotACrl => "endorsements.not_a_crl",
        }
    }
}
