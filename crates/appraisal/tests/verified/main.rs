//! From verified evidence of a virtual TPM to the appraised node, and to each refusal that only evidence can cause.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../../evidence/tests/pki/mod.rs"]
mod pki;
#[allow(dead_code, reason = "the attestation tests use all of it")]
#[path = "../../../evidence/tests/attestation/stage.rs"]
mod stage;
#[path = "../../../evidence/tests/virtual_tpm/mod.rs"]
mod virtual_tpm;

mod appraise;
