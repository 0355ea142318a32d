//! Lists of the kernel's Integrity Measurement Architecture: real ones, made ones, and lies about either.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod lies;
mod list;
mod properties;
mod real;
mod signatures;
#[path = "../vectors/mod.rs"]
mod vectors;
