//! What policies say of measured files, over lists that a kernel could have written, and over real ones.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod ear;
mod going_on;
mod language;
#[path = "../../../evidence/tests/ima/list.rs"]
#[allow(dead_code, reason = "the tests of the reader use all of it")]
mod list;
mod real;
mod refusals;
mod scene;
#[path = "../../../evidence/tests/vectors/mod.rs"]
mod vectors;
