//! Where guests are kept: `DIR/roots/KIND/…` for the vendors, `DIR/guests/NAME/guest.json` for what each guest is. The
//! file is read for each piece of evidence, so that a change of it shows in the next one.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::amd::{Amd, SnpSpec, write};
use super::nitro::{Hypervisor, NitroSpec};
use crate::error::{SimError, file};

const FILE: &str = "guest.json";

/// A kind of guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    /// A guest under AMD SEV-SNP.
    Snp,
    /// An AWS Nitro enclave.
    Nitro,
}

/// What a guest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestSpec {
    /// Under AMD SEV-SNP.
    Snp(SnpSpec),
    /// An AWS Nitro enclave.
    Nitro(NitroSpec),
}

/// A directory of guests and of the vendors behind them.
#[derive(Clone, Debug)]
pub struct Lab {
    directory: PathBuf,
}

/// One guest on disk.
#[derive(Clone, Debug)]
pub struct Guest {
    directory: PathBuf,
}

impl Lab {
    /// The lab in `directory`.
    #[must_use]
    pub fn open(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The simulated AMD for `product`.
    ///
    /// # Errors
    /// See [`Amd::open`].
    pub fn amd(&self, product: &str) -> Result<Amd, SimError> {
        Amd::open(&self.directory.join("roots/snp"), product)
    }

    /// The simulated Nitro hypervisor.
    ///
    /// # Errors
    /// See [`Hypervisor::open`].
    pub fn hypervisor(&self) -> Result<Hypervisor, SimError> {
        Hypervisor::open(&self.directory.join("roots/nitro"))
    }

    /// The root that an operator imports for this guest, PEM file.
    ///
    /// # Errors
    /// [`SimError`] if the vendor cannot be opened.
    pub fn root_of(&self, spec: &GuestSpec) -> Result<PathBuf, SimError> {
        Ok(match spec {
            GuestSpec::Snp(spec) => self.amd(&spec.product)?.root_path(),
            GuestSpec::Nitro(_) => self.hypervisor()?.root_path(),
        })
    }

    /// Launches a guest: a new one, even if one of that name was there before. On `chip` if it is given, else on a chip
    /// of its own.
    ///
    /// # Errors
    /// [`SimError`] if it cannot be kept.
    pub fn launch(&self, name: &str, kind: GuestKind, chip: Option<&str>) -> Result<Guest, SimError> {
        let directory = self.directory.join("guests").join(name);
        fs::create_dir_all(&directory).map_err(file("create", &directory))?;
        let guest = Guest { directory };
        let spec = match kind {
            GuestKind::Snp => {
                let spec = SnpSpec::default();
                let chip_id = match chip {
                    Some(chip) => chip.to_owned(),
                    None => self.amd(&spec.product)?.new_chip(),
                };
                GuestSpec::Snp(SnpSpec { chip_id, ..spec })
            }
            GuestKind::Nitro => GuestSpec::Nitro(NitroSpec::default()),
        };
        guest.keep(&spec)?;
        Ok(guest)
    }
}

impl Guest {
    /// The guest kept in `directory`.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where its device answers while it runs.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("device.sock")
    }

    /// What it is now.
    ///
    /// # Errors
    /// [`SimError::File`], or [`SimError::NotOurs`] if the file does not say what a guest is.
    pub fn spec(&self) -> Result<GuestSpec, SimError> {
        let path = self.directory.join(FILE);
        let text = fs::read(&path).map_err(file("read", &path))?;
        serde_json::from_slice(&text).map_err(|error| SimError::NotOurs {
            path,
            expected: "guest",
            problem: error.to_string(),
        })
    }

    /// Makes it another: from its next evidence on.
    ///
    /// # Errors
    /// [`SimError::File`].
    pub fn keep(&self, spec: &GuestSpec) -> Result<(), SimError> {
        let path = self.directory.join(FILE);
        let text = serde_json::to_vec_pretty(spec).unwrap_or_default();
        // A reader sees the old file or the new one.
        let new = self.directory.join(".guest.json.new");
        write(&new, &text, 0o644)?;
        fs::rename(&new, &path).map_err(file("write", &path))
    }
}

impl GuestKind {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Nitro => "nitro",
        }
    }
}

impl GuestSpec {
    /// Of which kind.
    #[must_use]
    pub const fn kind(&self) -> GuestKind {
        match self {
            Self::Snp(_) => GuestKind::Snp,
            Self::Nitro(_) => GuestKind::Nitro,
        }
    }

    /// The chip below it, where there is one.
    #[must_use]
    pub fn chip(&self) -> Option<&str> {
        match self {
            Self::Snp(spec) => Some(&spec.chip_id),
            Self::Nitro(_) => None,
        }
    }

    /// Launches it anew: only what one launch has alone is another.
    pub fn relaunch(&mut self) {
        match self {
            Self::Snp(spec) => spec.report_id = SnpSpec::default().report_id,
            Self::Nitro(spec) => {
                let (parent, _) = spec.module_id.split_once("-enc").unwrap_or((&spec.instance_id, ""));
                let fresh = NitroSpec::default().module_id;
                let (_, enclave) = fresh.split_once("-enc").unwrap_or(("", "0"));
                spec.module_id = format!("{parent}-enc{enclave}");
            }
        }
    }
}
