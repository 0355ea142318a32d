//! `holdfast-server`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_server::cli::main(std::env::args_os())
}
