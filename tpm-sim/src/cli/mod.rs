//! The command line: flags, help, exit codes. Each group of commands is a module of its own.

mod foreground;
mod guest;
mod offline;
mod tell;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::console::chain;
use crate::error::SimError;
use crate::report::MachineReport;

/// 2: usage, or something that cannot be read, written or started. The other codes of the house, 1 (refused) and 3
/// (incomplete), have no use here: the simulator judges nothing.
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  Two machines for as long as a test runs:
    holdfast-tpm-sim run --machines 2 -- ./test.sh
  Two machines until Ctrl-C, kept in ./lab for the next time:
    holdfast-tpm-sim run --machines 2 --dir lab --profile shim-grub
  Meanwhile, in another shell:
    holdfast-tpm-sim reboot --machine lab/machines/1 --profile changed-kernel
    holdfast-tpm-sim tamper --machine lab/machines/0 cmdline 'root=/dev/vda2 init=/bin/sh'
    holdfast-tpm-sim tamper --machine lab/machines/0 log-digest 12
    holdfast-tpm-sim fault --machine lab/machines/0 drop@Quote*1
    holdfast-tpm-sim commands --machine lab/machines/0
  What a policy may expect, and what an operator imports:
    holdfast-tpm-sim reference-values --profile shim-grub > shim-grub.toml
    holdfast-tpm-sim ca --dir lab > simulator-root.pem

Exit codes: 0 done, 2 usage or I/O; `run -- COMMAND` ends with the command's own.";

/// Machines with a software TPM: manufacture, boot, reboot, tamper, fail. For tests, demonstrations and CI.
#[derive(Debug, Parser)]
#[command(name = "holdfast-tpm-sim", version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Text for people, or JSON.
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Format,
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document on one line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start machines, print what an agent needs, keep them running until Ctrl-C or SIGTERM; leave no process.
    #[command(after_help = foreground::RUN_EXAMPLES)]
    Run(foreground::Run),
    /// Start one machine from its directory and keep it running.
    Boot(foreground::Boot),
    /// Manufacture machines for later, without starting them.
    Manufacture(offline::Manufacture),
    /// Confidential guests and enclaves: launch, change, attack.
    #[command(subcommand, after_help = guest::EXAMPLES)]
    Guest(guest::Command),
    #[command(flatten)]
    Tell(tell::Tell),
    #[command(flatten)]
    Offline(offline::Offline),
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(hide = true)]
    Man,
}

/// What ends the program.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Sim(#[from] SimError),
    #[error("cannot write the result")]
    Output(#[from] io::Error),
}

/// Runs the program with `arguments`, on standard output and standard error.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| "warn".into());
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
    match run(cli, &mut io::stdout()) {
        Ok(code) => code,
        Err(error) => {
            let code = match &error {
                Failure::Sim(error) => error.code(),
                Failure::Output(_) => "sim.output",
            };
            let _ = writeln!(io::stderr(), "holdfast-tpm-sim: {} ({code})", chain(&error));
            ExitCode::from(USAGE)
        }
    }
}

fn run(cli: Cli, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Run(run) => return run.run(cli.output, out),
        Command::Boot(boot) => return boot.run(cli.output, out),
        Command::Guest(guest) => return guest.run(cli.output, out),
        Command::Manufacture(manufacture) => manufacture.run(cli.output, out)?,
        Command::Tell(tell) => tell.run(cli.output, out)?,
        Command::Offline(offline) => offline.run(cli.output, out)?,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "holdfast-tpm-sim", out);
        }
        Command::Man => clap_mangen::Man::new(Cli::command()).render(out)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Format {
    fn report(self, out: &mut dyn Write, report: &MachineReport) -> io::Result<()> {
        match self {
            Self::Text => write!(out, "{}", report.to_text()),
            Self::Json => self.json(out, report),
        }
    }

    fn json(self, out: &mut dyn Write, document: &impl serde::Serialize) -> io::Result<()> {
        writeln!(out, "{}", serde_json::to_string(document)?)
    }
}

/// The path as a running machine, which has another working directory, can read it.
fn absolute(path: &Path) -> Result<PathBuf, SimError> {
    std::path::absolute(path).map_err(crate::error::file("find", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
