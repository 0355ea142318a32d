//! `holdfast-agent run`.

use super::{Configuration, Outcome};
use crate::config::Config;
use crate::{logging, program};

const EXAMPLES: &str = "\
Examples:
  holdfast-agent run --config /etc/holdfast/agent.toml
  holdfast-agent run --server holdfast.example.org:8441 --trust-domain example.org \\
      --trust-bundle /etc/holdfast/bundle.pem --data-dir /var/lib/holdfast/agent
  holdfast-agent run --server 127.0.0.1:8441 --trust-domain example.org --trust-bundle b.pem \\
      --data-dir /tmp/agent --tpm-swtpm host=127.0.0.1,port=2321 \\
      --workload-api-socket /tmp/agent/api.sock

SIGHUP makes it attest at once, on a new connection.

Exit code: 0 after SIGTERM or SIGINT, 2 where the configuration is wrong or the TPM no longer answers.";

/// What to run on.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Configuration { config, overrides } = arguments.configuration;
    let config = Config::load(config.as_deref(), &overrides)?;
    logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(program::run(config))?;
    // A blocked TPM thread must not hold up the end.
    runtime.shutdown_background();
    Ok(Outcome::Yes)
}
