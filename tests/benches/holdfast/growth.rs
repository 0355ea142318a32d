//! What a fleet that only renews adds to the server's disk.

use std::sync::Arc;

use anyhow::Context as _;
use holdfast_tests::Server;

use crate::appraise::fill;
use crate::fleet::{AT_ONCE, At, LIMITS, Node, prepare};
use crate::pki::Ca;
use crate::report::{Row, scaled};
use crate::virtual_tpm::VirtualTpm;

const MACHINES: usize = 100;
/// Renewals of each machine: what one does in a day whose evidence is fresh for an hour and a half.
const RENEWALS: usize = 48;

/// The row of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let ca = Ca::root("bench vendor");
    let mut machines: Vec<VirtualTpm> = (0..MACHINES).map(|_| VirtualTpm::new(&ca)).collect();
    machines.iter_mut().for_each(|tpm| fill(&mut tpm.firmware.events));
    let (mut server, work) = prepare(&ca, &machines, LIMITS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let renewals = scaled(RENEWALS);
    // One renewal before it counts: what is kept once is kept.
    let nodes = runtime.block_on(async {
        let at = Arc::new(At::of(&server)?);
        let bare = machines.into_iter().map(Node::bare).collect();
        let (nodes, _) = at.each(bare, AT_ONCE, |at, node| Box::pin(at.enrol(node))).await?;
        renewed(&at, nodes, 1).await
    })?;
    let before = at_rest(&mut server)?;
    server.start_again(&work.path().join("server.log"))?;
    runtime.block_on(async { renewed(&Arc::new(At::of(&server)?), nodes, renewals).await })?;
    let after = at_rest(&mut server)?;
    let each = (after as f64 - before as f64) / (MACHINES * renewals) as f64;
    Ok(vec![Row::new("disk_per_renewal", each, "bytes").note(format!(
        "growth of the server's database by each of {} renewals of {MACHINES} machines in one state, by a policy that asks for what \
         they booted; {:.1} kB for {RENEWALS} of one machine",
        MACHINES * renewals,
        each * RENEWALS as f64 / 1e3
    ))])
}

async fn renewed(at: &Arc<At>, nodes: Vec<Node>, count: usize) -> anyhow::Result<Vec<Node>> {
    let (mut nodes, _) = at.each(nodes, AT_ONCE, |at, node| Box::pin(at.connect_and_renew(node))).await?;
    for _ in 1..count {
        (nodes, _) = at.each(nodes, AT_ONCE, |at, node| Box::pin(at.renew(node))).await?;
    }
    nodes.iter_mut().for_each(|node| node.link = None);
    Ok(nodes)
}

/// Stops the server; bytes of its database, with what is left of its write-ahead log: nothing after an orderly end.
fn at_rest(server: &mut Server) -> anyhow::Result<u64> {
    let code = server.daemon().context("no server")?.stop();
    anyhow::ensure!(code == 0, "the server was killed with its log beside the database: exit code {code}");
    let mut sum = 0;
    for entry in std::fs::read_dir(server.folder().join("state"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().contains(".sqlite") {
            sum += entry.metadata()?.len();
        }
    }
    Ok(sum)
}
