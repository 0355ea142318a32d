//! Endorsements from a vendor's service that is a stand-in on this machine: it delays, fails, limits and lies, and what it
//! certifies is under roots of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail loudly"
)]

mod chips;
mod directory;
mod imports;
mod intel;
mod lies;
#[path = "../../../crates/evidence/tests/snp/pki.rs"]
#[allow(dead_code, reason = "the tests of the evidence crate use all of it")]
mod pki;
mod place;
mod platforms;
mod real;
mod stand_in;
mod strangers;
mod tls;
