//! A machine at rest: a directory with a TPM's state and what the vendor wrote about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::endorsement::{self, EkAlgorithm, Endorsement};
use crate::error::{SimError, file};
use crate::ports::Front;
use crate::powered::Powered;
use crate::profile::Profile;
use crate::tpm::commands::{self, StartupType};
use crate::tpm::process::{STATE, Swtpm};
use crate::vendor::Vendor;

const RECORD: &str = "machine.json";
const FIRMWARE_LOG: &str = "binary_bios_measurements";
/// The one file of swtpm's state that outlives the power.
const PERMANENT_STATE: &str = "tpm2-00.permall";

/// A manufactured machine without power.
#[derive(Debug)]
pub struct Machine {
    directory: PathBuf,
    record: Record,
}

/// What stands in `machine.json`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Record {
    index: usize,
    vendor_root_pem: String,
    vendor_issuing_pem: String,
    endorsements: Vec<EndorsementRecord>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct EndorsementRecord {
    algorithm: String,
    certificate: String,
    public: String,
    spki: String,
}

impl Machine {
    /// Manufactures a machine in `directory`, which must not exist or be empty: a TPM with seeds of its own, banks
    /// sha1, sha256 and sha384, EK certificates by `vendor`. Takes up to a second for the RSA key.
    ///
    /// # Errors
    /// [`SimError::SwtpmMissing`] without swtpm, [`SimError::NotOurs`] if a machine is there already, or what else
    /// swtpm or the disk say.
    pub fn manufacture(directory: &Path, vendor: &Vendor, index: usize) -> Result<Self, SimError> {
        if directory.join(RECORD).exists() {
            return Err(SimError::NotOurs {
                path: directory.to_owned(),
                expected: "empty directory",
                problem: "it holds a machine already".to_owned(),
            });
        }
        let state = directory.join(STATE);
        fs::create_dir_all(&state).map_err(file("create", &state))?;
        let mut tpm = Swtpm::spawn(directory)?;
        tpm.power_on()?;
        commands::startup(&mut tpm, StartupType::Clear)?;
        commands::allocate_banks(&mut tpm)?;
        commands::set_lockout(&mut tpm)?;
        let endorsements = endorsement::endow(&mut tpm, vendor)?;
        commands::shutdown(&mut tpm, StartupType::Clear)?;
        tpm.power_off()?;
        drop(tpm);
        let record = Record {
            index,
            vendor_root_pem: vendor.root_pem().to_owned(),
            vendor_issuing_pem: vendor.issuing_pem().to_owned(),
            endorsements: endorsements.iter().map(EndorsementRecord::of).collect(),
        };
        let machine = Self { directory: directory.to_owned(), record };
        machine.write_record()?;
        Ok(machine)
    }

    /// The machine in `directory`.
    ///
    /// # Errors
    /// [`SimError::NotOurs`] if there is none.
    pub fn open(directory: &Path) -> Result<Self, SimError> {
        let path = directory.join(RECORD);
        let wrong = |problem: String| SimError::NotOurs { path: directory.to_owned(), expected: "machine", problem };
        let text = fs::read_to_string(&path).map_err(|e| wrong(format!("{RECORD}: {e}")))?;
        let record: Record = serde_json::from_str(&text).map_err(|e| wrong(format!("{RECORD}: {e}")))?;
        if record.endorsements.iter().any(|one| one.read().is_none()) {
            return Err(wrong(format!("{RECORD}: an endorsement cannot be read")));
        }
        Ok(Self { directory: directory.to_owned(), record })
    }

    /// Copies the machine in `template` to `directory`: a twin with the same TPM seeds, counters and certificates.
    /// The template may be running.
    ///
    /// # Errors
    /// [`SimError::NotOurs`] if `template` is no machine, [`SimError::File`] if it cannot be copied.
    pub fn copy_of(template: &Path, directory: &Path) -> Result<Self, SimError> {
        let record = Self::open(template)?.record;
        let machine = Self { directory: directory.to_owned(), record };
        machine.restore(&template.join(STATE))?;
        machine.write_record()?;
        Ok(machine)
    }

    /// Gives the machine power and boots `profile`.
    ///
    /// # Errors
    /// [`SimError::SwtpmMissing`] without swtpm; what swtpm or the disk say.
    pub fn start(self, profile: &Profile) -> Result<Powered, SimError> {
        Powered::start(self, profile, None)
    }

    /// The same with something between software and the TPM.
    pub(crate) fn start_behind(self, profile: &Profile, front: Arc<dyn Front>) -> Result<Powered, SimError> {
        Powered::start(self, profile, Some(front))
    }

    /// Where the machine lives.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The number it was manufactured with.
    pub fn index(&self) -> usize {
        self.record.index
    }

    /// Where the machine's firmware leaves its event log: for the agent's `firmware_log`.
    pub fn firmware_log_path(&self) -> PathBuf {
        self.directory.join(FIRMWARE_LOG)
    }

    /// The root certificate of the machine's vendor, PEM.
    pub fn vendor_root_pem(&self) -> &str {
        &self.record.vendor_root_pem
    }

    /// The certificate of the vendor's issuing CA, PEM; the machine carries it at NV 0x01c00100.
    pub fn vendor_issuing_pem(&self) -> &str {
        &self.record.vendor_issuing_pem
    }

    /// The endorsement keys and their certificates: RSA-2048, then P-256.
    pub fn endorsements(&self) -> Vec<Endorsement> {
        self.record.endorsements.iter().filter_map(EndorsementRecord::read).collect()
    }

    /// The endorsement key of one kind.
    pub fn endorsement(&self, algorithm: EkAlgorithm) -> Option<Endorsement> {
        self.endorsements().into_iter().find(|endorsement| endorsement.algorithm == algorithm)
    }

    /// Copies the TPM's permanent state to the directory `into`, as a hypervisor's snapshot does. Possible at any time.
    ///
    /// # Errors
    /// [`SimError::File`] if it cannot be copied.
    pub fn snapshot(&self, into: &Path) -> Result<(), SimError> {
        copy_state(&self.directory.join(STATE), into)
    }

    /// Replaces the TPM's permanent state by a snapshot. A running TPM does not notice before its next power cycle,
    /// and may write over it: see [`Powered::rollback`].
    ///
    /// # Errors
    /// [`SimError::File`] if it cannot be copied.
    pub fn restore(&self, from: &Path) -> Result<(), SimError> {
        copy_state(from, &self.directory.join(STATE))
    }

    fn write_record(&self) -> Result<(), SimError> {
        let path = self.directory.join(RECORD);
        let text = serde_json::to_string_pretty(&self.record).unwrap_or_default();
        fs::write(&path, text + "\n").map_err(file("write", &path))
    }
}

impl EndorsementRecord {
    fn of(endorsement: &Endorsement) -> Self {
        Self {
            algorithm: endorsement.algorithm.name().to_owned(),
            certificate: hex::encode(&endorsement.certificate),
            public: hex::encode(&endorsement.public),
            spki: hex::encode(&endorsement.spki),
        }
    }

    fn read(&self) -> Option<Endorsement> {
        Some(Endorsement {
            algorithm: EkAlgorithm::ALL.into_iter().find(|known| known.name() == self.algorithm)?,
            certificate: hex::decode(&self.certificate).ok()?,
            public: hex::decode(&self.public).ok()?,
            spki: hex::decode(&self.spki).ok()?,
        })
    }
}

/// Writes a firmware log in one step: a reader sees the old one or the new one.
pub(crate) fn write_log(machine: &Machine, bytes: &[u8]) -> Result<(), SimError> {
    let path = machine.firmware_log_path();
    let new = path.with_extension("new");
    fs::write(&new, bytes).map_err(file("write", &new))?;
    fs::rename(&new, &path).map_err(file("replace", &path))
}

fn copy_state(from: &Path, into: &Path) -> Result<(), SimError> {
    fs::create_dir_all(into).map_err(file("create", into))?;
    let source = from.join(PERMANENT_STATE);
    let target = into.join(PERMANENT_STATE);
    let new = into.join("tpm2-00.permall.copy");
    fs::copy(&source, &new).map_err(file("copy", &source))?;
    fs::rename(&new, &target).map_err(file("replace", &target))
}
