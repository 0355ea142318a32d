//! Evidence that does not parse or verify, of whatever kind. Says what the operator sees; `failure` says what the peer
//! does.

use holdfast_evidence::{EvidenceKind, Malformed, azure, gcp, nitro, nitrotpm, snp, tdx, tpm};

use crate::store::Serves;

/// Why evidence is refused before any policy is asked.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceRefused {
    /// It does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Evidence of a TPM does not verify.
    #[error(transparent)]
    Tpm(Box<tpm::Unverified>),
    /// Evidence of an SEV-SNP guest does not verify.
    #[error(transparent)]
    Snp(Box<snp::Unverified>),
    /// Evidence of a TDX guest does not verify.
    #[error(transparent)]
    Tdx(Box<tdx::Unverified>),
    /// Evidence of a Nitro enclave does not verify.
    #[error(transparent)]
    Nitro(Box<nitro::Unverified>),
    /// Evidence of a NitroTPM does not verify.
    #[error(transparent)]
    NitroTpm(Box<nitrotpm::Unverified>),
    /// Evidence of a Google Cloud instance does not verify.
    #[error(transparent)]
    Gcp(Box<gcp::Unverified>),
    /// Evidence of an Azure machine does not verify.
    #[error(transparent)]
    Azure(Box<azure::Unverified>),
    /// A root that vouched for the machine is not trusted any more.
    #[error("the root {root} above evidence of kind {serves} is not trusted any more")]
    RootWithdrawn {
        /// What it spoke for.
        serves: Serves,
        /// The name under which it was imported.
        root: String,
    },
}

impl From<tpm::Unverified> for EvidenceRefused {
    fn from(unverified: tpm::Unverified) -> Self {
        Self::Tpm(Box::new(unverified))
    }
}

impl From<gcp::Unverified> for EvidenceRefused {
    fn from(unverified: gcp::Unverified) -> Self {
        Self::Gcp(Box::new(unverified))
    }
}

impl From<azure::Unverified> for EvidenceRefused {
    fn from(unverified: azure::Unverified) -> Self {
        Self::Azure(Box::new(unverified))
    }
}

impl From<snp::Unverified> for EvidenceRefused {
    fn from(unverified: snp::Unverified) -> Self {
        Self::Snp(Box::new(unverified))
    }
}

impl From<tdx::Unverified> for EvidenceRefused {
    fn from(unverified: tdx::Unverified) -> Self {
        Self::Tdx(Box::new(unverified))
    }
}

impl From<nitro::Unverified> for EvidenceRefused {
    fn from(unverified: nitro::Unverified) -> Self {
        Self::Nitro(Box::new(unverified))
    }
}

impl From<nitrotpm::Unverified> for EvidenceRefused {
    fn from(unverified: nitrotpm::Unverified) -> Self {
        Self::NitroTpm(Box::new(unverified))
    }
}

impl EvidenceRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Tpm(unverified) => unverified.code(),
            Self::Snp(unverified) => unverified.code(),
            Self::Tdx(unverified) => unverified.code(),
            Self::Nitro(unverified) => unverified.code(),
            Self::NitroTpm(unverified) => unverified.code(),
            Self::Gcp(unverified) => unverified.code(),
            Self::Azure(unverified) => unverified.code(),
            Self::RootWithdrawn { serves: Serves::Evidence(EvidenceKind::Tpm), .. } => "tpm.ek.root_withdrawn",
            Self::RootWithdrawn { .. } => "evidence.root_withdrawn",
        }
    }

    /// Whether the hardware vouched for what was refused: its signature over our binding was good, and something that
    /// it signed is not as it must be. Anybody who knows public keys can cause the other failures.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        match self {
            Self::RootWithdrawn { .. } => true,
            Self::Malformed(_) => false,
            Self::Tpm(unverified) => unverified.is_signed_over(),
            Self::Snp(unverified) => unverified.is_genuine(),
            Self::Tdx(unverified) => unverified.is_genuine(),
            Self::Nitro(unverified) => unverified.is_genuine(),
            Self::NitroTpm(unverified) => unverified.is_genuine(),
            Self::Gcp(unverified) => unverified.is_genuine(),
            Self::Azure(unverified) => unverified.is_genuine(),
        }
    }
}
