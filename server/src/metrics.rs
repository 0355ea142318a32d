//! What Prometheus reads: the recorder of the process, and `/metrics` over plain HTTP. Measures nothing itself.

use std::net::SocketAddr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Buckets of latencies in seconds, from a signature to a slow disk.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Installs the recorder of this process.
///
/// # Errors
/// If there is one already.
pub fn record() -> anyhow::Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new().set_buckets(SECONDS)?.install_recorder()?)
}

/// Serves `/metrics` on `address` until `stop`.
///
/// # Errors
/// If the address cannot be bound.
pub async fn serve(address: SocketAddr, handle: PrometheusHandle, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    info!(%address, "metrics listener is up");
    let page = move || {
        let page = handle.render();
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page) }
    };
    let router = Router::new().route("/metrics", get(page));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}
