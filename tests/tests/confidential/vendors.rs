//! The vendors' services, as the server needs them: away, slow, or lying.

use holdfast_tests::until;

use crate::world::{PATIENCE, World};

/// A service that does not answer is a fault: the guest is neither refused nor admitted, and asks again.
fn waits_for_the_vendor(kind: &str, fields: &[&str], path: &str, fault: &str) {
    let mut world = World::launched_with(kind, 1, fields);
    world.guests.fault(&[&format!("{fault}@{path}")]).unwrap();
    world.start_agent(0);
    until("the vendor is asked", PATIENCE, || {
        world.guests.asked().unwrap().iter().any(|asked| asked.contains(path)).then_some(())
    })
    .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(world.nodes().is_empty(), "admitted");
    assert!(world.attempts().iter().all(|attempt| attempt["outcome"] != "refused"), "{:?}", world.attempts());
    world.guests.fault(&[]).unwrap();
    // an agent in its place would ask again after a minute's pause
    world.agents[0].daemon().unwrap().kill();
    world.start_agent(0);
    world.agents[0].until_ready(PATIENCE).unwrap_or_else(|why| panic!("{why:#}\n{}", world.logs()));
}

#[test]
fn an_snp_guest_waits_for_amds_service() {
    waits_for_the_vendor("snp", &["certificates=false"], "/vcek/v1/Milan/", "error:503");
}

#[test]
fn a_chip_certificate_with_a_flipped_bit_is_no_refusal_of_the_guest() {
    waits_for_the_vendor("snp", &["certificates=false"], "/vcek/v1/Milan/", "lie");
}

#[test]
fn a_td_waits_for_intels_service() {
    waits_for_the_vendor("tdx", &[], "/tdx/certification/v4/tcb", "garbage");
}
