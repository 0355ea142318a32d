//! A trust domain in a directory and on ports of its own: a server, machines, and an agent on each.

use std::path::{Path, PathBuf};

use holdfast_tests::{Agent, Machines, Output, Process, Programs, Server, WorkDir, until};
use serde_json::Value;

pub(crate) const DOMAIN: &str = "lanes.test";
pub(crate) const PROFILE: &str = "shim-grub";
/// Seconds that anything may take to happen.
pub(crate) const PATIENCE: u64 = 60;
const POLICY: &str = include_str!("../../src/bin/holdfast-demo/policy.toml");

/// In the order in which they are to end.
pub(crate) struct World {
    pub(crate) agents: Vec<Agent>,
    pub(crate) server: Server,
    pub(crate) machines: Machines,
    pub(crate) programs: Programs,
    pub(crate) work: WorkDir,
}

impl World {
    /// `count` machines, each on the inventory and enrolled.
    pub(crate) fn enrolled(count: usize) -> Self {
        Self::enrolled_with(count, "")
    }

    /// The same with more lines in the server's configuration.
    pub(crate) fn enrolled_with(count: usize, more: &str) -> Self {
        let mut world = Self::unknown_with(count, more);
        for index in 0..count {
            world.allow(index);
        }
        for index in 0..count {
            world.start_agent(index);
        }
        for agent in &world.agents {
            agent.until_ready(PATIENCE).unwrap();
        }
        world
    }

    /// `count` machines that are on no inventory, their agents not started.
    pub(crate) fn unknown(count: usize) -> Self {
        Self::unknown_with(count, "")
    }

    fn unknown_with(count: usize, more: &str) -> Self {
        let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
        let machines = Machines::start(&programs, &work, count, PROFILE, &work.path().join("tpm-sim.log")).unwrap();
        let server = Server::init_with(&programs, &work, DOMAIN, more).unwrap();
        let server = server.start(&work.path().join("server.log")).unwrap();
        let root = machines.root().display().to_string();
        server.operator(&["endorsements", "import", "--class", "simulated", &root]).unwrap();
        let folder = work.sub("policy").unwrap();
        std::fs::write(folder.join("shim-grub.toml"), machines.reference_values(PROFILE).unwrap()).unwrap();
        std::fs::write(folder.join("policy.toml"), POLICY).unwrap();
        server.operator(&["policy", "apply", &folder.join("policy.toml").display().to_string()]).unwrap();
        let configure =
            |(index, machine)| Agent::configure(&programs, &work, &server, machine, &format!("agent-{index}")).unwrap();
        let agents = machines.all().iter().enumerate().map(configure).collect();
        Self { agents, server, machines, programs, work }
    }

    pub(crate) fn allow(&self, index: usize) {
        self.server.operator(&["node", "allow", "--ek-sha256", self.ek(index)]).unwrap();
    }

    pub(crate) fn ek(&self, index: usize) -> &str {
        &self.machines.all()[index].ek_sha256
    }

    pub(crate) fn start_agent(&mut self, index: usize) {
        let log = self.agent_log(index);
        self.agents[index].start_again(&log).unwrap();
    }

    pub(crate) fn agent_log(&self, index: usize) -> PathBuf {
        self.work.path().join(format!("agent-{index}.log"))
    }

    /// Tells the agent to attest and waits for the server's answer: the new attempt in full.
    pub(crate) fn attest(&self, index: usize) -> Value {
        let before = self.attempts().len();
        self.agents[index].tell("HUP");
        self.attempt_after(before)
    }

    /// The newest attempt once there are more than `before`.
    pub(crate) fn attempt_after(&self, before: usize) -> Value {
        let newest = until("another attempt", PATIENCE, || {
            let attempts = self.attempts();
            if attempts.len() > before { attempts.first().cloned() } else { None }
        });
        let newest = newest.unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
        self.server.json(&["attempt", "show", newest["id"].as_str().unwrap()]).unwrap()
    }

    /// Tells the agent to attest, again if need be, until an attempt has `outcome`.
    pub(crate) fn attest_until(&self, index: usize, outcome: &str) -> Value {
        for _ in 0..3 {
            let attempt = self.attest(index);
            if attempt["outcome"] == outcome {
                return attempt;
            }
        }
        panic!("no attempt was {outcome}\n{:#?}\n{}", self.attempts(), self.logs())
    }

    /// Newest first.
    pub(crate) fn attempts(&self) -> Vec<Value> {
        self.server.json(&["attempt", "list"]).unwrap()["attempts"].as_array().unwrap().clone()
    }

    /// The machine as `node list` shows it.
    pub(crate) fn node(&self, index: usize) -> Option<Value> {
        let nodes = self.server.json(&["node", "list"]).unwrap();
        nodes["nodes"].as_array().unwrap().iter().find(|node| node.to_string().contains(self.ek(index))).cloned()
    }

    pub(crate) fn node_id(&self, index: usize) -> String {
        self.node(index).unwrap()["spiffe_id"].as_str().unwrap().to_owned()
    }

    /// Creates an entry `path` for processes of this test's user on machine `index`; its ID.
    pub(crate) fn create_entry(&self, index: usize, path: &str) -> String {
        let (id, parent, user) = (id(path), self.node_id(index), own_uid());
        let words = ["entry", "create", "--spiffe-id", &id, "--parent-id", &parent, "--selector", &user];
        let created = self.server.json(&words).unwrap();
        entry_id(&created)
    }

    /// One fetch from the Workload API of machine `index`.
    pub(crate) fn fetch(&self, index: usize) -> Output {
        let mut command = self.programs.command("demo-workload");
        Output::of(command.arg("fetch").env("SPIFFE_ENDPOINT_SOCKET", self.agents[index].socket_url())).unwrap()
    }

    pub(crate) fn until_fetched(&self, index: usize) {
        let fetched = until("a workload has its SVID", PATIENCE, || (self.fetch(index).code == 0).then_some(()));
        fetched.unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
    }

    pub(crate) fn until_denied(&self, index: usize) {
        let denied = until("a workload is denied", PATIENCE, || {
            let fetch = self.fetch(index);
            (fetch.code == 1 && fetch.stdout.contains("PermissionDenied")).then_some(())
        });
        denied.unwrap_or_else(|why| panic!("{why}: {:?}\n{}", self.fetch(index), self.logs()));
    }

    /// A workload that holds the Workload API's stream open, once it has `expected`.
    pub(crate) fn watch(&self, index: usize, expected: &str) -> Watch {
        let log = self.work.path().join(format!("watch-{index}-{}.log", expected.replace(['/', ':'], "_")));
        let mut command = self.programs.command("holdfast-agent");
        command.args(["api", "watch", "--output", "json", "--socket-path"]).arg(self.agents[index].socket());
        let watch = Watch(Process::start(&mut command, &log).unwrap());
        watch.until_shows(expected);
        watch
    }

    pub(crate) fn logs(&self) -> String {
        let tail = |path: &Path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {}\n{}\n", path.display(), lines[lines.len().saturating_sub(25)..].join("\n"))
        };
        let agents = (0..self.agents.len()).map(|index| tail(&self.agent_log(index)));
        let strangers = self.server.operator(&["attempt", "strangers"]).unwrap_or_default();
        std::iter::once(tail(&self.work.path().join("server.log"))).chain([strangers]).chain(agents).collect()
    }
}

/// An open stream of the Workload API.
pub(crate) struct Watch(pub(crate) Process);

impl Watch {
    pub(crate) fn until_shows(&self, expected: &str) {
        let seen = until("the stream's update", PATIENCE, || self.0.log().contains(expected).then_some(()));
        seen.unwrap_or_else(|why| panic!("{why}: {expected} in {}", self.0.log()));
    }

    /// Waits for its end, which must be a denial.
    pub(crate) fn until_denied(&mut self) {
        let code = until("the stream's end", PATIENCE, || self.0.ended());
        assert_eq!(code.unwrap_or_else(|why| panic!("{why}: {}", self.0.log())), 1, "{}", self.0.log());
    }

    pub(crate) fn is_open(&mut self) -> bool {
        self.0.ended().is_none()
    }
}

pub(crate) fn id(path: &str) -> String {
    format!("spiffe://{DOMAIN}/{path}")
}

pub(crate) fn own_uid() -> String {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    format!("unix:uid:{uid}")
}

/// The ID in what `entry create --output json` prints.
pub(crate) fn entry_id(created: &Value) -> String {
    let entry = if created["entry"].is_object() { &created["entry"] } else { created };
    entry["id"].as_str().or(entry["entry_id"].as_str()).unwrap_or_else(|| panic!("{created}")).to_owned()
}
