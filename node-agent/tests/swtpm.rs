//! The TPM actor on a real swtpm. Needs `swtpm` and `tpm2-tools`.

#[path = "swtpm/chip.rs"]
mod chip;
#[path = "swtpm/machine.rs"]
mod machine;
