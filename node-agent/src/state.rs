//! The state directory: what the agent must remember over a restart. Holds no workload key and no node key.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the largest state file that is read: a few certificate chains.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A directory of mode 0700 with files of mode 0600, each replaced as a whole.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

/// Why the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// The file system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A file does not hold what this program writes.
    #[error("{} is not a state file of this program; remove it to start anew", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where its text departs from the form.
        source: serde_json::Error,
    },
}

impl StateFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "agent.state.io",
            Self::Content { .. } => "agent.state.content",
        }
    }
}

impl StateDir {
    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// [`StateFault::Io`] where it cannot be made.
    pub fn open(path: &Path) -> Result<Self, StateFault> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| StateFault::Io {
            action: "cannot make",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where a file of this name is.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a JSON file; `None` if there is none.
    ///
    /// # Errors
    /// [`StateFault`] if it cannot be read or has another form.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateFault> {
        let path = self.file(name);
        let bytes = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                let source = std::io::Error::new(std::io::ErrorKind::FileTooLarge, "state file is too large");
                return Err(StateFault::Io { action: "cannot read", path, source });
            }
            Ok(_) => fs::read(&path),
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|source| StateFault::Content { path, source })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateFault::Io { action: "cannot read", path, source }),
        }
    }

    /// Writes a JSON file so that a crash leaves either the old or the new one.
    ///
    /// # Errors
    /// [`StateFault::Io`] where the file system refuses.
    pub fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateFault> {
        let path = self.file(name);
        let text =
            serde_json::to_vec_pretty(value).map_err(|source| StateFault::Content { path: path.clone(), source })?;
        let beside = self.file(&format!(".{name}.new"));
        let written = (|| {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            fs::File::open(&self.path)?.sync_all()
        })();
        written.map_err(|source| StateFault::Io { action: "cannot write", path, source })
    }

    /// Makes an empty marker file.
    ///
    /// # Errors
    /// [`StateFault::Io`] where the file system refuses.
    pub fn mark(&self, name: &str) -> Result<(), StateFault> {
        let path = self.file(name);
        let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        made.map(drop).map_err(|source| StateFault::Io { action: "cannot write", path, source })
    }

    /// Whether the marker is there.
    #[must_use]
    pub fn is_marked(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// Removes a file; one that is not there is as good as removed.
    ///
    /// # Errors
    /// [`StateFault::Io`] where the file system refuses.
    pub fn remove(&self, name: &str) -> Result<(), StateFault> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StateFault::Io { action: "cannot remove", path, source: error })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_nobody_else_may_read_it() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::open(&place.path().join("a/b")).unwrap();
        assert_eq!(state.read::<Vec<u8>>("x.json").unwrap(), None);
        state.write("x.json", &vec![1_u8, 2]).unwrap();
        assert_eq!(state.read::<Vec<u8>>("x.json").unwrap(), Some(vec![1, 2]));
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(state.file("x.json")), mode(state.file(""))), (0o600, 0o700));
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::open(place.path()).unwrap();
        fs::write(state.file("x.json"), "{").unwrap();
        let fault = state.read::<Vec<u8>>("x.json").unwrap_err();
        assert_eq!(fault.code(), "agent.state.content");
        assert!(fault.to_string().contains("x.json"));
    }
}
