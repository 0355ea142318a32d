//! Which sections of an image a boot uses: those before the first profile, and in their place those of the profile that
//! is booted.

use crate::Unmeasurable;
use crate::pe::Image;

/// The sections that have a meaning, in the order in which they are measured: `unified_sections` in `uki.h`.
pub(super) const NAMES: [&str; 14] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile",
    ".dtbauto", ".hwids", ".efifw",
];
/// Has a meaning and is measured by nobody: it signs what is measured.
const SIGNATURE: &str = ".pcrsig";
/// Zeros of one section that are believed: sections end within a page of their contents.
const ZEROS_MAX: u64 = 1 << 20;

/// One section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UkiSection<'a> {
    /// Its name.
    pub name: &'static str,
    /// What of it is in the file.
    pub contents: &'a [u8],
    /// Zeros that follow in memory and are measured with it.
    pub zeros: u64,
}

impl UkiSection<'_> {
    /// The contents as they are in memory.
    #[must_use]
    pub fn in_memory(&self) -> Vec<u8> {
        let zeros = usize::try_from(self.zeros).unwrap_or_default();
        [self.contents, &vec![0; zeros]].concat()
    }
}

/// The sections of the booted profile, in the order of their measurement, the signature behind them.
pub(super) fn measured<'a>(image: &Image<'a>, profile: usize) -> Result<Vec<UkiSection<'a>>, Unmeasurable> {
    // base sections first, then those of each profile
    let mut groups: Vec<Vec<UkiSection<'a>>> = vec![Vec::new()];
    for section in image.sections() {
        let known = |name: &&&'static str| section.name() == Some(**name);
        let Some(name) = NAMES.iter().chain([&SIGNATURE]).find(known).copied() else { continue };
        if name == ".profile" {
            groups.push(Vec::new());
        }
        let Some(group) = groups.last_mut() else { continue };
        if group.iter().any(|other| other.name == name) {
            return Err(Unmeasurable::Twice { file: "UKI", part: name });
        }
        let (contents, zeros) = (section.contents(), section.zeros());
        if zeros > ZEROS_MAX {
            let (field, found) = ("zeros behind a section", zeros);
            return Err(Unmeasurable::TooLarge { file: "UKI", field, found, limit: ZEROS_MAX });
        }
        // a section without any bytes in memory is as good as none
        if !contents.is_empty() || zeros > 0 {
            group.push(UkiSection { name, contents, zeros });
        }
    }
    let own = groups.get(1 + profile);
    if own.is_none() && profile != 0 {
        return Err(Unmeasurable::Value { file: "UKI", field: "profile", found: profile as u64 });
    }
    let chosen = |name: &&'static str| {
        let named = |group: &Vec<UkiSection<'a>>| group.iter().find(|section| section.name == *name).copied();
        own.and_then(named).or_else(|| groups.first().and_then(named))
    };
    let sections: Vec<_> = NAMES.iter().chain([&SIGNATURE]).filter_map(chosen).collect();
    if sections.iter().any(|section| section.name == ".linux") {
        Ok(sections)
    } else {
        Err(Unmeasurable::Missing { file: "UKI", part: "kernel (.linux)" })
    }
}
