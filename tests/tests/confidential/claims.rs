//! What a guest that has proven nothing yet claims to be decides whose turn its certificates are fetched in.

use holdfast_tests::until;

use crate::world::{PATIENCE, World};

const HOST_DATA: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// A guest of a host that hands out no certificates, while AMD's service is away; what of it is on the inventory is the
/// caller's.
fn is_ours(list: impl FnOnce(&World)) -> bool {
    let host_data = format!("host_data={HOST_DATA}");
    let mut world = World::launched_with("snp", 1, &["certificates=false", &host_data]);
    world.guests.fault(&["error:503@/vcek/v1/Milan/"]).unwrap();
    world.server.operator(&["node", "disallow", "--fact", &world.guests.all()[0].ours()]).unwrap();
    list(&world);
    world.start_agent(0);
    let wanted = until("the key is wanted", PATIENCE, || {
        let listed = world.server.json(&["endorsements", "wanted", "--all"]).unwrap();
        listed["wanted"].as_array().unwrap().first().cloned()
    });
    let wanted = wanted.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    let ours = wanted["ours"].as_bool().unwrap();
    let without_strangers = world.server.json(&["endorsements", "wanted"]).unwrap();
    assert_eq!(without_strangers["wanted"].as_array().unwrap().len(), usize::from(ours), "{without_strangers}");
    ours
}

#[test]
fn a_guest_that_nobody_listed_is_a_stranger() {
    assert!(!is_ours(|_| ()));
}

#[test]
fn a_guest_on_a_listed_chip_goes_ahead_of_strangers() {
    assert!(is_ours(|world| {
        world.server.operator(&["node", "allow", "--fact", &world.guests.all()[0].ours()]).unwrap();
    }));
}

#[test]
fn a_guest_whose_launch_was_registered_goes_ahead_of_strangers() {
    assert!(is_ours(|world| {
        let spec = &world.guests.all()[0].spec;
        let measurement = spec["measurement"].as_str().unwrap();
        let words = ["launch", "register", "--kind", "snp", "--label", "ours", "--measurement", measurement];
        world.server.operator(&[&words[..], &["--host-data", HOST_DATA]].concat()).unwrap();
    }));
}
