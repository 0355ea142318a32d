//! The TPM actor on a real swtpm. Needs `swtpm` and `tpm2-tools`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

#[path = "swtpm/chip.rs"]
mod chip;
#[path = "swtpm/damaged.rs"]
mod damaged;
#[path = "swtpm/evidence.rs"]
mod evidence;
#[path = "swtpm/machine.rs"]
mod machine;
#[path = "swtpm/nitro.rs"]
mod nitro;
#[path = "swtpm/provider.rs"]
mod provider;
