//! The PCRs of one boot of an image, or why one is not predicted.

use holdfast_evidence::crypto::HashAlg;

use super::archive::archive;
use super::{SecureBootState, Uki, UkiSection};
use crate::pe::Image;
use crate::{Register, Unmeasurable};

/// The words that systemd extends PCR 11 with while it boots, in order.
pub const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// What firmware measures before each boot option that it tries.
pub(crate) const CALLING: &[u8] = b"Calling EFI Application from Boot Option";
/// What firmware measures after one that did not boot.
pub const RETURNING: &[u8] = b"Returning from EFI Application from Boot Option";

/// How an image is booted, as far as the image does not say itself.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// The bank of the PCRs.
    pub hash: HashAlg,
    /// Boot options that firmware tries in vain before, on a disk without anything to boot, say.
    pub failed_attempts: u32,
    /// Images that firmware starts before this one, in order: shim, a boot loader.
    pub loaders: &'a [Image<'a>],
    /// What firmware checks.
    pub secure_boot: &'a SecureBootState<'a>,
}

/// A register, or why it is not predicted.
pub type Predicted = Result<Register, Unpredicted>;

/// Why a register is not predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpredicted {
    /// The stub is one whose behaviour is not known here.
    #[error("systemd-stub {release} does it in a way that is not known here")]
    Stub {
        /// Its release.
        release: u32,
    },
    /// The image has no command line, so that the boot entry or nobody gives one.
    #[error("the image has no .cmdline section: the command line comes from outside")]
    NoCommandLine,
    /// What the firmware's variables hold was not given.
    #[error("the firmware's PK, KEK, db and dbx were not given")]
    NoVariables,
    /// None of the certificates in db fits a certificate of the image's signature.
    #[error("no certificate in db fits the signature of {image}: firmware would refuse it, or measures something else")]
    NoAuthority {
        /// Which image.
        image: &'static str,
    },
}

impl Uki<'_> {
    /// PCR 4: what firmware starts.
    ///
    /// # Errors
    /// The image, a loader or the kernel in it is not one that firmware would measure.
    pub fn pcr4(&self, boot: &Boot<'_>) -> Result<Register, Unmeasurable> {
        let mut pcr = Register::new(boot.hash);
        pcr.measure("firmware calls an application", CALLING);
        pcr.measure("separator", &[0; 4]);
        for _ in 0..boot.failed_attempts {
            pcr.measure("the application came back", RETURNING);
            pcr.measure("firmware calls an application", CALLING);
        }
        for (index, loader) in boot.loaders.iter().enumerate() {
            pcr.extend(format!("loader {index}"), loader.authenticode(boot.hash)?);
        }
        pcr.extend("UKI", self.image.authenticode(boot.hash)?);
        if self.stub.loads_kernel_by_firmware(boot.secure_boot.is_enabled())
            && let Some(kernel) = self.section(".linux")
        {
            let contents = kernel.in_memory();
            pcr.extend(".linux", Image::parse(&contents)?.authenticode(boot.hash)?);
        }
        Ok(pcr)
    }

    /// The command line in the image, as the stub hands it to the kernel; `None` where the image has none.
    #[must_use]
    pub fn command_line(&self) -> Option<String> {
        let section = self.section(".cmdline")?;
        Some(mangled(&String::from_utf8_lossy(&section.in_memory())))
    }

    /// PCR 9: what the kernel's own EFI stub measures, since Linux 6.1: its command line and its initrd.
    ///
    /// # Errors
    /// It cannot be known from the image.
    pub fn pcr9(&self, hash: HashAlg) -> Predicted {
        let unknown = Unpredicted::Stub { release: self.stub.release() };
        let archived = self.stub.archived_sections().ok_or(unknown)?;
        let line = self.command_line().ok_or(Unpredicted::NoCommandLine)?;
        let options: Vec<u8> = format!("{line}\0").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut pcr = Register::new(hash);
        pcr.measure("command line", &options);
        let embedded = [".ucode", ".initrd"].into_iter().filter_map(|name| self.section(name));
        let mut initrds: Vec<Vec<u8>> = embedded.map(UkiSection::in_memory).collect();
        for (name, file) in archived {
            if let Some(section) = self.section(name) {
                initrds.push(archive(file, &section.in_memory()));
            }
        }
        match initrds.as_mut_slice() {
            [] => {}
            [one] => pcr.measure("initrd", one),
            several => {
                several.iter_mut().for_each(|one| one.resize(one.len().next_multiple_of(4), 0));
                pcr.measure("initrd and archives of the stub", &several.concat());
            }
        }
        Ok(pcr)
    }

    /// PCR 11: the sections, then the phases that were entered.
    ///
    /// # Errors
    /// It cannot be known from the image.
    pub fn pcr11(&self, hash: HashAlg, phases: &[&str]) -> Predicted {
        let unknown = Unpredicted::Stub { release: self.stub.release() };
        let measured = self.stub.measured_sections().ok_or(unknown)?;
        let mut pcr = Register::new(hash);
        for section in measured.iter().filter_map(|name| self.section(name)) {
            pcr.measure(format!("name {}", section.name), format!("{}\0", section.name).as_bytes());
            pcr.measure(section.name, &section.in_memory());
        }
        for phase in phases {
            pcr.measure(format!("phase {phase}"), phase.as_bytes());
        }
        Ok(pcr)
    }

    /// PCR 12 of a boot with nothing beside the image: never extended.
    #[must_use]
    pub const fn pcr12(&self, hash: HashAlg) -> Register {
        Register::new(hash)
    }
}

/// The command line as the stub hands it over: from the first to the last visible character, controls as spaces.
/// `mangle_stub_cmdline` in systemd's `src/boot/util.c`.
fn mangled(line: &str) -> String {
    let line = line.split('\0').next().unwrap_or_default();
    let line: String = line.chars().map(|c| if c <= '\u{1f}' { ' ' } else { c }).collect();
    line.trim_matches(' ').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_cut_to_what_is_visible() {
        assert_eq!(mangled(" a=b\tc \n\0rest"), "a=b c");
        assert_eq!(mangled("\n"), "");
    }
}
