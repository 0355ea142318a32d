//! Documents of the Nitro hypervisor, of enclaves and of NitroTPMs: real ones as their provenance says, and ones of a
//! hypervisor of our own, good by default, spoiled by one closure.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../vectors/mod.rs"]
mod vectors;

mod attacks;
mod chain;
mod documents;
mod flips;
mod hypervisor;
mod judge;
mod oracle;
mod quote;
mod real;
mod stage;
