//! Evidence of Intel TDX guests: real quotes as their provenance says, made ones spoiled one field at a time, and the
//! mistakes that other verifiers have made.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../vectors/mod.rs"]
mod vectors;

mod binding;
mod ccel;
mod choice;
mod collateral;
mod flips;
mod intel;
mod log;
mod mistakes;
mod quote;
mod real;
mod tcb;
mod td;
