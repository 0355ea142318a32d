//! What firmware, image and command line will measure to, computed before anything is launched.
//!
//! Pure: bytes come in, digests go out, with every input that went into them, so that two people who got different
//! digests can find the input that differs. Reads no file, starts nothing, verifies no evidence and judges nothing:
//! the digests become reference values, and what to admit stays with policies.
//!
//! ```text
//! firmware, kernel, initrd, command line, vCPUs ─▶ snp::Launch ─▶ launch digest
//! enclave image ─▶ eif::Eif ─▶ PCR 0, 1, 2, 8         unified kernel image ─▶ uki::Uki ─▶ PCR 4, 7, 9, 11, 12
//! firmware ─▶ tdx::mrtd         kernel, initrd, command line ─▶ tdx::direct_boot ─▶ RTMR 1, 2
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read files"))]

mod bytes;
pub mod eif;
mod error;
mod linux;
pub mod ovmf;
pub mod pe;
mod register;
pub mod snp;
pub mod tdx;
pub mod uki;

pub use error::Unmeasurable;
pub use register::{Event, Input, Register};

/// Bytes of a memory page, on which launch digests are built.
pub(crate) const PAGE: u64 = 4096;
