//! What a measured boot *proves*, as owned and typed facts.
//!
//! Two things keep these facts honest, whoever wrote the log:
//! - only registers that the caller names as proven (their replay equals the quote) are looked at;
//! - within them the event *type* is never believed. Anybody who has root after the boot may extend a register
//!   further and relabel every event, so each list here holds **everything that could be** what it is named after.
//!   A rule about a list is sound only if *every* entry is allowed; a rule that looks for *some* entry is not.
//!
//! Each fact carries the number of the event that proves it ([`super::Event::index`]). Judges nothing.

mod application;
mod files;
mod measurement;
mod platform;
mod text;
mod uki;

pub use application::BootApplication;
pub use files::{FileLabel, MeasuredFile, load_options_digest};
pub use measurement::{Measurement, Stage};
pub use platform::{Action, BootVariable, FirmwareVersion, MokVariable, VariableName};
pub(crate) use text::starts_with_file;
pub use text::{CommandLine, CommandLineSource, LoaderText};
pub use uki::{UKI_SECTIONS, UkiSection};

use super::{Event, EventLog, EventType, Proof, UnprovenBoot};
use crate::tpm::secure_boot::{self, SecureBoot};
use crate::tpm::{Bank, PcrIndex, PcrSet};
use measurement::Separators;

/// Everything that the firmware's log proves about one boot, in one bank.
///
/// Lists are in the order of the log. A list whose register is not in [`BootFacts::proven`] is empty and says
/// nothing; a fact that needs PCR *n* must be refused as missing where *n* is not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFacts {
    /// The bank whose digests prove all this.
    pub bank: Bank,
    /// The registers that were proven by the quote and have events in the log.
    pub proven: PcrSet,
    /// Every event that extended a proven register: the ground truth, for allow-lists of digests and explanations.
    pub measurements: Vec<Measurement>,
    /// PCR 0, before its separator: versions that the firmware gives itself (`EV_S_CRTM_VERSION`), where the digest
    /// is that of the text. Empty where the firmware measures something else.
    pub firmware_versions: Vec<FirmwareVersion>,
    /// PCR 1: boot options and other variables that the firmware measured.
    pub boot_variables: Vec<BootVariable>,
    /// PCR 4: everything that was started, by Authenticode digest. Holds *every* event of PCR 4 that is no separator
    /// and no text that the firmware logs about its own progress.
    pub boot_applications: Vec<BootApplication>,
    /// PCR 4 and 5: progress texts, such as `Exit Boot Services Returned with Success`.
    pub actions: Vec<Action>,
    /// PCR 7, by its grammar. `None` exactly if PCR 7 is not proven.
    pub secure_boot: Option<SecureBoot>,
    /// PCR 8 (GRUB) and PCR 12 (systemd-stub): all texts, the opaque ones without text.
    pub loader_texts: Vec<LoaderText>,
    /// PCR 9: every file and option that was loaded: GRUB's files, the kernel's initrd and load options.
    pub files: Vec<MeasuredFile>,
    /// PCR 11: sections of the unified kernel image, and whatever else was measured there before the operating system.
    pub uki_sections: Vec<UkiSection>,
    /// PCR 14: contents of shim's `MokList`, `MokListX`, `MokListTrusted`, by digest.
    pub mok_variables: Vec<MokVariable>,
}

impl BootFacts {
    /// Derives the facts of the registers in `proven`: those whose replay equals the quoted value.
    ///
    /// # Errors
    /// [`UnprovenBoot`] if a proven register breaks a rule that every firmware keeps: data that must be measured is
    /// not, separators are missing, doubled or say that the firmware failed, or PCR 7 leaves its grammar.
    pub fn derive(log: &EventLog<'_>, bank: Bank, proven: PcrSet) -> Result<Self, UnprovenBoot> {
        if !log.has_bank(bank) {
            return Err(UnprovenBoot::BankMissing { bank: bank.as_str() });
        }
        let mut facts = Self::empty(bank, log.events().len());
        let mut separators = Separators::default();
        let mut pcr7 = secure_boot::Grammar::default();
        let mut sections = uki::SectionReader::new(bank);
        for event in log.events() {
            let Some(pcr) = event.register().filter(|pcr| proven.contains(*pcr)) else { continue };
            let digest = event.require_digest(bank)?;
            let proof = Proof::of(event, bank);
            if proof == Proof::Opaque && Proof::is_mandatory_for(event.kind) {
                let (pcr, kind) = (pcr.get(), event.kind.name());
                return Err(UnprovenBoot::DataNotMeasured { event: event.index, pcr, kind });
            }
            facts.proven = facts.proven.with(pcr);
            let stage = separators.stage(event)?;
            let measurement = Measurement::new(event, digest, stage, proof);
            facts.measurements.push(measurement);
            match pcr.get() {
                7 => pcr7.accept(event, proof)?,
                0..=6 if event.kind == EventType::SEPARATOR => {}
                // Windows closes registers above 7; whatever else calls itself a separator there is looked at
                8.. if event.kind == EventType::SEPARATOR && matches!(event.data, [0, 0, 0, 0] | b"WBCL") => {}
                _ => facts.add(event, measurement, proof, &mut sections)?,
            }
        }
        separators.finish(proven)?;
        if facts.is_proven(7) {
            facts.secure_boot = Some(pcr7.finish()?);
        }
        Ok(facts)
    }

    /// Sorts one event of any register but 7 into its list.
    fn add(
        &mut self,
        event: &Event<'_>,
        measurement: Measurement,
        proof: Proof<'_>,
        sections: &mut uki::SectionReader,
    ) -> Result<(), UnprovenBoot> {
        match measurement.pcr {
            0 => self.firmware_versions.extend(FirmwareVersion::from_event(event, &measurement, proof)),
            1 => self.boot_variables.extend(BootVariable::from_event(event, proof)?),
            4 => match Action::from_event(event, proof) {
                Some(action) => self.actions.push(action),
                None => self.boot_applications.push(BootApplication::from_event(event, &measurement)),
            },
            5 => self.actions.extend(Action::from_event(event, proof)),
            8 | 12 => self.loader_texts.push(LoaderText::from_event(event, &measurement, proof)),
            9 => self.files.push(MeasuredFile::from_event(event, &measurement)),
            11 => self.uki_sections.extend(sections.accept(&measurement)),
            14 => self.mok_variables.push(MokVariable::from_event(event, &measurement)),
            _ => {}
        }
        Ok(())
    }

    /// Whether the quote proved `pcr` and the log has events for it.
    #[must_use]
    pub fn is_proven(&self, pcr: u8) -> bool {
        PcrIndex::new(pcr.into()).is_some_and(|pcr| self.proven.contains(pcr))
    }

    /// Every event of `pcr` in order; empty where it is not proven.
    pub fn measurements_of(&self, pcr: u8) -> impl Iterator<Item = &Measurement> {
        self.measurements.iter().filter(move |measurement| measurement.pcr == pcr)
    }

    /// Everything that *may* be a kernel command line, from all registers that hold one: PCR 8 (GRUB), PCR 9 (load
    /// options that the kernel's EFI stub measures) and PCR 12 (systemd-stub).
    ///
    /// The labels are a stranger's. Of PCR 8 and 12 the list is a superset whatever the labels say, so that "every
    /// entry is allowed" is sound for a boot loader that is itself pinned in PCR 4. Of PCR 9 it holds what is labelled
    /// as load options; there a rule is sound only together with one about every other entry of
    /// [`BootFacts::files`], as [`BootFacts::loaded_files`] gives them (a policy that leaves the initrd open does not
    /// bind the machine anyway). Entries without [`CommandLine::text`] are compared by [`CommandLine::is`].
    pub fn command_lines(&self) -> impl Iterator<Item = CommandLine<'_>> {
        let texts = self.loader_texts.iter().filter_map(|text| text.as_command_line(self.bank));
        let options = self.files.iter().filter_map(|file| file.as_command_line(self.bank));
        texts.chain(options)
    }

    /// Everything of PCR 9 that is not labelled as load options: the initrd, and GRUB's files and modules. Anything
    /// that a liar relabels ends up either here or among [`BootFacts::command_lines`].
    pub fn loaded_files(&self) -> impl Iterator<Item = &MeasuredFile> {
        self.files.iter().filter(|file| file.label != FileLabel::LoadOptions)
    }

    fn empty(bank: Bank, events: usize) -> Self {
        Self {
            bank,
            proven: PcrSet::EMPTY,
            measurements: Vec::with_capacity(events),
            firmware_versions: Vec::new(),
            boot_variables: Vec::new(),
            boot_applications: Vec::new(),
            actions: Vec::new(),
            secure_boot: None,
            loader_texts: Vec::new(),
            files: Vec::new(),
            uki_sections: Vec::new(),
            mok_variables: Vec::new(),
        }
    }
}
