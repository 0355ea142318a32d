//! Where log lines go: standard error, as text or JSON. Lines are constant messages with varying fields; what strangers
//! wrote is escaped by the fields' own formatting.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

use crate::config::Log;

/// Starts logging for the whole process. A second call changes nothing.
///
/// # Errors
/// If the filter cannot be read; the text says where.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level).map_err(|why| format!("log.level: {why}"))?;
    let builder = SubscriberBuilder::default().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that a test has started logging before.
    let _ = if log.json {
        tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish())
    } else {
        tracing::subscriber::set_global_default(builder.with_ansi(false).finish())
    };
    Ok(())
}
