//! `holdfast-policy inspect azure` and `inspect gcp` on real evidence: the verdicts that their provenance gives, and every
//! input spoiled alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[allow(dead_code, reason = "the inspection of TPMs uses all of it")]
#[path = "../machine/mod.rs"]
mod machine;

mod lines;
mod spoiled;
mod verdicts;
