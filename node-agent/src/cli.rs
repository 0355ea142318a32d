//! The command line of `holdfast-agent`. Each command is a module below; this one reads words and gives exit codes.

pub mod api;
mod check_config;
mod delivery;
mod detect;
mod evidence;
mod healthcheck;
mod launch_value;
mod run;
mod why;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::Overrides;

/// Proves this machine by its hardware and serves its workloads their SPIFFE identities.
#[derive(Debug, Parser)]
#[command(name = "holdfast-agent", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until SIGTERM or SIGINT
    Run(run::Arguments),
    /// Check the configuration, and start nothing
    CheckConfig(check_config::Arguments),
    /// Ask the running agent how it is
    Healthcheck(healthcheck::Arguments),
    /// Say why a process gets the identities that it gets, or none
    Why(why::Arguments),
    /// Ask a running agent over the Workload API, as a workload would
    Api(api::Arguments),
    /// Keep SVIDs, keys and bundles in files, for programs that know no SPIFFE
    Helper(delivery::Arguments),
    /// Say what this machine could attest with, and why not with the rest
    Detect(detect::Arguments),
    /// Say what the host committed this confidential guest's launch to, by the processor's word
    LaunchValue(launch_value::Arguments),
    /// Gather this machine's evidence into files
    Evidence(evidence::Arguments),
    /// Print a completion script
    Completion {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
struct Configuration {
    /// The configuration file
    #[arg(long, env = "HOLDFAST_AGENT_CONFIG", value_name = "FILE", help_heading = "Configuration")]
    config: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Configuration (each goes before the file)")]
    overrides: Overrides,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
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
        Command::Run(arguments) => run::run(arguments),
        Command::CheckConfig(arguments) => check_config::run(arguments),
        Command::Healthcheck(arguments) => healthcheck::run(arguments),
        Command::Why(arguments) => why::run(arguments),
        Command::Api(arguments) => api::run(arguments),
        Command::Helper(arguments) => delivery::run(arguments),
        Command::Detect(arguments) => detect::run(arguments),
        Command::LaunchValue(arguments) => launch_value::run(arguments),
        Command::Evidence(arguments) => evidence::run(arguments),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "holdfast-agent", &mut std::io::stdout());
            Ok(Outcome::Yes)
        }
        Command::Man => manual(),
    };
    match ended {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("holdfast-agent: {error:#}");
            Outcome::Failed.into()
        }
    }
}

fn manual() -> anyhow::Result<Outcome> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
    std::io::stdout().write_all(&page)?;
    Ok(Outcome::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_key_of_the_configuration_has_its_flag_and_its_variable() {
        let command = Arguments::command();
        let run = command.find_subcommand("run").unwrap();
        for key in crate::config::KEYS {
            let name = key.path.replace('.', "_");
            let flag = run.get_arguments().find(|flag| flag.get_id() == name.as_str()).unwrap();
            assert_eq!(flag.get_long(), Some(name.replace('_', "-").as_str()));
            let variable = format!("HOLDFAST_AGENT_{}", name.to_uppercase());
            assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        }
    }
}
