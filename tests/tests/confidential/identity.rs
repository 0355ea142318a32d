//! Who a guest is: one launch, one node.

use holdfast_tests::{proof, until};

use crate::world::{DOMAIN, PATIENCE, World};

/// From launch to a workload's SVID, and to its end when the image changes.
fn the_whole_story(kind: &str, fields: &[&str]) {
    let world = World::enrolled_with(kind, 1, fields);
    let node = world.nodes().remove(0);
    assert!(node.starts_with(&format!("spiffe://{DOMAIN}/holdfast/node/{kind}/")), "{node}");
    let user = format!("unix:uid:{}", std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()));
    let id = format!("spiffe://{DOMAIN}/web");
    world.server.operator(&["entry", "create", "--spiffe-id", &id, "--parent-id", &node, "--selector", &user]).unwrap();
    until("a workload has its SVID", PATIENCE, || (world.fetch(0).code == 0).then_some(()))
        .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    world.guests.tell(0, "attack", &["tampered-image"]).unwrap();
    let refused = world.until_refused(0);
    assert_eq!(refused["code"], "policy.no_rule_matched", "{refused}");
    until("the workload is denied", PATIENCE, || {
        let fetch = world.fetch(0);
        (fetch.code == 1 && fetch.stdout.contains("PermissionDenied")).then_some(())
    })
    .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    proof::prove_each(&world.server, &world.programs, world.work.path(), &world.attempts()).unwrap();
    world.server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn an_snp_guest_gets_a_name_and_loses_it_with_another_image() {
    the_whole_story("snp", &[]);
}

/// The host hands out no certificate: the server asks AMD's service.
#[test]
fn an_snp_guest_without_certificates_gets_a_name_too() {
    the_whole_story("snp", &["certificates=false"]);
}

/// The server asks Intel's service what it says about the platform.
#[test]
fn a_td_gets_a_name_and_loses_it_with_another_image() {
    the_whole_story("tdx", &[]);
}

#[test]
fn a_td_of_tdx_1_5_gets_a_name_too() {
    the_whole_story("tdx", &["version=5", "body_type=3", "padding=70"]);
}

#[test]
fn an_instance_with_a_nitrotpm_gets_a_name_and_loses_it_with_another_image() {
    the_whole_story("nitrotpm", &[]);
}

#[test]
fn an_azure_machine_on_snp_gets_a_name_and_loses_it_with_another_image() {
    the_whole_story("azure", &[]);
}

#[test]
fn an_azure_machine_on_tdx_gets_a_name_and_loses_it_with_another_image() {
    the_whole_story("azure", &["hardware=tdx"]);
}

/// Nothing but the certificate of its key vouches for it, and the inventory lists the key.
#[test]
fn an_azure_machine_with_trusted_launch_gets_a_name_and_loses_it_with_another_image() {
    the_whole_story("azure", &["hardware=none"]);
}

#[test]
fn a_google_cloud_instance_gets_a_name_and_loses_it_with_another_image() {
    the_whole_story("gcp", &[]);
}

#[test]
fn an_enclave_gets_a_name_and_loses_it_with_another_image() {
    the_whole_story("nitro", &[]);
}

/// Two of each kind: launched from one image, they are two nodes.
fn two_of_one_image_are_two_nodes(kind: &str) {
    let world = World::enrolled(kind, 2);
    let measured: Vec<_> = world.guests.all().iter().map(|guest| &guest.measured).collect();
    assert_eq!(measured[0], measured[1]);
    let mut nodes = world.nodes();
    nodes.dedup();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
}

#[test]
fn two_enclaves_of_one_image_are_two_nodes() {
    two_of_one_image_are_two_nodes("nitro");
}

#[test]
fn two_tds_of_one_image_on_one_platform_are_two_nodes() {
    two_of_one_image_are_two_nodes("tdx");
}

#[test]
fn two_azure_machines_of_one_image_are_two_nodes() {
    two_of_one_image_are_two_nodes("azure");
}

#[test]
fn two_google_cloud_instances_of_one_image_are_two_nodes() {
    two_of_one_image_are_two_nodes("gcp");
}

#[test]
fn two_instances_of_one_image_with_a_nitrotpm_are_two_nodes() {
    two_of_one_image_are_two_nodes("nitrotpm");
}

#[test]
fn two_guests_of_one_image_on_one_chip_are_two_nodes() {
    let world = World::enrolled("snp", 2);
    let specs: Vec<_> = world.guests.all().iter().map(|guest| &guest.spec).collect();
    assert_eq!((&specs[0]["chip_id"], &specs[0]["measurement"]), (&specs[1]["chip_id"], &specs[1]["measurement"]));
    let mut nodes = world.nodes();
    nodes.dedup();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
}

#[test]
fn a_guest_that_is_launched_again_is_a_new_node() {
    let mut world = World::enrolled("snp", 1);
    let former = world.nodes();
    world.guests.tell(0, "relaunch", &[]).unwrap();
    // On the former's connection it is somebody else.
    let refused = world.until_refused(0);
    assert_eq!(refused["code"], "node.other_machine", "{refused}");
    // The new guest's agent has a key of its own.
    world.agents[0].daemon().unwrap().kill();
    world.start_agent(0);
    until("a new node", PATIENCE, || world.nodes().iter().any(|node| !former.contains(node)).then_some(()))
        .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
}

#[test]
fn an_agent_that_starts_anew_in_the_same_guest_is_the_same_node() {
    let mut world = World::enrolled("snp", 1);
    let former = world.nodes();
    world.agents[0].daemon().unwrap().kill();
    let before = world.attempts().len();
    world.start_agent(0);
    until("another attempt", PATIENCE, || (world.attempts().len() > before).then_some(()))
        .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    world.agents[0].until_ready(PATIENCE).unwrap();
    assert_eq!(world.nodes(), former);
}
