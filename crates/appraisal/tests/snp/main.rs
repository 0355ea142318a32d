//! SNP reports from their bytes to a decision: which facts they become, and what policies make of them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests read files and fail by panicking"
)]

#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/snp/guest.rs"]
mod guest;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/snp/pki.rs"]
mod pki;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/snp/real.rs"]
mod real;
#[path = "../../../evidence/tests/vectors/mod.rs"]
mod vectors;

mod attacks;
mod facts;
mod policies;
