//! Why a platform certificate, IAK or IDevID is refused.

use thiserror::Error;

use super::offered::{DeviceRole, Factor};
use crate::tpm::attributes::Attributes;
use crate::x509::{Date, PathRefused};

/// An ownership factor that does not hold. Blames the evidence, and carries none of its text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unowned {
    /// The certificate, or what comes with it, does not parse.
    #[error("{factor} is malformed: {what}")]
    Malformed {
        /// Which.
        factor: Factor,
        /// What is wrong.
        what: &'static str,
    },
    /// It is a certificate for something else: by its purpose, its key usage, its credential type, or as a CA's.
    #[error("{factor} is a certificate for something else: {what}")]
    Purpose {
        /// Which.
        factor: Factor,
        /// What it says.
        what: &'static str,
    },
    /// A critical extension that we do not understand.
    #[error("{factor} has a critical extension that is not understood")]
    CriticalExtension {
        /// Which.
        factor: Factor,
    },
    /// The certificate is not valid yet, or no more.
    #[error("{factor} is valid from {} to {}, now is {}", Date(*not_before), Date(*not_after), Date(*now))]
    Expired {
        /// Which.
        factor: Factor,
        /// Start, seconds since 1970.
        not_before: i64,
        /// End, seconds since 1970.
        not_after: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// No imported root of this kind leads to its issuer.
    #[error("no root imported for it leads to the issuer of the {factor}")]
    Untrusted {
        /// Which.
        factor: Factor,
    },
    /// It carries an imported issuer's name and not its signature.
    #[error("signature on the {factor} does not verify")]
    Signature {
        /// Which.
        factor: Factor,
    },
    /// Its path to an imported root does not hold.
    #[error("{factor}: {refused}")]
    Chain {
        /// Which.
        factor: Factor,
        /// Why.
        refused: PathRefused,
    },
    /// It names another TPM than any whose endorsement key was offered with it.
    #[error("{factor} is of another machine: it names none of the endorsement certificates offered")]
    Holder {
        /// Which.
        factor: Factor,
    },
    /// The certificate is for another key than the public area.
    #[error("{factor} is for another key than the public area offered with it")]
    PublicMismatch {
        /// Which.
        factor: Factor,
    },
    /// The key's attributes are others than such a key's.
    #[error("key of the {factor} has attributes {found}, needs {required} within {allowed}")]
    Attributes {
        /// Which.
        factor: Factor,
        /// Found.
        found: Attributes,
        /// What it must have.
        required: Attributes,
        /// What it may have.
        allowed: Attributes,
    },
    /// The key's kind, size or scheme is none that is accepted.
    #[error("key of the {factor} is of a kind, size or scheme that is not accepted")]
    KeyKind {
        /// Which.
        factor: Factor,
    },
    /// Nothing shows that the key is in this TPM.
    #[error("nothing shows that the key of the {factor} is in this TPM: {what}")]
    Residency {
        /// Which.
        factor: Factor,
        /// What is missing.
        what: &'static str,
    },
}

impl Unowned {
    pub(super) const fn path(factor: Factor, refused: PathRefused) -> Self {
        match refused {
            PathRefused::NoPath { .. } => Self::Untrusted { factor },
            PathRefused::Signature { depth: 0 } => Self::Signature { factor },
            other => Self::Chain { factor, refused: other },
        }
    }

    /// What it is about.
    #[must_use]
    pub const fn factor(&self) -> Factor {
        match self {
            Self::Malformed { factor, .. }
            | Self::Purpose { factor, .. }
            | Self::CriticalExtension { factor }
            | Self::Expired { factor, .. }
            | Self::Untrusted { factor }
            | Self::Signature { factor }
            | Self::Chain { factor, .. }
            | Self::Holder { factor }
            | Self::PublicMismatch { factor }
            | Self::Attributes { factor, .. }
            | Self::KeyKind { factor }
            | Self::Residency { factor, .. } => *factor,
        }
    }

    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        let [platform, iak, idevid] = match self {
            Self::Malformed { .. } => ["tpm.platform.malformed", "tpm.iak.malformed", "tpm.idevid.malformed"],
            Self::Purpose { .. } => ["tpm.platform.purpose", "tpm.iak.purpose", "tpm.idevid.purpose"],
            Self::CriticalExtension { .. } => {
                ["tpm.platform.critical_extension", "tpm.iak.critical_extension", "tpm.idevid.critical_extension"]
            }
            Self::Expired { .. } => ["tpm.platform.expired", "tpm.iak.expired", "tpm.idevid.expired"],
            Self::Untrusted { .. } => ["tpm.platform.untrusted", "tpm.iak.untrusted", "tpm.idevid.untrusted"],
            Self::Signature { .. } => ["tpm.platform.signature", "tpm.iak.signature", "tpm.idevid.signature"],
            Self::Chain { .. } => ["tpm.platform.chain", "tpm.iak.chain", "tpm.idevid.chain"],
            Self::Holder { .. } => ["tpm.platform.holder", "tpm.iak.holder", "tpm.idevid.holder"],
            Self::PublicMismatch { .. } => ["", "tpm.iak.public_mismatch", "tpm.idevid.public_mismatch"],
            Self::Attributes { .. } => ["", "tpm.iak.attributes", "tpm.idevid.attributes"],
            Self::KeyKind { .. } => ["", "tpm.iak.kind", "tpm.idevid.kind"],
            Self::Residency { .. } => ["", "tpm.iak.residency", "tpm.idevid.residency"],
        };
        match self.factor() {
            Factor::Platform => platform,
            Factor::Device(DeviceRole::Iak) => iak,
            Factor::Device(DeviceRole::IdevId) => idevid,
        }
    }
}
