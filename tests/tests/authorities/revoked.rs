//! What was opened below an intermediate that is revoked does not stay open, an honest agent is back at once, and its
//! workloads have an identity all the time.

use holdfast_tests::until;

use crate::rotation::{PATIENCE, World, put_root};

/// Seconds that SVIDs live: none ends during the test, however busy the machine is, and none is replaced for its age.
const SVID_SECONDS: u64 = 600;

/// A world in which another intermediate signs than the one that the agent's connection and its SVIDs are below; its ID.
fn changed_over() -> (World, String) {
    let (mut world, _) = World::living(3600, SVID_SECONDS, |folder| put_root(folder, "root"));
    let (old, _) = world.at("active")[0].clone();
    world.server.operator(&["authority", "x509", "prepare"]).unwrap();
    let (next, _) = world.at("prepared")[0].clone();
    world.server.operator(&["authority", "x509", "activate", "--authority-id", &next]).unwrap();
    world.assert_nothing_dropped();
    (world, old)
}

fn revoke(world: &World, id: &str) {
    world.server.operator(&["authority", "x509", "taint", "--authority-id", id]).unwrap();
    world.server.operator(&["authority", "x509", "revoke", "--authority-id", id]).unwrap();
}

/// How often the agent's node was admitted.
fn admissions(world: &World) -> usize {
    world.agent_log().matches("node admitted").count()
}

/// Waits until the node got another SVID, and was admitted with that on a connection of its own.
fn until_back(world: &World, before: usize) {
    let back = until("the agent is back", PATIENCE, || {
        (admissions(world) >= before + 2 && world.agent.until_ready(1).is_ok()).then_some(())
    });
    back.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
}

#[test]
fn connections_below_a_revoked_intermediate_are_cut_and_the_agent_comes_back_below_another() {
    let (mut world, old) = changed_over();
    // An agent that hears of it leaves by itself. This one hears nothing, and its connection stays below the old one.
    world.agent.tell("STOP");
    let before = admissions(&world);
    revoke(&world, &old);
    let log = |world: &World| world.server_log();
    let cut = until("the connection is cut", PATIENCE, || log(&world).contains("connections cut").then_some(()));
    world.agent.tell("CONT");
    cut.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    until_back(&world, before);
    world.until_replaced(&old);
    world.assert_nothing_dropped();
    world.server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn an_agent_that_hears_of_it_comes_back_below_another_and_takes_nothing_from_its_workloads() {
    let (mut world, old) = changed_over();
    let before = admissions(&world);
    revoke(&world, &old);
    until_back(&world, before);
    world.until_replaced(&old);
    world.assert_nothing_dropped();
    world.server.operator(&["audit", "verify"]).unwrap();
}
