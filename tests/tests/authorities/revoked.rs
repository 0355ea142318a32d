//! What was opened below an intermediate that is revoked does not stay open, and an honest agent is back at once.

use holdfast_tests::until;

use crate::rotation::{PATIENCE, World, put_root};

#[test]
fn connections_below_a_revoked_intermediate_are_cut_and_the_agent_comes_back_below_another() {
    let (mut world, _) = World::living(3600, |folder| put_root(folder, "root"));
    let (old, _) = world.at("active")[0].clone();
    world.server.operator(&["authority", "x509", "prepare"]).unwrap();
    let (next, _) = world.at("prepared")[0].clone();
    world.server.operator(&["authority", "x509", "activate", "--authority-id", &next]).unwrap();
    world.assert_nothing_dropped();
    // An agent that hears of it leaves by itself. This one hears nothing, and its connection stays below the old one.
    world.agent.tell("STOP");
    world.server.operator(&["authority", "x509", "taint", "--authority-id", &old]).unwrap();
    world.server.operator(&["authority", "x509", "revoke", "--authority-id", &old]).unwrap();
    let log = |world: &World| world.server_log();
    let cut = until("the connection is cut", PATIENCE, || log(&world).contains("connections cut").then_some(()));
    world.agent.tell("CONT");
    cut.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    let back = until("the agent is back", PATIENCE, || {
        let admitted = world.agent_log().matches("node admitted").count();
        (admitted > 1 && world.agent.until_ready(1).is_ok()).then_some(())
    });
    back.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    world.server.operator(&["audit", "verify"]).unwrap();
}
