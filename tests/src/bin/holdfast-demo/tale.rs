//! The tale itself, top to bottom.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use holdfast_tests::{Agent, Machines, Output, Process, Programs, Server, WorkDir, free_port, until};
use serde_json::Value;

use super::story::Story;

const DOMAIN: &str = "demo.test";
/// What both machines boot, and what machine 2 boots later: the same with another kernel.
const PROFILE: &str = "shim-grub";
const CHANGED: &str = "changed-kernel";
/// How long anything may take to happen.
const PATIENCE: u64 = 30;

/// A workload: a program of its own that the attestor can tell from others.
pub(crate) struct Workload {
    /// Runs the program, as the user it runs as.
    run: Vec<String>,
    /// What an entry for it names.
    pub(crate) selectors: Vec<String>,
}

pub(crate) fn tell(story: &mut Story, programs: &Programs, out: &Path) -> anyhow::Result<()> {
    clean(out)?;
    let work = WorkDir::new()?;

    story.step("Two machines with a software TPM each, switched on")?;
    let machines = Machines::start(programs, &work, 2, PROFILE, &out.join("tpm-sim.log"))?;
    story.show(&format!("{}\n{}", machines.all()[0].describe(), machines.all()[1].describe()));

    story.step("A server: an offline root, an intermediate of its own, SQLite")?;
    let server = Server::init(programs, &work, DOMAIN)?.start(&out.join("server.log"))?;
    story.show(&server.cli(&["healthcheck"])?.success()?.stdout);

    story.step("The operator trusts the simulator's root, as `simulated`, and allows two endorsement keys")?;
    story.show(&server.operator(&["endorsements", "import", "--class", "simulated", &text(machines.root())])?);
    for machine in machines.all() {
        story.show(&server.operator(&["node", "allow", "--ek-sha256", &machine.ek_sha256])?);
    }

    story.step("A policy whose reference values are events that the simulator printed")?;
    let policy = write_policy(&work, &machines)?;
    story.show(&std::fs::read_to_string(&policy)?);
    story.show(&Output::of(programs.command("holdfast-policy").arg("lint").arg(&policy))?.success()?.stdout);
    story.show(&server.operator(&["policy", "apply", &text(&policy)])?);

    story.step("Both machines enrol")?;
    let mut agents = Vec::new();
    for (index, machine) in machines.all().iter().enumerate() {
        let log = out.join(format!("agent-{}.log", index + 1));
        agents.push(Agent::configure(programs, &work, &server, machine, &format!("agent-{}", index + 1))?.start(&log)?);
    }
    for agent in &agents {
        agent.until_ready(PATIENCE)?;
    }
    story.show(&server.operator(&["node", "list"])?);
    let nodes = nodes(&server, &machines)?;

    story.step("Entries for two workloads that the attestor tells apart")?;
    let workloads = [workload(programs, &work, 1)?, workload(programs, &work, 2)?];
    let ids = [format!("spiffe://{DOMAIN}/web"), format!("spiffe://{DOMAIN}/db")];
    for ((id, node), workload) in ids.iter().zip(&nodes).zip(&workloads) {
        let mut words = vec!["entry", "create", "--spiffe-id", id, "--parent-id", node];
        for selector in &workload.selectors {
            words.extend(["--selector", selector]);
        }
        story.show(&server.operator(&words)?);
    }

    story.step("The workloads fetch their SVIDs with an unmodified SPIFFE client and meet over mutual TLS")?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let serving = Process::start(
        &mut at(&workloads[1], &agents[1], &["serve", "--listen", &address, "--expect", &ids[0]]),
        &out.join("workload-db.log"),
    )?;
    until("the workload listens", PATIENCE, || serving.log().contains("listens").then_some(()))?;
    let call = until("the call succeeds", PATIENCE, || {
        let call =
            Output::of(&mut at(&workloads[0], &agents[0], &["call", "--connect", &address, "--expect", &ids[1]]));
        call.ok().and_then(|call| call.success().ok())
    })?;
    story.show(&call.stdout);
    ensure!(call.stdout.contains(&format!("welcome, from {}", ids[1])), "the answer is not from {}", ids[1]);
    keep_artefacts(&work, &workloads[0], &agents[0], out)?;

    story.step("Machine 2 reboots into a changed kernel, and is refused")?;
    drop(serving);
    let watching = Process::start(&mut at(&workloads[1], &agents[1], &["watch"]), &out.join("workload-watch.log"))?;
    until("the stream is open", PATIENCE, || watching.log().contains("update:").then_some(()))?;
    machines.tell(1, "reboot", &["--profile", CHANGED])?;
    // On a real machine the agent would start anew here. This one lives on, so that its workload's stream can be seen to
    // end, and is told to attest.
    agents[1].tell("HUP");
    let refusal = until("the refusal", PATIENCE, || refused_attempt(&server).ok().flatten())?;
    std::fs::write(out.join("refusal.json"), serde_json::to_string_pretty(&refusal)?)?;
    let attempt = refusal["id"].as_str().context("the refusal has no ID")?.to_owned();
    let told = server.operator(&["attempt", "show", &attempt])?;
    story.show(&told);
    for word in ["EV_EFI_BOOT_SERVICES_APPLICATION", "expected", "found"] {
        ensure!(told.contains(word), "the refusal does not name the event: {word} is missing");
    }

    story.step("Its workload's open stream has ended with PermissionDenied, and a new fetch gets the same")?;
    until("the stream ends", PATIENCE, || watching.log().contains("PermissionDenied").then_some(()))?;
    story.show(watching.log().lines().last().unwrap_or_default());
    let fetch = Output::of(&mut at(&workloads[1], &agents[1], &["fetch"]))?;
    ensure!(fetch.code == 1 && fetch.stdout.contains("PermissionDenied"), "a new fetch got: {fetch:?}");
    story.show(&fetch.stdout);

    story.step("Machine 1 carries on, and the record verifies")?;
    let again = Output::of(&mut at(&workloads[0], &agents[0], &["fetch"]))?.success()?;
    story.show(&again.stdout);
    story.show(&server.operator(&["audit", "verify"])?);

    kept(story, &server, &agents[0])
}

/// What is kept so that decisions can be proven, before and after one more renewal of a machine that did not change.
pub(crate) fn kept(story: &mut Story, server: &Server, agent: &Agent) -> anyhow::Result<()> {
    story.step("What is kept so that each decision can be proven, and what one renewal more adds")?;
    story.show(&server.operator(&["record", "usage"])?);
    let attempts = || -> anyhow::Result<usize> {
        let listed = server.json(&["attempt", "list", "--outcome", "admitted"])?;
        Ok(listed["attempts"].as_array().map_or(0, Vec::len))
    };
    let before = attempts()?;
    agent.tell("HUP");
    until("the renewal", PATIENCE, || attempts().is_ok_and(|now| now > before).then_some(()))?;
    story.show(&server.operator(&["record", "usage"])?);
    Ok(())
}

pub(crate) fn clean(out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    for entry in std::fs::read_dir(out)?.flatten() {
        if entry.path().is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The reference values of the profile that both machines booted, and a policy that demands them.
fn write_policy(work: &WorkDir, machines: &Machines) -> anyhow::Result<PathBuf> {
    let folder = work.sub("policy")?;
    std::fs::write(folder.join("shim-grub.toml"), machines.reference_values(PROFILE)?)?;
    let policy = folder.join("demo.toml");
    std::fs::write(&policy, include_str!("policy.toml"))?;
    Ok(policy)
}

/// The node IDs in the order of the machines.
fn nodes(server: &Server, machines: &Machines) -> anyhow::Result<Vec<String>> {
    let listed = server.json(&["node", "list"])?;
    let listed = listed["nodes"].as_array().or(listed.as_array()).context("no nodes in the list")?.clone();
    machines
        .all()
        .iter()
        .map(|machine| {
            listed
                .iter()
                .find(|node| node.to_string().contains(&machine.ek_sha256))
                .and_then(|node| node["spiffe_id"].as_str())
                .map(str::to_owned)
                .with_context(|| format!("no node for {}", machine.ek_sha256))
        })
        .collect()
}

/// As root: the program under a uid of its own. Otherwise: a copy of it with a path and a hash of its own.
pub(crate) fn workload(programs: &Programs, work: &WorkDir, number: u32) -> anyhow::Result<Workload> {
    let folder = work.sub("workloads")?;
    let copy = folder.join(format!("workload-{number}"));
    let mut bytes = std::fs::read(programs.path("demo-workload"))?;
    // Bytes after the end of an ELF file change its hash and nothing else.
    bytes.extend_from_slice(format!("workload {number}").as_bytes());
    std::fs::write(&copy, &bytes)?;
    std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    if is_root() {
        let uid = (62_000 + number).to_string();
        let run = ["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", &text(&copy)].map(str::to_owned);
        Ok(Workload { run: run.to_vec(), selectors: vec![format!("unix:uid:{uid}")] })
    } else {
        let digest = hex::encode(ring::digest::digest(&ring::digest::SHA256, &bytes));
        let selectors = vec![format!("unix:path:{}", text(&copy)), format!("unix:sha256:{digest}")];
        Ok(Workload { run: vec![text(&copy)], selectors })
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// The workload's program with `words`, on the machine of `agent`.
pub(crate) fn at(workload: &Workload, agent: &Agent, words: &[&str]) -> Command {
    let mut command = Command::new(&workload.run[0]);
    command.args(&workload.run[1..]).args(words).env("SPIFFE_ENDPOINT_SOCKET", agent.socket_url());
    command
}

/// `svid.pem`, `svid.key` and `bundle.pem` of one workload, fetched by its own program.
fn keep_artefacts(work: &WorkDir, workload: &Workload, agent: &Agent, out: &Path) -> anyhow::Result<()> {
    let folder = work.sub("svid")?;
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    Output::of(&mut at(workload, agent, &["fetch", "--write", &text(&folder)]))?.success()?;
    for name in ["svid.pem", "svid.key", "bundle.pem"] {
        std::fs::copy(folder.join(name), out.join(name)).with_context(|| format!("keep {name}"))?;
    }
    Ok(())
}

/// The newest refused attempt in full, if there is one.
fn refused_attempt(server: &Server) -> anyhow::Result<Option<Value>> {
    let listed = server.json(&["attempt", "list"])?;
    let listed = listed["attempts"].as_array().or(listed.as_array()).cloned().unwrap_or_default();
    let refused = listed.iter().find(|attempt| attempt["outcome"].as_str() == Some("refused"));
    let Some(id) = refused.and_then(|attempt| attempt["id"].as_str()) else { return Ok(None) };
    Ok(Some(server.json(&["attempt", "show", id])?))
}
