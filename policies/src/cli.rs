//! The command line: flags, help, exit codes. Each command is a module of its own.

use std::ffi::OsString;
use std::io::{self, Write};

use clap::{CommandFactory, Parser, Subcommand};

use crate::diff::Diff;
use crate::ear::Ear;
use crate::exit::Exit;
use crate::explain::Explain;
use crate::inspect::Inspect;
use crate::learn::Learn;
use crate::lint::Lint;
use crate::measure::Measure;
use crate::output::Format;
use crate::proof::Proof;
use crate::reference::Reference;
use crate::schema::Schema;
use crate::sign::Sign;
use crate::test::Test;

/// Check, try and explain Holdfast policies, and inspect evidence, offline.
#[derive(Debug, Parser)]
#[command(name = "holdfast-policy", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 yes, 1 refused or findings, 2 usage or I/O, 3 incomplete.")]
pub struct Cli {
    /// Text for people, or one JSON document.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report what is wrong with policies and reference-value files, with line, column and a suggestion.
    Lint(Lint),
    /// Run cases: facts of a machine, and the decision that a policy must make of them.
    Test(Test),
    /// Explain a decision: what was asked, what was found, by which event, and what would have to change.
    Explain(Box<Explain>),
    /// Say what two versions of a policy accept differently, in words and over stored cases and evidence.
    Diff(Diff),
    /// Write a policy, its reference values and its cases from golden machines' evidence, or from image files.
    Learn(Box<Learn>),
    /// Import reference values: from golden evidence, images, systemd's signed PCR policies, CoRIM files.
    Reference(Box<Reference>),
    /// Sign a policy with the files that it names, for servers that take signed policies alone.
    Sign(Sign),
    /// Verify raw evidence files, offline.
    Inspect(Inspect),
    /// Compute what firmware, image and command line will measure to, before they run.
    Measure(Measure),
    /// Check a file that proves a decision of a server, offline: a year later, by its log's key alone.
    #[command(subcommand)]
    Proof(Proof),
    /// Read and verify attestation results (EAR).
    #[command(subcommand)]
    Ear(Ear),
    /// Print the JSON Schema of policies, reference-value files or cases.
    Schema(Schema),
    /// Print the completion script of a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    #[command(hide = true)]
    Man,
}

/// Runs the program with `arguments`, on standard output and standard error.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no reason for another exit code.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Yes };
        }
    };
    match run(&cli, &mut io::stdout().lock()) {
        Ok(exit) => exit,
        Err(error) => {
            let whoever_read_went_away =
                error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
            if !whoever_read_went_away {
                let _ = writeln!(io::stderr(), "holdfast-policy: {error:#}");
            }
            Exit::Usage
        }
    }
}

/// Runs one command, writing to `out`.
///
/// # Errors
/// A file that cannot be read, or the writer's own error; the program then exits with 2.
pub fn run(cli: &Cli, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Lint(lint) => lint.run(cli.output, out),
        Command::Test(test) => test.run(cli.output, out),
        Command::Explain(explain) => explain.run(cli.output, out),
        Command::Diff(diff) => diff.run(cli.output, out),
        Command::Learn(learn) => learn.run(cli.output, out),
        Command::Reference(reference) => reference.run(cli.output, out),
        Command::Sign(sign) => sign.run(cli.output, out),
        Command::Inspect(inspect) => inspect.run(cli.output, out),
        Command::Measure(measure) => measure.run(cli.output, out),
        Command::Proof(proof) => proof.run(cli.output, out),
        Command::Ear(ear) => ear.run(cli.output, out),
        Command::Schema(schema) => schema.run(out),
        Command::Completion { shell } => {
            // Written at once: clap_complete panics where whoever reads goes away.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "holdfast-policy", &mut script);
            out.write_all(&script)?;
            Ok(Exit::Yes)
        }
        Command::Man => {
            clap_mangen::Man::new(Cli::command()).render(out)?;
            Ok(Exit::Yes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn main_with(arguments: &[&str]) -> Exit {
        main(std::iter::once("holdfast-policy").chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistyped_flag_or_a_missing_file_is_usage() {
        assert_eq!(main_with(&["lint", "--no-such-flag", "x.toml"]), Exit::Usage);
        assert_eq!(main_with(&["lint"]), Exit::Usage);
        assert_eq!(main_with(&["lint", "/nonexistent/policy.toml"]), Exit::Usage);
        assert_eq!(main_with(&[]), Exit::Usage);
    }

    #[test]
    fn help_completion_and_manual_are_no_errors() {
        for arguments in [&["--help"][..], &["--version"], &["lint", "--help"], &["completion", "bash"], &["man"]] {
            assert_eq!(main_with(arguments), Exit::Yes, "{arguments:?}");
        }
    }
}
