//! Upstream authorities and lives of what signs, with the real programs, roots made by openssl and a token of SoftHSM.
//! Needs `cargo build --workspace --bins` first, and the packages openssl and softhsm2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

mod openssl;
mod revoked;
mod rotation;
mod shared_root;
mod token;
