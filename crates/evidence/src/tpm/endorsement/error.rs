//! Why an EK certificate is refused.

use thiserror::Error;

use crate::x509::{Date, PathRefused};

/// An EK certificate that we do not accept. Blames the evidence; carries none of its text but names of our own roots.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnverifiedEk {
    /// The blob is larger than any certificate we read.
    #[error("EK certificate has {found} bytes, at most {limit} are read")]
    TooLarge {
        /// Bytes offered.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More chain certificates than we look at.
    #[error("EK certificate comes with {found} chain certificates, at most {limit} are read")]
    TooManyCertificates {
        /// Certificates offered.
        found: usize,
        /// Certificates allowed.
        limit: usize,
    },
    /// No X.509 certificate.
    #[error("EK certificate does not parse: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Bytes other than NV padding (`00` or `FF`) follow the certificate.
    #[error("EK certificate is followed by {found} bytes that are no padding")]
    TrailingBytes {
        /// How many.
        found: usize,
    },
    /// A CA certificate in the place of an EK certificate.
    #[error("EK certificate is a CA certificate")]
    IsCa,
    /// A critical extension that we do not understand, in any certificate of the path.
    #[error("certificate {depth} of the path has a critical extension that is not understood")]
    CriticalExtension {
        /// 0 is the EK certificate.
        depth: usize,
    },
    /// The EK certificate is not valid yet, or no more.
    #[error("EK certificate is valid from {} to {}, now is {}", Date(*not_before), Date(*not_after), Date(*now))]
    Expired {
        /// Start, seconds since 1970.
        not_before: i64,
        /// End, seconds since 1970.
        not_after: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// An issuer is not valid yet, or no more.
    #[error("issuer {depth} of the path is valid from {} to {}, now is {}", Date(*not_before), Date(*not_after), Date(*now))]
    IssuerExpired {
        /// 1 is the issuer of the EK certificate.
        depth: usize,
        /// Start, seconds since 1970.
        not_before: i64,
        /// End, seconds since 1970.
        not_after: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// `keyUsage` allows neither key encipherment nor key agreement.
    #[error("EK certificate is for a key that may not decrypt")]
    KeyUsage,
    /// `extendedKeyUsage` is there without tcg-kp-EKCertificate (2.23.133.8.1).
    #[error("EK certificate is not for endorsement keys by its extended key usage")]
    ExtendedKeyUsage,
    /// A key of a kind, size or exponent that is none of ours.
    #[error("EK certificate holds no RSA (2048 to 4096 bits) or ECC (P-256, P-384) key")]
    UnsupportedKey,
    /// The modulus has the fingerprint of Infineon's weak key generator (CVE-2017-15361).
    #[error("EK modulus is weak (ROCA)")]
    Roca,
    /// No imported root or intermediate is the issuer.
    #[error("no imported root leads to issuer {depth} of the EK certificate")]
    NoPath {
        /// 1 is the issuer of the EK certificate.
        depth: usize,
    },
    /// The signature on a certificate does not verify under any issuer of that name.
    #[error("signature on certificate {depth} of the path does not verify")]
    Signature {
        /// 0 is the EK certificate.
        depth: usize,
    },
    /// A signature algorithm or issuer key that we do not verify.
    #[error("certificate {depth} of the path is signed by an algorithm that is not supported")]
    SignatureAlgorithm {
        /// 0 is the EK certificate.
        depth: usize,
    },
    /// A SHA-1 signature below a root that was not imported with SHA-1 accepted.
    #[error("certificate {depth} of the path is signed with SHA-1")]
    Sha1 {
        /// 0 is the EK certificate.
        depth: usize,
    },
    /// An issuer is no CA, or may not sign certificates.
    #[error("issuer {depth} of the path may not issue certificates")]
    NotCa {
        /// 1 is the issuer of the EK certificate.
        depth: usize,
    },
    /// An issuer allows fewer certificates below it than there are.
    #[error("issuer {depth} of the path allows no more than {allowed} issuers below it")]
    PathLength {
        /// 1 is the issuer of the EK certificate.
        depth: usize,
        /// Its limit.
        allowed: u32,
    },
    /// The path would be longer than we follow, or takes more signature checks than we spend.
    #[error("path from the EK certificate to a root is too long")]
    TooDeep,
    /// A certificate of the path is on its issuer's CRL.
    #[error("certificate {depth} of the path is revoked")]
    Revoked {
        /// 0 is the EK certificate.
        depth: usize,
    },
    /// There is a CRL for the issuer, and its signature does not verify under the issuer's key.
    #[error("CRL of issuer {depth} does not verify")]
    CrlSignature {
        /// 1 is the issuer of the EK certificate.
        depth: usize,
    },
    /// A software TPM (manufacturer `id:00001014`) below a root that is not for software TPMs.
    #[error("EK certificate names a software TPM, and root {root:?} is not imported for those")]
    SoftwareTpm {
        /// Name of the root.
        root: String,
    },
    /// The certificate is for another key than the EK that was offered.
    #[error("EK certificate is for another key than the EK public area")]
    PublicKeyMismatch,
}

impl UnverifiedEk {
    /// The stable code of this refusal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::TooManyCertificates { .. } => "tpm.ek.too_large",
            Self::Malformed { .. } => "tpm.ek.malformed",
            Self::TrailingBytes { .. } => "tpm.ek.trailing",
            Self::IsCa => "tpm.ek.is_ca",
            Self::CriticalExtension { .. } => "tpm.ek.critical_extension",
            Self::Expired { .. } => "tpm.ek.expired",
            Self::IssuerExpired { .. } => "tpm.ek.issuer_expired",
            Self::KeyUsage | Self::ExtendedKeyUsage => "tpm.ek.key_usage",
            Self::UnsupportedKey => "tpm.ek.unsupported_key",
            Self::Roca => "tpm.ek.roca",
            Self::NoPath { .. } => "tpm.ek.untrusted",
            Self::Signature { .. } => "tpm.ek.signature",
            Self::SignatureAlgorithm { .. } => "tpm.ek.algorithm",
            Self::Sha1 { .. } => "tpm.ek.sha1",
            Self::NotCa { .. } => "tpm.ek.issuer_not_ca",
            Self::PathLength { .. } | Self::TooDeep => "tpm.ek.path_length",
            Self::Revoked { .. } => "tpm.ek.revoked",
            Self::CrlSignature { .. } => "tpm.ek.crl_signature",
            Self::SoftwareTpm { .. } => "tpm.ek.software_tpm",
            Self::PublicKeyMismatch => "tpm.ek.public_mismatch",
        }
    }
}

impl From<PathRefused> for UnverifiedEk {
    fn from(refused: PathRefused) -> Self {
        match refused {
            PathRefused::CriticalExtension { depth } => Self::CriticalExtension { depth },
            PathRefused::IssuerExpired { depth, not_before, not_after, now } => {
                Self::IssuerExpired { depth, not_before, not_after, now }
            }
            PathRefused::NoPath { depth } => Self::NoPath { depth },
            PathRefused::Signature { depth } => Self::Signature { depth },
            PathRefused::SignatureAlgorithm { depth } => Self::SignatureAlgorithm { depth },
            PathRefused::Sha1 { depth } => Self::Sha1 { depth },
            PathRefused::NotCa { depth } => Self::NotCa { depth },
            PathRefused::PathLength { depth, allowed } => Self::PathLength { depth, allowed },
            PathRefused::TooDeep => Self::TooDeep,
            PathRefused::Revoked { depth } => Self::Revoked { depth },
            PathRefused::CrlSignature { depth } => Self::CrlSignature { depth },
        }
    }
}
