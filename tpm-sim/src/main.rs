//! The program `holdfast-tpm-sim`. Everything is in the library.

fn main() -> std::process::ExitCode {
    holdfast_tpm_sim::cli::main(std::env::args_os())
}
