//! The rules of the house, as tests: who may import whom, how long a file may be, what must be documented.
//! They read the tree as text; they build and run nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a rule that cannot be read is a broken rule")]

mod conformance;
mod dependencies;
mod documentation;
mod edges;
mod files;

use std::path::{Path, PathBuf};

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The members, as folders below the root.
const MEMBERS: &[&str] = &[
    "crates/identity",
    "crates/evidence",
    "crates/measurement",
    "crates/appraisal",
    "crates/record",
    "crates/proof",
    "crates/protocol",
    "server",
    "node-agent",
    "tpm-sim",
    "policies",
    "tests",
];

/// Every file below `folder` whose name ends with `suffix`, generated code left out.
fn files(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["generated", "target", ".git"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path.as_ref()).unwrap_or_else(|why| panic!("{}: {why}", path.as_ref().display()))
}

/// `path` as a person writes it: below the root.
fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn none(rule: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}
