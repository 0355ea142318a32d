//! PCR 11: sections of a unified kernel image as systemd-stub measures them.
//!
//! Each section is two events: the digest of its name (with its NUL), then that of its contents. The names are few,
//! so that the first is proven by computing it; labels in the log are not looked at.

use super::Measurement;
use crate::crypto::Digest;
use crate::tpm::Bank;

/// Sections that systemd-stub measures, in its order.
pub const UKI_SECTIONS: [&str; 14] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".dtbauto", ".hwids", ".uname", ".sbat",
    ".pcrpkey", ".profile", ".efifw",
];

/// One section, or an event of PCR 11 that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UkiSection {
    /// Number of the event that measured the contents.
    pub event: u32,
    /// The section's name, bound; `None` for an event that belongs to no known section (which a rule must not allow
    /// unless it names the digest).
    pub name: Option<&'static str>,
    /// Digest of the contents, in the bank of the facts.
    pub digest: Digest,
}

/// Pairs names with contents.
pub(super) struct SectionReader {
    bank: Bank,
    names: Option<[(&'static str, Digest); UKI_SECTIONS.len()]>,
    pending: Option<&'static str>,
}

impl SectionReader {
    pub(super) const fn new(bank: Bank) -> Self {
        Self { bank, names: None, pending: None }
    }

    /// Takes the next event of PCR 11; `None` if it was a name. A name without contents stays without a section, as
    /// does one at the very end of the log.
    pub(super) fn accept(&mut self, measurement: &Measurement) -> Option<UkiSection> {
        let name = self.pending.take();
        if name.is_none() {
            self.pending = self.name_of(&measurement.digest);
            if self.pending.is_some() {
                return None;
            }
        }
        Some(UkiSection { event: measurement.event, name, digest: measurement.digest })
    }

    fn name_of(&mut self, digest: &Digest) -> Option<&'static str> {
        let bank = self.bank;
        let names =
            self.names.get_or_insert_with(|| UKI_SECTIONS.map(|name| (name, bank.digest(&[name.as_bytes(), b"\0"]))));
        names.iter().find(|(_, known)| known == digest).map(|(name, _)| *name)
    }
}
