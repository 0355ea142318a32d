//! holdfast-tpm-sim: see `holdfast-tpm-sim --help`.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
