//! A rack that is switched on at once, and a server that knows a large fleet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tonic::Code;

use crate::appraise::fill;
use crate::fleet::{At, Node, prepare};
use crate::link::Link;
use crate::pki::Ca;
use crate::processes::rss_mb;
use crate::report::{Row, load};
use crate::virtual_tpm::VirtualTpm;

/// The limits that the server has by itself.
const DEFAULT_LIMITS: &str = "[log]\nlevel = \"warn\"\n";
/// Machines that are switched on together.
const RACK: usize = 1000;
/// Machines that the server knows, and those of them that are connected.
const FLEET: usize = 10_000;
const CONNECTED: usize = 10;
/// Machines under way at the same time while the fleet is made.
const AT_ONCE: usize = 32;
/// Tries of one machine of the rack, a pause before each.
const TRIES: u32 = 200;

fn machines(ca: &Ca, count: usize) -> Vec<VirtualTpm> {
    let mut machines: Vec<VirtualTpm> = (0..count).map(|_| VirtualTpm::new(ca)).collect();
    machines.iter_mut().for_each(|tpm| fill(&mut tpm.firmware.events));
    machines
}

/// Time until the last of a rack behind one address is admitted, under the limits that a server has by itself.
pub fn rack() -> anyhow::Result<Vec<Row>> {
    let ca = Ca::root("bench vendor");
    let machines = machines(&ca, RACK);
    let (server, _work) = prepare(&ca, &machines, DEFAULT_LIMITS)?;
    let at = Arc::new(At::of(&server)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let seconds = runtime.block_on(async {
        let from = Instant::now();
        let all: Vec<_> = machines.into_iter().map(|tpm| tokio::spawn(until_admitted(Arc::clone(&at), tpm))).collect();
        for one in all {
            one.await??;
        }
        anyhow::Ok(from.elapsed().as_secs_f64())
    })?;
    Ok(vec![Row::new("power_on_1000", seconds, "s").note(format!(
        "{RACK} machines at once behind one address, until the last is admitted, with a log of 50 events each; \
         generator on the same cores; {}",
        load()
    ))])
}

/// Comes again as agents do, when the server is busy.
async fn until_admitted(at: Arc<At>, mut tpm: VirtualTpm) -> anyhow::Result<()> {
    for attempt in 0..TRIES {
        match admitted(&at, &mut tpm).await {
            Ok(()) => return Ok(()),
            Err(error) => match error.downcast_ref::<tonic::Status>().map(tonic::Status::code) {
                None | Some(Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded) => {
                    tokio::time::sleep(Duration::from_millis(50 + u64::from(attempt % 10) * 20)).await;
                }
                Some(_) => return Err(error),
            },
        }
    }
    bail!("a machine of the rack was never admitted")
}

async fn admitted(at: &At, tpm: &mut VirtualTpm) -> anyhow::Result<()> {
    let link = Link::open(at.address, None).await?;
    at.attest(&link, tpm, true).await?;
    Ok(())
}

/// Memory of a server that knows a fleet and serves a few of it.
pub fn fleet() -> anyhow::Result<Vec<Row>> {
    let ca = Ca::root("bench vendor");
    let machines = machines(&ca, FLEET);
    let (mut server, work) = prepare(&ca, &machines, crate::fleet::LIMITS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let at = Arc::new(At::of(&server)?);
    let nodes = runtime.block_on(async {
        Ok::<_, anyhow::Error>(at.each(bare(machines), AT_ONCE, |at, node| Box::pin(at.enrol(node))).await?.0)
    })?;
    // A fresh process: what it knows, not what it remembers of the making.
    server.daemon().context("no server")?.stop();
    server.start_again(&work.path().join("server.log"))?;
    let at = Arc::new(At::of(&server)?);
    let some: Vec<Node> = nodes.into_iter().take(CONNECTED).collect();
    let memory = runtime.block_on(async {
        let (some, _) = at.each(some, AT_ONCE, |at, node| Box::pin(at.connect_and_renew(node))).await?;
        let (some, _) = at.each(some, AT_ONCE, |at, node| Box::pin(at.sync(node))).await?;
        let memory = rss_mb(at.pid)?;
        drop(some);
        anyhow::Ok(memory)
    })?;
    Ok(vec![Row::new("rss_server_10k_nodes", memory, "MB").note(format!(
        "VmRSS of a freshly started server, {FLEET} machines known, {CONNECTED} connected with their streams open; aim 60"
    ))])
}

fn bare(machines: Vec<VirtualTpm>) -> Vec<Node> {
    machines.into_iter().map(Node::bare).collect()
}
