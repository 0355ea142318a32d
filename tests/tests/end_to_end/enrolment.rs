//! Who is let in: the inventory, what was booted, and what a TPM has been through.

use crate::world::{PATIENCE, World, id};

#[test]
fn a_machine_that_is_not_on_the_inventory_is_refused_until_it_is_allowed() {
    let mut world = World::unknown(1);
    world.start_agent(0);
    let refused = world.attempt_after(0);
    assert_eq!(refused["outcome"], "refused", "{refused:#}");
    assert!(refused.to_string().contains("policy.ownership.not_in_inventory"), "{refused:#}");
    world.until_denied(0);
    assert_ne!(world.agents[0].cli(&["healthcheck"]).unwrap().code, 0, "the agent calls itself healthy");

    world.allow(0);
    world.attest_until(0, "admitted");
    world.create_entry(0, "web");
    world.until_fetched(0);
    assert_eq!(world.fetch(0).stdout.trim(), id("web"));
}

#[test]
fn a_reboot_needs_nobody_unless_the_kernel_changed() {
    let mut world = World::enrolled(1);
    let node = world.node_id(0);
    world.create_entry(0, "web");
    world.until_fetched(0);

    // The same kernel, with an agent that lives on, and with one that starts anew.
    world.machines.tell(0, "reboot", &[]).unwrap();
    let admitted = world.attest_until(0, "admitted");
    assert_eq!(admitted["spiffe_id"], node.as_str());
    world.agents[0].daemon().unwrap().kill();
    world.machines.tell(0, "reboot", &["--pull-the-plug"]).unwrap();
    let before = world.attempts().len();
    world.start_agent(0);
    world.agents[0].until_ready(PATIENCE).unwrap();
    let admitted = world.attempt_after(before);
    assert_eq!((&admitted["outcome"], &admitted["spiffe_id"]), (&"admitted".into(), &node.clone().into()));
    world.until_fetched(0);

    // Another kernel: the attempt names the event.
    world.machines.tell(0, "reboot", &["--profile", "changed-kernel"]).unwrap();
    let refused = world.attest_until(0, "refused");
    let differs = refused["decision"]["differences"].as_array().unwrap();
    let value = &differs.iter().find(|differs| differs["fact"] == "tpm.boot.applications").unwrap()["values"][0];
    assert!(value["event"]["index"].as_u64().is_some_and(|index| index > 0), "{value:#}");
    assert_eq!(value["event"]["type"], "EV_EFI_BOOT_SERVICES_APPLICATION");
    let digest = |key: &str| value[key].as_str().filter(|digest| digest.len() == 64).unwrap().to_owned();
    assert_ne!(digest("expected"), digest("found"));
    let text = world.server.operator(&["attempt", "show", refused["id"].as_str().unwrap()]).unwrap();
    assert!(text.contains(&digest("expected")) && text.contains(&digest("found")), "{text}");
    world.until_denied(0);

    world.machines.tell(0, "reboot", &["--profile", "shim-grub"]).unwrap();
    world.attest_until(0, "admitted");
    world.until_fetched(0);
    world.server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn a_cleared_tpm_and_a_rolled_back_one_wait_for_an_operator() {
    let mut world = World::enrolled(1);
    let node = world.node_id(0);
    world.create_entry(0, "web");
    world.until_fetched(0);
    let snapshot = world.work.path().join("snapshot").display().to_string();
    world.machines.tell(0, "snapshot", &["--to", &snapshot]).unwrap();

    world.machines.tell(0, "clear", &[]).unwrap();
    let waits = world.attest_until(0, "awaits_approval");
    assert_eq!(waits["spiffe_id"], node.as_str(), "{waits:#}");
    world.until_denied(0);
    world.server.operator(&["node", "approve", world.ek(0)]).unwrap();
    world.attest_until(0, "admitted");
    world.until_fetched(0);

    world.machines.tell(0, "reboot", &[]).unwrap();
    world.attest_until(0, "admitted");
    // A rollback takes the machine's power, and its agent with it.
    world.agents[0].daemon().unwrap().kill();
    for _ in 0..4 {
        world.machines.tell(0, "reboot", &[]).unwrap();
    }
    world.start_agent(0);
    world.agents[0].until_ready(PATIENCE).unwrap();
    world.agents[0].daemon().unwrap().kill();
    world.machines.tell(0, "rollback", &["--from", &snapshot]).unwrap();
    let before = world.attempts().len();
    world.start_agent(0);
    let attempt = world.attempt_after(before);
    assert_ne!(attempt["outcome"], "admitted", "{attempt:#}");
    world.until_denied(0);
    world.server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn a_log_that_contradicts_the_pcrs_is_refused_and_the_true_one_heals() {
    let world = World::enrolled(1);
    world.create_entry(0, "web");
    world.until_fetched(0);
    for lie in [&["log-digest", "12"][..], &["log-omit", "12"], &["log-empty"]] {
        world.machines.tell(0, "tamper", lie).unwrap();
        world.attest_until(0, "refused");
        world.until_denied(0);
        world.machines.tell(0, "tamper", &["log-truth"]).unwrap();
        world.attest_until(0, "admitted");
        world.until_fetched(0);
    }
}

#[test]
fn a_hostile_string_in_evidence_is_harmless_in_every_output() {
    let world = World::enrolled(1);
    let hostile = "root=/dev/vda2 \u{1b}[31m\u{202e}nalp\r\u{7}]0;title\u{9b}2J";
    world.machines.tell(0, "tamper", &["cmdline", hostile]).unwrap();
    let refused = world.attest_until(0, "refused");
    assert!(refused["decision"].to_string().contains("vda2"), "{refused:#}");
    let attempt = refused["id"].as_str().unwrap();
    let harmless = |text: &str| !text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
    for words in
        [&["attempt", "show", attempt][..], &["attempt", "list"], &["node", "list"], &["node", "show", world.ek(0)]]
    {
        let text = world.server.operator(words).unwrap();
        assert!(harmless(&text), "{words:?}: {text:?}");
        // JSON must parse, and be harmless at a terminal too.
        world.server.json(words).unwrap();
        let more: Vec<&str> = words.iter().copied().chain(["--output", "json"]).collect();
        let json = world.server.operator(&more).unwrap();
        assert!(json.chars().all(|c| !c.is_control() || c == '\n'), "{words:?}: {json:?}");
    }
    let server = std::fs::read_to_string(world.work.path().join("server.log")).unwrap();
    assert!(!server.contains("\u{1b}[31m") && !server.contains('\u{202e}'), "the server's log is not escaped");
}
