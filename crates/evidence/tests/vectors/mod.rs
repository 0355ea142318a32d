//! Where the real evidence lies: `HOLDFAST_VECTORS`, or `shared/vectors` beside the workspace.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};

/// The folder, or `None` with a printed reason.
pub(crate) fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_VECTORS").map(PathBuf::from);
    // members stand at different depths
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("shared/vectors"));
    let found = named.into_iter().chain(above).find(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: no real evidence here; set HOLDFAST_VECTORS to its folder");
    }
    found
}

/// All files below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}
