//! Two items in one attestation. Of each pair that one machine can have, a made-up machine proves both, and no item can be
//! exchanged for that of another machine: even where the other machine answered the same nonce for the same node key.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod gcp;
#[path = "../nitro/hypervisor.rs"]
#[allow(dead_code, reason = "the tests of documents use all of it")]
mod hypervisor;
mod machine;
mod pairs;
#[path = "../pki/mod.rs"]
mod pki;
mod snp;
mod tdx;
#[path = "../virtual_tpm/mod.rs"]
mod virtual_tpm;
