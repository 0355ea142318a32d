//! Machines kept below one directory: one vendor, and machines manufactured once and used again. Several processes may
//! use the same directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{SimError, file};
use crate::machine::Machine;
use crate::vendor::{ROOT_PEM, Vendor};

const VENDOR: &str = "vendor";
const TEMPLATES: &str = "manufactured";
const LOCK: &str = "lock";

/// A vendor and its stock of machines, as manufactured.
#[derive(Debug)]
pub struct Factory {
    directory: PathBuf,
    vendor: Vendor,
}

impl Factory {
    /// The factory below `directory`; its vendor is made there the first time.
    ///
    /// # Errors
    /// [`SimError::File`], [`SimError::Certificate`].
    pub fn open(directory: &Path) -> Result<Self, SimError> {
        fs::create_dir_all(directory).map_err(file("create", directory))?;
        let _lock = lock(directory)?;
        let vendor = Vendor::open(&directory.join(VENDOR))?;
        Ok(Self { directory: directory.to_owned(), vendor })
    }

    /// Where the vendor's root certificate lies in the factory below `directory`, PEM.
    pub fn root_path(directory: &Path) -> PathBuf {
        directory.join(VENDOR).join(ROOT_PEM)
    }

    /// The vendor whose root certifies every machine of this factory.
    pub fn vendor(&self) -> &Vendor {
        &self.vendor
    }

    /// Machine number `index`, manufactured now if the stock has none. It is a template: copy it, do not start it.
    ///
    /// # Errors
    /// As [`Machine::manufacture`].
    pub fn template(&self, index: usize) -> Result<PathBuf, SimError> {
        let place = self.directory.join(TEMPLATES).join(index.to_string());
        let _lock = lock(&self.directory)?;
        if Machine::open(&place).is_ok() {
            return Ok(place);
        }
        let unfinished = self.directory.join(TEMPLATES).join(format!("{index}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(file("remove", &unfinished))?;
        }
        Machine::manufacture(&unfinished, &self.vendor, index)?;
        fs::rename(&unfinished, &place).map_err(file("rename", &unfinished))?;
        Ok(place)
    }

    /// A fresh copy of machine number `index` in `directory`: milliseconds, once it is in stock.
    ///
    /// # Errors
    /// As [`Machine::manufacture`] and [`Machine::copy_of`].
    pub fn machine(&self, index: usize, directory: &Path) -> Result<Machine, SimError> {
        Machine::copy_of(&self.template(index)?, directory)
    }
}

/// Held until dropped; waits for other processes.
fn lock(directory: &Path) -> Result<File, SimError> {
    let path = directory.join(LOCK);
    let held = File::create(&path).map_err(file("create", &path))?;
    held.lock().map_err(file("lock", &path))?;
    Ok(held)
}
