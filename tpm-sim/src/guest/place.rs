//! A guest on disk: `guest.json` in its directory says what it is. The file is read for each piece of evidence, so that a
//! change of it shows in the next one.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::amd::SnpSpec;
use super::files::write;
use super::nitro::NitroSpec;
use super::random;
use super::tdx::TdxSpec;
use super::vtpm::Quoting;
use super::vtpm::azure::AzureSpec;
use super::vtpm::gcp::GcpSpec;
use super::vtpm::nitrotpm::NitroTpmSpec;
use crate::boot;
use crate::digest::Bank;
use crate::error::{SimError, file};
use crate::log;
use crate::profile::Profile;

const FILE: &str = "guest.json";
/// What it was when it was launched.
const LAUNCHED: &str = "launched.json";

/// A kind of guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum GuestKind {
    /// A guest under AMD SEV-SNP.
    Snp,
    /// A trust domain under Intel TDX.
    Tdx,
    /// An AWS Nitro enclave.
    Nitro,
    /// An EC2 instance with a NitroTPM.
    NitroTpm,
    /// An Azure machine: a confidential one, or Trusted Launch.
    Azure,
    /// A Google Cloud instance.
    Gcp,
}

/// What a guest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestSpec {
    /// Under AMD SEV-SNP.
    Snp(Box<SnpSpec>),
    /// Under Intel TDX.
    Tdx(Box<TdxSpec>),
    /// An AWS Nitro enclave.
    Nitro(Box<NitroSpec>),
    /// An EC2 instance with a NitroTPM.
    NitroTpm(Box<NitroTpmSpec>),
    /// An Azure machine.
    Azure(Box<AzureSpec>),
    /// A Google Cloud instance.
    Gcp(Box<GcpSpec>),
}

/// One guest on disk.
#[derive(Clone, Debug)]
pub struct Guest {
    directory: PathBuf,
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

    /// Where its event log is, if it has one that is a file of its own.
    #[must_use]
    pub fn event_log(&self) -> PathBuf {
        self.directory.join("ccel")
    }

    /// What it is now.
    ///
    /// # Errors
    /// [`SimError::File`], or [`SimError::NotOurs`] if the file does not say what a guest is.
    pub fn spec(&self) -> Result<GuestSpec, SimError> {
        self.read(FILE)
    }

    fn read(&self, name: &str) -> Result<GuestSpec, SimError> {
        let path = self.directory.join(name);
        let text = fs::read(&path).map_err(file("read", &path))?;
        serde_json::from_slice(&text).map_err(|error| SimError::NotOurs {
            path,
            expected: "guest",
            problem: error.to_string(),
        })
    }

    /// Launches it: this is what [`Guest::heal`] makes it again.
    ///
    /// # Errors
    /// As [`Guest::keep`].
    pub fn launched(&self, spec: &GuestSpec) -> Result<(), SimError> {
        let text = serde_json::to_vec_pretty(spec).unwrap_or_default();
        write(&self.directory.join(LAUNCHED), &text, 0o644)?;
        self.keep(spec)
    }

    /// Makes it what it was when it was launched.
    ///
    /// # Errors
    /// As [`Guest::keep`], or [`SimError::File`] if nobody launched it.
    pub fn heal(&self) -> Result<(), SimError> {
        self.keep(&self.read(LAUNCHED)?)
    }

    /// Makes it another: from its next evidence on. A machine that runs reboots if it is to boot something else.
    ///
    /// # Errors
    /// [`SimError::File`]; [`SimError::Profile`] if it boots what cannot be booted; [`SimError::Console`] if its machine
    /// runs and does not do it.
    pub fn keep(&self, spec: &GuestSpec) -> Result<(), SimError> {
        let before = self.spec().ok();
        if let GuestSpec::Tdx(td) = spec {
            let path = self.event_log();
            match super::tdx::Measured::of(td)?.log {
                Some(log) => write(&path, &log, 0o644)?,
                None => fs::remove_file(&path).or_else(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => Ok(()),
                    _ => Err(file("remove", &path)(error)),
                })?,
            }
        }
        let text = serde_json::to_vec_pretty(spec).unwrap_or_default();
        write(&self.directory.join(FILE), &text, 0o644)?;
        super::vtpm::obey(self, spec, before.as_ref())
    }
}

impl GuestKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Snp, Self::Tdx, Self::Nitro, Self::NitroTpm, Self::Azure, Self::Gcp];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
            Self::Nitro => "nitro",
            Self::NitroTpm => "nitrotpm",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
        }
    }
}

impl GuestSpec {
    /// A new guest on hardware of its own.
    #[must_use]
    pub fn new(kind: GuestKind) -> Self {
        match kind {
            GuestKind::Snp => Self::Snp(Box::default()),
            GuestKind::Tdx => Self::Tdx(Box::default()),
            GuestKind::Nitro => Self::Nitro(Box::default()),
            GuestKind::NitroTpm => Self::NitroTpm(Box::default()),
            GuestKind::Azure => Self::Azure(Box::default()),
            GuestKind::Gcp => Self::Gcp(Box::default()),
        }
    }

    /// Of which kind.
    #[must_use]
    pub const fn kind(&self) -> GuestKind {
        match self {
            Self::Snp(_) => GuestKind::Snp,
            Self::Tdx(_) => GuestKind::Tdx,
            Self::Nitro(_) => GuestKind::Nitro,
            Self::NitroTpm(_) => GuestKind::NitroTpm,
            Self::Azure(_) => GuestKind::Azure,
            Self::Gcp(_) => GuestKind::Gcp,
        }
    }

    /// Puts it on the hardware of a neighbour of its kind.
    pub fn move_to(&mut self, neighbour: &Self) {
        match (self, neighbour) {
            (Self::Snp(spec), Self::Snp(neighbour)) => spec.chip_id.clone_from(&neighbour.chip_id),
            (Self::Tdx(spec), Self::Tdx(neighbour)) => spec.platform.clone_from(&neighbour.platform),
            (Self::Azure(spec), Self::Azure(neighbour)) => {
                spec.snp.chip_id.clone_from(&neighbour.snp.chip_id);
                spec.tdx.platform.clone_from(&neighbour.tdx.platform);
            }
            (Self::Snp(_) | Self::Tdx(_) | Self::Nitro(_) | Self::NitroTpm(_) | Self::Azure(_) | Self::Gcp(_), _) => {}
        }
    }

    /// Launches it anew: only what one launch has alone is another.
    pub fn relaunch(&mut self) {
        match self {
            Self::Snp(spec) => spec.report_id = random(32),
            Self::Tdx(spec) => spec.td_id = random(32),
            Self::Nitro(spec) => spec.relaunch(),
            Self::NitroTpm(spec) => spec.relaunch(),
            Self::Azure(spec) => spec.relaunch(),
            Self::Gcp(spec) => spec.relaunch(),
        }
    }

    /// What its boot leads to: RTMRs of a TD; of a machine with a TPM, PCRs in the bank that its evidence has them in.
    ///
    /// # Errors
    /// [`SimError::Profile`] if it boots what cannot be booted.
    pub fn measured(&self) -> Result<Vec<(u32, Vec<u8>)>, SimError> {
        let bank = match self {
            Self::Snp(_) | Self::Nitro(_) => return Ok(Vec::new()),
            Self::Tdx(spec) => return Ok((0..).zip(super::tdx::Measured::of(spec)?.rtmrs).collect()),
            Self::NitroTpm(_) => Bank::Sha384,
            Self::Azure(_) | Self::Gcp(_) => Bank::Sha256,
        };
        let Some(quoting) = self.quoting() else { return Ok(Vec::new()) };
        let profile = Profile::load(&quoting.profile)?;
        Ok(log::replay(&boot::events(&profile)?, bank, profile.firmware.locality))
    }

    /// What it boots and quotes, where it has a TPM.
    #[must_use]
    pub fn quoting(&self) -> Option<&Quoting> {
        match self {
            Self::Snp(_) | Self::Tdx(_) | Self::Nitro(_) => None,
            Self::NitroTpm(spec) => Some(&spec.quoting),
            Self::Azure(spec) => Some(&spec.quoting),
            Self::Gcp(spec) => Some(&spec.quoting),
        }
    }
}
