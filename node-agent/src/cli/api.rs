//! `holdfast-agent api`: asks a running agent over the Workload API, as a workload would.

use super::Outcome;

/// What to ask, and where.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Asks, and prints the answer.
///
/// # Errors
/// Where the agent cannot be reached.
pub fn run(_arguments: Arguments) -> anyhow::Result<Outcome> {
    Ok(Outcome::Incomplete)
}
