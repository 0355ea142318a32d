//! SNP reports: real ones judged as their provenance says, and made ones of which each test spoils exactly one input.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests read files, draw randomness and fail by panicking"
)]

mod binding;
mod chain;
mod checks;

mod flips;
mod guest;
mod mistakes;
mod oracle;
mod pki;
mod real;
#[path = "../vectors/mod.rs"]
mod vectors;
mod wants;
