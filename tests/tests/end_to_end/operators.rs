//! What operators do takes hold at once: bans, evictions, entries; and what they may not do.

use holdfast_tests::{Output, Programs};

use crate::world::{World, id, own_uid};

#[test]
fn a_ban_ends_the_workloads_stream_and_outlives_an_eviction() {
    let world = World::enrolled(2);
    for index in 0..2 {
        world.create_entry(index, "web");
    }
    let mut banned = world.watch(0, &id("web"));
    let mut other = world.watch(1, &id("web"));
    let node = world.node_id(0);
    world.server.operator(&["node", "ban", &node, "--reason", "stolen"]).unwrap();
    banned.until_denied();
    world.until_denied(0);

    let refused = world.attest(0);
    assert_eq!(refused["outcome"], "refused", "{refused:#}");
    world.server.cli(&["node", "evict", &node]).unwrap();
    let refused = world.attest(0);
    assert_eq!(refused["outcome"], "refused", "{refused:#}");
    world.until_denied(0);

    world.server.operator(&["node", "unban", &node]).unwrap();
    world.attest_until(0, "admitted");
    world.until_fetched(0);
    assert!(other.is_open(), "the other machine's stream ended: {}", other.0.log());
}

#[test]
fn entries_reach_the_open_stream_when_they_are_created_changed_and_deleted() {
    let world = World::enrolled(1);
    let web = world.create_entry(0, "web");
    let mut watch = world.watch(0, &id("web"));
    let more = world.create_entry(0, "more");
    watch.until_shows(&id("more"));

    let (renamed, parent, user) = (id("renamed"), world.node_id(0), own_uid());
    let words = ["entry", "update", &more, "--spiffe-id", &renamed, "--parent-id", &parent, "--selector", &user];
    world.server.operator(&words).unwrap();
    watch.until_shows(&renamed);

    // What only a newcomer without the selector would get, and what belongs to the platform, is not given.
    let reserved = id("holdfast/node/tpm/aa");
    let words = ["entry", "create", "--spiffe-id", &reserved, "--parent-id", &parent, "--selector", &user];
    let refused = world.server.cli(&words).unwrap();
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains("(entry."), "no code: {refused:?}");
    assert!(!world.server.operator(&["entry", "list"]).unwrap().contains(&reserved));

    world.server.operator(&["entry", "delete", &more]).unwrap();
    let before = watch.0.log().len();
    let third = world.create_entry(0, "third");
    watch.until_shows(&id("third"));
    let after = watch.0.log().split_off(before);
    let newest = after.lines().last().unwrap_or_default();
    assert!(!newest.contains(&renamed), "deleted, and still in {newest}");
    for entry in [&web, &third] {
        world.server.operator(&["entry", "delete", entry]).unwrap();
    }
    watch.until_denied();
    world.until_denied(0);
    world.server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn every_program_explains_itself_and_calls_a_mistyped_flag_an_error() {
    let programs = Programs::beside_this_one().unwrap();
    let run = |name: &str, words: &[&str]| Output::of(programs.command(name).args(words)).unwrap();
    for name in ["holdfast-server", "holdfast-agent", "holdfast-policy", "holdfast-tpm-sim"] {
        for words in [&["--mistyped"][..], &["mistyped"], &[]] {
            let output = run(name, words);
            assert_eq!(output.code, 2, "{name} {words:?}: {output:?}");
            assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{name} {words:?}: {output:?}");
        }
        for words in [&["--help"][..], &["--version"], &["completion", "bash"], &["completion", "zsh"]] {
            let output = run(name, words);
            assert_eq!(output.code, 0, "{name} {words:?}: {output:?}");
            assert!(output.stdout.contains(name), "{name} {words:?}: {output:?}");
        }
    }
    for (name, words) in [
        ("holdfast-server", &["run", "--mistyped"][..]),
        ("holdfast-server", &["entry", "create", "--mistyped"]),
        ("holdfast-agent", &["run", "--mistyped"]),
        ("holdfast-agent", &["api", "fetch", "x509", "--mistyped"]),
        ("holdfast-policy", &["inspect", "tpm", "--mistyped"]),
        ("holdfast-tpm-sim", &["reboot", "--mistyped"]),
    ] {
        assert_eq!(run(name, words).code, 2, "{name} {words:?}");
    }
}
