//! The agent against the real server, both in this process, on machines of the simulator. Needs `swtpm`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod enrolment;
mod faults;
mod measured_files;
mod ownership;
mod proofs;
mod refusal;
mod workloads;
mod world;
