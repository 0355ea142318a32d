//! Reads profiles: built-in or from a file, each alone or as a change to another (`extends`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Bank;
use crate::error::{SimError, file};
use crate::profile::{Boot, Entry, FileBytes, Image, Profile};

/// Profiles that come with the simulator: name and TOML.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("shim-grub", include_str!("../../profiles/shim-grub.toml")),
    ("uki", include_str!("../../profiles/uki.toml")),
    ("direct-kernel", include_str!("../../profiles/direct-kernel.toml")),
    ("changed-kernel", include_str!("../../profiles/changed-kernel.toml")),
    ("changed-cmdline", include_str!("../../profiles/changed-cmdline.toml")),
    ("changed-uki", include_str!("../../profiles/changed-uki.toml")),
    ("secure-boot-off", include_str!("../../profiles/secure-boot-off.toml")),
    ("signed-files", include_str!("../../profiles/signed-files.toml")),
    ("sha1-only", include_str!("../../profiles/sha1-only.toml")),
];

/// Longest chain of `extends`.
const EXTENDS_MAX: usize = 8;
/// Longest path in a profile, in characters: device paths carry 16-bit lengths.
const PATH_CHARACTERS_MAX: usize = 1024;
/// Most GRUB commands: the log stays below what kernels hand on.
const COMMANDS_MAX: usize = 1000;

/// Most files that are started: each is an extend of a simulated TPM.
const MEASURED_FILES_MAX: usize = 1000;

impl Profile {
    /// The profile called `name`: a built-in one, or else a file.
    ///
    /// # Errors
    /// [`SimError::Profile`] says which key of which file is wrong.
    pub fn load(name: &str) -> Result<Self, SimError> {
        let (table, directory) = read_table(name, Path::new("."), 0)?;
        Self::build(name, table, &directory)
    }

    /// A profile from TOML text; `extends` and files are looked up in `directory`.
    ///
    /// # Errors
    /// As [`Profile::load`]; `origin` names the text in errors.
    pub fn parse(origin: &str, text: &str, directory: &Path) -> Result<Self, SimError> {
        let table = resolve(origin, text, directory, 0)?;
        Self::build(origin, table, directory)
    }

    fn build(origin: &str, table: toml::Table, directory: &Path) -> Result<Self, SimError> {
        let mut profile: Self = table.try_into().map_err(|e: toml::de::Error| problem(origin, e.message()))?;
        for wanted in profile.files() {
            let path = directory.join(&wanted.path);
            wanted.bytes = fs::read(&path).map_err(file("read", &path))?;
        }
        profile.check().map_err(|why| problem(origin, &why))?;
        Ok(profile)
    }

    fn files(&mut self) -> Vec<&mut FileBytes> {
        let images = self
            .firmware
            .blobs
            .iter_mut()
            .map(|blob| &mut blob.image)
            .chain(self.boot.shim.iter_mut().map(|shim| &mut shim.image))
            .chain(self.boot.grub.iter_mut().map(|grub| &mut grub.image))
            .chain(
                self.boot
                    .kernel
                    .iter_mut()
                    .flat_map(|kernel| [&mut kernel.image].into_iter().chain(&mut kernel.initrd)),
            )
            .chain(self.boot.uki.iter_mut().flat_map(|uki| [&mut uki.linux, &mut uki.initrd]))
            .chain(self.measured_files.iter_mut().flat_map(|kept| kept.files.iter_mut().map(|file| &mut file.image)));
        let images = images.filter_map(|image| match image {
            Image::Text(_) => None,
            Image::File { file } => Some(file),
        });
        let boot = &mut self.secure_boot;
        let entries = boot.pk.iter_mut().chain(&mut boot.kek).chain(&mut boot.db).chain(&mut boot.dbx);
        let entries = entries.filter_map(|entry| match entry {
            Entry::CertificateFile(file) => Some(file),
            Entry::Certificate(_) | Entry::Sha256(_) => None,
        });
        images.chain(entries).collect()
    }

    fn check(&self) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            return Err(format!("name is {:?}, expected a-z, 0-9, '-', '_' and '.' only", self.name));
        }
        if !matches!(self.firmware.locality, 0 | 3) {
            return Err(format!("firmware.locality is {}, expected 0 or 3", self.firmware.locality));
        }
        let banks = &self.firmware.banks;
        if banks.is_empty() || Bank::ALL.iter().any(|bank| banks.iter().filter(|found| *found == bank).count() > 1) {
            return Err("firmware.banks must name one to three different banks".to_owned());
        }
        self.boot.check()?;
        let files = self.measured_files.as_ref().map(|kept| kept.files.as_slice()).unwrap_or_default();
        if files.len() > MEASURED_FILES_MAX {
            return Err(format!("measured_files.files has {} entries, limit {MEASURED_FILES_MAX}", files.len()));
        }
        if let Some(file) = files.iter().find(|file| !file.path.starts_with('/')) {
            return Err(format!("measured_files: {:?} is no absolute path", file.path));
        }
        let signers = [
            self.boot.shim.as_ref().map(|shim| shim.signer.as_str()),
            self.boot.grub.as_ref().and_then(|grub| grub.signer.as_deref()),
            self.boot.kernel.as_ref().and_then(|kernel| kernel.signer.as_deref()),
            self.boot.uki.as_ref().map(|uki| uki.signer.as_str()),
        ];
        for signer in signers.into_iter().flatten().filter(|_| self.secure_boot.enabled) {
            let known = |entry: &Entry| matches!(entry, Entry::Certificate(name) if name == signer);
            if !self.secure_boot.db.iter().any(known) {
                return Err(format!("secure_boot.db has no certificate {signer:?}, which signs an image"));
            }
        }
        for entry in self.secure_boot.db.iter().chain(&self.secure_boot.dbx) {
            if let Entry::Sha256(text) = entry {
                match hex::decode(text).map(|bytes| bytes.len()) {
                    Ok(32) => {}
                    _ => return Err(format!("{text:?} is no SHA-256 in hexadecimal")),
                }
            }
        }
        Ok(())
    }
}

impl Boot {
    fn check(&self) -> Result<(), String> {
        match (&self.kernel, &self.uki) {
            (None, None) => return Err("boot needs a kernel or a uki".to_owned()),
            (Some(_), Some(_)) => return Err("boot has both kernel and uki, expected one".to_owned()),
            _ => {}
        }
        if self.grub.is_some() && self.kernel.is_none() {
            return Err("boot.grub needs boot.kernel".to_owned());
        }
        if self.shim.is_some() && self.grub.is_none() {
            return Err("boot.shim needs boot.grub".to_owned());
        }
        let paths = [
            self.shim.as_ref().map(|shim| &shim.path),
            self.grub.as_ref().map(|grub| &grub.path),
            self.kernel.as_ref().map(|kernel| &kernel.path),
            self.uki.as_ref().map(|uki| &uki.path),
        ];
        if let Some(path) = paths.into_iter().flatten().find(|path| path.chars().count() > PATH_CHARACTERS_MAX) {
            return Err(format!("a path has {} characters, limit {PATH_CHARACTERS_MAX}", path.chars().count()));
        }
        match self.grub.as_ref().map_or(0, |grub| grub.commands.len()) {
            0..=COMMANDS_MAX => Ok(()),
            found => Err(format!("boot.grub.commands has {found} entries, limit {COMMANDS_MAX}")),
        }
    }
}

/// Reads a profile's TOML and what it extends; also the directory its files are relative to.
fn read_table(name: &str, directory: &Path, depth: usize) -> Result<(toml::Table, PathBuf), SimError> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        return Ok((resolve(name, text, directory, depth)?, directory.to_owned()));
    }
    let path = directory.join(name);
    let text = fs::read_to_string(&path).map_err(|source| {
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        problem(name, &format!("neither a file ({source}) nor built in ({})", names.join(", ")))
    })?;
    let beside = path.parent().map_or_else(|| directory.to_owned(), Path::to_owned);
    Ok((resolve(name, &text, &beside, depth)?, beside))
}

/// Parses `text` and lays it over the profile that it extends.
fn resolve(origin: &str, text: &str, directory: &Path, depth: usize) -> Result<toml::Table, SimError> {
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| problem(origin, &e.to_string()))?;
    let Some(base) = table.remove("extends") else { return Ok(table) };
    let Some(base) = base.as_str() else { return Err(problem(origin, "extends is no string")) };
    if depth == EXTENDS_MAX {
        return Err(problem(origin, &format!("more than {EXTENDS_MAX} profiles extend one another")));
    }
    let (mut merged, _) = read_table(base, directory, depth + 1)?;
    overlay(&mut merged, table);
    Ok(merged)
}

/// Tables merge key by key; anything else replaces; an empty table removes.
fn overlay(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(_)), toml::Value::Table(new)) if new.is_empty() => {
                base.remove(&key);
            }
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => overlay(old, new),
            (_, new) => {
                base.insert(key, new);
            }
        }
    }
}

fn problem(origin: &str, what: &str) -> SimError {
    SimError::Profile { origin: origin.to_owned(), problem: what.to_owned() }
}
