//! Evidence of Google Cloud's virtual TPM: a real instance judged as its provenance says, made ones of which each test
//! spoils exactly one input.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests read files, draw randomness and fail by panicking"
)]

#[path = "../pki/mod.rs"]
mod pki;
#[path = "../vectors/mod.rs"]
mod vectors;
#[path = "../virtual_tpm/mod.rs"]
mod virtual_tpm;

mod binding;
mod checks;
mod instance;
mod kept;
mod real;
