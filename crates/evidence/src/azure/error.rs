//! Why evidence of Azure's virtual TPM is refused. What is wrong with the hardware report is said in the words of `snp`
//! or `tdx`, what is wrong with the quote in those of `tpm`.

use crate::error::Malformed;
use crate::x509::{Date, PathRefused};
use crate::{snp, tdx, tpm};

/// A check that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unverified {
    /// The item, the HCL report or its runtime data does not parse, exactly.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The hardware reported the digest of other runtime data.
    #[error("hardware report is about other runtime data than came with it")]
    RuntimeData,
    /// The TDREPORT says something else than the quote that was made of it, or contradicts itself.
    #[error("{field} of the TDREPORT is not what the quote of the TD says")]
    TdReport {
        /// Where they differ.
        field: &'static str,
    },
    /// The guest asked for the SNP report, and not the paravisor.
    #[error("SNP report is for VMPL {found}: the guest asked for it, and not the paravisor, which has VMPL 0")]
    Vmpl {
        /// Found.
        found: u32,
    },
    /// The SNP report does not verify.
    #[error(transparent)]
    Snp(Box<snp::Unverified>),
    /// The quote of the TD does not verify.
    #[error(transparent)]
    Tdx(Box<tdx::Unverified>),
    /// There is neither an HCL report nor a certificate of the attestation key.
    #[error("neither an HCL report nor a certificate of the attestation key came along")]
    CertificateMissing,
    /// The certificate is not what Microsoft issues for attestation keys.
    #[error("certificate of the attestation key is not what Microsoft issues: {what}")]
    Certificate {
        /// The part.
        what: &'static str,
    },
    /// The certificate is not valid yet, or no more.
    #[error("certificate of the attestation key is valid from {} to {}, now is {}", Date(*not_before), Date(*not_after), Date(*now))]
    CertificateExpired {
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
    /// Runtime data, public area and certificate are not about one key.
    #[error("attestation key is another one than the HCL report or its certificate names")]
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

impl From<snp::Unverified> for Unverified {
    fn from(unverified: snp::Unverified) -> Self {
        Self::Snp(Box::new(unverified))
    }
}

impl From<tdx::Unverified> for Unverified {
    fn from(unverified: tdx::Unverified) -> Self {
        Self::Tdx(Box::new(unverified))
    }
}

impl Unverified {
    /// Stable code for operators and programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::RuntimeData => "azure.runtime_data.digest",
            Self::TdReport { .. } => "azure.hcl.td_report",
            Self::Vmpl { .. } => "azure.hcl.vmpl",
            Self::Snp(unverified) => unverified.code(),
            Self::Tdx(unverified) => unverified.code(),
            Self::CertificateMissing => "azure.ak.certificate_missing",
            Self::Certificate { .. } => "azure.ak.certificate",
            Self::CertificateExpired { .. } => "azure.ak.expired",
            Self::Chain(refused) => refused.code(),
            Self::KeyMismatch => "azure.ak.key_mismatch",
            Self::Quote(unverified) => unverified.code(),
            Self::NodeKeyUnproven => "azure.node_key_unproven",
            Self::OtherBinding => "azure.item.other_binding",
            Self::Late { .. } => "challenge.expired",
        }
    }

    /// Whether the hardware vouched for what was refused: the attestation key signed our binding, its report was signed
    /// by a key that a trusted root leads to (or the key's certificate was), and something that one of them says is not
    /// as it must be. The quote's signature is checked before the report, and what the quote covers after it.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        match self {
            Self::Vmpl { .. } => true,
            Self::Snp(unverified) => unverified.is_genuine(),
            Self::Tdx(unverified) => unverified.is_genuine(),
            Self::Quote(unverified) => unverified.is_signed_over(),
            Self::Malformed(_)
            | Self::RuntimeData
            | Self::TdReport { .. }
            | Self::CertificateMissing
            | Self::Certificate { .. }
            | Self::CertificateExpired { .. }
            | Self::Chain(_)
            | Self::KeyMismatch
            | Self::NodeKeyUnproven
            | Self::OtherBinding
            | Self::Late { .. } => false,
        }
    }
}
