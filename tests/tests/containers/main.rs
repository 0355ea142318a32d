//! Real container engines: what the agent learns of a container from the containerd, Docker or Podman that runs it, and who gets an
//! SVID by it. Server, machine, agent and caller are the programs; the caller runs inside of containers.
//!
//! Needs root, and the engines; a test does nothing without, and says so. Each has an engine of its own, in folders and on
//! sockets of its own, which ends with it. Needs `cargo build --workspace --bins` first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

mod containerd;
mod ctr;
mod docker;
mod engine;
mod groups;
mod image;
mod site;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../end_to_end/world.rs"]
mod world;

use std::path::PathBuf;

/// Seconds that an engine may take to start.
const PATIENCE: u64 = 30;

/// Where a program is. Administrators' folders are looked through too, whoever's `PATH` it is.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Whether containers can be made by this user of these programs; says so if not.
fn can_run(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|name| program(name).is_none()).collect();
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    if !missing.is_empty() {
        eprintln!("SKIPPED: not installed: {}", missing.join(", "));
    } else if !root {
        eprintln!("SKIPPED: needs root to run containers");
    }
    root && missing.is_empty()
}
