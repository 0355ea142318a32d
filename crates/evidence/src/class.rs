//! What kinds of evidence there are, and how far their roots are trusted. Verifies nothing.

use std::fmt;
use std::str::FromStr;

/// A kind of hardware evidence; its name travels in messages, facts and node IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// AMD SEV-SNP: an attestation report, signed by the chip's VCEK or the provider's VLEK.
    Snp,
    /// Intel TDX: a DCAP quote of a trust domain.
    Tdx,
    /// An AWS Nitro Enclave: its attestation document.
    Nitro,
    /// A TPM 2.0: quote, certified node key, firmware event log.
    Tpm,
    /// AWS NitroTPM: an attestation document with the TPM's PCRs.
    NitroTpm,
    /// Azure's virtual TPM: a quote by a key that the paravisor's HCL report (SNP or TDX) or a certificate vouches for.
    Azure,
    /// Google Cloud's virtual TPM: a quote by a key that Google certified for the instance.
    Gcp,
}

impl EvidenceKind {
    /// Every kind, in the order in which a composite has its items: hardware reports first, so that the virtual TPMs
    /// behind them bind what was reported.
    pub const ALL: [Self; 7] = [Self::Snp, Self::Tdx, Self::Nitro, Self::Tpm, Self::NitroTpm, Self::Azure, Self::Gcp];
    /// The names, for messages.
    pub const NAMES: &str = "snp, tdx, nitro, tpm, nitrotpm, azure, gcp";

    /// The name on the wire and in facts: `tpm`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
            Self::Nitro => "nitro",
            Self::Tpm => "tpm",
            Self::NitroTpm => "nitrotpm",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
        }
    }

    /// Whether the item is a TPM quote over PCRs that the challenge selects, with the firmware's log beside it. A
    /// machine has at most one such TPM.
    #[must_use]
    pub const fn quotes_pcrs(self) -> bool {
        match self {
            Self::Tpm | Self::Azure | Self::Gcp => true,
            Self::Snp | Self::Tdx | Self::Nitro | Self::NitroTpm => false,
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
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(UnknownName { what: "evidence kind", expected: Self::NAMES })
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
    fn every_kind_is_read_back_from_its_name() {
        for kind in EvidenceKind::ALL {
            assert_eq!(kind.to_string().parse::<EvidenceKind>(), Ok(kind));
        }
        assert_eq!(EvidenceKind::NAMES, EvidenceKind::ALL.map(EvidenceKind::as_str).join(", "));
        assert!(EvidenceKind::ALL.is_sorted());
        assert!("sev".parse::<EvidenceKind>().is_err());
    }

    #[test]
    fn every_class_is_read_back_from_its_name() {
        for class in TrustClass::ALL {
            assert_eq!(class.to_string().parse::<TrustClass>(), Ok(class));
        }
        assert!("Discrete".parse::<TrustClass>().is_err());
        assert!("".parse::<TrustClass>().is_err());
    }
}
