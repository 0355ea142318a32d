//! The two kinds of machine whose documents the Nitro hypervisor signs under one root: they differ in one key and in
//! their module's name, and must never pass for each other.

use crate::error::Structure;

/// Whose document it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// Of an enclave: `pcrs`, `i-…-enc…`.
    Enclave,
    /// Of an instance, by its NitroTPM: `nitrotpm_pcrs`, `i-…-tpm…`.
    Tpm,
}

impl DocumentKind {
    /// What it is called where it does not parse.
    #[must_use]
    pub const fn structure(self) -> Structure {
        match self {
            Self::Enclave => Structure::NitroDocument,
            Self::Tpm => Structure::NitroTpmDocument,
        }
    }

    /// The key of the map of PCRs.
    #[must_use]
    pub const fn pcrs_key(self) -> &'static str {
        match self {
            Self::Enclave => "pcrs",
            Self::Tpm => "nitrotpm_pcrs",
        }
    }

    /// What stands between instance and number in a module's name.
    #[must_use]
    pub const fn module_prefix(self) -> &'static str {
        match self {
            Self::Enclave => "enc",
            Self::Tpm => "tpm",
        }
    }
}
