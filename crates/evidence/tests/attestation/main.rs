//! The attestation of a TPM from begin to end, on evidence made by a virtual TPM: what is admitted to appraisal, and
//! every attack that must fail, by name.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../pki/mod.rs"]
mod pki;
#[path = "../vectors/mod.rs"]
mod vectors;
#[path = "../virtual_tpm/mod.rs"]
mod virtual_tpm;

mod attacks;
mod begin;
mod certify;
mod credential_vectors;
mod flips;
mod oracle;
mod ownership;
mod quote;
mod real_quotes;
mod recorded;
mod stage;
mod ways_in;
