//! Reports of the kernel's Trusted Security Module interface (configfs-tsm, Linux 6.7): SNP's and TDX's alike.
//!
//! Everything here is above [`TsmFiles`], which is the file system. Verifies nothing.

mod files;
#[cfg(test)]
pub(super) mod kernel;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use files::{TsmFiles, files};

/// Bytes that a report is asked to carry.
pub const INBLOB_BYTES: usize = 64;
/// Reports tried before a machine is taken for one where somebody else keeps writing to our entry.
const RACES_MAX: u32 = 5;
/// Pauses while the kernel says that it is busy: the firmware throttles, and a TDX quote comes from another process.
const BUSY: [Duration; 8] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// Names tried for an entry: a killed process may have left some.
const NAMES_MAX: u32 = 16;

/// Who makes the reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// `sev_guest`.
    SevGuest,
    /// `tdx_guest`.
    TdxGuest,
}

impl Provider {
    /// As the kernel spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SevGuest => "sev_guest",
            Self::TdxGuest => "tdx_guest",
        }
    }
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsmReport {
    /// Who made it.
    pub provider: Provider,
    /// The report or quote.
    pub outblob: Vec<u8>,
    /// Certificates; empty where the provider has none.
    pub auxblob: Vec<u8>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum TsmFault {
    /// The kernel refused.
    #[error("TSM: cannot {action} {what}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On the entry, or an attribute of it.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The provider is one that we do not know, or not the one that was wanted.
    #[error("TSM provider is {found:?}, expected {expected}")]
    Provider {
        /// What was wanted.
        expected: &'static str,
        /// What the kernel says.
        found: String,
    },
    /// The generation moved by more or less than our own writes, each time.
    #[error("TSM report was changed by somebody else {tries} times while it was read")]
    Raced {
        /// How often it was tried.
        tries: u32,
    },
}

impl TsmFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "agent.tsm.io",
            Self::Provider { .. } => "agent.tsm.provider",
            Self::Raced { .. } => "agent.tsm.raced",
        }
    }
}

/// Makes reports, each in an entry of its own.
#[derive(Clone)]
pub struct Tsm {
    files: Arc<dyn TsmFiles>,
    entries: Arc<AtomicU64>,
}

impl Tsm {
    /// Over these files.
    #[must_use]
    pub fn new(files: Arc<dyn TsmFiles>) -> Self {
        Self { files, entries: Arc::default() }
    }

    /// Who would make a report. Makes none.
    ///
    /// # Errors
    /// [`TsmFault`]; [`io::ErrorKind::NotFound`] inside it where the kernel has no such interface, ENXIO where it has
    /// no provider.
    pub fn provider(&self) -> Result<Provider, TsmFault> {
        self.with_entry(|entry| entry.provider())
    }

    /// A report that carries `inblob`, made at the guest's own privilege level. Blocks.
    ///
    /// # Errors
    /// [`TsmFault`].
    pub fn report(&self, wanted: Provider, inblob: &[u8; INBLOB_BYTES]) -> Result<TsmReport, TsmFault> {
        for _ in 0..RACES_MAX {
            let read = self.with_entry(|entry| {
                let provider = entry.provider()?;
                if provider != wanted {
                    let found = provider.as_str().to_owned();
                    return Err(TsmFault::Provider { expected: wanted.as_str(), found });
                }
                entry.report(provider, inblob)
            })?;
            if let Some(report) = read {
                return Ok(report);
            }
        }
        Err(TsmFault::Raced { tries: RACES_MAX })
    }

    fn with_entry<T>(&self, work: impl FnOnce(&Entry<'_>) -> Result<T, TsmFault>) -> Result<T, TsmFault> {
        let name = self.create()?;
        let done = work(&Entry { files: self.files.as_ref(), name: &name });
        if let Err(error) = self.files.remove(&name) {
            // It takes a few hundred bytes of the kernel's memory until the next boot.
            tracing::warn!(entry = name, %error, "TSM entry not removed");
        }
        done
    }

    fn create(&self) -> Result<String, TsmFault> {
        let mut last = io::ErrorKind::AlreadyExists.into();
        for _ in 0..NAMES_MAX {
            let number = self.entries.fetch_add(1, Ordering::Relaxed);
            let name = format!("holdfast-{}-{number}", std::process::id());
            match self.files.create(&name) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(source) => return Err(TsmFault::Io { action: "create", what: "an entry", source }),
            }
        }
        Err(TsmFault::Io { action: "create", what: "an entry", source: last })
    }
}

/// One entry, ours alone.
struct Entry<'a> {
    files: &'a dyn TsmFiles,
    name: &'a str,
}

impl Entry<'_> {
    fn provider(&self) -> Result<Provider, TsmFault> {
        let bytes = self.read("provider")?;
        match bytes.trim_ascii() {
            b"sev_guest" => Ok(Provider::SevGuest),
            b"tdx_guest" => Ok(Provider::TdxGuest),
            other => Err(TsmFault::Provider {
                expected: "sev_guest or tdx_guest",
                found: String::from_utf8_lossy(other).chars().filter(|c| !c.is_control()).take(64).collect(),
            }),
        }
    }

    /// `None` if somebody else wrote to the entry meanwhile, or one of our writes got lost: inblob is taken when the
    /// file is closed, where nobody hears of an error.
    fn report(&self, provider: Provider, inblob: &[u8]) -> Result<Option<TsmReport>, TsmFault> {
        let before = self.generation()?;
        let mut writes = 1;
        if let Some(floor) = self.floor()? {
            self.write("privlevel", floor.to_string().as_bytes())?;
            writes += 1;
        }
        self.write("inblob", inblob)?;
        if self.generation()? != before.wrapping_add(writes) {
            return Ok(None);
        }
        let outblob = self.read("outblob")?;
        let auxblob = self.optional("auxblob")?.unwrap_or_default();
        if self.generation()? != before.wrapping_add(writes) {
            return Ok(None);
        }
        Ok(Some(TsmReport { provider, outblob, auxblob }))
    }

    /// The lowest level that may be asked for, where it is not the default's 0: the guest does not run at level 0.
    fn floor(&self) -> Result<Option<u64>, TsmFault> {
        Ok(self.optional("privlevel_floor")?.as_deref().and_then(number).filter(|floor| *floor > 0))
    }

    fn generation(&self) -> Result<u64, TsmFault> {
        let form = || io::Error::new(io::ErrorKind::InvalidData, "expected a number");
        let bytes = self.read("generation")?;
        number(&bytes).ok_or_else(|| TsmFault::Io { action: "read", what: "generation", source: form() })
    }

    fn read(&self, attribute: &'static str) -> Result<Vec<u8>, TsmFault> {
        patiently(|| self.files.read(self.name, attribute)).map_err(|source| TsmFault::Io {
            action: "read",
            what: attribute,
            source,
        })
    }

    /// An attribute that not every provider has.
    fn optional(&self, attribute: &'static str) -> Result<Option<Vec<u8>>, TsmFault> {
        match self.read(attribute) {
            Err(TsmFault::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn write(&self, attribute: &'static str, bytes: &[u8]) -> Result<(), TsmFault> {
        patiently(|| self.files.write(self.name, attribute, bytes)).map_err(|source| TsmFault::Io {
            action: "write",
            what: attribute,
            source,
        })
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes.trim_ascii()).ok()?.parse().ok()
}

/// Tries again while the kernel is busy or was interrupted.
fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pauses = BUSY.into_iter();
    loop {
        match attempt() {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                match pauses.next() {
                    Some(pause) => std::thread::sleep(pause),
                    None => return Err(error),
                }
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests;
