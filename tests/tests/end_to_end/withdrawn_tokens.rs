//! JWT-SVIDs that are withdrawn before their end, through the real server and the real agents: refused by whoever asks an
//! agent to validate them, and nobody else's with them.

use holdfast_tests::{Output, until};
use serde_json::Value;

use crate::world::{PATIENCE, World, id, own_uid};

const AUDIENCE: &str = "https://db.example.org";

/// An agent's command, as a workload of machine `index` calls it.
fn api(world: &World, index: usize, words: &[&str]) -> Output {
    let mut command = world.programs.command("holdfast-agent");
    command.arg("api").args(words).args(["--output", "json", "--socket-path"]).arg(world.agents[index].socket());
    Output::of(&mut command).unwrap()
}

/// The tokens of the workload on machine `index` whose subject is `path`, once there is one.
fn token(world: &World, index: usize, path: &str) -> String {
    let found = until("a token", PATIENCE, || {
        let words = ["fetch", "jwt", "--audience", AUDIENCE, "--spiffe-id", &id(path)];
        let fetched = api(world, index, &words);
        if fetched.code != 0 {
            return None;
        }
        let answer: Value = fetched.json().unwrap();
        Some(answer["svids"][0]["svid"].as_str().unwrap().to_owned())
    });
    found.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()))
}

/// Whether machine `index` validates the token; nothing while it validates none at all.
fn is_valid(world: &World, index: usize, token: &str) -> Option<bool> {
    let checked = api(world, index, &["validate", "jwt", "--audience", AUDIENCE, "--svid", token]);
    match checked.code {
        0 => Some(true),
        1 if checked.stderr.contains("SVID is not valid") => Some(false),
        _ => None,
    }
}

fn until_refused(world: &World, index: usize, token: &str) {
    until("the token is refused", PATIENCE, || (is_valid(world, index, token) == Some(false)).then_some(()))
        .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
}

fn assert_valid(world: &World, index: usize, token: &str) {
    let valid = is_valid(world, index, token);
    assert_eq!(valid, Some(true), "{}", world.logs());
}

#[test]
fn a_ban_withdraws_the_nodes_tokens_at_every_agent_and_for_those_that_come_later() {
    let mut world = World::enrolled(2);
    // One identity on both machines, and one that the good machine has for itself.
    (0..2).for_each(|index| drop(world.create_entry(index, "web")));
    world.create_entry(1, "db");
    let (bad, good, own) = (token(&world, 0, "web"), token(&world, 1, "web"), token(&world, 1, "db"));
    [&bad, &good, &own].into_iter().for_each(|token| assert_valid(&world, 1, token));

    world.server.operator(&["node", "ban", &world.node_id(0), "--reason", "stolen"]).unwrap();
    until_refused(&world, 1, &bad);
    [&good, &own].into_iter().for_each(|token| assert_valid(&world, 1, token));
    assert_eq!(token(&world, 1, "web"), good, "the agent keeps what is not withdrawn");
    let acts = ["events", "export", "--type", "dev.holdfast.act.jwt_svid.revoke.v1"];
    assert_eq!(world.server.operator(&acts).unwrap().lines().count(), 1);

    // Whoever comes later hears of it before anything is validated: another agent process, and another server process.
    let log = world.work.path().join("server.log");
    world.server.daemon().unwrap().kill();
    world.server.start_again(&log).unwrap();
    world.agents[1].daemon().unwrap().kill();
    world.start_agent(1);
    let first = until("an answer", PATIENCE, || is_valid(&world, 1, &bad));
    assert_eq!(first.ok(), Some(false), "{}", world.logs());
    [&good, &own].into_iter().for_each(|token| assert_valid(&world, 1, token));
    assert_eq!(world.server.json(&["audit", "verify"]).unwrap()["findings"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_deleted_entry_and_one_that_takes_back_withdraw_their_tokens_and_new_ones_count() {
    let world = World::enrolled(2);
    let web = world.create_entry(0, "web");
    world.create_entry(0, "db");
    world.create_entry(1, "reader");
    let (first, other) = (token(&world, 0, "web"), token(&world, 0, "db"));
    assert_valid(&world, 1, &first);

    // It asks for more than the workload has, and then for what it has.
    let update = |selector: &str| {
        let (web_id, parent) = (id("web"), world.node_id(0));
        let words = ["entry", "update", &web, "--spiffe-id", &web_id, "--parent-id", &parent, "--selector", selector];
        world.server.operator(&words).unwrap();
    };
    update("unix:uid:4294967000");
    (0..2).for_each(|index| until_refused(&world, index, &first));
    update(&own_uid());
    let second = token(&world, 0, "web");
    assert_ne!(second, first);
    (0..2).for_each(|index| assert_valid(&world, index, &second));
    (0..2).for_each(|index| assert_eq!(is_valid(&world, index, &first), Some(false)));

    world.server.operator(&["entry", "delete", &web]).unwrap();
    (0..2).for_each(|index| until_refused(&world, index, &second));
    (0..2).for_each(|index| assert_valid(&world, index, &other));
}

#[test]
fn an_agent_that_is_cut_off_hears_what_was_withdrawn_when_it_is_back() {
    let mut world = World::enrolled(2);
    world.create_entry(0, "web");
    world.create_entry(1, "reader");
    let bad = token(&world, 0, "web");
    assert_valid(&world, 1, &bad);
    // The server dies with the ban in its database and before the second agent has heard of it: nobody hears anything while
    // that agent is stopped.
    world.agents[1].tell("STOP");
    world.server.operator(&["node", "ban", &world.node_id(0), "--reason", "stolen"]).unwrap();
    world.server.daemon().unwrap().kill();
    world.agents[1].tell("CONT");
    let log = world.work.path().join("server.log");
    world.server.start_again(&log).unwrap();
    until_refused(&world, 1, &bad);
}
