//! `holdfast-agent`. Everything is in the library; this file turns its answer into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::var_os("TSS2_LOG").is_none() {
        // libtss2 writes to standard error whenever the TPM says no, which is often an expected answer.
        // SAFETY: no other thread runs yet that could read the environment at the same time.
        unsafe { std::env::set_var("TSS2_LOG", "all+none") };
    }
    holdfast_agent::cli::main(std::env::args_os())
}
