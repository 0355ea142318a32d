//! Programs of others, unmodified: those that know no SPIFFE, with their certificates from `holdfast-agent helper`, and
//! those that do, over the Workload API. In each the right identity is admitted and the wrong one refused, through
//! rotations and a restart of the agent under another authority.
//!
//! A test that needs a program does nothing without it, and says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

#[path = "../workload/mod.rs"]
#[allow(dead_code, reason = "another test binary uses the rest")]
mod workload;

mod nginx;
mod postgresql;
mod python;
mod rust;
mod traefik;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use holdfast_tests::Programs;
use tokio::process::{Child, Command};
use workload::{Agent, own_user, soon};

/// How long anything may take that a program does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives this user's processes an identity called `name`, by its hint too, and by a DNS name. Its leaf.
fn enter(agent: &Agent, name: &str, dns: &str) -> Vec<u8> {
    let svid = agent.authority.issue_named(&format!("/{name}"), name, name, &[dns]);
    agent.registry.enter(&[own_user()], svid.clone());
    svid.chain[0].clone()
}

/// Files of the identity with `hint`, kept by a helper that does `more` at a rotation.
async fn kept(agent: &Agent, hint: &str, owner: &str, more: &str) -> (PathBuf, Child) {
    let folder = agent.work.path().join(hint);
    std::fs::create_dir(&folder).unwrap();
    let file = agent.work.path().join(format!("{hint}.toml"));
    let owner = if workload::uid() == 0 { format!("file_owner = {owner:?}\n") } else { String::new() };
    let text = format!("agent_address = {:?}\ncert_dir = {folder:?}\nhint = {hint:?}\n{owner}{more}", agent.socket());
    std::fs::write(&file, text).unwrap();
    let program = Programs::beside_this_one().unwrap().path("holdfast-agent");
    let mut command = Command::new(program);
    command.args(["helper", "--config"]).arg(&file).stdin(Stdio::null()).kill_on_drop(true);
    let helper = command.spawn().unwrap();
    until("the files", || folder.join("svid.pem").exists()).await;
    (folder, helper)
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ends the agent and puts another one in its place, under another authority. As an agent does that has just begun, it
/// makes everyone wait until its registry is started.
async fn restarted(agent: &mut Agent) -> Agent {
    agent.stop.cancel();
    soon(&mut agent.served).await.unwrap().unwrap();
    let next = Agent::starting().await;
    next.registry.trust(workload::DOMAIN, next.authority.bundle());
    std::os::unix::fs::symlink(next.socket(), agent.socket()).unwrap();
    next
}

/// A certificate's number, in hexadecimal without zeros before it.
fn serial(der: &[u8]) -> String {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    let digits: String = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.trim_start_matches('0').to_owned()
}
