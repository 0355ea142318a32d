//! A Workload API as the agent serves it, on a real socket, over certificates of a small authority.

pub(crate) mod authority;
pub(crate) mod python;
pub(crate) mod registry;
pub(crate) mod secrets;
pub(crate) mod tokens;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use holdfast_agent::workload_api::{Endpoint, Limits};
use holdfast_agent::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_protocol::workload::X509svidResponse;
use holdfast_tests::WorkDir;
use hyper_util::rt::TokioIo;
use registry::Registry;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

/// The trust domain of most tests.
pub(crate) const DOMAIN: &str = "example.org";

/// A running Workload API, its registry and its authority.
pub(crate) struct Agent {
    pub(crate) registry: Arc<Registry>,
    pub(crate) authority: Authority,
    pub(crate) work: WorkDir,
    pub(crate) stop: CancellationToken,
    pub(crate) served: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Agent {
    /// Serves with the usual limits; nothing is known to the agent yet.
    pub(crate) async fn starting() -> Self {
        Self::with(Limits::default()).await
    }

    /// Serves with `limits`; nothing is known to the agent yet.
    pub(crate) async fn with(limits: Limits) -> Self {
        Self::of(|endpoint| endpoint.limited_to(limits)).await
    }

    /// Serves as `shape` makes it; nothing is known to the agent yet.
    pub(crate) async fn of(shape: impl FnOnce(Endpoint) -> Endpoint) -> Self {
        Self::made(DOMAIN, shape).await
    }

    /// Serves another trust domain; nothing is known to the agent yet.
    pub(crate) async fn starting_in(domain: &str) -> Self {
        Self::made(domain, |endpoint| endpoint).await
    }

    async fn made(domain: &str, shape: impl FnOnce(Endpoint) -> Endpoint) -> Self {
        let (registry, work, stop) = (Registry::starting(), WorkDir::new().unwrap(), CancellationToken::new());
        let endpoint = shape(Endpoint::new(registry.clone()));
        let path = work.path().join("api.sock");
        let served = tokio::spawn({
            let (path, stop) = (path.clone(), stop.clone());
            async move { endpoint.serve(&path, stop).await }
        });
        while !path.exists() {
            assert!(!served.is_finished(), "the Workload API did not start");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Self { registry, authority: Authority::new(domain), work, stop, served }
    }

    /// Serves, knows its own bundle, and has no entry.
    pub(crate) async fn started() -> Self {
        let agent = Self::starting().await;
        agent.registry.trust(DOMAIN, agent.authority.bundle());
        agent.registry.trust_jwt(DOMAIN, Some(agent.registry.jwt.keys(DOMAIN)));
        agent.registry.start();
        agent
    }

    /// As [`Self::started`], and this process is `spiffe://example.org/me`.
    pub(crate) async fn with_me() -> Self {
        let agent = Self::started().await;
        agent.enter("/me", "", "me");
        agent
    }

    /// Gives every process of this user an SVID for `path`, under entry `entry`.
    pub(crate) fn enter(&self, path: &str, hint: &str, entry: &str) {
        self.registry.enter(&[own_user()], self.authority.issue(path, hint, entry));
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.work.path().join("api.sock")
    }

    /// The same as clients want it.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A raw client, over a connection of its own.
    pub(crate) async fn client(&self) -> SpiffeWorkloadApiClient<Channel> {
        SpiffeWorkloadApiClient::new(self.channel().await)
    }

    /// A connection.
    pub(crate) async fn channel(&self) -> Channel {
        let path = self.socket();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        tonic::transport::Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
    }

    /// An open stream of X.509-SVIDs.
    pub(crate) async fn stream(&self) -> Result<Streaming<X509svidResponse>, tonic::Status> {
        Ok(self.client().await.fetch_x509svid(with_header(Default::default())).await?.into_inner())
    }

    /// One answer of `FetchX509SVID`.
    pub(crate) async fn fetch(&self) -> Result<X509svidResponse, tonic::Status> {
        self.stream().await?.message().await.map(Option::unwrap)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// `message` with the standard's header.
pub(crate) fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

/// The selector of this process's user.
pub(crate) fn own_user() -> String {
    format!("unix:uid:{}", uid())
}

/// This process's user.
pub(crate) fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// Waits for `future`, five seconds at most.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future).await.expect("not within 5 s")
}

/// The certificates concatenated in `der`.
pub(crate) fn certificates(mut der: &[u8]) -> Vec<Vec<u8>> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let mut found = Vec::new();
    while !der.is_empty() {
        let (rest, _) = X509Certificate::from_der(der).unwrap();
        found.push(der[..der.len() - rest.len()].to_vec());
        der = rest;
    }
    found
}
