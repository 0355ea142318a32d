//! The program `holdfast-policy`. Everything is in the library.

use holdfast_policy::{cli, exit::Exit};

fn main() -> Exit {
    cli::main(std::env::args_os())
}
