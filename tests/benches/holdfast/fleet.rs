//! Many machines against one server process over loopback: enrolments and re-attestations per second, their latency,
//! and the CPU that the server spends on each. The evidence is genuine, made in this process by virtual TPMs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use holdfast_evidence::crypto;
use holdfast_evidence::tpm::Ask;
use holdfast_identity::TrustDomain;
use holdfast_protocol::agent as wire;
use holdfast_tests::{Programs, Server, WorkDir};

use crate::appraise::{fill, policy_text};
use crate::link::{Answer, Link};
use crate::pki::Ca;
use crate::processes::{cpu_seconds, rss_mb};
use crate::report::{Row, load, percentile};
use crate::virtual_tpm::VirtualTpm;

pub const DOMAIN: &str = "bench.test";
const MACHINES: usize = 2000;
/// Machines under way at the same time.
pub const AT_ONCE: usize = 16;
/// Re-attestations of each machine on its open connection.
const RENEWALS: usize = 2;
/// All machines come from one address, which strangers' limits would slow down.
pub const LIMITS: &str = "[limits]\nbegin_per_second = 1000000\nbegin_burst = 1000000\n[log]\nlevel = \"warn\"\n";

/// A machine with what it was given.
pub struct Node {
    tpm: VirtualTpm,
    chain: Vec<Vec<u8>>,
    /// What it is called.
    pub name: String,
    /// Its own connection, while it has one.
    pub link: Option<Link>,
    /// What an agent holds open.
    pub stream: Option<tonic::Streaming<wire::SyncResponse>>,
}

impl Node {
    /// A machine that nobody knows yet.
    pub fn bare(tpm: VirtualTpm) -> Self {
        Self { tpm, chain: Vec::new(), name: String::new(), link: None, stream: None }
    }
}

/// What was measured of one kind of job.
pub struct Measured {
    seconds: f64,
    cpu_seconds: f64,
    /// Milliseconds of each job.
    latencies: Vec<f64>,
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let ca = Ca::root("bench vendor");
    let mut machines: Vec<VirtualTpm> = (0..MACHINES).map(|_| VirtualTpm::new(&ca)).collect();
    machines.iter_mut().for_each(|tpm| fill(&mut tpm.firmware.events));
    let (server, _work) = prepare(&ca, &machines, LIMITS)?;
    let at = At::of(&server)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(at.all(machines))
}

/// A server that trusts the virtual TPMs' vendor and lists the machines.
pub fn prepare(ca: &Ca, machines: &[VirtualTpm], limits: &str) -> anyhow::Result<(Server, WorkDir)> {
    let programs = Programs::beside_this_one()?;
    let work = WorkDir::new()?;
    let server = Server::init_with(&programs, &work, DOMAIN, limits)?.start(&work.path().join("server.log"))?;
    let place = |name: &str| work.path().join(name).display().to_string();
    std::fs::write(place("root.pem"), pem::encode(&pem::Pem::new("CERTIFICATE", ca.der.clone())))?;
    server.operator(&["endorsements", "import", "--class", "discrete", &place("root.pem")])?;
    let digest = |tpm: &VirtualTpm| {
        tpm.eks.iter().map(|ek| hex::encode(crypto::sha256(&[&ek.public.key().spki()])) + ",\n").collect::<String>()
    };
    let inventory = machines.iter().map(digest).collect::<String>();
    std::fs::write(place("inventory.csv"), format!("ek_sha256,label\n{inventory}"))?;
    server.operator(&["node", "allow", "--csv", &place("inventory.csv")])?;
    std::fs::write(place("bench.toml"), policy_text())?;
    server.operator(&["policy", "apply", &place("bench.toml")])?;
    Ok((server, work))
}

/// Where the server is.
#[derive(Clone)]
pub struct At {
    pub address: SocketAddr,
    pub domain: TrustDomain,
    pub pid: u32,
}

impl At {
    /// Where a running server is.
    pub fn of(server: &Server) -> anyhow::Result<Self> {
        let pid = server.pid().context("no server")?;
        Ok(Self { address: server.address().parse()?, domain: DOMAIN.parse()?, pid })
    }

    async fn all(self, machines: Vec<VirtualTpm>) -> anyhow::Result<Vec<Row>> {
        let at = Arc::new(self);
        let bare = machines.into_iter().map(Node::bare).collect();
        let (nodes, enrolled) = at.each(bare, AT_ONCE, |at, node| Box::pin(at.enrol(node))).await?;
        let alone = rss_mb(at.pid)?;
        let weight = Row::new("rss_server", alone, "MB")
            .note(format!("VmRSS after {MACHINES} enrolments, {MACHINES} machines known, none connected"));
        let (nodes, renewed_anew) = at.each(nodes, AT_ONCE, |at, node| Box::pin(at.connect_and_renew(node))).await?;
        let mut renewed = Measured { seconds: 0.0, cpu_seconds: 0.0, latencies: Vec::new() };
        let mut nodes = nodes;
        for _ in 0..RENEWALS {
            let (same, round) = at.each(nodes, AT_ONCE, |at, node| Box::pin(at.renew(node))).await?;
            nodes = same;
            renewed.add(round);
        }
        let (_connected, _) = at.each(nodes, AT_ONCE, |at, node| Box::pin(at.sync(node))).await?;
        let each = (rss_mb(at.pid)? - alone) * 1e3 / MACHINES as f64;
        let mut rows =
            enrolled.both("enrol", "begin and complete on a new connection, log of 50 events, SVID issued", "");
        rows.extend(renewed.both("reattest", "on an open connection, log known by its digest", "; aim 1 ms"));
        rows.extend(renewed_anew.both("reattest_new_connection", "mutual TLS, begin, complete", "; aim 1.5 ms"));
        rows.push(weight);
        rows.push(
            Row::new("rss_per_connected_agent", each, "kB").note(format!(
                "growth of VmRSS with {MACHINES} agents connected and their streams open, by each; aim 40"
            )),
        );
        Ok(rows)
    }

    /// Does `job` for each node, some at a time.
    pub async fn each<N: Send + 'static>(
        self: &Arc<Self>,
        nodes: Vec<N>,
        at_once: usize,
        job: fn(Arc<Self>, N) -> Job<N>,
    ) -> anyhow::Result<(Vec<N>, Measured)> {
        let (from, cpu) = (Instant::now(), cpu_seconds(self.pid)?);
        let results: Vec<_> = futures_util::stream::iter(nodes)
            .map(|node| {
                let at = Arc::clone(self);
                tokio::spawn(async move {
                    let from = Instant::now();
                    let node = job(at, node).await?;
                    anyhow::Ok((node, from.elapsed().as_secs_f64() * 1e3))
                })
            })
            .buffer_unordered(at_once)
            .collect()
            .await;
        let (seconds, cpu_seconds) = (from.elapsed().as_secs_f64(), cpu_seconds(self.pid)? - cpu);
        let (mut done, mut latencies) = (Vec::new(), Vec::new());
        for result in results {
            let (node, latency) = result??;
            done.push(node);
            latencies.push(latency);
        }
        Ok((done, Measured { seconds, cpu_seconds, latencies }))
    }

    pub async fn enrol(self: Arc<Self>, mut node: Node) -> anyhow::Result<Node> {
        let link = Link::open(self.address, None).await?;
        let admitted = self.attest(&link, &mut node.tpm, true).await?;
        (node.chain, node.name) = (admitted.certificate_chain, admitted.spiffe_id);
        Ok(node)
    }

    pub async fn connect_and_renew(self: Arc<Self>, mut node: Node) -> anyhow::Result<Node> {
        let identity = (node.chain.as_slice(), node.tpm.node_key.pkcs8.as_slice());
        node.link = Some(Link::open(self.address, Some(identity)).await?);
        self.renew(node).await
    }

    pub async fn sync(self: Arc<Self>, mut node: Node) -> anyhow::Result<Node> {
        node.stream = Some(node.link.as_ref().context("not connected")?.sync().await?);
        Ok(node)
    }

    pub async fn renew(self: Arc<Self>, mut node: Node) -> anyhow::Result<Node> {
        let link = node.link.as_ref().context("not connected")?;
        self.attest(link, &mut node.tpm, false).await?;
        Ok(node)
    }

    /// One attestation; `is_new` says that the machine has no connection of its own.
    pub async fn attest(&self, link: &Link, tpm: &mut VirtualTpm, is_new: bool) -> anyhow::Result<wire::Admitted> {
        let material = is_new.then(|| tpm.material().encode());
        link.attest("tpm", material, |begun| {
            tpm.clock.clock += 1;
            let item = tpm.answer(&Ask::parse(&begun.ask)?, &begun.nonce, &self.domain).encode();
            Ok(Answer { node_key_spki: tpm.node_key.spki(), csr: Vec::new(), item })
        })
        .await
    }
}

pub type Job<N> = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<N>> + Send>>;

impl Measured {
    pub fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
        self.latencies.extend(other.latencies);
    }

    /// Milliseconds of the server's process for each.
    pub fn server_cpu(&self) -> f64 {
        self.cpu_seconds * 1e3 / self.latencies.len() as f64
    }

    /// How many a second.
    pub fn rate(&mut self, name: &str, what: &str, machines: usize) -> Row {
        let count = self.latencies.len() as f64;
        let (p50, p99) = (percentile(&mut self.latencies, 0.5), percentile(&mut self.latencies, 0.99));
        Row::new(name, count / self.seconds, "per s").note(format!(
            "{what}; {count} by {machines} machines, {AT_ONCE} at once; p50 {p50:.1} ms, p99 {p99:.1} ms; generator on the \
             same cores; {}",
            load()
        ))
    }

    fn both(mut self, name: &str, what: &str, aim: &str) -> Vec<Row> {
        let cost = Row::new(&format!("{name}_server_cpu"), self.server_cpu(), "ms")
            .note(format!("user and system time of the server's process for each{aim}"));
        vec![self.rate(name, what, MACHINES), cost]
    }
}
