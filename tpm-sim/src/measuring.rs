//! A running kernel that measures: files into PCR 10 and into the list beside the firmware log; and lies in that list.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use crate::digest::Bank;
use crate::error::{SimError, file};
use crate::keys::FileSigner;
use crate::log::ima::{BOOT_AGGREGATE, MeasuredEntry};
use crate::machine::Machine;
use crate::powered::Powered;
use crate::profile::MeasuredFiles;
use crate::tpm::commands;
use crate::tpm::process::Swtpm;

const LIST: &str = "binary_runtime_measurements";
const IMA_PCR: u32 = 10;

/// One lie in the list of measured files: the file is changed, PCR 10 is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListLie {
    /// One bit of the byte at this offset flipped.
    Byte(usize),
    /// The entry that was measured last left out.
    WithoutTheLast,
}

impl Machine {
    /// Where a kernel that measures leaves its list: for the agent's `measured_files`. Not there before
    /// [`Powered::start_measuring`].
    pub fn measured_files_path(&self) -> PathBuf {
        self.directory().join(LIST)
    }

    /// The list of an earlier boot is gone with its kernel.
    pub(crate) fn forget_measured_files(&self) -> Result<(), SimError> {
        let path = self.measured_files_path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

impl Powered {
    /// The kernel starts to measure: the list begins with the aggregate of PCRs 0 to 9.
    ///
    /// # Errors
    /// What the TPM or the disk say.
    pub fn start_measuring(&self) -> Result<(), SimError> {
        self.machine().forget_measured_files()?;
        let aggregate = self.with_tpm(aggregate)?;
        self.measured(&MeasuredEntry::file(BOOT_AGGREGATE, &aggregate))
    }

    /// A program is started, or a file is read that counts: its digest goes into PCR 10 and into the list.
    ///
    /// # Errors
    /// What the TPM or the disk say.
    pub fn measure(&self, path: &str, content: &[u8]) -> Result<(), SimError> {
        self.measured(&MeasuredEntry::file(path, &Bank::Sha256.hash(&[content])))
    }

    /// The same, as kernels write it that keep signatures: without one.
    ///
    /// # Errors
    /// What the TPM or the disk say.
    pub fn measure_unsigned(&self, path: &str, content: &[u8]) -> Result<(), SimError> {
        self.measured(&MeasuredEntry::signed_file(path, &Bank::Sha256.hash(&[content]), &[]))
    }

    /// The same of a file that somebody writes to meanwhile: a violation.
    ///
    /// # Errors
    /// What the TPM or the disk say.
    pub fn measure_while_written(&self, path: &str) -> Result<(), SimError> {
        self.measured(&MeasuredEntry::violation(path))
    }

    /// Changes the list, and nothing else.
    ///
    /// # Errors
    /// [`SimError::File`] if there is no list, or nothing of it to change.
    pub fn lie_about_files(&self, lie: &ListLie) -> Result<(), SimError> {
        let path = self.machine().measured_files_path();
        let mut list = fs::read(&path).map_err(file("read", &path))?;
        match lie {
            ListLie::Byte(at) => {
                if let Some(byte) = list.get_mut(*at) {
                    *byte ^= 1;
                }
            }
            ListLie::WithoutTheLast => list.truncate(last(&list)),
        }
        fs::write(&path, list).map_err(file("write", &path))
    }

    fn measured(&self, entry: &MeasuredEntry) -> Result<(), SimError> {
        self.with_tpm(|tpm| measure(tpm, self.machine(), entry))
    }
}

/// What a kernel measures that starts with these files.
pub(crate) fn kernel_starts(tpm: &mut Swtpm, machine: &Machine, kept: &MeasuredFiles) -> Result<(), SimError> {
    let signer = kept.signer.as_deref().map(FileSigner::named).transpose()?;
    let aggregate = aggregate(tpm)?;
    measure(tpm, machine, &MeasuredEntry::signed_file(BOOT_AGGREGATE, &aggregate, &[]))?;
    for file in &kept.files {
        let digest = Bank::Sha256.hash(&[file.image.bytes()]);
        let signature = match &signer {
            Some(signer) if !file.unsigned => signer.attribute(&digest)?,
            Some(_) | None => Vec::new(),
        };
        measure(tpm, machine, &MeasuredEntry::signed_file(&file.path, &digest, &signature))?;
    }
    Ok(())
}

/// The hash over PCRs 0 to 9.
fn aggregate(tpm: &mut Swtpm) -> Result<Vec<u8>, SimError> {
    let mut pcrs = Vec::new();
    for index in 0..10 {
        pcrs.extend(commands::pcr(tpm, Bank::Sha256, index)?);
    }
    Ok(Bank::Sha256.hash(&[&pcrs]).to_vec())
}

/// In the kernel's order: first the list, then the TPM.
fn measure(tpm: &mut Swtpm, machine: &Machine, entry: &MeasuredEntry) -> Result<(), SimError> {
    let path = machine.measured_files_path();
    let mut list = OpenOptions::new().create(true).append(true).open(&path).map_err(file("open", &path))?;
    list.write_all(&entry.bytes).map_err(file("write", &path))?;
    commands::extend(tpm, IMA_PCR, &entry.digests, &Bank::ALL)
}

/// Where the last entry of a list of ours begins.
fn last(list: &[u8]) -> usize {
    let number =
        |at: usize| list.get(at..at + 4).and_then(|four| four.first_chunk()).map(|four| u32::from_le_bytes(*four));
    let (mut at, mut begin) = (0, 0);
    while let Some(name) = number(at + 24) {
        let data = at + 28 + name as usize;
        let Some(length) = number(data) else { break };
        (begin, at) = (at, data + 4 + length as usize);
    }
    begin
}
