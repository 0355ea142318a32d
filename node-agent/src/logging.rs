//! Logs go to standard error: constant messages with fields, as text or JSON lines.

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Starts logging for the whole process.
///
/// # Errors
/// Where it was started before, or the filter cannot be read.
pub fn start(log: &Log) -> anyhow::Result<()> {
    // The TPM library calls every expected "no" an error; what matters of it is in our own errors.
    let filter: EnvFilter = format!("tss_esapi=off,{}", log.level).parse()?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if log.json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}
