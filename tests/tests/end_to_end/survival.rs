//! Power cuts: what was acknowledged is there afterwards, nobody has to help, and no TPM fills up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_tests::{Machine, until};

use crate::world::{PATIENCE, World, entry_id, id, own_uid};

/// Entries that must be acknowledged before the server dies.
const LOAD: usize = 12;
const CLIENTS: usize = 4;

#[test]
fn a_server_killed_under_load_keeps_what_it_acknowledged_and_agents_carry_on() {
    let mut world = World::enrolled(2);
    world.create_entry(0, "web");
    world.create_entry(1, "db");
    let mut watch = world.watch(0, &id("web"));
    let pid = world.server.daemon().unwrap().id();

    let (parent, user, done) = (world.node_id(1), own_uid(), AtomicUsize::new(0));
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (server, parent, user, done) = (&world.server, &parent, &user, &done);
                scope.spawn(move || {
                    let mut acknowledged = Vec::new();
                    for number in 0..10_000 {
                        let name = id(&format!("load/{client}/{number}"));
                        let words =
                            ["entry", "create", "--spiffe-id", &name, "--parent-id", parent, "--selector", user];
                        let Ok(created) = server.json(&words) else { break };
                        acknowledged.push(entry_id(&created));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    acknowledged
                })
            })
            .collect();
        until("load", PATIENCE, || (done.load(Ordering::Relaxed) >= LOAD).then_some(())).unwrap();
        assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    world.server.daemon().unwrap().kill();
    assert!(acknowledged.len() >= LOAD);
    assert!(watch.is_open(), "the stream ended with the server: {}", watch.0.log());
    assert_eq!(world.fetch(0).code, 0, "an agent without a server serves nothing");

    let log = world.work.path().join("server.log");
    world.server.start_again(&log).unwrap();
    for entry in &acknowledged {
        world.server.operator(&["entry", "show", entry]).unwrap();
    }
    let verified = world.server.cli(&["audit", "verify"]).unwrap();
    assert_eq!(verified.code, 0, "{verified:?}");
    world.create_entry(0, "after");
    watch.until_shows(&id("after"));
    world.server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn an_agent_killed_again_and_again_leaves_nothing_in_the_tpm() {
    let mut world = World::enrolled(1);
    let node = world.node_id(0);
    world.create_entry(0, "web");
    world.until_fetched(0);
    world.agents[0].daemon().unwrap().kill();
    let at_first = InUse::of(&world.machines.all()[0]);
    for round in 0..5u64 {
        let before = sent(&world);
        world.start_agent(0);
        // In the middle of its work with the TPM, a little later each time.
        until("the agent uses the TPM", PATIENCE, || (sent(&world) > before + round).then_some(())).unwrap();
        world.agents[0].daemon().unwrap().kill();
    }
    world.start_agent(0);
    world.agents[0].until_ready(PATIENCE).unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    world.until_fetched(0);
    assert_eq!(world.node_id(0), node);
    world.agents[0].daemon().unwrap().kill();
    let at_last = InUse::of(&world.machines.all()[0]);
    assert!(
        at_last.transient <= at_first.transient && at_last.sessions <= at_first.sessions,
        "{at_first:?} {at_last:?}"
    );
}

/// TPM commands sent so far.
fn sent(world: &World) -> u64 {
    let commands = world.machines.commands(0).unwrap();
    commands.as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum()
}

/// What is loaded in a TPM.
#[derive(Debug)]
struct InUse {
    transient: u32,
    sessions: u32,
}

impl InUse {
    fn of(machine: &Machine) -> Self {
        let port = machine.tcti.rsplit_once("port=").unwrap().1.parse().unwrap();
        Self { transient: handles(port, 0x8000_0000), sessions: handles(port, 0x0200_0000) }
    }
}

/// How many handles from `first` on TPM2_GetCapability lists.
fn handles(port: u16, first: u32) -> u32 {
    let mut tpm = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut command = vec![0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7A, 0, 0, 0, 1];
    command.extend(first.to_be_bytes());
    command.extend(254u32.to_be_bytes());
    tpm.write_all(&command).unwrap();
    let mut answer = [0u8; 19];
    tpm.read_exact(&mut answer).unwrap();
    assert_eq!(answer[6..10], [0; 4], "the TPM refused: {answer:02x?}");
    u32::from_be_bytes(answer[15..19].try_into().unwrap())
}
