//! Changes that concern every connected agent, on their way to 1,000 of them: the trust bundle, and the list of what was
//! withdrawn.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use holdfast_protocol::admin::PrepareJwtAuthority;
use holdfast_protocol::admin::act_on_jwt_authority_request::Act;
use holdfast_protocol::agent as wire;

use crate::admin::entry;
use crate::connected::{AGENTS, Fleet, csr, id, supplied};
use crate::fleet::{LIMITS, Node, prepare};
use crate::pki::Ca;
use crate::report::{Row, load, percentile, scaled};

/// Keys for JWT-SVIDs that come and go: each changes the bundle three times.
const KEYS: usize = 20;
/// Entries that are deleted, one after another, with an SVID that lives.
const WITHDRAWN: usize = 60;
/// Between two of them: what is withdrawn sooner waits for a list that it shares with others.
const APART: Duration = Duration::from_millis(200);

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let ca = Ca::root("bench vendor");
    let machines = Fleet::machines(&ca, scaled(AGENTS));
    let (server, _work) = prepare(&ca, &machines, LIMITS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut fleet = Fleet::connect(&server, machines).await?;
        let mut rows = fleet.bundles().await?;
        rows.extend(fleet.lists().await?);
        Ok(rows)
    })
}

/// When the next message came in which there is what is looked for.
async fn next(node: &mut Node, has: fn(&wire::SyncResponse) -> bool) -> anyhow::Result<Instant> {
    let stream = node.stream.as_mut().context("no stream")?;
    loop {
        let message = stream.message().await?.context("the stream ended")?;
        if has(&message) {
            return Ok(Instant::now());
        }
    }
}

impl Fleet {
    /// Milliseconds from the call of `change` until what it changed is with each agent, added to `times`. What the call
    /// answers.
    async fn told<T>(
        &mut self,
        change: impl Future<Output = anyhow::Result<T>>,
        has: fn(&wire::SyncResponse) -> bool,
        times: &mut Vec<f64>,
    ) -> anyhow::Result<T> {
        let everyone = futures_util::future::join_all(self.nodes.iter_mut().map(|node| next(node, has)));
        let from = Instant::now();
        let (answer, told) = tokio::join!(change, everyone);
        for at in told {
            times.push((at? - from).as_secs_f64() * 1e3);
        }
        answer
    }

    /// A key for JWT-SVIDs is published, taints its predecessor and drives it out: three bundles.
    async fn bundles(&mut self) -> anyhow::Result<Vec<Row>> {
        let (admin, mut times) = (self.admin.clone(), Vec::new());
        let has = |message: &wire::SyncResponse| message.bundle.is_some();
        for _ in 0..scaled(KEYS) {
            let old = admin.signing().await?;
            let prepared = self.told(admin.act(Act::Prepare(PrepareJwtAuthority {})), has, &mut times).await?;
            admin.act(Act::Activate(prepared.authority_id)).await?;
            self.told(admin.act(Act::Taint(old.clone())), has, &mut times).await?;
            self.told(admin.act(Act::Revoke(old)), has, &mut times).await?;
        }
        Ok(self.rows("bundle_change_1000", &format!("{} changes of the trust bundle", 3 * scaled(KEYS)), times))
    }

    /// An entry is deleted whose SVID lives: its serial number goes on a list, and the list to everybody.
    async fn lists(&mut self) -> anyhow::Result<Vec<Row>> {
        let (admin, csr, mut times) = (self.admin.clone(), csr()?, Vec::new());
        let has = |message: &wire::SyncResponse| !message.revocation_lists.is_empty();
        for number in 0..scaled(WITHDRAWN) {
            let node = self.node(number * 7)?;
            let wanted = entry(&id(&format!("withdrawn-{number}")), &node.name, "unix:uid:4");
            let (made, supplied) = tokio::join!(admin.create(wanted), supplied(node, &csr));
            supplied?;
            tokio::time::sleep(APART).await;
            self.told(admin.delete(&made?.id), has, &mut times).await?;
        }
        let what =
            format!("{} entries deleted, each with one SVID that lived; lists of up to that many", scaled(WITHDRAWN));
        Ok(self.rows("revocation_1000", &what, times))
    }

    fn rows(&self, name: &str, what: &str, mut times: Vec<f64>) -> Vec<Row> {
        let note = format!(
            "{what}, from the operator's call until it is in the hands of each of {} connected agents; generator on the same \
             cores; {}",
            self.nodes.len(),
            load()
        );
        let mut row = |part: &str, share, aim| {
            let row = Row::new(&format!("{name}_{part}"), percentile(&mut times, share), "ms");
            row.note(format!("{note}; aim {aim}"))
        };
        vec![row("p50", 0.5, 50), row("p99", 0.99, 250)]
    }
}
