//! Small files of the lab: keys and certificates, written whole, so that two processes may use one directory.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{SimError, file};

/// Writes a file so that a reader sees the old contents or the new ones.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SimError> {
    let new = beside(path);
    fill(&new, bytes, mode)?;
    fs::rename(&new, path).map_err(file("write", path))
}

/// Writes a private file unless there is one already; what is in it then.
pub(crate) fn keep_first(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, SimError> {
    let new = beside(path);
    fill(&new, bytes, 0o600)?;
    let linked = fs::hard_link(&new, path);
    let _ = fs::remove_file(&new);
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(file("write", path)(error)),
        _ => fs::read(path).map_err(file("read", path)),
    }
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> std::path::PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{number}", std::process::id()))
}

fn fill(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SimError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options.open(path).and_then(|mut file| file.write_all(bytes)).map_err(file("write", path))
}
