//! Entries on their way to 1,000 connected agents: one for one of them, one for all of them; and what one change costs where
//! there are few entries and where there are many.

use std::time::Instant;

use crate::admin::entry;
use crate::connected::{AGENTS, Fleet, csr, id, pushed, removed, supplied};
use crate::fleet::{LIMITS, prepare};
use crate::pki::Ca;
use crate::processes::cpu_seconds;
use crate::report::{Row, load, median, percentile, scaled};

/// Entries for one agent, one after another.
const SAMPLES: usize = 500;
/// Entries for all agents, one after another.
const ROUNDS: usize = 7;
/// Entries that the server holds before what one change costs is measured, and before it is measured again.
const FEW: usize = 100;
const MANY: usize = 100_000;
/// Changes of each of these measurements.
const CHANGES: usize = 500;

/// One for one, and one for all.
pub fn thousand() -> anyhow::Result<Vec<Row>> {
    let recorded = crate::issue::recorded_rate()?;
    let ca = Ca::root("bench vendor");
    let machines = Fleet::machines(&ca, scaled(AGENTS));
    let (server, _work) = prepare(&ca, &machines, LIMITS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut fleet = Fleet::connect(&server, machines).await?;
        Ok(vec![one(&mut fleet).await?, all(&mut fleet, recorded).await?])
    })
}

/// No entry is deleted: that would be a list for everybody while the next one is measured.
async fn one(fleet: &mut Fleet) -> anyhow::Result<Row> {
    let (mut whole, mut after_return) = (Vec::new(), Vec::new());
    let (samples, csr, admin) = (scaled(SAMPLES), csr()?, fleet.admin.clone());
    for sample in 0..samples {
        // Every seventh, so that no two samples in a row are neighbours.
        let node = fleet.node(sample * 7)?;
        let wanted = entry(&id(&format!("one-{sample}")), &node.name, "unix:uid:1");
        let from = Instant::now();
        let (made, supplied) =
            tokio::join!(async { admin.create(wanted).await.map(|made| (made, Instant::now())) }, supplied(node, &csr));
        let ((_, returned), supplied) = (made?, supplied?);
        whole.push((supplied - from).as_secs_f64() * 1e3);
        after_return.push(supplied.saturating_duration_since(returned).as_secs_f64() * 1e3);
    }
    Ok(Row::new("entry_for_one_of_1000", percentile(&mut whole, 0.99), "ms").note(format!(
        "p99 of {samples}, from the operator's call to the SVID in the agent's hands, {} agents connected; p50 {:.1} ms; after the \
         call's return: p50 {:.1} ms, p99 {:.1} ms; generator on the same cores; aim 50; {}",
        fleet.nodes.len(),
        median(&mut whole),
        median(&mut after_return),
        percentile(&mut after_return, 0.99),
        load()
    )))
}

async fn all(fleet: &mut Fleet, recorded: f64) -> anyhow::Result<Row> {
    let (admin, mut rates, mut times) = (fleet.admin.clone(), Vec::new(), Vec::new());
    let csrs = fleet.nodes.iter().map(|_| csr()).collect::<anyhow::Result<Vec<_>>>()?;
    for round in 0..scaled(ROUNDS) {
        let mut wanted = entry(&id(&format!("all-{round}")), "", "unix:uid:2");
        wanted.node_selectors = vec!["tpm:class:discrete".to_owned()];
        let from = Instant::now();
        let everyone = fleet.nodes.iter_mut().zip(&csrs).map(|(node, csr)| supplied(node, csr));
        let (made, supplied) = tokio::join!(admin.create(wanted), futures_util::future::join_all(everyone));
        made?;
        let supplied = supplied.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let mut millis: Vec<f64> = supplied.iter().map(|at| (*at - from).as_secs_f64() * 1e3).collect();
        rates.push(millis.len() as f64 * 1e3 / percentile(&mut millis, 1.0));
        times.append(&mut millis);
    }
    Ok(Row::new("entry_for_all_1000", median(&mut rates), "per s").floor(recorded).note(format!(
        "one entry for {} connected agents, each of which has its SVID signed: SVIDs a second until the last has its own; p50 {:.0} ms, \
         p99 {:.0} ms; floor: issue_x509_recorded of this run; generator on the same cores; aim 0.5 or more; {}",
        fleet.nodes.len(),
        median(&mut times),
        percentile(&mut times, 0.99),
        load()
    )))
}

/// What one change costs with few entries and with many.
pub fn change() -> anyhow::Result<Vec<Row>> {
    let ca = Ca::root("bench vendor");
    let machines = Fleet::machines(&ca, 2);
    let (server, _work) = prepare(&ca, &machines, LIMITS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut fleet = Fleet::connect(&server, machines).await?;
        let (few, many) = (FEW, scaled(MANY));
        fleet.admin.fill((0..few).map(elsewhere)).await?;
        let (few_cpu, few_ms) = fleet.changes().await?;
        fleet.admin.fill((few..many).map(elsewhere)).await?;
        let (many_cpu, many_ms) = fleet.changes().await?;
        let cost = Row::new("change_cost_100k", many_cpu, "ms").floor(few_cpu).note(format!(
            "the server's CPU for one entry made, pushed to its agent, deleted and pushed, with {many} entries; floor: the same with \
             {few}; aim 1.5"
        ));
        let time = Row::new("change_time_100k", many_ms, "ms").floor(few_ms).note(format!(
            "p50 from the operator's call to the push at the agent, with {many} entries; floor: the same with {few}; aim 1.5; {}",
            load()
        ));
        Ok(vec![cost, time])
    })
}

/// An entry of somebody else: 100 for each of the nodes that have them.
fn elsewhere(number: usize) -> holdfast_protocol::admin::Entry {
    let node = id(&format!("holdfast/node/tpm/{:064x}", number / 100));
    entry(&id(&format!("elsewhere/{number}")), &node, &format!("unix:uid:{}", number % 100))
}

impl Fleet {
    /// CPU of the server for a change, and the time until it is at the agent; milliseconds each.
    async fn changes(&mut self) -> anyhow::Result<(f64, f64)> {
        let (count, admin, pid) = (scaled(CHANGES), self.admin.clone(), self.at.pid);
        let (mut times, cpu) = (Vec::new(), cpu_seconds(pid)?);
        for change in 0..count {
            let node = self.node(change)?;
            let wanted = entry(&id(&format!("change-{change}")), &node.name, "unix:uid:3");
            let from = Instant::now();
            let (made, pushed) =
                tokio::join!(admin.create(wanted), async { pushed(node).await.map(|_| Instant::now()) });
            times.push((pushed? - from).as_secs_f64() * 1e3);
            admin.delete(&made?.id).await?;
            removed(node).await?;
        }
        Ok(((cpu_seconds(pid)? - cpu) * 1e3 / count as f64, median(&mut times)))
    }
}
