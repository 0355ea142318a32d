//! Metrics, as Prometheus reads them: over plain HTTP on an address of the operator's choice, or not at all.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long one reader may keep its connection.
const CONNECTION: Duration = Duration::from_secs(30);
/// How often summaries let go of what is old.
const UPKEEP: Duration = Duration::from_secs(5);

/// A listener that is open, and what it hands out.
pub struct Exposition {
    listener: TcpListener,
    handle: PrometheusHandle,
}

impl Exposition {
    /// Opens the address and starts to collect.
    ///
    /// # Errors
    /// Where the address cannot be opened, or metrics are collected already.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen for metrics on {address}"))?;
        let handle = PrometheusBuilder::new().install_recorder().context("metrics cannot be collected")?;
        Ok(Self { listener, handle })
    }

    /// Answers `GET /metrics` until `stop` is cancelled.
    pub async fn serve(self, stop: CancellationToken) {
        let mut upkeep = tokio::time::interval(UPKEEP);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = upkeep.tick() => {
                    self.handle.run_upkeep();
                    continue;
                }
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors: others will be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let handle = self.handle.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&request, &handle);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                // A reader that breaks off has its own reasons.
                let _ = timeout(CONNECTION, connection).await;
            });
        }
    }
}

fn answer(request: &Request<Incoming>, handle: &PrometheusHandle) -> Response<String> {
    let (status, body) = match (request.method().as_str(), request.uri().path()) {
        ("GET", "/metrics") => (StatusCode::OK, handle.render()),
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
