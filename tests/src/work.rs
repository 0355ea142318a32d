//! A directory and ports of one run's own.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

/// A temporary directory that other users may enter (0755), so that workloads of any uid reach sockets in it.
/// Removed when dropped.
#[derive(Debug)]
pub struct WorkDir(TempDir);

impl WorkDir {
    /// A new, empty one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("holdfast-").tempdir().context("make a temporary directory")?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A directory below it, made if need be, 0755.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn sub(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }
}

/// A loopback port that nobody listened on a moment ago.
///
/// # Errors
/// If the system has none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
