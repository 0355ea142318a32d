//! The command line of `holdfast-server`: the daemon and its operator are one program. Each group of commands is a
//! module below; this one reads words and gives exit codes.

mod attempts;
mod audit;
mod authority;
mod authority_x509;
mod client;
mod daemon;
mod ear;
mod endorsement_files;
mod endorsement_list;
mod endorsements;
mod entries;
mod entry_apply;
mod entry_file;
mod entry_import;
mod entry_match;
mod events;
mod exchange;
mod federation;
mod fleet;
mod foreign;
mod health;
mod launches;
mod listed_fact;
mod nodes;
mod output;
mod policies;
mod policy_examples;
mod proofs;
mod record;
mod report;
mod report_html;
mod report_text;
mod rollout;
mod show;
mod spire_entries;
mod spire_mapping;
mod svids;
mod trust;
mod what_if;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use output::{Format, Outcome};

const EXAMPLES: &str = "\
Examples:
  Found a trust domain; keep root.key off this machine afterwards:
    holdfast-server init --root-key /media/safe/root.key
  Look at a configuration before using it, then run:
    holdfast-server check-config --config server.toml
    holdfast-server run --config server.toml
  Let a machine in, and see why another was not:
    holdfast-server node allow --ek-sha256 9f86d081884c7d65…
    holdfast-server attempt list --outcome refused

Exit codes: 0 yes, 1 refused or findings, 2 usage or I/O, 3 incomplete.";

/// Verifies machines by their hardware evidence and issues node and workload identities.
#[derive(Debug, Parser)]
#[command(name = "holdfast-server", version, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration file
    #[arg(long, global = true, env = "HOLDFAST_SERVER_CONFIG", value_name = "FILE",
          default_value = crate::config::DEFAULT_FILE)]
    config: PathBuf,
    /// Text for people, or JSON; of `fleet report` also md, csv and html, of `policy what-if` csv
    #[arg(long, global = true, value_enum, default_value_t)]
    output: Format,
    /// The admin socket; the configuration's if absent
    #[arg(long, global = true, env = "HOLDFAST_SERVER_SOCKET", value_name = "FILE")]
    socket_path: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Found a trust domain, join this server to one, or renew its intermediate
    Init(daemon::Init),
    /// Run the server
    Run,
    /// Read the configuration as the server would and report every problem
    CheckConfig,
    /// Whether the server and its store answer
    Healthcheck,
    #[command(subcommand)]
    Entry(entries::Command),
    #[command(subcommand)]
    Node(nodes::Command),
    #[command(subcommand)]
    Launch(launches::Command),
    #[command(subcommand)]
    Policy(policies::Command),
    #[command(subcommand)]
    Attempt(attempts::Command),
    #[command(subcommand)]
    Bundle(trust::BundleCommand),
    #[command(subcommand)]
    Federation(federation::Command),
    #[command(subcommand)]
    Authority(authority::Command),
    #[command(subcommand, name = "upstreamauthority")]
    UpstreamAuthority(authority_x509::UpstreamCommand),
    #[command(subcommand)]
    Svid(svids::Command),
    #[command(subcommand)]
    Endorsements(endorsements::Command),
    #[command(subcommand)]
    Fleet(fleet::Command),
    #[command(subcommand)]
    Audit(audit::Command),
    #[command(subcommand)]
    Record(record::Command),
    #[command(subcommand)]
    Events(events::Command),
    #[command(subcommand)]
    Exchange(exchange::Command),
    #[command(subcommand)]
    Ear(ear::Command),
    /// Print the completion script of a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

impl Command {
    /// Whether the command knows the format: asked before anything is done.
    const fn prints(&self, format: Format) -> bool {
        match (format, self) {
            (Format::Text | Format::Json, _) => true,
            (Format::Md | Format::Csv | Format::Html, Self::Fleet(fleet::Command::Report(_))) => true,
            (Format::Csv, Self::Policy(policies::Command::WhatIf(_))) => true,
            (Format::Md | Format::Csv | Format::Html, _) => false,
        }
    }
}

/// Where a command finds its server, and how it prints.
#[derive(Debug, Clone)]
pub struct Context {
    /// The configuration file.
    pub config: PathBuf,
    /// The admin socket, where it was named.
    pub socket: Option<PathBuf>,
    /// How results are printed.
    pub format: Format,
}

/// Runs the command that `arguments` (the program's name first) ask for.
///
/// Messages go to standard error, results to standard output. A mistyped flag is exit code 2.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let context = Context { config: arguments.config, socket: arguments.socket_path, format: arguments.output };
    if !arguments.command.prints(context.format) {
        eprintln!("holdfast-server: this command prints text or json");
        return Outcome::Failed.into();
    }
    match run(arguments.command, &context) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("holdfast-server: {error:#}");
            Outcome::Failed.into()
        }
    }
}

fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        Command::Init(init) => init.run(context),
        Command::Run => daemon::run(context),
        Command::CheckConfig => daemon::check_config(context),
        Command::Healthcheck => asked(health::healthcheck(context)),
        Command::Entry(command) => asked(entries::run(command, context)),
        Command::Node(command) => asked(nodes::run(command, context)),
        Command::Launch(command) => asked(launches::run(command, context)),
        Command::Policy(command) => asked(policies::run(command, context)),
        Command::Attempt(command) => asked(attempts::run(command, context)),
        Command::Bundle(command) => asked(trust::bundle(command, context)),
        Command::Federation(command) => asked(federation::run(command, context)),
        Command::Authority(command) => asked(authority::run(command, context)),
        Command::UpstreamAuthority(command) => asked(authority_x509::upstream(command, context)),
        Command::Svid(command) => asked(svids::run(command, context)),
        Command::Endorsements(command) => asked(endorsements::run(command, context)),
        Command::Fleet(command) => asked(fleet::run(command, context)),
        Command::Audit(command) => asked(audit::run(command, context)),
        Command::Record(command) => asked(record::run(command, context)),
        Command::Events(command) => asked(events::run(command, context)),
        Command::Exchange(command) => asked(exchange::run(command, context)),
        Command::Ear(command) => asked(ear::run(command, context)),
        Command::Completion { shell } => {
            // Written at once: clap_complete panics where whoever reads goes away.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "holdfast-server", &mut script);
            let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
            Ok(Outcome::Yes)
        }
        Command::Man => {
            clap_mangen::Man::new(Arguments::command()).render(&mut std::io::stdout())?;
            Ok(Outcome::Yes)
        }
    }
}

/// Runs an operator's command to its end.
fn asked<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
