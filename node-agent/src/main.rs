//! `holdfast-agent`. Everything is in the library; this file turns its answer into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_agent::cli::main(std::env::args_os())
}
