//! The tale of confidential guests: two are launched, prove what they are, and one of them is replaced by another image.

use std::path::Path;

use anyhow::{Context as _, ensure};
use holdfast_tests::{Agent, Guests, Output, Process, Programs, Server, WorkDir, until};

use super::story::Story;
use super::tale::{at, clean, kept, text, workload};

const DOMAIN: &str = "demo.test";
/// How long anything may take to happen.
const PATIENCE: u64 = 60;

pub(crate) fn tell(story: &mut Story, programs: &Programs, out: &Path, kind: &str) -> anyhow::Result<()> {
    clean(out)?;
    let work = WorkDir::new()?;

    story.step(&format!("Two simulated {kind} guests of one image"))?;
    let guests = Guests::start(programs, &work, kind, 2, &out.join("tpm-sim.log"))?;
    for guest in guests.all() {
        story.show(&format!("{}  {}", guest.directory.display(), guest.ours()));
    }

    story.step("A server, and what the operator trusts and owns")?;
    let server = Server::init_with(programs, &work, DOMAIN, &guests.server())?.start(&out.join("server.log"))?;
    for root in guests.roots() {
        let root = text(root);
        story.show(&server.operator(&["endorsements", "import", "--class", "simulated", "--for", kind, &root])?);
    }
    for guest in guests.all() {
        story.show(&server.operator(&["node", "allow", "--fact", &guest.ours()])?);
    }

    story.step("A policy that demands what was launched")?;
    let policy = work.path().join("policy.toml");
    std::fs::write(&policy, guests.policy())?;
    story.show(&guests.policy());
    story.show(&server.operator(&["policy", "apply", &text(&policy)])?);

    story.step("Both guests enrol: one image, two nodes")?;
    let mut agents = Vec::new();
    for (index, guest) in guests.all().iter().enumerate() {
        let name = format!("agent-{}", index + 1);
        let agent = Agent::configure_guest(programs, &work, &server, kind, guest, &name)?;
        agents.push(agent.start(&out.join(format!("{name}.log")))?);
    }
    for agent in &agents {
        agent.until_ready(PATIENCE)?;
    }
    story.show(&server.operator(&["node", "list"])?);
    let listed = server.json(&["node", "list"])?;
    let nodes = listed["nodes"].as_array().context("no nodes in the list")?;
    ensure!(nodes.len() == 2, "expected two nodes, found {}", nodes.len());

    story.step("A workload in each guest fetches its SVID with an unmodified SPIFFE client")?;
    let workload = workload(programs, &work, 1)?;
    let id = format!("spiffe://{DOMAIN}/web");
    for node in nodes {
        let parent = node["spiffe_id"].as_str().context("a node without a name")?;
        let mut words = vec!["entry", "create", "--spiffe-id", &id, "--parent-id", parent];
        for selector in &workload.selectors {
            words.extend(["--selector", selector]);
        }
        story.show(&server.operator(&words)?);
    }
    for agent in &agents {
        let fetched = until("the SVID", PATIENCE, || {
            Output::of(&mut at(&workload, agent, &["fetch"])).ok().and_then(|fetch| fetch.success().ok())
        })?;
        story.show(&fetched.stdout);
    }

    story.step("Guest 2 is replaced by another image, and refused")?;
    let watching = Process::start(&mut at(&workload, &agents[1], &["watch"]), &out.join("workload-watch.log"))?;
    until("the stream is open", PATIENCE, || watching.log().contains("update:").then_some(()))?;
    guests.tell(1, "attack", &["tampered-image"])?;
    agents[1].tell("HUP");
    let refusal = until("the refusal", PATIENCE, || {
        let listed = server.json(&["attempt", "list"]).ok()?;
        listed["attempts"].as_array()?.iter().find(|attempt| attempt["outcome"] == "refused").cloned()
    })?;
    std::fs::write(out.join("refusal.json"), serde_json::to_string_pretty(&refusal)?)?;
    let attempt = refusal["id"].as_str().context("the refusal has no ID")?;
    story.show(&server.operator(&["attempt", "show", attempt])?);

    story.step(
        "Its workload's open stream has ended with PermissionDenied; guest 1 carries on, and the record verifies",
    )?;
    until("the stream ends", PATIENCE, || watching.log().contains("PermissionDenied").then_some(()))?;
    story.show(watching.log().lines().last().unwrap_or_default());
    story.show(&Output::of(&mut at(&workload, &agents[0], &["fetch"]))?.success()?.stdout);
    story.show(&server.operator(&["audit", "verify"])?);

    kept(story, &server, &agents[0])
}
