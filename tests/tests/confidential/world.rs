//! A server that trusts one simulated vendor, guests of one kind, and an agent in each.

use std::path::PathBuf;

use holdfast_tests::{Agent, Guests, Output, Programs, Server, WorkDir, until};
use serde_json::Value;

pub(crate) const DOMAIN: &str = "guests.test";
/// Seconds that anything may take to happen.
pub(crate) const PATIENCE: u64 = 60;

/// In the order in which they are to end.
pub(crate) struct World {
    pub(crate) agents: Vec<Agent>,
    pub(crate) server: Server,
    pub(crate) guests: Guests,
    pub(crate) programs: Programs,
    pub(crate) work: WorkDir,
}

impl World {
    /// `count` guests of `kind`, on the inventory and enrolled.
    pub(crate) fn enrolled(kind: &str, count: usize) -> Self {
        Self::enrolled_with(kind, count, &[])
    }

    /// The same with fields that the guests have from the start.
    pub(crate) fn enrolled_with(kind: &str, count: usize, fields: &[&str]) -> Self {
        let mut world = Self::launched_with(kind, count, fields);
        for index in 0..count {
            world.start_agent(index);
        }
        for agent in &world.agents {
            agent.until_ready(PATIENCE).unwrap_or_else(|why| panic!("{why:#}\n{}", world.logs()));
        }
        world
    }

    /// The same with agents that are not started yet.
    pub(crate) fn launched(kind: &str, count: usize) -> Self {
        Self::launched_with(kind, count, &[])
    }

    /// The same with fields that the guests have from the start.
    pub(crate) fn launched_with(kind: &str, count: usize, fields: &[&str]) -> Self {
        let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
        let guests =
            Guests::start_with(&programs, &work, kind, count, fields, &work.path().join("guests.log")).unwrap();
        let server = Server::init_with(&programs, &work, DOMAIN, &guests.server()).unwrap();
        let server = server.start(&work.path().join("server.log")).unwrap();
        for root in guests.roots() {
            let root = root.display().to_string();
            server.operator(&["endorsements", "import", "--class", "simulated", "--for", kind, &root]).unwrap();
        }
        for guest in guests.all() {
            server.operator(&["node", "allow", "--fact", &guest.ours()]).unwrap();
        }
        let policy = work.path().join("policy.toml");
        std::fs::write(&policy, guests.policy()).unwrap();
        let lint = Output::of(programs.command("holdfast-policy").arg("lint").arg(&policy)).unwrap();
        lint.success().unwrap();
        server.operator(&["policy", "apply", &policy.display().to_string()]).unwrap();
        let configure = |(index, guest)| {
            Agent::configure_guest(&programs, &work, &server, kind, guest, &format!("agent-{index}")).unwrap()
        };
        let agents = guests.all().iter().enumerate().map(configure).collect();
        Self { agents, server, guests, programs, work }
    }

    pub(crate) fn start_agent(&mut self, index: usize) {
        let log = self.agent_log(index);
        self.agents[index].start_again(&log).unwrap();
    }

    pub(crate) fn agent_log(&self, index: usize) -> PathBuf {
        self.work.path().join(format!("agent-{index}.log"))
    }

    /// SPIFFE IDs of the nodes that are admitted.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let listed = self.server.json(&["node", "list", "--state", "admitted"]).unwrap();
        let nodes = listed["nodes"].as_array().unwrap().iter();
        nodes.map(|node| node["spiffe_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Newest first.
    pub(crate) fn attempts(&self) -> Vec<Value> {
        self.server.json(&["attempt", "list", "--limit", "1000"]).unwrap()["attempts"].as_array().unwrap().clone()
    }

    /// Tells the agent to attest and waits until an attempt is refused: its code.
    pub(crate) fn until_refused(&self, index: usize) -> Value {
        let before = self.attempts().len();
        self.agents[index].tell("HUP");
        let refused = until("a refusal", PATIENCE, || {
            let attempts = self.attempts();
            let new = attempts.len().saturating_sub(before);
            attempts.into_iter().take(new).find(|attempt| attempt["outcome"] == "refused")
        });
        refused.unwrap_or_else(|why| panic!("{why}\n{}", self.logs()))
    }

    /// Codes by which strangers were turned away.
    pub(crate) fn strangers(&self) -> String {
        self.server.operator(&["attempt", "strangers"]).unwrap()
    }

    /// One fetch from the Workload API of guest `index`.
    pub(crate) fn fetch(&self, index: usize) -> Output {
        let mut command = self.programs.command("demo-workload");
        Output::of(command.arg("fetch").env("SPIFFE_ENDPOINT_SOCKET", self.agents[index].socket_url())).unwrap()
    }

    pub(crate) fn logs(&self) -> String {
        let tail = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {}\n{}\n", path.display(), lines[lines.len().saturating_sub(25)..].join("\n"))
        };
        let agents = (0..self.agents.len()).map(|index| tail(self.agent_log(index)));
        let strangers = format!("--- strangers\n{}\n", self.strangers());
        std::iter::once(tail(self.work.path().join("server.log"))).chain([strangers]).chain(agents).collect()
    }
}
