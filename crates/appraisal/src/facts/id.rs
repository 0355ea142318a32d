//! The identity of a fact: a name in a policy, a small number in the engine.

use std::fmt;

use holdfast_evidence::EvidenceKind;

use super::registry::{Definition, Ownable, Shape, Subject, TPM};
use super::{AzureFact, GcpFact, NitroFact, NitroTpmFact, OwnershipFact, SnpFact, TdxFact};

/// Number of PCRs of a TPM.
pub const PCR_COUNT: u8 = 24;

/// One fact that the registry knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is described by its registry entry")]
pub enum FactId {
    Machine,
    Class,
    EkSpki,
    EkCertificate,
    Manufacturer,
    Model,
    HardwareVersion,
    /// What the maker of the machine says of it and of its keys in the TPM.
    Owned(OwnershipFact),
    RootDigest,
    RootName,
    FirmwareVersion,
    SecureBootEnabled,
    SecureBootPk,
    SecureBootKek,
    SecureBootDb,
    SecureBootDbx,
    SecureBootAuthorities,
    SbatLevel,
    DmaProtectionDisabled,
    FirmwareVersions,
    BootApplications,
    CommandLines,
    LoadedFiles,
    LoaderTexts,
    UkiSections,
    ImaEntries,
    ImaViolations,
    ImaBootAggregates,
    ImaTemplateHash,
    /// All events of one PCR, 0 to 23.
    Events(u8),
    /// The bare value of one PCR, 0 to 23.
    Pcr(u8),
    Snp(SnpFact),
    Tdx(TdxFact),
    Nitro(NitroFact),
    /// PCR of an enclave, 0 to 31.
    NitroPcr(u8),
    NitroTpm(NitroTpmFact),
    /// PCR in a NitroTPM's document, 0 to 23.
    NitroTpmPcr(u8),
    Azure(AzureFact),
    Gcp(GcpFact),
}

impl FactId {
    /// The fact of that name, `tpm.pcr.7` for a member of a family.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(exact) = registry().find(|d| d.name == name && !d.is_family()) {
            return Some(exact.id);
        }
        let (family, number) = name.rsplit_once('.')?;
        let canonical = number.parse().ok().filter(|n: &u8| n.to_string() == number)?;
        let family = registry().find(|d| d.family() == Some(family) && canonical < d.members)?;
        Some(family.id.with_pcr(canonical))
    }

    /// Its registry entry.
    #[must_use]
    pub fn definition(self) -> &'static Definition {
        static UNKNOWN: Definition = Definition {
            name: "",
            id: FactId::Machine,
            value_type: crate::ValueType::Text,
            shape: Shape::One,
            subject: Subject::State,
            pcrs: &[],
            selector: None,
            ownable: Ownable::No,
            members: 1,
            description: "",
        };
        match self {
            Self::Owned(fact) => fact.definition(),
            Self::Snp(fact) => fact.definition(),
            Self::Tdx(fact) => fact.definition(),
            Self::Nitro(fact) => fact.definition(),
            Self::NitroTpm(fact) => fact.definition(),
            Self::Azure(fact) => fact.definition(),
            Self::Gcp(fact) => fact.definition(),
            Self::NitroPcr(_) => &NITRO_PCR,
            Self::NitroTpmPcr(_) => &NITROTPM_PCR,
            // A test walks every fact, so that none is without its entry.
            tpm => TPM.iter().find(|d| d.id == tpm.with_pcr(0)).unwrap_or(&UNKNOWN),
        }
    }

    /// The kind of evidence whose words the fact is in. A virtual TPM's quote speaks in those of `tpm`, a paravisor's
    /// report in those of `snp` or `tdx`.
    #[must_use]
    pub const fn kind(self) -> EvidenceKind {
        match self {
            Self::Snp(_) => EvidenceKind::Snp,
            Self::Tdx(_) => EvidenceKind::Tdx,
            Self::Nitro(_) | Self::NitroPcr(_) => EvidenceKind::Nitro,
            Self::NitroTpm(_) | Self::NitroTpmPcr(_) => EvidenceKind::NitroTpm,
            Self::Azure(_) => EvidenceKind::Azure,
            Self::Gcp(_) => EvidenceKind::Gcp,
            _ => EvidenceKind::Tpm,
        }
    }

    /// The fact that says the trust class of evidence of this kind; it is there exactly where such evidence is.
    #[must_use]
    pub const fn class_of(kind: EvidenceKind) -> Self {
        match kind {
            EvidenceKind::Snp => Self::Snp(SnpFact::Class),
            EvidenceKind::Tdx => Self::Tdx(TdxFact::Class),
            EvidenceKind::Nitro => Self::Nitro(NitroFact::Class),
            EvidenceKind::Tpm => Self::Class,
            EvidenceKind::NitroTpm => Self::NitroTpm(NitroTpmFact::Class),
            EvidenceKind::Azure => Self::Azure(AzureFact::Class),
            EvidenceKind::Gcp => Self::Gcp(GcpFact::Class),
        }
    }

    /// The PCRs that must be quoted for this fact to be proven.
    #[must_use]
    pub fn pcrs(self) -> Vec<u8> {
        match self {
            Self::Events(pcr) | Self::Pcr(pcr) => vec![pcr],
            _ => self.definition().pcrs.to_vec(),
        }
    }

    /// The selector prefix it becomes, such as `tpm:secure_boot`; `tpm:pcr:7` for a member of a family.
    #[must_use]
    pub fn selector(self) -> Option<String> {
        let prefix = self.definition().selector?;
        Some(match self {
            Self::Events(pcr) | Self::Pcr(pcr) | Self::NitroPcr(pcr) | Self::NitroTpmPcr(pcr) => {
                format!("{prefix}:{pcr}")
            }
            _ => prefix.to_owned(),
        })
    }

    pub(super) const fn with_pcr(self, number: u8) -> Self {
        match self {
            Self::Events(_) => Self::Events(number),
            Self::Pcr(_) => Self::Pcr(number),
            Self::NitroPcr(_) => Self::NitroPcr(number),
            Self::NitroTpmPcr(_) => Self::NitroTpmPcr(number),
            other => other,
        }
    }
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let definition = self.definition();
        match (self, definition.family()) {
            (Self::Events(pcr) | Self::Pcr(pcr) | Self::NitroPcr(pcr) | Self::NitroTpmPcr(pcr), Some(family)) => {
                write!(f, "{family}.{pcr}")
            }
            _ => f.write_str(definition.name),
        }
    }
}

impl Definition {
    /// Whether it stands for one fact per PCR.
    #[must_use]
    pub fn is_family(&self) -> bool {
        self.family().is_some()
    }

    /// The family's name without its `.N`.
    #[must_use]
    pub fn family(&self) -> Option<&'static str> {
        self.name.strip_suffix(".N")
    }
}

/// Every fact that a policy may name, in the order of the reference.
pub fn registry() -> impl Iterator<Item = &'static Definition> {
    let owned = OwnershipFact::ALL.iter().map(|fact| fact.definition());
    let snp = SnpFact::ALL.iter().map(|fact| fact.definition());
    let tdx = TdxFact::ALL.iter().map(|fact| fact.definition());
    let nitro = NitroFact::ALL.iter().map(|fact| fact.definition()).chain([&NITRO_PCR]);
    let nitrotpm = NitroTpmFact::ALL.iter().map(|fact| fact.definition()).chain([&NITROTPM_PCR]);
    let azure = AzureFact::ALL.iter().map(|fact| fact.definition());
    let gcp = GcpFact::ALL.iter().map(|fact| fact.definition());
    TPM.iter().chain(owned).chain(snp).chain(tdx).chain(nitro).chain(nitrotpm).chain(azure).chain(gcp)
}

static NITRO_PCR: Definition = Definition {
    name: "nitro.pcr.N",
    id: FactId::NitroPcr(0),
    value_type: crate::ValueType::Digest,
    shape: Shape::One,
    subject: Subject::State,
    pcrs: &[],
    selector: Some("nitro:pcr"),
    ownable: Ownable::No,
    members: 32,
    description: "PCR N of the enclave's attestation document, where it is not all zero",
};

static NITROTPM_PCR: Definition = Definition {
    name: "nitrotpm.pcr.N",
    id: FactId::NitroTpmPcr(0),
    value_type: crate::ValueType::Digest,
    shape: Shape::One,
    subject: Subject::State,
    pcrs: &[],
    selector: Some("nitrotpm:pcr"),
    ownable: Ownable::No,
    members: PCR_COUNT,
    description: "PCR N of the NitroTPM's attestation document, SHA-384",
};

/// Every fact name, families expanded.
pub fn all_names() -> impl Iterator<Item = String> {
    registry().flat_map(|definition| (0..definition.members).map(|pcr| definition.id.with_pcr(pcr).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_its_fact() {
        for name in all_names() {
            assert_eq!(FactId::parse(&name).map(|id| id.to_string()), Some(name));
        }
    }

    #[test]
    fn no_fact_name_is_the_beginning_of_another() {
        let names: Vec<String> = all_names().collect();
        for name in &names {
            let inside = format!("{name}.");
            assert!(!names.iter().any(|other| other.starts_with(&inside)), "{name} would hide facts below it");
        }
    }

    #[test]
    fn numbers_of_a_family_have_one_spelling_and_end_at_23() {
        for name in [
            "tpm.pcr.24",
            "tpm.pcr.07",
            "tpm.pcr.+7",
            "tpm.pcr.N",
            "tpm.pcr.",
            "tpm.pcr",
            "nitro.pcr.32",
            "nitrotpm.pcr.24",
        ] {
            assert_eq!(FactId::parse(name), None, "{name}");
        }
        assert_eq!(FactId::parse("tpm.pcr.7"), Some(FactId::Pcr(7)));
    }

    #[test]
    fn whose_word_is_believed_is_fixed_and_what_a_machine_booted_is_not() {
        for kind in EvidenceKind::ALL {
            assert!(FactId::class_of(kind).definition().is_fixed(), "{}", kind.as_str());
        }
        for definition in registry() {
            let (name, fixed) = (definition.name, definition.is_fixed());
            // A root that a new kind brings is none that a waiver may wave through.
            let above = [".root.", ".root_sha256", ".root_name", ".serial"].iter().any(|part| name.contains(part));
            assert!(fixed || !above, "{name}");
            assert!(!fixed || definition.subject != Subject::State || definition.ownable != Ownable::No, "{name}");
        }
        for name in [
            "tpm.platform.manufacturer",
            "tpm.iak.class",
            "tdx.mrsignerseam",
            "snp.product",
            "snp.signing_key",
            "azure.hardware",
        ] {
            assert!(FactId::parse(name).unwrap().definition().is_fixed(), "{name}");
        }
        for name in ["tpm.firmware_version", "tpm.boot.command_lines", "tpm.pcr.4", "snp.measurement", "tpm.model"] {
            assert!(!FactId::parse(name).unwrap().definition().is_fixed(), "{name}");
        }
    }

    #[test]
    fn only_facts_that_name_a_machine_are_of_subject_machine() {
        for definition in TPM {
            let names_it = matches!(definition.id, FactId::Machine | FactId::EkSpki | FactId::EkCertificate);
            assert_eq!(definition.subject == Subject::Machine, names_it, "{}", definition.name);
        }
    }
}
