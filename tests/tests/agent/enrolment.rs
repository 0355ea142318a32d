//! How a machine comes to its identity, and what it costs.

use holdfast_agent::config::{Bootstrap, ServerAddress};
use holdfast_agent::status::Standing;
use holdfast_tpm_sim::CommandCode;

use super::world::{Agent, World};

const QUOTE: CommandCode = CommandCode(0x158);
const SIGN: CommandCode = CommandCode(0x15d);

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_the_inventory_enrols_and_stands_on_its_own_connection() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let mut agent = world.agent(&machine);
    let status = agent.until_connected().await;
    let name = status.spiffe_id.clone().unwrap();
    assert!(name.starts_with("spiffe://example.org/holdfast/node/tpm/"), "{name}");
    assert_eq!(status.evidence, ["tpm"]);
    agent.stop().await;
    let loaded = machine.loaded_handles().unwrap();
    assert_eq!((loaded.transient.len(), loaded.sessions.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_machine_comes_back_with_one_signature_and_one_quote() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let mut agent = world.agent(&machine);
    let first = agent.until_connected().await;
    agent.stop().await;
    machine.forget_commands();

    let mut agent = world.agent(&machine);
    let again = agent.until_connected().await;
    assert_eq!(again.spiffe_id, first.spiffe_id);
    let commands = machine.commands();
    assert_eq!((commands[&SIGN], commands[&QUOTE]), (1, 1));
    assert_eq!(machine.command_total(), 4, "look up both keys, sign, quote: {commands:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_enrolments_are_counted_in_commands() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;
    assert_eq!(machine.command_total(), 32, "the very first: 30, and the own connection: sign, quote");
    machine.forget_commands();

    // A server that never saw this machine: keys persisted, certificates cached.
    let other = World::new().await;
    other.allow(&machine).await;
    let mut agent = other.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;
    assert_eq!(machine.command_total(), 15, "13, and the own connection: sign, quote");
    machine.forget_commands();

    // The server knows the machine; its SVID is lost.
    std::fs::remove_file(machine.machine().directory().join("agent/node-svid.json")).unwrap();
    let mut agent = other.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;
    assert_eq!(machine.command_total(), 6, "look up both keys, certify, quote; and sign, quote");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insecure_bootstrap_pins_the_trust_domain_it_found() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let directory = machine.machine().directory().join("agent");
    let mut agent = Agent::start(world.address(), Bootstrap::Insecure, &machine, &directory);
    agent.until_connected().await;
    agent.stop().await;

    // Another server at another place, with the same names and another root, is not believed.
    let other = World::new().await;
    other.allow(&machine).await;
    let mut agent = Agent::start(other.address(), Bootstrap::Insecure, &machine, &directory);
    let status = agent.until(20, |status| status.problem.is_some()).await;
    assert_eq!(status.problem.as_ref().unwrap().code, "agent.connection.handshake");
    assert_eq!(status.standing, Standing::Starting);
    agent.stop().await;
}

/// What stands between an enclave and its server, with a Unix socket in vsock's place.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reaches_its_server_through_a_relay() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("relay.sock");
    let relay = tokio::net::UnixListener::bind(&path).unwrap();
    let server = world.address();
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = relay.accept().await {
            tokio::spawn(async move {
                let mut outside = tokio::net::TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
            });
        }
    });
    let directory = machine.machine().directory().join("agent");
    let mut agent = Agent::start_at(ServerAddress::Unix(path), world.bundle(), &machine, &directory);
    agent.until_connected().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_forgotten_by_its_server_enrols_anew() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;

    let other = World::new().await;
    other.allow(&machine).await;
    let mut agent = other.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_renewal_on_the_open_connection_is_one_command() {
    let world = World::with_node_svids_of(12).await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let mut agent = world.agent(&machine);
    let mut last = agent.until_connected().await;
    machine.forget_commands();
    for _ in 0..2 {
        let before = last.attempt.clone();
        last = agent.until(10, |status| status.attempt != before).await;
        assert!(last.connected);
    }
    let commands = machine.commands();
    assert_eq!((commands[&QUOTE], machine.command_total()), (2, 2), "{commands:?}");
    agent.stop().await;
}
