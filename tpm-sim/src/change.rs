//! What may be different at the next boot: a profile with one thing changed.

use crate::profile::{Entry, Image, Profile};

/// One change to what a machine boots.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Another kernel, validly signed: only its digest gives it away.
    Kernel(String),
    /// Another kernel command line.
    CommandLine(String),
    /// Another initrd.
    Initrd(String),
    /// Other firmware: version and volumes.
    Firmware(String),
    /// Secure Boot switched off; the variables stay.
    SecureBootOff,
    /// A further certificate in `db`, as an intruder enrols it.
    AllowedSigner(String),
    /// `dbx` without its last entry: a revocation undone.
    RevocationUndone,
    /// A command in GRUB's shell before the kernel is loaded.
    GrubCommand(String),
}

impl Profile {
    /// This profile with one thing changed. `None` if it has nothing that the change applies to (a GRUB command
    /// where there is no GRUB).
    pub fn changed(&self, change: &Change) -> Option<Self> {
        let mut profile = self.clone();
        profile.description = format!("{} ({change})", self.description);
        let boot = &mut profile.boot;
        let secure_boot = &mut profile.secure_boot;
        let applied = match change {
            Change::Kernel(image) => {
                let kernels = boot.kernel.iter_mut().map(|kernel| &mut kernel.image);
                set(kernels.chain(boot.uki.iter_mut().map(|uki| &mut uki.linux)), &Image::Text(image.clone()))
            }
            Change::CommandLine(text) => {
                let lines = boot.kernel.iter_mut().map(|kernel| &mut kernel.cmdline);
                set(lines.chain(boot.uki.iter_mut().map(|uki| &mut uki.cmdline)), text)
            }
            Change::Initrd(image) => {
                let initrds = boot.kernel.iter_mut().filter_map(|kernel| kernel.initrd.as_mut());
                set(initrds.chain(boot.uki.iter_mut().map(|uki| &mut uki.initrd)), &Image::Text(image.clone()))
            }
            Change::Firmware(version) => {
                profile.firmware.version.clone_from(version);
                let volume = |at: usize| Image::Text(format!("firmware volume {at} of {version}"));
                for (at, blob) in profile.firmware.blobs.iter_mut().enumerate() {
                    blob.image = volume(at);
                }
                true
            }
            Change::SecureBootOff => std::mem::replace(&mut secure_boot.enabled, false),
            Change::AllowedSigner(name) => {
                secure_boot.db.push(Entry::Certificate(name.clone()));
                true
            }
            Change::RevocationUndone => secure_boot.dbx.pop().is_some(),
            Change::GrubCommand(command) => match &mut boot.grub {
                Some(grub) => {
                    grub.commands.push(command.clone());
                    true
                }
                None => false,
            },
        };
        applied.then_some(profile)
    }
}

/// Sets every place; whether there was one.
fn set<'a, T: Clone + 'a>(places: impl Iterator<Item = &'a mut T>, value: &T) -> bool {
    places.fold(false, |_, place| {
        *place = value.clone();
        true
    })
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kernel(image) => write!(f, "kernel {image:?}"),
            Self::CommandLine(text) => write!(f, "command line {text:?}"),
            Self::Initrd(image) => write!(f, "initrd {image:?}"),
            Self::Firmware(version) => write!(f, "firmware {version:?}"),
            Self::SecureBootOff => f.write_str("Secure Boot off"),
            Self::AllowedSigner(name) => write!(f, "{name:?} added to db"),
            Self::RevocationUndone => f.write_str("last entry of dbx removed"),
            Self::GrubCommand(command) => write!(f, "GRUB command {command:?}"),
        }
    }
}
