//! The operator's directory: certificates of chips and intermediates as files, PEM or DER, in at most two levels of
//! folders. Read again when something in it changes. Nothing of it is trusted: chains are verified as everybody's are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use holdfast_evidence::snp::{self, Vek};
use holdfast_evidence::tdx::CollateralParts;
use tracing::{info, warn};

use super::amd::VekKey;

/// How often it is looked whether something has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Files that are read.
const FILES_MAX: usize = 50_000;
/// Bytes of one file; the largest are collateral of many platforms.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of all files together.
const BYTES_MAX: u64 = 256 << 20;
/// Levels of folders below the directory.
const DEPTH_MAX: u32 = 2;

/// What the directory holds, of one moment.
#[derive(Debug, Default)]
pub(super) struct Files {
    veks: HashMap<String, Vec<Vec<u8>>>,
    /// Certificates that are no VEKs, DER.
    pub(super) issuers: Vec<Vec<u8>>,
    /// Everything that may be a part of collateral.
    pub(super) collateral: CollateralParts,
}

impl Files {
    /// The VEKs about that, DER.
    pub(super) fn veks(&self, about: &str) -> &[Vec<u8>] {
        self.veks.get(about).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The directory.
pub(super) struct Directory {
    path: Option<PathBuf>,
    read: Mutex<Read>,
}

struct Read {
    files: Arc<Files>,
    seen: Vec<Seen>,
    looked: Instant,
}

/// A file by what changes when it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    length: u64,
    changed: Option<SystemTime>,
}

impl Directory {
    /// The directory at `path`, read; without one it is empty.
    pub(super) fn new(path: Option<PathBuf>) -> Arc<Self> {
        let read = Mutex::new(Read { files: Arc::default(), seen: Vec::new(), looked: Instant::now() });
        let directory = Self { path, read };
        if let Some(path) = &directory.path {
            directory.look(path);
        }
        Arc::new(directory)
    }

    /// What it holds now.
    pub(super) async fn files(self: &Arc<Self>) -> Arc<Files> {
        let Some(path) = self.path.clone() else { return Arc::default() };
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.looked.elapsed() < LOOK_EVERY {
                return Arc::clone(&read.files);
            }
            // Those who come meanwhile have the files of before.
            read.looked = Instant::now();
        }
        let directory = Arc::clone(self);
        let looking = tokio::task::spawn_blocking(move || directory.look(&path));
        looking.await.unwrap_or_default()
    }

    fn look(&self, path: &Path) -> Arc<Files> {
        let mut seen = Vec::new();
        list(path, 0, &mut seen);
        seen.sort();
        {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.seen == seen {
                return Arc::clone(&read.files);
            }
        }
        let mut files = Files::default();
        let mut bytes = 0;
        for file in &seen {
            bytes += file.length;
            if bytes > BYTES_MAX {
                warn!(directory = %path.display(), limit = BYTES_MAX, "directory is too large, the rest is left out");
                break;
            }
            match std::fs::read(&file.path) {
                Ok(content) => take(content, &file.path, &mut files),
                Err(error) => warn!(file = %file.path.display(), %error, "endorsement cannot be read"),
            }
        }
        let veks: usize = files.veks.values().map(Vec::len).sum();
        info!(directory = %path.display(), files = seen.len(), veks, platforms = files.collateral.fmspcs().count(), "directory is read");
        let files = Arc::new(files);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        (read.files, read.seen) = (Arc::clone(&files), seen);
        files
    }
}

fn list(path: &Path, depth: u32, seen: &mut Vec<Seen>) {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            warn!(directory = %path.display(), %error, "directory of endorsements cannot be read");
            return;
        }
    };
    for entry in entries.flatten() {
        let Ok(found) = std::fs::metadata(entry.path()) else { continue };
        if found.is_dir() && depth < DEPTH_MAX {
            list(&entry.path(), depth + 1, seen);
        } else if found.is_file() && found.len() <= FILE_BYTES_MAX && seen.len() < FILES_MAX {
            seen.push(Seen { path: entry.path(), length: found.len(), changed: found.modified().ok() });
        }
    }
}

/// Sorts the content of one file.
fn take(content: Vec<u8>, path: &Path, files: &mut Files) {
    let text = content.trim_ascii_start();
    if text.starts_with(b"{") {
        if let Err(error) = files.collateral.add(&content) {
            warn!(file = %path.display(), %error, "file is no collateral");
        }
        return;
    }
    match snp::bundle(&content) {
        Ok(certificates) if !certificates.is_empty() => {
            for der in certificates {
                match Vek::parse(&der) {
                    Ok(vek) => files.veks.entry(VekKey::of(&vek).about()).or_default().push(der),
                    Err(_) => {
                        // AMD's intermediates are none of Intel's documents, and are left out there.
                        let _ = files.collateral.add(&der);
                        files.issuers.push(der);
                    }
                }
            }
        }
        // A CRL, in whatever form: collateral has some.
        Ok(_) | Err(_) => {
            if let Err(error) = files.collateral.add(&content) {
                warn!(file = %path.display(), %error, "file is none of the things that are looked for");
            }
        }
    }
}
