//! `holdfast-agent healthcheck`.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context as _;

use super::{Configuration, Outcome, Output};
use crate::config::Machine;
use crate::status::{SOCKET, Standing, Status};

/// How long the agent may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of the largest answer.
const STATUS_BYTES_MAX: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  holdfast-agent healthcheck
  holdfast-agent healthcheck --config /etc/holdfast/agent.toml --output json

Exit code: 0 the node is admitted, 1 it was refused or waits for approval, 2 no agent answers, 3 it has not been
admitted yet.";

/// Which agent to ask.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Configuration { config, overrides } = arguments.configuration;
    let machine = Machine::load(config.as_deref(), &overrides)?;
    let path = machine.data_dir.join(SOCKET);
    let stream = UnixStream::connect(&path).with_context(|| format!("no agent answers at {}", path.display()))?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut text = String::new();
    stream.take(STATUS_BYTES_MAX).read_to_string(&mut text).context("agent did not answer")?;
    let status: Status = serde_json::from_str(&text).context("agent's answer cannot be read")?;
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
        Output::Text => print!("{}", describe(&status)),
    }
    Ok(outcome(&status))
}

const fn outcome(status: &Status) -> Outcome {
    match status.standing {
        Standing::Admitted => Outcome::Yes,
        Standing::Refused | Standing::AwaitsApproval => Outcome::Refused,
        Standing::Starting => Outcome::Incomplete,
    }
}

fn describe(status: &Status) -> String {
    let mut text = match (status.standing, status.connected) {
        (Standing::Admitted, true) => "admitted and connected\n".to_owned(),
        (Standing::Admitted, false) => "admitted; the connection to the server is down\n".to_owned(),
        (Standing::AwaitsApproval, _) => "waits for an operator's approval\n".to_owned(),
        (Standing::Refused, _) => "refused\n".to_owned(),
        (Standing::Starting, _) => "not admitted yet\n".to_owned(),
    };
    let mut line = |name: &str, value: String| text.push_str(&format!("{name:<22}{value}\n"));
    if let Some(spiffe_id) = &status.spiffe_id {
        line("node", spiffe_id.clone());
    }
    for (name, at) in [("node SVID until", status.svid_not_after), ("evidence fresh until", status.evidence_expires_at)]
    {
        if let Some(at) = at {
            line(name, moment(at));
        }
    }
    if !status.evidence.is_empty() {
        line("evidence", status.evidence.join(", "));
    }
    if let Some(attempt) = &status.attempt {
        line("attempt", attempt.escape_debug().to_string());
    }
    line("registration entries", status.entries.to_string());
    line("workload SVIDs", status.svids.to_string());
    line("TPM commands", status.tpm_commands.to_string());
    if let Some(problem) = &status.problem {
        line("problem", format!("{} ({})", problem.message.escape_debug(), problem.code));
    }
    for limitation in &status.limitations {
        line("limitation", limitation.clone());
    }
    text
}

fn moment(seconds: i64) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_where_the_node_stands() {
        let at = |standing| outcome(&Status { standing, ..Status::default() });
        assert_eq!(at(Standing::Admitted), Outcome::Yes);
        assert_eq!(at(Standing::Refused), Outcome::Refused);
        assert_eq!(at(Standing::AwaitsApproval), Outcome::Refused);
        assert_eq!(at(Standing::Starting), Outcome::Incomplete);
    }

    #[test]
    fn what_the_agent_cannot_do_here_is_said() {
        let status = Status { limitations: vec!["lacks CAP_SYS_PTRACE".to_owned()], ..Status::default() };
        assert!(describe(&status).contains("limitation            lacks CAP_SYS_PTRACE"));
    }
}
