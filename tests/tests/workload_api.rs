//! The Workload API with published clients and hostile ones: real sockets, real certificates, real processes.
//!
//! Tests that need Python say so in their names; those that need root do nothing without it, and say so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

#[path = "workload/mod.rs"]
#[allow(dead_code, reason = "another test binary uses the rest")]
mod workload;

#[path = "workload_api/attestors.rs"]
mod attestors;
#[path = "workload_api/clients.rs"]
mod clients;
#[path = "workload_api/delivery.rs"]
mod delivery;
#[path = "workload_api/limits.rs"]
mod limits;
#[path = "workload_api/processes.rs"]
mod processes;
#[path = "workload_api/program.rs"]
mod program;
#[path = "workload_api/secrets.rs"]
mod secrets;
