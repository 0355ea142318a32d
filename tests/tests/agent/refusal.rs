//! A machine that is not, or no longer, what policy wants.

use holdfast_agent::status::Standing;
use holdfast_agent::svids::SvidState;
use holdfast_server::store::{NodeAction, NodeFilter, NodeTarget};

use super::world::{World, operator, profile, ready, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_outside_the_inventory_is_refused_and_told_its_attempt() {
    let world = World::new().await;
    let machine = world.machine(0);
    let mut agent = world.agent(&machine);
    let state = agent.watch("unix:uid:1");
    let status = agent.until(20, |status| status.standing == Standing::Refused).await;
    assert!(status.attempt.is_some());
    assert!(matches!(*state.borrow(), SvidState::Denied));
    assert_eq!(status.problem.as_ref().unwrap().code, "agent.enrol.refused");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_node_loses_its_workloads_identities_within_seconds() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    world.entry("/a", "unix:uid:1").await;
    let mut agent = world.agent(&machine);
    let status = agent.until_connected().await;
    let mut state = agent.watch("unix:uid:1");
    until(&mut state, 10, ready).await;

    let target = NodeTarget::SpiffeId(status.spiffe_id.as_ref().unwrap().parse().unwrap());
    let banned =
        world.store().act(target, NodeAction::Ban { reason: "test".to_owned() }, operator(), super::world::now());
    banned.await.unwrap().unwrap();
    until(&mut state, 5, |state| matches!(state, SvidState::Denied)).await;
    agent.until(5, |status| status.standing == Standing::Refused).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_machine_is_admitted_once_the_operator_allows_it() {
    let world = World::new().await;
    let machine = world.machine(1);
    let mut agent = world.agent(&machine);
    agent.until(20, |status| status.standing == Standing::Refused).await;
    world.allow(&machine).await;
    agent.until_connected().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_is_normal_and_needs_nobody() {
    let world = World::new().await;
    let mut machine = world.machine(0);
    world.allow(&machine).await;
    let mut agent = world.agent(&machine);
    let first = agent.until_connected().await;
    agent.stop().await;
    machine.reboot(&profile()).unwrap();
    let mut agent = world.agent(&machine);
    let again = agent.until_connected().await;
    assert_eq!(again.spiffe_id, first.spiffe_id);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_machine_enrols_anew_by_itself() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    world.entry("/a", "unix:uid:1").await;
    let mut agent = world.agent(&machine);
    let first = agent.until_connected().await;
    let mut state = agent.watch("unix:uid:1");
    until(&mut state, 10, ready).await;

    let target = NodeTarget::SpiffeId(first.spiffe_id.as_ref().unwrap().parse().unwrap());
    let evicted = world.store().act(target, NodeAction::Evict, operator(), super::world::now());
    evicted.await.unwrap().unwrap();
    let again = agent.until(20, |status| status.connected && status.attempt != first.attempt).await;
    assert_eq!(again.spiffe_id, first.spiffe_id);
    until(&mut state, 10, ready).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_waits_for_an_operators_approval() {
    let policy = include_str!("../../../policies/shipped/simulated-machines.toml");
    let world = World::with_policy(&policy.replace("ownership = \"inventory\"", "ownership = \"approval\"")).await;
    let machine = world.machine(0);
    let mut agent = world.agent(&machine);
    agent.until(20, |status| status.standing == Standing::AwaitsApproval).await;
    let waiting = world.store().nodes(NodeFilter::default(), super::world::now()).await.unwrap();
    let target = NodeTarget::Number(waiting[0].number);
    world.store().act(target, NodeAction::Approve, operator(), super::world::now()).await.unwrap().unwrap();
    agent.until_connected().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_no_longer_admits_a_node_ends_its_workloads_identities() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    world.entry("/a", "unix:uid:1").await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    let mut state = agent.watch("unix:uid:1");
    until(&mut state, 10, ready).await;
    let policy = include_str!("../../../policies/shipped/simulated-machines.toml");
    world.apply(&policy.replace("trust_classes = [\"simulated\"]", "trust_classes = [\"discrete\"]")).await;
    until(&mut state, 5, |state| matches!(state, SvidState::Denied)).await;
    agent.until(5, |status| status.standing == Standing::Refused && !status.connected).await;
    world.apply(policy).await;
    until(&mut state, 30, ready).await;
    agent.stop().await;
}
