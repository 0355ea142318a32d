//! The real programs from end to end, each test with a server, machines and agents of its own. Nothing here knows their
//! insides: command lines, files, sockets and signals only. Needs `cargo build --workspace --bins` first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

mod enrolment;
mod entries;
mod events;
mod misuse;
mod neighbours;
mod operators;
mod proofs;
mod results;
mod revocation;
mod rollout;
mod survival;
mod tokens;
mod withdrawn_tokens;
mod world;
