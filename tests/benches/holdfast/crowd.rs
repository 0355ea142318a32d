//! One agent with many SVIDs and many open streams: what an SVID weighs, and whether a newcomer waits longer.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use holdfast_tests::{Output, Programs, until};
use spiffe::WorkloadApiClient;

use crate::admin::{Admin, entry};
use crate::machine::{DOMAIN, World};
use crate::processes::rss_mb;
use crate::report::{Row, load, median, percentile, scaled};

/// SVIDs on the agent, over so many workloads.
const SVIDS: usize = 10_000;
const WORKLOADS: usize = 10;
/// Streams that are held open, few and many.
const FEW: usize = 10;
const STREAMS: usize = 1000;
/// First messages of newcomers.
const NEWCOMERS: usize = 300;
const PATIENCE_SECONDS: u64 = 900;

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let (mut world, _) = World::enrolled()?;
    world.entry("newcomer")?;
    let pid = world.agent.daemon().context("no agent")?.id();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let socket = world.agent.socket_url();
    let (floor, few) = runtime.block_on(async {
        drop(first(&socket).await?);
        let held = held(&socket, FEW).await?;
        let floor = newcomers(&socket).await?;
        anyhow::Ok((floor, held))
    })?;
    let before = rss_mb(pid)?;
    let each = scaled(SVIDS) / WORKLOADS;
    let programs = workloads(&world)?;
    runtime.block_on(async {
        let admin = Admin::connect(&world.server).await?;
        for (number, program) in programs.iter().enumerate() {
            let selector = format!("unix:path:{}", program.display());
            let id = |n: usize| format!("spiffe://{DOMAIN}/w{number}/{n}");
            admin.fill((0..each).map(|n| entry(&id(n), &world.node, &selector))).await?;
        }
        anyhow::Ok(())
    })?;
    for program in &programs {
        until("a workload has its SVIDs", PATIENCE_SECONDS, || {
            fetched(program, &world).ok().filter(|count| *count > each)
        })
        .with_context(|| std::fs::read_to_string(world.work.path().join("agent.log")).unwrap_or_default())?;
    }
    let weight = (rss_mb(pid)? - before) * 1e6 / (each * WORKLOADS) as f64;
    let weight = Row::new("rss_agent_per_1000_svids", weight / 1e3, "MB").note(format!(
        "growth of the agent's VmRSS with {} SVIDs of {WORKLOADS} workloads, by 1,000 of them; {before:.1} MB before",
        each * WORKLOADS
    ));
    let (p50, p99) = runtime.block_on(async {
        let _many = held(&socket, scaled(STREAMS)).await?;
        newcomers(&socket).await
    })?;
    drop(few);
    let latency = Row::new("first_message_1000_streams", p50, "ms").floor(floor.0).note(format!(
        "p50 until a newcomer's first SVID, connection included, with {} SVIDs and {} open streams; p99 {p99:.1} ms; floor: with \
         one SVID and {FEW} streams, p99 {:.1} ms; {}",
        each * WORKLOADS,
        scaled(STREAMS),
        floor.1,
        load()
    ));
    Ok(vec![weight, latency])
}

/// One program for each workload, told apart by its path: all of them run as this user.
fn workloads(world: &World) -> anyhow::Result<Vec<PathBuf>> {
    let agent = Programs::beside_this_one()?.path("holdfast-agent");
    let place = |number| {
        let path = world.work.path().join(format!("workload-{number}"));
        std::fs::copy(&agent, &path).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    (0..WORKLOADS).map(place).collect()
}

/// How many SVIDs a workload gets.
fn fetched(program: &PathBuf, world: &World) -> anyhow::Result<usize> {
    let mut command = Command::new(program);
    command.args(["api", "fetch", "x509", "--output", "json", "--socket-path"]).arg(world.agent.socket());
    let answer = Output::of(command.stdin(Stdio::null()))?.success()?.json()?;
    Ok(answer["svids"].as_array().context("no SVIDs")?.len())
}

type Stream = std::pin::Pin<Box<dyn futures_util::Stream<Item = ()> + Send>>;

/// Opens a stream and waits for its first message.
async fn first(socket: &str) -> anyhow::Result<Stream> {
    let client = WorkloadApiClient::connect_to(socket).await?;
    let mut updates: Stream = Box::pin(client.stream_x509_contexts().await?.map(drop));
    ensure!(updates.next().await.is_some(), "the stream ended");
    Ok(updates)
}

async fn held(socket: &str, count: usize) -> anyhow::Result<Vec<Stream>> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(first(socket).await?);
    }
    Ok(held)
}

/// Milliseconds until newcomers have their first message: p50 and p99.
async fn newcomers(socket: &str) -> anyhow::Result<(f64, f64)> {
    let mut times = Vec::new();
    for _ in 0..scaled(NEWCOMERS) {
        let from = Instant::now();
        drop(first(socket).await?);
        times.push(from.elapsed().as_secs_f64() * 1e3);
    }
    Ok((median(&mut times), percentile(&mut times, 0.99)))
}
