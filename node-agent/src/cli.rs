//! The command line of `holdfast-agent`. Each command is a module below; this one reads words and gives exit codes.

pub mod api;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Proves this machine by its TPM and serves its workloads their SPIFFE identities.
#[derive(Debug, Parser)]
#[command(name = "holdfast-agent", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a running agent over the Workload API, as a workload would
    Api(api::Arguments),
}

/// How a command ended, as every program of the house says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Yes: 0.
    Yes,
    /// Refused, or findings: 1.
    Refused,
    /// Usage or I/O: 2.
    Failed,
    /// Incomplete: 3.
    Incomplete,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Yes => 0,
            Outcome::Refused => 1,
            Outcome::Failed => 2,
            Outcome::Incomplete => 3,
        })
    }
}

/// Runs the command that `arguments` (the program's name first) ask for.
///
/// Messages go to standard error, results to standard output. A mistyped flag is exit code 2.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let ended = match arguments.command {
        Command::Api(arguments) => api::run(arguments),
    };
    match ended {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("holdfast-agent: {error:#}");
            Outcome::Failed.into()
        }
    }
}
