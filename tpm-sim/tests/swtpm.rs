//! Machines on a real swtpm. Needs `swtpm` (and `tpm2-tools` for the judges that are not ours).

#[path = "swtpm/machine.rs"]
mod machine;
