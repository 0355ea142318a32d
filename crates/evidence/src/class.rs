//! What kinds of evidence there are, and how far their roots are trusted. Verifies nothing.

use std::fmt;
use std::str::FromStr;

/// A kind of hardware evidence; its name travels in messages, facts and node IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// A TPM 2.0: quote, certified node key, firmware event log.
    Tpm,
}

impl EvidenceKind {
    /// The name on the wire and in facts: `tpm`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tpm => "tpm",
        }
    }
}

/// What stands behind a root certificate. It belongs to the *root*, is given at import, and is inherited by all
/// evidence that chains to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustClass {
    /// A chip of its own.
    Discrete,
    /// A TPM in the platform's firmware or security processor.
    Firmware,
    /// A TPM that a hypervisor emulates.
    Vtpm,
    /// A TPM or enclave that a cloud provider vouches for.
    Cloud,
    /// A software TPM for tests. Needs `allow_simulated = true` in the server's file.
    Simulated,
}

impl TrustClass {
    /// Every class, most trusted first.
    pub const ALL: [Self; 5] = [Self::Discrete, Self::Firmware, Self::Vtpm, Self::Cloud, Self::Simulated];

    /// The name in configuration, policies and facts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Firmware => "firmware",
            Self::Vtpm => "vtpm",
            Self::Cloud => "cloud",
            Self::Simulated => "simulated",
        }
    }

    /// Whether whoever holds the host can copy or roll back the state, keys included.
    #[must_use]
    pub const fn is_copyable(self) -> bool {
        match self {
            Self::Discrete | Self::Firmware => false,
            Self::Vtpm | Self::Cloud | Self::Simulated => true,
        }
    }
}

/// Who vouches for a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// Signed by hardware, or provably covered by what it signed.
    Hardware,
    /// Vouched for by a paravisor inside the confidential VM.
    Paravisor,
    /// Vouched for by the provider's software.
    Provider,
    /// Said by the machine itself; a hint.
    Unauthenticated,
    /// Rests on a root of class [`TrustClass::Simulated`].
    Simulated,
}

impl Provenance {
    /// The name in facts and decisions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Paravisor => "paravisor",
            Self::Provider => "provider",
            Self::Unauthenticated => "unauthenticated",
            Self::Simulated => "simulated",
        }
    }
}

/// A name that none of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}, expected one of {expected}")]
pub struct UnknownName {
    /// What was to be named.
    pub what: &'static str,
    /// The names there are.
    pub expected: &'static str,
}

impl FromStr for EvidenceKind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "tpm" => Ok(Self::Tpm),
            _ => Err(UnknownName { what: "evidence kind", expected: "tpm" }),
        }
    }
}

impl FromStr for TrustClass {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == name)
            .ok_or(UnknownName { what: "trust class", expected: "discrete, firmware, vtpm, cloud, simulated" })
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TrustClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_read_back_from_its_name() {
        for class in TrustClass::ALL {
            assert_eq!(class.to_string().parse::<TrustClass>(), Ok(class));
        }
        assert!("Discrete".parse::<TrustClass>().is_err());
        assert!("".parse::<TrustClass>().is_err());
    }
}
