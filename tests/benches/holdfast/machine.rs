//! The programs as they are installed, on a machine with a software TPM: how often the TPM is asked, what the agent
//! weighs, and how soon a new entry's SVID is with its workload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use holdfast_tests::{Agent, Machines, Programs, Server, WorkDir, until};
use spiffe::WorkloadApiClient;

use crate::processes::rss_mb;
use crate::report::{Row, load, median, percentile};

pub const DOMAIN: &str = "bench.test";
const PROFILE: &str = "shim-grub";
const PATIENCE_SECONDS: u64 = 60;
const SAMPLES: usize = 100;

/// A server, one machine, and its agent, enrolled.
pub struct World {
    machines: Machines,
    pub server: Server,
    pub agent: Agent,
    /// What the machine is called.
    pub node: String,
    pub work: WorkDir,
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let (mut world, enrol) = World::enrolled()?;
    let mut rows = vec![enrol, world.reattest()?];
    rows.extend(world.workload()?);
    Ok(rows)
}

impl World {
    pub fn enrolled() -> anyhow::Result<(Self, Row)> {
        let programs = Programs::beside_this_one()?;
        let work = WorkDir::new()?;
        let machines = Machines::start(&programs, &work, 1, PROFILE, &work.path().join("tpm-sim.log"))?;
        let machine = machines.all().first().context("no machine")?.clone();
        let server = Server::init(&programs, &work, DOMAIN)?.start(&work.path().join("server.log"))?;
        let root = machines.root().display().to_string();
        server.operator(&["endorsements", "import", "--class", "simulated", &root])?;
        server.operator(&["node", "allow", "--ek-sha256", &machine.ek_sha256])?;
        let folder = work.sub("policy")?;
        std::fs::write(folder.join("shim-grub.toml"), machines.reference_values(PROFILE)?)?;
        let policy = folder.join("demo.toml");
        std::fs::write(&policy, include_str!("../../src/bin/holdfast-demo/policy.toml"))?;
        server.operator(&["policy", "apply", &policy.display().to_string()])?;

        let before = counted(&machines)?;
        let log = work.path().join("agent.log");
        let agent = Agent::configure(&programs, &work, &server, &machine, "agent")?.start(&log)?;
        agent.until_ready(PATIENCE_SECONDS)?;
        let after = settled(&machines)?;
        let row = difference("tpm_commands_enrol", &before, &after, "from the agent's start to its readiness");
        let node = until("the node is listed", PATIENCE_SECONDS, || {
            let listed = server.json(&["node", "list"]).ok()?;
            let nodes = listed["nodes"].as_array().or(listed.as_array())?.clone();
            nodes.first()?["spiffe_id"].as_str().map(str::to_owned)
        })?;
        Ok((Self { machines, server, agent, node, work }, row))
    }

    /// SIGHUP: the agent connects anew and attests.
    fn reattest(&self) -> anyhow::Result<Row> {
        let before = counted(&self.machines)?;
        self.agent.tell("HUP");
        until("the TPM is asked", PATIENCE_SECONDS, || {
            counted(&self.machines).ok().filter(|now| total(now) > total(&before))
        })?;
        let after = settled(&self.machines)?;
        Ok(difference("tpm_commands_reattest", &before, &after, "on SIGHUP"))
    }

    /// Makes an entry for this user's processes; its SPIFFE ID.
    pub fn entry(&self, name: &str) -> anyhow::Result<String> {
        let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?);
        let (id, selector) = (format!("spiffe://{DOMAIN}/{name}"), format!("unix:uid:{uid}"));
        let words = ["entry", "create", "--spiffe-id", &id, "--parent-id", &self.node, "--selector", &selector];
        self.server.operator(&words)?;
        Ok(id)
    }

    fn workload(&mut self) -> anyhow::Result<Vec<Row>> {
        let first = self.entry("first")?;
        let arrivals = Arc::new(Mutex::new(HashMap::new()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(follow(self.agent.socket_url(), Arc::clone(&arrivals)));
        let arrival = |id: &str| {
            until("the SVID arrives", PATIENCE_SECONDS, || arrivals.lock().ok()?.get(id).copied())
                .with_context(|| std::fs::read_to_string(self.work.path().join("agent.log")).unwrap_or_default())
        };
        arrival(&first)?;
        std::thread::sleep(Duration::from_secs(2));

        let (mut after_return, mut whole) = (Vec::new(), Vec::new());
        for sample in 0..SAMPLES {
            let from = Instant::now();
            let id = self.entry(&format!("sample-{sample}"))?;
            let returned = Instant::now();
            let arrived = arrival(&id)?;
            after_return.push(arrived.saturating_duration_since(returned).as_secs_f64() * 1e3);
            whole.push(arrived.saturating_duration_since(from).as_secs_f64() * 1e3);
            self.forget(&id)?;
        }
        let p50 = median(&mut after_return);
        let note = format!(
            "{SAMPLES} samples, one at a time; 0 where the SVID was there before the command had ended; p50 {p50:.1} ms; \
             from the command's start: p50 {:.1} ms, p99 {:.1} ms; aim 50; {}",
            median(&mut whole),
            percentile(&mut whole, 0.99),
            load()
        );
        let row = Row::new("entry_to_svid_p99", percentile(&mut after_return, 0.99), "ms").note(note);
        let pid = self.agent.daemon().context("no agent")?.id();
        let weight = Row::new("rss_agent", rss_mb(pid)?, "MB")
            .note(format!("VmRSS with one workload's stream open, after {SAMPLES} entries came and went; aim 15"));
        Ok(vec![row, weight])
    }

    /// Deletes the entry for `id`, so that each sample is the workload's second SVID.
    fn forget(&self, id: &str) -> anyhow::Result<()> {
        let listed = self.server.json(&["entry", "list", "--spiffe-id", id])?;
        let entries = listed["entries"].as_array().or(listed.as_array()).cloned().unwrap_or_default();
        let entry = entries.first().and_then(|entry| entry["id"].as_str()).context("the entry has no ID")?;
        self.server.operator(&["entry", "delete", entry])?;
        Ok(())
    }
}

/// Holds the stream open and notes when each ID first came.
async fn follow(socket: String, arrivals: Arc<Mutex<HashMap<String, Instant>>>) -> anyhow::Result<()> {
    loop {
        let client = WorkloadApiClient::connect_to(&socket).await?;
        if let Ok(mut updates) = client.stream_x509_contexts().await {
            while let Some(Ok(context)) = updates.next().await {
                let now = Instant::now();
                let mut arrivals = arrivals.lock().expect("nobody panicked");
                for svid in context.svids() {
                    arrivals.entry(svid.spiffe_id().to_string()).or_insert(now);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Commands by name.
type Counts = std::collections::BTreeMap<String, u64>;

fn counted(machines: &Machines) -> anyhow::Result<Counts> {
    Ok(serde_json::from_value(machines.commands(0)?)?)
}

/// The counts after a second without any command.
fn settled(machines: &Machines) -> anyhow::Result<Counts> {
    let mut last = counted(machines)?;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = counted(machines)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

fn difference(name: &str, before: &Counts, after: &Counts, when: &str) -> Row {
    let more: Vec<(&str, u64)> = after
        .iter()
        .map(|(name, count)| (name.as_str(), count - before.get(name).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let sum: u64 = more.iter().map(|(_, count)| count).sum();
    let names: Vec<String> = more
        .iter()
        .map(|(name, count)| if *count == 1 { (*name).to_owned() } else { format!("{count} {name}") })
        .collect();
    Row::new(name, sum as f64, "commands").note(format!("{when}: {}", names.join(", ")))
}
