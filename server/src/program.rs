//! The whole program in reading order: what is opened, in which order, and who holds whom.

use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Config;
use crate::metrics;

/// Builds the server from `config` and runs it until SIGINT or SIGTERM.
///
/// # Errors
/// If something cannot be opened; what was opened is closed again.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let prometheus = metrics::record()?;
    if let Some(address) = config.metrics_listen {
        tokio::spawn(metrics::serve(address, prometheus, stop.clone()));
    }
    info!(trust_domain = %config.trust_domain, "server is up");
    wait_for_signal().await?;
    stop.cancel();
    info!("server has stopped");
    Ok(())
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
