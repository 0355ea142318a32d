//! What is no refusal ends no identity.

use std::time::Duration;

use holdfast_agent::status::Standing;
use holdfast_agent::svids::SvidState;
use holdfast_tpm_sim::{CommandCode, Effect, Fault};

use super::world::{World, ready, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_back_changes_nothing_for_workloads() {
    let mut world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    world.entry("/a", "unix:uid:1").await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    let mut state = agent.watch("unix:uid:1");
    until(&mut state, 10, ready).await;
    state.mark_unchanged();

    world.stop().await;
    let status = agent.until(20, |status| !status.connected).await;
    assert_eq!(status.standing, Standing::Admitted);
    assert!(ready(&state.borrow()) && !state.has_changed().unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.start().await;
    agent.until_connected().await;
    assert!(ready(&state.borrow()));

    // And new entries arrive again.
    world.entry("/b", "unix:uid:2").await;
    until(&mut agent.watch("unix:uid:2"), 10, ready).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_refuses_for_a_while_delays_and_refuses_nobody() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    // TPM_RC_YIELDED's neighbour that the library does not repeat by itself: TPM_RC_NV_RATE.
    machine.inject(Fault::on(CommandCode(0x158), Effect::Refuse(0x920)).times(2));
    let mut agent = world.agent(&machine);
    let status = agent.until(20, |status| status.problem.is_some()).await;
    assert_eq!(status.problem.as_ref().unwrap().code, "agent.tpm.command");
    assert_eq!(status.standing, Standing::Starting);
    agent.until_connected().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_between_tpm_and_agent_is_opened_again() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    machine.inject(Fault::on(CommandCode(0x158), Effect::Disconnect).times(1));
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_node_is_admitted_workloads_wait() {
    let mut world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    world.entry("/a", "unix:uid:1").await;
    world.stop().await;
    let mut agent = world.agent(&machine);
    let mut state = agent.watch("unix:uid:1");
    agent.until(20, |status| status.problem.is_some()).await;
    assert!(matches!(*state.borrow(), SvidState::Starting));
    world.start().await;
    until(&mut state, 20, ready).await;
    agent.stop().await;
}
