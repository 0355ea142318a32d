//! Trust domains that federate: the real programs on both sides, curl as a reader of its own, and an endpoint that says what
//! a test wants. Needs `cargo build --workspace --bins` first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

mod domain;
mod mesh;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../authorities/openssl.rs"]
mod openssl;
mod reader;
mod refusals;
mod revocation;
mod stranger;
mod tokens;
