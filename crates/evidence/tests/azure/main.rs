//! Evidence of Azure's virtual TPM: real machines judged as their provenance says, made ones of which each test spoils
//! exactly one input, and the mistakes that other verifiers have made.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests read files, draw randomness and fail by panicking"
)]

#[path = "../virtual_tpm/firmware.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod firmware;
#[path = "../snp/guest.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod guest;
#[path = "../tdx/intel.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod intel;
#[path = "../snp/pki.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod pki;
#[path = "../tdx/td.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod td;
#[path = "../vectors/mod.rs"]
mod vectors;

mod binding;
mod certificate;
mod checks;
mod flips;
mod machine;
mod mistakes;
mod paravisor;
mod real;
