//! The SPIFFE Workload API on a Unix socket.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config;
use crate::svids::SvidSource;

/// Serves the Workload API until `stop` is cancelled.
///
/// # Errors
/// Where the socket cannot be opened.
pub async fn serve(
    _config: &config::WorkloadApi,
    _source: Arc<dyn SvidSource>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    stop.cancelled().await;
    Ok(())
}
