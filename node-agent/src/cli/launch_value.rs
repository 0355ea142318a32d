//! `holdfast-agent launch-value`: what the host committed this launch to, for scripts in the guest. Talks to no server.

use super::{Configuration, Outcome, Output};
use crate::collect::CollectFault;
use crate::collect::launch::launch_value;
use crate::collect::sources::Place;
use crate::config::Machine;

const EXAMPLES: &str = "\
Examples:
  holdfast-agent launch-value                   # snp.host_data = 5f0c… or tdx.mrconfigid = 9b1d…
  holdfast-agent launch-value --output json | jq -r .value

The value is the processor's: HOST_DATA of an SEV-SNP report, MRCONFIGID of a TDREPORT. A TDX quote is not looked at,
because the host hands it over and nothing in the guest verifies it.

Exit code: 0 it is printed, 1 the machine is neither an SEV-SNP nor a TDX guest (or its module is not loaded), 2 the
device refuses or the configuration is wrong.";

/// Where to look, and how to print it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The TDX guest device; or sim:/path, a simulator's socket
    #[arg(long, env = "HOLDFAST_AGENT_TDX_GUEST", value_name = "DEVICE", default_value = "/dev/tdx_guest")]
    tdx_guest: Place,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Configuration { config, overrides } = &arguments.configuration;
    let machine = Machine::load(config.as_deref(), overrides)?;
    let found = match launch_value(&machine.sources, &arguments.tdx_guest) {
        Err(CollectFault::Nothing) => {
            eprintln!("holdfast-agent: neither an SEV-SNP nor a TDX guest, or its module is not loaded");
            return Ok(Outcome::Refused);
        }
        found => found?,
    };
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&found)?),
        Output::Text => println!("{} = {}", found.fact, found.value),
    }
    Ok(Outcome::Yes)
}
