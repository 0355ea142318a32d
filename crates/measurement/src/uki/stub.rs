//! systemd-stub: which version stands in an image, and what that version does. Versions differ, and a difference that
//! is not known here is not guessed.

use crate::Unmeasurable;
use crate::pe::Image;

/// Text around the version in `.sdmagic`.
const BEFORE: &str = "#### LoaderInfo: systemd-stub ";
const AFTER: &str = " ####";

/// The stub of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// Its version as it names itself: `252.39-1~deb12u2`.
    pub version: String,
    release: u32,
}

impl Stub {
    pub(super) fn of(image: &Image<'_>) -> Result<Self, Unmeasurable> {
        let missing = Unmeasurable::Missing { file: "UKI", part: "systemd-stub that names its version (.sdmagic)" };
        let magic = image.sections().iter().find(|section| section.name() == Some(".sdmagic"));
        let text = magic.and_then(|section| std::str::from_utf8(section.contents()).ok()).ok_or(missing.clone())?;
        let version = text.trim_end_matches('\0').strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(AFTER));
        Self::named(version.ok_or(missing.clone())?).ok_or(missing)
    }

    fn named(version: &str) -> Option<Self> {
        let digits = version.trim_start_matches('v');
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let release = digits.get(..end)?.parse().ok()?;
        Some(Self { version: version.to_owned(), release })
    }

    /// The number of its release.
    #[must_use]
    pub const fn release(&self) -> u32 {
        self.release
    }

    /// Whether it has firmware load the kernel, so that firmware measures that into PCR 4 too. Since 252 it does not
    /// under Secure Boot (firmware would refuse the unsigned kernel), since 258 never.
    pub(super) const fn loads_kernel_by_firmware(&self, secure_boot: bool) -> bool {
        match self.release {
            0..=251 => true,
            252..=257 => !secure_boot,
            258.. => false,
        }
    }

    /// The sections that it measures into PCR 11, in its order; `None` if that is not known here.
    pub(super) const fn measured_sections(&self) -> Option<&'static [&'static str]> {
        match self.release {
            0..=251 | 253..=254 => None,
            252 => Some(&[".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrpkey"]),
            255.. => Some(&super::sections::NAMES),
        }
    }

    /// The sections that it hands to the kernel as files in archives behind the initrd, in its order; `None` if that is
    /// not known here. Later ones add a secret that differs at every boot.
    pub(super) const fn archived_sections(&self) -> Option<&'static [(&'static str, &'static str)]> {
        const SIGNATURE: (&str, &str) = (".pcrsig", "tpm2-pcr-signature.json");
        const KEY: (&str, &str) = (".pcrpkey", "tpm2-pcr-public-key.pem");
        match self.release {
            0..=251 | 253..=254 | 259.. => None,
            252 | 255..=256 => Some(&[SIGNATURE, KEY]),
            257..=258 => Some(&[SIGNATURE, KEY, (".osrel", "os-release"), (".profile", "profile")]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_number_in_front() {
        for (version, release) in [("252.39-1~deb12u2", 252), ("257", 257), ("v258~rc1", 258), ("255.4-1ubuntu8", 255)]
        {
            assert_eq!(Stub::named(version).unwrap().release, release);
        }
        for nonsense in ["", "v", "git-257", "99999999999"] {
            assert_eq!(Stub::named(nonsense), None, "{nonsense}");
        }
    }
}
