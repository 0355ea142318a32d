//! What goes wrong in the simulator. Nothing here is a verdict on evidence.

use std::path::{Path, PathBuf};

/// A failure of the simulator, of swtpm, or of what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The `swtpm` program could not be started.
    #[error("cannot start swtpm (on Debian: apt-get install swtpm)")]
    SwtpmMissing(#[source] std::io::Error),
    /// swtpm stopped answering, or answered on its control channel with an error.
    #[error("swtpm failed at {what}; see {log}")]
    Swtpm {
        /// What was being done.
        what: &'static str,
        /// swtpm's own log.
        log: PathBuf,
        /// The I/O failure below, where there is one.
        #[source]
        source: Option<std::io::Error>,
    },
    /// The TPM refused a command of the simulator's own.
    #[error("{command} answered 0x{code:x}, expected success")]
    Refused {
        /// The command by its name in TPM 2.0 Part 3.
        command: &'static str,
        /// The TPM's response code.
        code: u32,
    },
    /// A response of the TPM is shorter than its command promises.
    #[error("response to {command} ends early")]
    ShortResponse {
        /// The command by its name in TPM 2.0 Part 3.
        command: &'static str,
    },
    /// A file could not be read, written or copied.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A boot profile says something that cannot be booted.
    #[error("profile {origin}: {problem}")]
    Profile {
        /// File or built-in name.
        origin: String,
        /// What is wrong, with the key.
        problem: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A simulated guest cannot be made as it was asked for.
    #[error("guest: {what}: {problem}")]
    Guest {
        /// The field, or what was being made.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A directory does not hold what the simulator wrote there.
    #[error("{path} is not a {expected} of the simulator: {problem}")]
    NotOurs {
        /// The directory or file.
        path: PathBuf,
        /// `machine`, `vendor`, `log`.
        expected: &'static str,
        /// What is missing or wrong.
        problem: String,
    },
    /// A lie about a part of the firmware log that the log does not have.
    #[error("log has {events} events in {bytes} bytes; {lie} has no place in it")]
    NoPlace {
        /// The lie.
        lie: String,
        /// Events, the Spec ID event included.
        events: usize,
        /// Bytes.
        bytes: usize,
    },
    /// No pair of neighbouring loopback ports was free.
    #[error("no two neighbouring loopback ports are free after {tries} tries")]
    NoPorts {
        /// How many were tried.
        tries: u32,
    },
    /// The running machine refused or did not understand what a command line asked of it.
    #[error("machine at {path}: {problem}")]
    Console {
        /// The machine's directory.
        path: PathBuf,
        /// What it said.
        problem: String,
    },
}

impl SimError {
    /// The stable code of this failure.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SwtpmMissing(_) => "sim.swtpm.missing",
            Self::Swtpm { .. } => "sim.swtpm.failed",
            Self::Refused { .. } => "sim.tpm.refused",
            Self::ShortResponse { .. } => "sim.tpm.short_response",
            Self::File { .. } => "sim.file",
            Self::Profile { .. } => "sim.profile",
            Self::Certificate(_) => "sim.certificate",
            Self::Guest { .. } => "sim.guest",
            Self::NotOurs { .. } => "sim.not_ours",
            Self::NoPlace { .. } => "sim.log.no_place",
            Self::NoPorts { .. } => "sim.no_ports",
            Self::Console { .. } => "sim.console",
        }
    }
}

/// `map_err` for file operations: `fs::read(p).map_err(file("read", p))`.
pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SimError {
    let path = path.to_owned();
    move |source| SimError::File { action, path, source }
}
