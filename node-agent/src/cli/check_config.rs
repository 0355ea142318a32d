//! `holdfast-agent check-config`.

use super::{Configuration, Outcome};
use crate::config::{Config, ConfigFault};

const EXAMPLES: &str = "\
Examples:
  holdfast-agent check-config
  holdfast-agent check-config --config ./agent.toml

Reads the configuration as `run` would, with flags and environment variables, and opens nothing.

Exit code: 0 the agent would start with it, 1 something in it is wrong, 2 it cannot be read.";

/// What to check.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Configuration { config, overrides } = arguments.configuration;
    match Config::load(config.as_deref(), &overrides) {
        Ok(_) => {
            println!("the configuration is good");
            Ok(Outcome::Yes)
        }
        Err(fault @ ConfigFault::Unreadable { .. }) => Err(fault.into()),
        Err(fault @ (ConfigFault::Syntax { .. } | ConfigFault::Problems(_))) => {
            eprintln!("holdfast-agent: {:#}", anyhow::Error::from(fault));
            Ok(Outcome::Refused)
        }
    }
}
