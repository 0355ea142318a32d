//! How long a machine's workloads wait after their agent starts: until the first SVID, above the time that the TPM takes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_tests::free_port;
use spiffe::WorkloadApiClient;

use crate::machine::World;
use crate::report::{Row, load, median, percentile, scaled};

const STARTS: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);

/// The row of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let (mut world, _) = World::enrolled()?;
    world.entry("first")?;
    let metrics = free_port()?;
    let file = world.agent.folder().join("agent.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("metrics_listen = \"127.0.0.1:{metrics}\"\n{text}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut above, mut whole, mut chip) = (Vec::new(), Vec::new(), Vec::new());
    let log = world.work.path().join("agent.log");
    for _ in 0..scaled(STARTS) {
        world.agent.daemon().context("no agent")?.stop();
        let from = Instant::now();
        world.agent.start_again(&log)?;
        runtime.block_on(served(&world.agent.socket_url()))?;
        let seconds = from.elapsed().as_secs_f64();
        let tpm = tpm_seconds(metrics)?;
        whole.push(seconds * 1e3);
        chip.push(tpm * 1e3);
        above.push((seconds - tpm) * 1e3);
    }
    Ok(vec![Row::new("first_svid_after_start", median(&mut above), "ms").note(format!(
        "p50 of {} starts of an agent whose server knows it, until a workload has its SVID, without the time of the TPM's commands \
         (p50 {:.0} ms); with it: p50 {:.0} ms, p99 {:.0} ms; aim 150; {}",
        whole.len(),
        median(&mut chip),
        median(&mut whole),
        percentile(&mut whole, 0.99),
        load()
    ))])
}

/// Asks until there is an SVID.
async fn served(socket: &str) -> anyhow::Result<()> {
    let from = Instant::now();
    loop {
        let asked = async { WorkloadApiClient::connect_to(socket).await?.fetch_x509_context().await };
        match asked.await {
            Ok(_) => return Ok(()),
            Err(why) => anyhow::ensure!(from.elapsed() < PATIENCE, "no SVID: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Seconds that the TPM's commands have taken since the agent began.
fn tpm_seconds(port: u16) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let sums = answer.lines().filter(|line| line.starts_with("holdfast_agent_tpm_command_seconds_sum"));
    let sums: Vec<f64> = sums.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    anyhow::ensure!(!sums.is_empty(), "no metric of the TPM's commands: {answer}");
    Ok(sums.iter().sum())
}
