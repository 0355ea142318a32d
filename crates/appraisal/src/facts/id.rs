//! The identity of a fact: a name in a policy, a small number in the engine.

use std::fmt;

use super::registry::{Definition, REGISTRY, Shape, Subject};

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
    /// All events of one PCR, 0 to 23.
    Events(u8),
    /// The bare value of one PCR, 0 to 23.
    Pcr(u8),
}

impl FactId {
    /// The fact of that name, `tpm.pcr.7` for a member of a family.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(exact) = REGISTRY.iter().find(|d| d.name == name && !d.is_family()) {
            return Some(exact.id);
        }
        let (family, number) = name.rsplit_once('.')?;
        let canonical = number.parse().ok().filter(|n: &u8| *n < PCR_COUNT && n.to_string() == number)?;
        REGISTRY.iter().find(|d| d.family() == Some(family)).map(|d| d.id.with_pcr(canonical))
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
            description: "",
        };
        // A test walks every fact, so that none is without its entry.
        REGISTRY.iter().find(|d| d.id == self.with_pcr(0)).unwrap_or(&UNKNOWN)
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
            Self::Events(pcr) | Self::Pcr(pcr) => format!("{prefix}:{pcr}"),
            _ => prefix.to_owned(),
        })
    }

    const fn with_pcr(self, number: u8) -> Self {
        match self {
            Self::Events(_) => Self::Events(number),
            Self::Pcr(_) => Self::Pcr(number),
            other => other,
        }
    }
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let definition = self.definition();
        match (self, definition.family()) {
            (Self::Events(pcr) | Self::Pcr(pcr), Some(family)) => write!(f, "{family}.{pcr}"),
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

/// Every fact name, families expanded.
pub fn all_names() -> impl Iterator<Item = String> {
    REGISTRY.iter().flat_map(|definition| {
        let count = if definition.is_family() { PCR_COUNT } else { 1 };
        (0..count).map(|pcr| definition.id.with_pcr(pcr).to_string())
    })
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
        for name in ["tpm.pcr.24", "tpm.pcr.07", "tpm.pcr.+7", "tpm.pcr.N", "tpm.pcr.", "tpm.pcr"] {
            assert_eq!(FactId::parse(name), None, "{name}");
        }
        assert_eq!(FactId::parse("tpm.pcr.7"), Some(FactId::Pcr(7)));
    }

    #[test]
    fn only_facts_that_name_a_machine_are_of_subject_machine() {
        for definition in REGISTRY {
            let names_it = matches!(definition.id, FactId::Machine | FactId::EkSpki | FactId::EkCertificate);
            assert_eq!(definition.subject == Subject::Machine, names_it, "{}", definition.name);
        }
    }
}
