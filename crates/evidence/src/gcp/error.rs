//! Why evidence of Google's virtual TPM is refused. What is wrong with the quote itself is said in the words of `tpm`.

use crate::error::Malformed;
use crate::tpm;
use crate::x509::{Date, PathRefused};

/// A check that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unverified {
    /// The item does not parse, exactly.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No certificate of the attestation key came along.
    #[error("no certificate of the attestation key came along")]
    CertificateMissing,
    /// The certificate is not what Google issues for attestation keys.
    #[error("certificate of the attestation key is not what Google issues: {what}")]
    Certificate {
        /// The part.
        what: &'static str,
    },
    /// The certificate is not valid yet, or no more.
    #[error("certificate of the attestation key is valid from {} to {}, now is {}", Date(*not_before), Date(*not_after), Date(*now))]
    Expired {
        /// Start, seconds since 1970.
        not_before: i64,
        /// End, seconds since 1970.
        not_after: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// No trusted root has issued it.
    #[error("certificate of the attestation key: {0}")]
    Chain(#[from] PathRefused),
    /// The certificate is for another key than the public area.
    #[error("certificate is for another key than the attestation key's public area")]
    KeyMismatch,
    /// The quote, the key's attributes, or the log.
    #[error(transparent)]
    Quote(Box<tpm::Unverified>),
    /// The node key is not proven: this quote certifies none.
    #[error("node key is not proven: a virtual TPM's quote needs a certificate request, or the node's own connection")]
    NodeKeyUnproven,
    /// The binding has no such item in it.
    #[error("evidence item does not belong to this binding")]
    OtherBinding,
    /// The challenge became void while it was being answered.
    #[error("challenge expired {seconds} seconds ago")]
    Late {
        /// Since when.
        seconds: i64,
    },
}

impl From<tpm::Unverified> for Unverified {
    fn from(unverified: tpm::Unverified) -> Self {
        Self::Quote(Box::new(unverified))
    }
}

impl Unverified {
    /// Stable code for operators and programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::CertificateMissing => "gcp.ak.certificate_missing",
            Self::Certificate { .. } => "gcp.ak.certificate",
            Self::Expired { .. } => "gcp.ak.expired",
            Self::Chain(refused) => refused.code(),
            Self::KeyMismatch => "gcp.ak.key_mismatch",
            Self::Quote(unverified) => unverified.code(),
            Self::NodeKeyUnproven => "gcp.node_key_unproven",
            Self::OtherBinding => "gcp.item.other_binding",
            Self::Late { .. } => "challenge.expired",
        }
    }

    /// Whether Google vouched for what was refused: the quote over our binding was good by a key that chains to a trusted
    /// root, and something that it signed is not as it must be.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        match self {
            Self::Quote(unverified) => unverified.is_signed_over(),
            Self::Malformed(_)
            | Self::CertificateMissing
            | Self::Certificate { .. }
            | Self::Expired { .. }
            | Self::Chain(_)
            | Self::KeyMismatch
            | Self::NodeKeyUnproven
            | Self::OtherBinding
            | Self::Late { .. } => false,
        }
    }
}
