//! Azure machines from their bytes to a decision: which facts they become, and what policies make of them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests draw randomness and fail by panicking"
)]

#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/virtual_tpm/firmware.rs"]
mod firmware;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/snp/guest.rs"]
mod guest;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/tdx/intel.rs"]
mod intel;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/azure/machine.rs"]
mod machine;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/azure/paravisor.rs"]
mod paravisor;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/snp/pki.rs"]
mod pki;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/tdx/td.rs"]
mod td;

mod facts;
mod policies;
