//! A machine with an agent that asks container engines, and the caller that is run in containers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use holdfast_tests::{Output, until};
use serde_json::Value;

use super::groups::Group;
use super::world::{PATIENCE, World, id};

/// The program that asks for an SVID, in a container: a client of the published crate, on a socket that is mounted.
pub(crate) struct Caller {
    pub(crate) program: &'static str,
    pub(crate) words: [&'static str; 2],
    socket: &'static str,
    pub(crate) environment: &'static str,
}

pub(crate) const CALLER: Caller = Caller {
    program: "/demo-workload",
    words: ["/demo-workload", "fetch"],
    socket: "/api.sock",
    environment: "SPIFFE_ENDPOINT_SOCKET=unix:///api.sock",
};

/// A file or folder of this machine in a container.
#[derive(Clone)]
pub(crate) struct Mount {
    from: PathBuf,
    to: &'static str,
}

impl Mount {
    fn new(from: impl Into<PathBuf>, to: &'static str) -> Self {
        Self { from: from.into(), to }
    }

    /// This machine's programs and libraries.
    pub(crate) fn of_usr() -> Self {
        Self::new("/usr", "/usr")
    }

    pub(crate) fn for_ctr(&self) -> String {
        format!("type=bind,src={},dst={},options=rbind:ro", self.from.display(), self.to)
    }

    pub(crate) fn for_docker(&self) -> String {
        format!("{}:{}:ro", self.from.display(), self.to)
    }
}

/// What the caller got: `Ok` with the SVID's path, or `Err` with what it was told.
pub(crate) fn got(output: &Output) -> Result<String, String> {
    match (output.code, output.stdout.trim().strip_prefix(&id(""))) {
        (0, Some(path)) => Ok(path.to_owned()),
        _ => Err(format!("{} {} {}", output.code, output.stdout.trim(), output.stderr.trim())),
    }
}

/// That the caller was told that there is no SVID for it, and nothing else went wrong.
pub(crate) fn denied(output: &Output) -> bool {
    output.code == 1 && format!("{}{}", output.stdout, output.stderr).contains("PermissionDenied")
}

/// What `holdfast-agent why` says of a process.
pub(crate) struct Why {
    pub(crate) code: i32,
    report: Value,
}

impl Why {
    /// What an attestor sees; `Err` with the code where it failed.
    pub(crate) fn by(&self, kind: &str) -> Result<Vec<String>, String> {
        let attestors = self.report["attestors"].as_array().unwrap_or_else(|| panic!("{:#}", self.report));
        let attested = attestors.iter().find(|attested| attested["kind"] == kind).unwrap();
        if let Some(code) = attested["problem"]["code"].as_str() {
            return Err(code.to_owned());
        }
        let selectors = attested["selectors"].as_array().unwrap().iter();
        Ok(selectors.map(|selector| selector.as_str().unwrap().to_owned()).collect())
    }
}

/// A server, a machine, and an agent with more attestors.
pub(crate) struct Site(World);

impl Site {
    /// `attestors` is the rest of the agent's file.
    pub(crate) fn new(attestors: &str) -> Self {
        let mut world = World::unknown(1);
        let file = world.agents[0].folder().join("agent.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}{attestors}")).unwrap();
        world.allow(0);
        world.start_agent(0);
        world.agents[0].until_ready(PATIENCE).unwrap();
        Self(world)
    }

    /// What the caller needs.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let program = self.0.programs.path("demo-workload");
        let socket = Mount::new(self.0.agents[0].socket(), CALLER.socket);
        vec![Mount::of_usr(), Mount::new(program, CALLER.program), socket]
    }

    /// Gives `path` to processes with all these selectors.
    pub(crate) fn entry(&self, path: &str, selectors: &[&str]) {
        let (id, parent) = (id(path), self.0.node_id(0));
        let mut words = vec!["entry", "create", "--spiffe-id", &id, "--parent-id", &parent];
        words.extend(selectors.iter().flat_map(|selector| ["--selector", selector]));
        self.0.server.operator(&words).unwrap();
    }

    /// Asks by `call` until the entry that it needs has come to the agent.
    pub(crate) fn until_given(&self, path: &str, call: impl Fn() -> Output) {
        let mut last = Err(String::new());
        let given = until(path, PATIENCE, || {
            last = got(&call());
            last.as_ref().is_ok_and(|given| given == path).then_some(())
        });
        given.unwrap_or_else(|why| panic!("{why}: {last:?}\n{}", self.0.logs()));
    }

    /// Asks by `call` until there is no SVID for it any more.
    pub(crate) fn until_denied(&self, call: impl Fn() -> Output) {
        let refused = until("a caller is denied", PATIENCE, || denied(&call()).then_some(()));
        refused.unwrap_or_else(|why| panic!("{why}: {:?}\n{}", call(), self.0.logs()));
    }

    pub(crate) fn why(&self, pid: u32) -> Why {
        let output = self.0.agents[0].cli(&["why", &pid.to_string(), "--output", "json"]).unwrap();
        let report = output.json().unwrap_or_else(|why| panic!("{why:#}\n{}", self.0.logs()));
        Why { code: output.code, report }
    }

    /// One call from a process of this machine in no container; in `group` if there is one.
    pub(crate) fn fetch(&self, group: Option<&Group>) -> Output {
        let program = self.0.programs.path("holdfast-agent");
        let mut command = entering(group, &program);
        Output::of(command.args(["api", "fetch", "x509", "--socket-path"]).arg(self.0.agents[0].socket())).unwrap()
    }

    pub(crate) fn logs(&self) -> String {
        self.0.logs()
    }
}

/// A process of this machine that sleeps in `group`; it ends when this is dropped.
pub(crate) struct Sleeper(Child);

impl Sleeper {
    pub(crate) fn in_group(group: &Group) -> Self {
        let sleeper = Self(entering(Some(group), Path::new("sleep")).arg("infinity").spawn().unwrap());
        let name = format!("/proc/{}/comm", sleeper.pid());
        // From then on it is the program, in the group.
        let is_asleep = || std::fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep").then_some(());
        until("a process in a group", PATIENCE, is_asleep).unwrap();
        sleeper
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn entering(group: Option<&Group>, program: &Path) -> Command {
    let script = if group.is_some() { "echo $$ >\"$GROUP\" && exec \"$0\" \"$@\"" } else { "exec \"$0\" \"$@\"" };
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program).stdin(Stdio::null());
    command.env("GROUP", group.map(Group::entrance).unwrap_or_default());
    command
}
